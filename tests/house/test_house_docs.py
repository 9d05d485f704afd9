"""The documentation is read by tests: settings, error codes and links say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.api.problems import STATUS
from service.config import PREFIX, Settings, load
from service.errors import RunError, ServiceError

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _settings_table() -> dict[str, tuple[str, str]]:
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in rows}


def _default(field: str) -> str:
    """As the README writes it; one per core cannot be a constant."""
    value = Settings().model_dump()[field]
    if field == "workers":
        return "one per core"
    return {"": "", False: "`false`"}.get(value, f"`{value}`") if isinstance(value, str | bool) else f"`{value}`"


def test_the_readme_lists_every_setting_and_no_other() -> None:
    assert list(_settings_table()) == [PREFIX + name.upper() for name in Settings.model_fields]


@pytest.mark.parametrize("field", Settings.model_fields)
def test_the_readme_tells_a_settings_default_and_meaning(field: str) -> None:
    default, meaning = _settings_table()[PREFIX + field.upper()]
    assert default == _default(field)
    assert meaning == Settings.model_fields[field].description


def test_every_setting_can_be_given_as_the_readme_writes_it() -> None:
    environ = {
        name: default.strip("`")
        for name, (default, _) in _settings_table().items()
        if default not in {"", "one per core"}
    }
    assert load(environ) == Settings()


def _errors(kind: type[ServiceError]) -> set[type[ServiceError]]:
    return {kind}.union(*(_errors(each) for each in kind.__subclasses__()))


def _error_rows() -> dict[str, str]:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    return dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.MULTILINE))


def test_every_status_is_the_one_that_is_answered() -> None:
    rows = _error_rows()
    assert {error.code: rows.get(error.code) for error in STATUS} == {e.code: str(int(s)) for e, s in STATUS.items()}


def test_every_error_code_has_its_row() -> None:
    rows = _error_rows()
    ours = {error for error in _errors(ServiceError) if error.__module__.startswith("service.")}
    on_runs = {error.code for error in ours if issubclass(error, RunError) and "code" in vars(error)}
    assert set(rows) >= {error.code for error in ours if "code" in vars(error)}
    assert {code for code, status in rows.items() if status == "run"} == on_runs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", prose)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []

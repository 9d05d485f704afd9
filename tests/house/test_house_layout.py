"""How much a page may hold, and where an import may stand."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

FILE_LINES = 300
FUNCTION_LINES = 40

# Path or `path::function`, and the reason. A line here is a debt: it must still be needed, or a test fails.
LONG_FILES: dict[str, str] = {
    "service/exchange/predictor.py": "what a user takes home is one file",
    "service/storage/tables.py": "every table, side by side: keys of one point at rows of another",
}
LONG_FUNCTIONS: dict[str, str] = {
    "service/engine/layers/gru.py::_cell": "gates and their derivatives share a dozen names",
}
HIDDEN_IMPORTS: dict[str, str] = {
    "service/exchange/__init__.py::to_onnx": "onnx is an extra, and this its one door",
    "service/exchange/__init__.py::from_onnx": "onnx is an extra, and this its one door",
    "service/data/packed.py::_picture": "Pillow is an extra, and this its door for one picture",
    "service/data/readers/csv_fast.py::_library": "pyarrow is an extra, and this its one door",
    "service/data/readers/pictures.py::_library": "Pillow is an extra, and this its door for many",
    "service/storage/migrate.py::_upgrade": "Alembic costs 0.4 s, paid only when something is migrated",
}

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "service").rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _long_files() -> set[str]:
    return {_name(path) for path in SOURCES if path.read_text("utf-8").count("\n") > FILE_LINES}


def _long_functions(path: Path) -> dict[str, int]:
    lengths = {f"{_name(path)}::{f.name}": (f.end_lineno or f.lineno) - f.lineno + 1 for f in _functions(path)}
    return {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}


def _hidden_imports(path: Path) -> set[str]:
    return {
        f"{_name(path)}::{function.name}"
        for function in _functions(path)
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
    }


def test_a_file_fits_its_page_or_has_a_reason() -> None:
    assert _long_files() == set(LONG_FILES), "two ideas, or a line in LONG_FILES; a line that is not needed goes"


def test_a_function_fits_the_eye_or_has_a_reason() -> None:
    assert {name for path in SOURCES for name in _long_functions(path)} == set(LONG_FUNCTIONS)


def test_no_import_hides_in_a_function_without_a_reason() -> None:
    assert {name for path in SOURCES for name in _hidden_imports(path)} == set(HIDDEN_IMPORTS)


def test_only_the_command_line_imports_by_name() -> None:
    users = [_name(path) for path in SOURCES if "import_module" in path.read_text("utf-8")]
    assert users == ["service/cli.py"]


def test_every_module_begins_with_a_sentence() -> None:
    assert [
        _name(path)
        for path in SOURCES
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ] == []


def test_test_modules_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)

"""The web page: what is served, how it is kept, and what its pages may do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from api_server import Api, problem, serving

from service.api.web import FOLDER, INDEX, POLICY, REFERENCE

pytestmark = pytest.mark.anyio
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
MOST_BYTES = 87_000
MOST_LINES = 300


async def test_the_page_stands_at_the_root(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        found = await api.http.get("/")
        assert found.status_code == 200
        assert found.headers["content-type"] == "text/html; charset=utf-8"
        assert found.content == (FOLDER / INDEX).read_bytes()


async def test_the_reference_is_ours_too_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        found = await api.http.get("/docs")
        assert found.content == (FOLDER / REFERENCE).read_bytes()
        assert found.headers["content-security-policy"] == POLICY


async def test_a_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        policy = (await api.http.get("/")).headers["content-security-policy"]
        assert policy == POLICY
        directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert "unsafe" not in policy
        assert {source for given in directives.values() for source in given.split()} == {"'none'", "'self'", "data:"}


async def test_every_file_is_served_and_known_again_by_its_etag(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for path in FILES:
            await _is_served_and_known_again(api, path)


async def _is_served_and_known_again(api: Api, path: Path) -> None:
    first = await api.http.get(f"/web/{path.name}")
    assert first.status_code == 200
    assert first.content == path.read_bytes()
    again = await api.http.get(f"/web/{path.name}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = await api.http.get(f"/web/{path.name}", headers={"If-None-Match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize("asked", ['W/"{}"', '"x", "{}"', "*"])
async def test_an_etag_is_found_however_it_is_sent(asked: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        etag = (await api.http.get("/")).headers["etag"].strip('"')
        assert (await api.http.get("/", headers={"If-None-Match": asked.format(etag)})).status_code == 304


async def test_the_head_of_a_page_has_no_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        whole, head = await api.http.get("/"), await api.http.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.content))


async def test_only_the_pages_own_files_can_be_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for name in ("nothing.js", "..%2Fapp.py", "..%2F..%2Fpyproject.toml", ".", "%00"):
            problem(await api.http.get(f"/web/{name}"), 404)


async def test_the_page_is_no_part_of_the_public_language(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        paths = (await api.http.get("/openapi.json")).json()["paths"]
        assert [path for path in paths if path == "/" or path.startswith("/web")] == []


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < MOST_BYTES
    assert [path.name for path in FILES if path.read_text("utf-8").count("\n") >= MOST_LINES] == []


def test_every_import_and_link_leads_to_a_file_of_the_page() -> None:
    names = {path.name for path in FILES}
    imported = {name for path in SCRIPTS for name in re.findall(r'from "\./([\w.]+)"', path.read_text("utf-8"))}
    pages = {INDEX, REFERENCE}
    linked = {
        name
        for page in pages
        for name in re.findall(r'(?:href|src)="/web/([\w.]+)"', (FOLDER / page).read_text("utf-8"))
    }
    assert imported <= names
    assert names == imported | linked | pages, "a file that nothing uses"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_names_no_other_host_and_evaluates_nothing(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.search(r"https?://|\beval\(|new Function|innerHTML|\son\w+=\"|\sstyle=\"", text) is None

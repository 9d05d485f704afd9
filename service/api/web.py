"""The web page at `/` and the reference at `/docs`: small files out of the package, told apart by their content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import Response

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).resolve().parents[1] / "web"
INDEX = "index.html"
REFERENCE = "reference.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is sent; its ETag is the hash of what it says."""

    body: bytes
    headers: dict[str, str]


@lru_cache(maxsize=1)
def pages() -> dict[str, Page]:
    """Every file of the page by its name. Nothing else can be asked for, so no path is ever put together."""
    files = sorted(path for path in FOLDER.iterdir() if path.suffix in _MEDIA)
    return {path.name: _page(path.read_bytes(), _MEDIA[path.suffix]) for path in files}


def _page(body: bytes, media: str) -> Page:
    headers = {
        "Content-Type": media,
        "ETag": f'"{sha256(body).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",  # kept, but asked about: a new release is seen at once, for a 304 a file
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return Page(body, headers)


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, INDEX)


@router.get("/docs")
async def reference(request: Request) -> Response:
    """Every operation and every word of the language, out of the OpenAPI document; nothing is loaded from elsewhere."""
    return _answer(request, REFERENCE)


@router.get("/web/{name}")
async def file(request: Request, name: str) -> Response:
    """What the page is made of."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    page = pages().get(name)
    if page is None:
        raise HTTPException(404)
    if _known(request.headers.get("if-none-match", ""), page.headers["ETag"]):
        kept = {key: value for key, value in page.headers.items() if key != "Content-Type"}
        return Response(status_code=304, headers=kept)
    return Response(page.body, headers=page.headers)


def _known(asked: str, etag: str) -> bool:
    """Whether If-None-Match names the file as it is (weakly compared, RFC 9110 13.1.2)."""
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in asked.split(","))

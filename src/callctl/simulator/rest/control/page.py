"""The inspector: a page that shows calls and the requests in them. Its files are in `simulator/inspector/`.

The page holds no data itself: it fetches calls and requests from the surface, as any client that is let in may.
"""

from functools import cache
from pathlib import Path

from aiohttp import web

from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.routing import Endpoint, Routes, get

FOLDER = Path(__file__).parents[2] / "inspector"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere, no script or style within the page, and no text that becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes(_endpoint: Endpoint, _control: Control, path: str) -> Routes:
    """Return what is answered here."""

    async def page(_request: web.Request) -> web.Response:
        return _answer("index.html")

    async def part(request: web.Request) -> web.Response:
        return _answer(request.match_info["name"])

    async def folder(_request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently(f"{path}/")

    return (get(path, folder), get(f"{path}/", page), get(f"{path}/inspector/{{name}}", part))


def is_for(path: str, request: web.Request) -> bool:
    """Return whether a request is for the page or a part of it, and not for what it shows."""
    return request.path in (path, f"{path}/") or request.path.startswith(f"{path}/inspector/")


def _answer(name: str) -> web.Response:
    body = _files().get(name)
    if body is None:
        raise web.HTTPNotFound
    return web.Response(body=body, content_type=TYPES[Path(name).suffix], charset="utf-8", headers=HEADERS)


@cache
def _files() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.suffix in TYPES}

"""Lists that come in pages: read to their end, each row once, in memory that does not grow with the account."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urljoin, urlsplit

from callctl.errors import NetworkError, NoThreadError
from callctl.support.threads import start_in_thread

T = TypeVar("T")

MAX_PAGE_SIZE = 1000  # OAS
# Pages in a row without a new row, after which the server is taken to send the same for ever. An account that is
# moving on fast can push one page's rows onto the next, hardly onto three.
_MAX_STALE = 3
_REMEMBERED = 3 * MAX_PAGE_SIZE  # rows; how far back a repeated row is recognised
# Seconds. Where a page comes sooner, there is nothing to wait for, and two threads in turns take longer than one.
_SLOW = 0.05


def rows(
    fetch: Callable[[str], Mapping[str, Any]],
    first: str,
    *,
    key: str,
    base: str,
    warn: Callable[[str], None],
    named_by: str = "sid",
    on_next: Callable[[str], None] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Yield a list's rows page by page, each once.

    A row repeats at the head of a page because new calls have pushed it there from the page before. Hence only the
    SIDs of the last pages are remembered.

    Args:
        fetch: Returns the page at a whole URL.
        first: The first page's URL.
        key: The envelope's name for the rows.
        base: The API address, with its path.
        warn: Called with a warning where the next page's address can't be read, and the list may go on.
        named_by: The field of a row that no other row has the same in.
        on_next: Called with the URL of the next page before the rows of a page are yielded.

    Raises:
        NetworkError: The list never ends, or a page holds no rows' list.
    """
    recent: deque[str] = deque(maxlen=_REMEMBERED)
    known: set[str] = set()
    cycle = _CycleDetector(first)
    url: str | None = first
    stale = 0
    while url is not None:
        page = fetch(url)
        listed = _rows_of(page, key=key)
        url = _next(page, current=url, base=base, warn=warn)
        is_circle = url is not None and cycle.is_closed_by(url)
        if url is not None and on_next is not None and not is_circle:
            on_next(url)
        new = 0
        for row in listed:
            sid = row.get(named_by)
            if not isinstance(sid, str) or not sid or sid in known:
                continue
            if len(recent) == recent.maxlen:
                known.discard(recent[0])
            recent.append(sid)
            known.add(sid)
            new += 1
            yield row
        del page, listed  # so that they are not in memory beside the next one
        stale = 0 if new else stale + 1
        if url is not None and (is_circle or stale >= _MAX_STALE):
            raise NetworkError(
                f"the list does not end: {urlsplit(base).netloc} sends the same page again and again",
                hint="what was shown may be incomplete; narrow the list down, or give a lower --limit",
            )


class ReadAhead(Generic[T]):
    """Gets a page while the rows of the one before it are worked on, of a server that takes its time.

    ``get`` gets the one at a URL; it is called in a thread of its own, and what it raises is raised where the page is
    taken.
    """

    def __init__(self, get: Callable[[str], T]) -> None:
        self._get = get
        self._is_slow = False  # the page before took its time
        self._begun: tuple[str, Future[T]] | None = None

    def begin(self, url: str) -> None:
        """Begin to get a page; where the system has no thread left, it is got once it is taken."""
        if self._is_slow:
            with suppress(NoThreadError):
                self._begun = url, start_in_thread(lambda: self._timed(url))

    def take(self, url: str) -> T:
        """Return the page at a URL."""
        begun, self._begun = self._begun, None
        if begun is None or begun[0] != url:
            return self._timed(url)
        return begun[1].result()

    def _timed(self, url: str) -> T:
        began = time.monotonic()
        page = self._get(url)
        self._is_slow = time.monotonic() - began > _SLOW
        return page


class _CycleDetector:
    """Notices that addresses repeat, remembering one of them (Brent's algorithm)."""

    def __init__(self, first: str) -> None:
        self._remembered = first
        self._steps = 0
        self._power = 1

    def is_closed_by(self, url: str) -> bool:
        if url == self._remembered:
            return True
        self._steps += 1
        if self._steps == self._power:
            self._remembered, self._steps, self._power = url, 0, self._power * 2
        return False


def _rows_of(page: Mapping[str, Any], *, key: str) -> Iterator[Mapping[str, Any]]:
    listed = page.get(key)
    if not isinstance(listed, list):
        raise NetworkError(
            f"the answer to a list holds no {key}", hint="check the API address (CALLCTL_API_URL) and its path"
        )
    return (row for row in listed if isinstance(row, dict))


def _next(page: Mapping[str, Any], *, current: str, base: str, warn: Callable[[str], None]) -> str | None:
    uri = page.get("next_page_uri")
    if uri in (None, "", False):
        return None
    try:
        if not isinstance(uri, str):
            raise ValueError(uri)
        return on_base(uri, current=current, base=base)
    except ValueError:
        warn("the list may be incomplete: the address of its next page can't be read")
        return None


def on_base(uri: str, *, current: str, base: str) -> str:
    """Return the whole URL for a page's address as the server wrote it: always on the API address's own host.

    Twilio's are paths from the host; where the API address has a path of its own, compatible services repeat it or
    leave it out. A host is disregarded: behind a proxy it is the inner one, and the token must not go elsewhere.

    Raises:
        ValueError: It is no address.
    """
    parts = urlsplit(urljoin(current, uri))
    root = urlsplit(base)
    prefix = root.path.rstrip("/")
    path = parts.path if not prefix or parts.path.startswith(prefix + "/") else prefix + parts.path
    return root._replace(path=path, query=parts.query, fragment="").geturl()

"""What a watch reports at its health URL. ``http.client`` is loaded only when one is requested."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from callctl.support.parsing import read_json
from callctl.support.threads import start
from callctl.watch.registry.record import WatchRecord

# How long a watch may take to say that it is there, in seconds.
HEALTH_LIMIT = 1.0
# The field of a health answer by which a watch names its world until its record is written.
STARTING = "starting"
# The field by which a `place --watch` names its world, as long as it listens for its call.
PLACING = "placing"
# Why callbacks may be lost where the URL of a watch leads nowhere, in words: others than that concern one watch alone.
UNREACHED = "no request comes through to it now"
_LONGEST_ANSWER = 65536  # bytes


def health_url_at(port: int) -> str:
    """Return the health URL of a watch at a port of this machine, if one listens there."""
    return f"http://127.0.0.1:{port}/healthz"


def is_starting(health_url: str, world: str, *, timeout: float = HEALTH_LIMIT) -> bool:
    """Return whether a watch of this world answers at a health URL, within ``timeout`` seconds, without a record yet.

    Its tunnel is not proven by then. It writes the record before it says that it has started.
    """
    answer = ask_health(health_url, timeout=timeout)
    return answer is not None and answer.get(STARTING) == world


def starting_in_words(port: int) -> str:
    """Say that a watch is still starting."""
    return f"a watch is still starting at port {port}"


def is_alive(record: WatchRecord, *, timeout: float = HEALTH_LIMIT) -> bool:
    """Return whether the watch with this nonce answers at its health URL, within ``timeout`` seconds."""
    return health_of(record, timeout=timeout) is not None


def health_of(record: WatchRecord, *, timeout: float = HEALTH_LIMIT) -> dict[str, object] | None:
    """Return what the watch with this nonce says at its health URL within ``timeout`` seconds, else None."""
    answer = ask_health(record.health_url, timeout=timeout)
    return answer if answer is not None and answer.get("nonce") == record.nonce else None


def why_callbacks_may_be_lost(health: Mapping[str, object]) -> str | None:
    """Return why callbacks may be lost that are sent to a watch, by what it says of its health; None if none are."""
    if health.get("reachable") is False:
        return UNREACHED
    if health.get("status") == "failing":
        # An older listener does not say with what.
        return f"it can't store callbacks now and answers with {503 if health.get('answers_with') == 503 else 500}"
    return None


def trouble_of(record: WatchRecord) -> str | None:
    """Return why callbacks sent to a watch may be lost, as it reports: at its health URL, or in its record."""
    if record.host:  # at its health URL nothing need answer from here
        return record.trouble or None
    return why_callbacks_may_be_lost(ask_health(record.health_url) or {})


def ask_health(url: str, *, timeout: float = HEALTH_LIMIT) -> dict[str, object] | None:
    """Return what a watch says at its health URL within ``timeout`` seconds, else None. No proxy is used."""
    reply = _ask("GET", url, timeout=timeout)
    if reply is None:
        return None
    try:
        answer = read_json(reply[1].decode("utf-8", "replace"))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def serves(record: WatchRecord, path: str, *, timeout: float = HEALTH_LIMIT) -> bool | None:
    """Return whether a watch of this machine has something at a path; None if it does not say in time.

    It takes a HEAD nowhere, and says which paths are its own by how it refuses one. Nothing is reported of that.
    """
    status = _status_of_head(record, path, timeout=timeout)
    return None if status is None else {405: True, 410: True, 404: False}.get(status)


def cannot_give(record: WatchRecord, path: str, *, timeout: float = HEALTH_LIMIT) -> bool:
    """Return whether a watch of this machine says that it can't give the document at a path now."""
    return _status_of_head(record, path, timeout=timeout) == 410


def _status_of_head(record: WatchRecord, path: str, *, timeout: float) -> int | None:
    try:
        url = urlsplit(record.health_url)._replace(path=path, query="", fragment="").geturl()
    except ValueError:
        return None
    reply = _ask("HEAD", url, timeout=timeout)
    return None if reply is None else reply[0]


def _ask(method: str, url: str, *, timeout: float) -> tuple[int, bytes] | None:
    """Return status and body of what a watch answers within ``timeout`` seconds, else None."""
    replies: list[tuple[int, bytes] | None] = []
    # In a thread, for the limit is on the whole answer, and http.client's is on each wait within it.
    request = threading.Thread(target=lambda: replies.append(_request(method, url, timeout=timeout)), daemon=True)
    start(request)
    request.join(timeout)
    return replies[0] if replies else None


def _request(method: str, url: str, *, timeout: float) -> tuple[int, bytes] | None:
    from http.client import HTTPConnection, HTTPException

    try:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    except (ValueError, HTTPException):
        return None
    try:
        connection.request(method, parts.path or "/")
        reply = connection.getresponse()
        return reply.status, reply.read(_LONGEST_ANSWER)
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()

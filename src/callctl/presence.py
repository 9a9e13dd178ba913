"""The record by which ``place`` finds a running watch.

A record may be left behind by a watch that was killed, so it is only believed if the watch answers with its nonce.
This is on the way of every ``place``, hence no asyncio here, and http.client only when there is a record to check.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from callctl.addresses import is_loopback_url
from callctl.errors import CallctlError

# How long a watch may take to say that it is there, in seconds.
HEALTH_LIMIT = 1.0
_LONGEST_RECORD = 65536


@dataclass(frozen=True, slots=True)
class WatchRecord:
    """Where a watch can be reached, and for which account at which API address it works."""

    callback_url: str
    health_url: str
    account_sid: str
    api_url: str
    pid: int
    nonce: str
    version: str


class World(Protocol):
    """What of the settings tells one world from another."""

    @property
    def state_dir(self) -> Path:
        """Where callctl keeps its state."""

    @property
    def world(self) -> str:
        """The short name of this account at this API address."""

    @property
    def account_sid(self) -> str | None:
        """The account."""

    @property
    def api_url(self) -> str:
        """The API address."""

    @property
    def is_loopback(self) -> bool:
        """Whether the API runs on this machine."""


def announce(state_dir: Path, world: str, record: WatchRecord) -> Path:
    """Leave a record for ``place``: whole or not at all, readable by its owner only.

    Raises:
        CallctlError: It can't be written.
    """
    path = _path(state_dir, world)
    try:
        state_dir.parent.mkdir(parents=True, exist_ok=True)
        for folder in (state_dir, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        # mkstemp makes it 0600; the new name comes into being with the whole text in it.
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(record), stream)
        Path(made).replace(path)
    except OSError as error:
        raise CallctlError(
            f"can't write the record of the running watch, {path}: {error.strerror}",
            hint="set XDG_STATE_HOME to a directory that can be written",
        ) from error
    return path


def withdraw(state_dir: Path, world: str, nonce: str) -> None:
    """Take the record away, if it is still this watch's own: another may have been started since."""
    record = _read(_path(state_dir, world))
    if record is not None and record.nonce == nonce:
        with suppress(OSError):
            _path(state_dir, world).unlink()


def find(world: World) -> WatchRecord | None:
    """Return the record of a watch that runs for this account and API address and answers, or None.

    One whose callback URL is on loopback counts only if the API is on loopback too: Twilio could not reach it.
    """
    record = _read(_path(world.state_dir, world.world))
    if record is None or record.account_sid != world.account_sid or record.api_url != world.api_url:
        return None
    if is_loopback_url(record.callback_url) and not world.is_loopback:
        return None
    return record if is_alive(record) else None


def is_alive(record: WatchRecord, *, timeout: float = HEALTH_LIMIT) -> bool:
    """Ask the health URL, for ``timeout`` seconds at most, whether the watch with this nonce is there."""
    answer = ask_health(record.health_url, timeout=timeout)
    return answer is not None and answer.get("nonce") == record.nonce


def ask_health(url: str, *, timeout: float = HEALTH_LIMIT) -> dict[str, object] | None:
    """Return what a watch says at its health URL, or None if none answers. Proxies are passed by."""
    from http.client import HTTPConnection, HTTPException

    try:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    except (ValueError, HTTPException):
        return None
    try:
        connection.request("GET", parts.path or "/")
        answer = json.loads(connection.getresponse().read(_LONGEST_RECORD))
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None


def _path(state_dir: Path, world: str) -> Path:
    return state_dir / "watch" / f"{world}.json"


def _read(path: Path) -> WatchRecord | None:
    try:
        if path.stat().st_size > _LONGEST_RECORD:
            return None
        fields = json.loads(path.read_text(encoding="utf-8"))
        record = WatchRecord(**{name: fields[name] for name in WatchRecord.__slots__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    texts = (record.callback_url, record.health_url, record.account_sid, record.api_url, record.nonce, record.version)
    return record if all(isinstance(text, str) for text in texts) and record.nonce else None

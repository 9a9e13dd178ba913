"""The record of a running watch or ``callctl listen``: where it can be reached, and what it does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# Fields that records of older versions lack.
_ADDED = ("store", "command", "host", "processes", "trouble", "polls", "keep_days", "forwards", "verifies")
# Whether it does something; a record of an older version does not say so.
YES, NO = "yes", "no"
# For how many days one keeps events whose record does not say so: what ``--keep-days`` is unless it is given.
_USUAL_DAYS = 30


@dataclass(frozen=True, slots=True)
class WatchRecord:
    """Where a watch can be reached, and for which account at which API address it works.

    ``command`` is the command that runs: ``watch`` or ``listen``; or ``place``, which takes in callbacks of one call
    and is announced only. ``host`` is the machine of one that was announced in the store, where it is not known
    by a record here: it is on another machine, or another user's.
    ``processes`` is what ``process_space`` says, and ``trouble`` why callbacks may be lost, as it says itself.
    ``polls`` says whether it compares with REST, ``forwards`` whether it passes requests on to an application, and
    ``verifies`` whether callbacks need a signature; each is empty where that is not known. ``keep_days`` is for how
    many days it keeps events, 0 for no longer than it runs. ``health_url`` is empty while it starts: its store is open,
    but it may not listen yet; such a record is announced only.
    """

    callback_url: str
    health_url: str
    account_sid: str
    api_url: str
    pid: int
    nonce: str
    version: str
    store: str = ""
    command: str = "watch"
    host: str = ""
    processes: str = ""
    trouble: str = ""
    polls: str = ""
    keep_days: str = ""
    forwards: str = ""
    verifies: str = ""

    @property
    def days_kept(self) -> int:
        """For how many days it keeps events; 0 for no longer than it runs."""
        return int(self.keep_days[:5]) if self.keep_days.isdecimal() else _USUAL_DAYS

    @property
    def is_service(self) -> bool:
        """Whether it is ``callctl listen``, which others follow whatever its port."""
        return self.command == "listen"

    @property
    def noun(self) -> str:
        """What it is called in sentences."""
        return "listener" if self.is_service else "watch"

    @property
    def where(self) -> str:
        """Where it listens, for people: of one that was announced the machine, for nothing may answer from here."""
        return self.host or urlsplit(self.health_url).netloc

    @property
    def port(self) -> int | None:
        """The port at which it listens on this machine."""
        with suppress(ValueError):
            return urlsplit(self.health_url).port
        return None


def record_of(fields: Any) -> WatchRecord | None:
    """Return the record of its fields; None if they are none of a record."""
    try:
        # A record that an older callctl left lacks the last ones.
        record = WatchRecord(
            **{name: fields[name] for name in WatchRecord.__slots__ if name not in _ADDED or name in fields}
        )
    except (KeyError, TypeError):
        return None
    texts = (getattr(record, name) for name in WatchRecord.__slots__ if name != "pid")
    return record if all(isinstance(text, str) for text in texts) and record.nonce else None

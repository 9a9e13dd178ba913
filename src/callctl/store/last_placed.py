"""What ``@last`` stands for: the call that was placed last, or none while that is not known.

It is forgotten before a call is placed, so that nothing that ends the process leaves it standing for the call before.
Of two commands that place calls at once, the one that began later decides.
Where the store can't be written just then, or holds no call that was placed before, a file in the state folder says
that it is not known. What a store says that a merely found .env names counts only if a file in the state folder says
the same: the store may have come with somebody's repository.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.errors import CallctlError
from callctl.settings.own_folder import check_own_folder
from callctl.store.opening import has_store, open_readonly, open_store
from callctl.support.dates import microseconds

if TYPE_CHECKING:
    from pathlib import Path

    from callctl.settings import Settings

# How long a call that is to be placed waits for another program's lock on the store, in seconds.
_PATIENCE = 1.0
_COULD = "say which call @last is"


class LastPlaced:
    """The call that was placed last, for one command."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        store = hashlib.sha256(settings.store_name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        self._mark = settings.state_dir / f"last-not-known-{settings.world}-{store}"
        self._own = settings.state_dir / f"last-placed-{settings.world}-{store}"
        self._made_mark = False
        self._begun: datetime | None = None
        self._forgotten: tuple[str, datetime] | None = None

    def sid(self) -> str | None:
        """Return the SID of the call; it is empty where that is not known, and None where none was placed.

        Raises:
            StoreError: The store can't be read.
        """
        store = open_readonly(self._settings)
        if store is None:
            return "" if self._is_marked() else None
        with closing(store):
            sid = "" if self._is_marked() else store.last_placed()
        return "" if sid and self._settings.is_store_found and sid != self._own_sid() else sid

    def forget(self, *, at: datetime) -> None:
        """Note that it is not known which call was placed last, since one is about to be.

        Raises:
            StoreError: That can't be noted: it is still the call before.
        """
        is_marked, former, self._begun = self._is_marked(), None, at
        try:
            if has_store(self._settings):
                with closing(open_store(self._settings, busy_timeout=_PATIENCE)) as store:
                    former = store.forget_last_placed(at=at)
                # Beside a mark the store names one that was not the last any more.
                self._forgotten = (former, at) if former and not is_marked else None
        except Exception:
            if not self._make_mark(at):
                raise
        else:
            if former is None:
                self._make_mark(at)
            else:
                self._remove_mark()

    def restore(self) -> None:
        """Undo ``forget``, since no call was placed.

        Raises:
            StoreError: The store can't be written; the last call is not known then.
        """
        if self._made_mark:
            self._remove_mark()
        if self._forgotten is not None:
            sid, at = self._forgotten
            with closing(open_store(self._settings, busy_timeout=_PATIENCE)) as store:
                store.restore_last_placed(sid, at=at)

    def remember(
        self, call_sid: str, *, at: datetime, callback: str | None, events: Iterable[str], dial_action: str | None
    ) -> None:
        """Store the call that was placed, the last one unless another ``forget`` came since; see ``EventStore``.

        Raises:
            StoreError: The store can't be written.
        """
        try:
            with closing(open_store(self._settings)) as store:
                store.remember_placed(
                    call_sid, at=at, begun=self._begun, callback=callback, events=events, dial_action=dial_action
                )
                if self._settings.is_store_found and store.last_placed() == call_sid:
                    self._write(self._own, call_sid)
        except Exception:
            self._make_mark(at)  # that of another command may be gone
            raise
        if self._begun is None or self._marked_at() <= microseconds(self._begun):
            self._remove_mark()

    def _is_marked(self) -> bool:
        return os.path.lexists(self._mark)

    def _own_sid(self) -> str | None:
        try:
            check_own_folder(self._settings.state_dir, could=_COULD)
            return self._own.read_text("ascii")
        except (OSError, ValueError, CallctlError):
            return None

    def _marked_at(self) -> int:
        """Return when the file was made or written last, by what it says; 0 where it says nothing."""
        try:
            return int(self._mark.read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def _make_mark(self, at: datetime) -> bool:
        """Make the file that says since when the last call is not known; return whether it is there."""
        try:
            made = not self._is_marked()
            self._write(self._mark, str(max(microseconds(at), self._marked_at())))
            self._made_mark = self._made_mark or made
        except (OSError, CallctlError):
            return self._is_marked()
        return True

    def _write(self, path: Path, text: str) -> None:
        """Write a small file in the state folder.

        Raises:
            OSError: That can't be done.
            CallctlError: The folder is not this user's own.
        """
        folder = self._settings.state_dir
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        check_own_folder(folder, could=_COULD)
        how = os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_WRONLY
        with os.fdopen(os.open(path, how, 0o600), "w", encoding="ascii") as file:
            file.write(text)

    def _remove_mark(self) -> None:
        with suppress(OSError):
            self._mark.unlink()

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

if TYPE_CHECKING:
    from pathlib import Path

    from callctl.settings import Settings
    from callctl.store.records import Forgotten

# How long a call that is to be placed waits for another program's lock on the store, in seconds.
_PATIENCE = 1.0
_COULD = "say which call @last is"


class LastPlaced:
    """The call that was placed last, for one command."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        where = settings.store_name if settings.store_url else os.path.realpath(settings.store)  # however it is spelled
        store = hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        self._mark = settings.state_dir / f"last-not-known-{settings.world}-{store}"
        self._own = settings.state_dir / f"last-placed-{settings.world}-{store}"
        self._token = os.urandom(8).hex()  # what the mark of this command says
        self._was_known = True
        self._is_marked_by_this = False
        self._forgotten: Forgotten | None = None

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
        self._was_known, self._forgotten = not self._is_marked(), None
        self._is_marked_by_this = self._make_mark()  # first: a command that began before this one sees either of both
        try:
            if has_store(self._settings):
                with closing(open_store(self._settings, busy_timeout=_PATIENCE)) as store:
                    self._forgotten = store.forget_last_placed(at=at)
        except Exception:
            if not self._is_marked():
                raise
        else:
            if self._forgotten:
                self._remove_own_mark()

    def restore(self) -> None:
        """Undo ``forget``, since no call was placed.

        Raises:
            StoreError: The store can't be written; the last call is not known then.
        """
        if not self._was_known:
            return
        self._remove_own_mark()
        if self._forgotten:
            with closing(open_store(self._settings, busy_timeout=_PATIENCE)) as store:
                store.restore_last_placed(self._forgotten)

    def remember(
        self, call_sid: str, *, at: datetime, callback: str | None, events: Iterable[str], dial_action: str | None
    ) -> None:
        """Store the call that was placed, the last one unless another ``forget`` came since; see ``EventStore``.

        Raises:
            StoreError: The store can't be written.
        """
        try:
            with closing(open_store(self._settings)) as store:
                forgotten, is_last = self._forgotten, True
                if not forgotten and self._is_marked_by_this:
                    # Only the mark says whether another one began since; the turn, whether one does by the next step.
                    forgotten = store.forget_last_placed(at=at) if self._has_own_mark() else None
                    is_last = self._has_own_mark()
                store.remember_placed(
                    call_sid,
                    at=at,
                    turn=forgotten and forgotten.turn,
                    is_last=is_last,
                    callback=callback,
                    events=events,
                    dial_action=dial_action,
                )
                if self._settings.is_store_found and store.last_placed() == call_sid:
                    self._write(self._own, call_sid)
        except Exception:
            self._make_mark()  # that of another command may be gone
            raise
        self._remove_own_mark()

    def _is_marked(self) -> bool:
        return os.path.lexists(self._mark)

    def _own_sid(self) -> str | None:
        try:
            check_own_folder(self._settings.state_dir, could=_COULD)
            return self._own.read_text("ascii")
        except (OSError, ValueError, CallctlError):
            return None

    def _has_own_mark(self) -> bool:
        try:
            return self._mark.read_text("ascii") == self._token
        except (OSError, ValueError):
            return False

    def _make_mark(self) -> bool:
        """Make the file that says that the last call is not known; return whether that could be done."""
        try:
            self._write(self._mark, self._token)
        except (OSError, CallctlError):
            return False
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

    def _remove_own_mark(self) -> None:
        if self._has_own_mark():
            with suppress(OSError):
                self._mark.unlink()

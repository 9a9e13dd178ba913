"""The event store in SQLite: one file for all worlds, one connection that writes and one that reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent
from callctl.errors import StoreError
from callctl.store.protocol import CallRow
from callctl.store.sqlite.connection import connect
from callctl.store.sqlite.opened import Keeper, Opened
from callctl.store.sqlite.reader import Reader
from callctl.store.sqlite.rows import INSERT_ACTION, action_row
from callctl.store.sqlite.writer import GroupWriter
from callctl.support.dates import microseconds

if TYPE_CHECKING:
    import asyncio

_DROP_INTENT: Final = "DELETE FROM intents WHERE world = ? AND sid = ?"


class SqliteStore:
    """Keeps events durably, each once. Safe to use from several threads.

    ``reader`` answers what can be asked of it. Whatever can't be kept or read raises StoreError: the disk is full, the
    file locked or damaged, the store closed.
    """

    def __init__(
        self,
        path: Path,
        *,
        world: str,
        busy_timeout: float = 5.0,
        on_trouble: Callable[[str], None] = lambda _text: None,
        mends: bool = True,
    ) -> None:
        """Open or make the store at ``path`` for one world: one account at one API address.

        Args:
            path: The database file.
            world: What keeps this account's calls from those of others in the same file.
            busy_timeout: How many seconds to wait for another program's lock. Twilio waits 15 for an answer.
            on_trouble: Is told, in any thread, where somebody changed the files, and what became of what they held.
            mends: Copies what can still be read then; False leaves that to the watch, as a short command does.

        Raises:
            StoreError: It can't be opened.
        """
        self._path = path
        self._world = world
        keeper = (
            Keeper(path, lambda: connect(path, busy_timeout=busy_timeout), on_trouble=on_trouble) if mends else None
        )
        self._opened = keeper or Opened(path, lambda: connect(path, busy_timeout=busy_timeout))
        try:
            self.reader = Reader.open(path, world=world, busy_timeout=busy_timeout, keeper=keeper)
        except StoreError:
            self._opened.close()
            raise
        self._writer = GroupWriter(self._opened, path=path, world=world)
        if keeper is not None:
            keeper.restore, keeper.forget, keeper.ask = (
                self._writer.restore,
                self._writer.forget,
                self._writer.look_soon,
            )

    def append(self, event: CallEvent) -> bool:
        """Keep an event; it is durable when this returns. False if it was there before."""
        return self.submit(event).result()

    def submit(self, event: CallEvent) -> Future[bool]:
        """Do what ``append`` does, without waiting; the future is settled in the writer's thread."""
        waiting: Future[bool] = Future()
        waiting.set_running_or_notify_cancel()  # who gives up waiting does not take the event back
        self._writer.put(event, waiting)
        return waiting

    async def append_async(self, event: CallEvent) -> bool:
        """Do what ``append`` does, in an event loop. All that share a commit are woken at once."""
        import asyncio

        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._writer.put_in_loop(event, waiting)
        return await waiting

    def replay(self, *, since: datetime | None) -> Iterator[CallEvent]:
        """Return, in their order of arrival, the events of the families that are not over or were touched since."""
        return self.reader.replay(since=since)

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call."""
        return self.reader.call(call_sid)

    def remember_placed(
        self,
        call_sid: str,
        *,
        at: datetime,
        callback: str | None = None,
        events: Iterable[str] = (),
        dial_action: str | None = None,
    ) -> None:
        """Note the call that was placed last: what ``@last`` stands for in this world.

        ``callback`` is where its callbacks go, without what may be secret; ``events`` are those it was asked for;
        ``dial_action`` is the name of where its <Dial> sends it.
        """
        with self._opened.changed() as connection:
            connection.execute(
                "INSERT INTO placed (world, sid, at) VALUES (?, ?, ?)"
                " ON CONFLICT (world) DO UPDATE SET sid = excluded.sid, at = excluded.at",
                (self._world, call_sid, microseconds(at)),
            )
            # Rules may touch what callctl placed, also when no callback ever tells of it.
            connection.execute(
                "INSERT INTO placed_calls (world, sid, at, callback, events, dial_action) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (self._world, call_sid, microseconds(at), callback, " ".join(events), dial_action),
            )

    def record_actions(self, actions: Iterable[ActionEvent]) -> None:
        """Keep what was asked of several calls, all with one write to the disk, or none of it; their intents end."""
        asked = list(actions)
        with self._opened.changed() as connection:
            connection.executemany(INSERT_ACTION, [action_row(action, world=self._world) for action in asked])
            connection.executemany(_DROP_INTENT, [(self._world, action.call_sid) for action in asked])

    def intend(self, call_sids: Iterable[str], *, until: datetime) -> None:
        """Keep that calls are about to be changed by a command, until a time at most.

        What was asked of them then takes it back, or ``give_up`` where nothing was.
        """
        rows = [(self._world, sid, microseconds(until)) for sid in call_sids]
        with self._opened.changed() as connection:
            connection.executemany("INSERT OR REPLACE INTO intents (world, sid, until) VALUES (?, ?, ?)", rows)

    def give_up(self, call_sids: Iterable[str]) -> None:
        """Forget that calls were about to be changed: they will not be."""
        rows = [(self._world, sid) for sid in call_sids]
        with self._opened.changed() as connection:
            connection.executemany(_DROP_INTENT, rows)

    def delete_older_than(self, moment: datetime, *, limit: int = 100) -> int:
        """Delete at most ``limit`` calls of which nothing was told since, with their events; return how many.

        A small step, for one transaction must not keep callbacks waiting: call it again until it returns 0.
        """
        chosen = "SELECT id FROM calls WHERE world = ? AND last_at < ? ORDER BY last_at LIMIT ?"
        with self._opened.changed() as connection:
            rows = connection.execute(chosen, (self._world, microseconds(moment), limit)).fetchall()
            connection.executemany("DELETE FROM events WHERE call_id = ?", rows)
            connection.executemany("DELETE FROM calls WHERE id = ?", rows)
            for column in ("actions WHERE at", "claims WHERE at", "placed_calls WHERE at", "intents WHERE until"):
                connection.execute(
                    f"DELETE FROM {column} < ? AND world = ?",
                    (microseconds(moment), self._world),
                )
            self._writer.forget(before=microseconds(moment))
        return len(rows)

    def close(self, *, timeout: float = 5.0) -> None:
        """Write what was submitted and let go of the files; wait ``timeout`` seconds at most."""
        done = self._writer.close(timeout=timeout)
        self.reader.close()
        if done:
            self._opened.close()

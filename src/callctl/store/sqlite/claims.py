"""Claims: what a rule may do once per leg, kept in the store, so that restarts and other watches know of it.

A claim is committed before the request goes out. It stays open until the answer is recorded, in the same commit; one
whose lease is over belonged to a watch that crashed, and may be taken over. Leases are times of the wall clock, which
may be set: whether one is over is for the caller to say, and who takes a claim names the lease that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent
from callctl.errors import StoreError
from callctl.store.protocol import OpenClaim
from callctl.store.sqlite.connection import connect
from callctl.store.sqlite.opened import Opened
from callctl.store.sqlite.reader import Reader
from callctl.store.sqlite.rows import INSERT_ACTION, action_row, read_action
from callctl.support.dates import microseconds, nearest_time

_MINE = "world = :world AND rule = :rule AND sid = :sid"
# A limit ends nothing by itself.
_OTHERS = "world = :world AND lease > 0 AND sid = :sid AND rule != :rule AND action != 'limit'"


class _Run(Protocol):
    """Runs one statement about a claim; tells whether it changed a row."""

    def __call__(self, sql: str, claim: OpenClaim, **times: int) -> bool: ...


class SqliteClaims:
    """The claims of one world. Safe to use from several threads; each call commits before it returns.

    Everything raises StoreError where the store can't be read or written.
    """

    def __init__(self, path: Path, *, world: str, busy_timeout: float = 5.0) -> None:
        """Open the store at ``path``. ``busy_timeout`` is in seconds.

        Raises:
            StoreError: It can't be opened.
        """
        self._path = path
        self._world = world
        self._opened = Opened(path, lambda: connect(path, busy_timeout=busy_timeout))

    def claim(self, claim: OpenClaim, *, now: datetime, until: datetime, alone: bool = False) -> bool:
        """Claim a rule's deed for a leg, with a lease until a time; False if it was claimed before.

        With ``alone`` also if another rule is changing the leg just now: of two that claim at once, one is first.
        """
        others = f" WHERE NOT EXISTS (SELECT 1 FROM claims WHERE {_OTHERS})" if alone else " WHERE true"
        with self._writing() as run:
            return run(
                "INSERT INTO claims (world, rule, sid, about, action, at, lease)"
                f" SELECT :world, :rule, :sid, :about, :action, :at, :lease{others} ON CONFLICT DO NOTHING",
                claim,
                at=microseconds(now),
                lease=microseconds(until),
            )

    def renew(self, claim: OpenClaim, *, until: datetime) -> None:
        """Hold an open claim for longer."""
        with self._writing() as run:
            run(f"UPDATE claims SET lease = :lease WHERE {_MINE} AND lease > 0", claim, lease=microseconds(until))

    def take_over(self, claim: OpenClaim, *, until: datetime) -> bool:
        """Take a claim that was left open; False if it was renewed, taken or settled since it was read."""
        if claim.lease is None:
            return False
        with self._writing() as run:
            return run(
                f"UPDATE claims SET lease = :lease WHERE {_MINE} AND lease = :held",
                claim,
                lease=microseconds(until),
                held=microseconds(claim.lease),
            )

    def settle(self, claim: OpenClaim, event: ActionEvent) -> None:
        """Close a claim and keep what came of it, both or neither."""
        with self._writing() as run:
            # A lease of 0 stands for a settled claim: the same two columns find open ones.
            run(f"UPDATE claims SET lease = 0 WHERE {_MINE}", claim)
            self._opened.connection.execute(INSERT_ACTION, action_row(event, world=self._world))

    def release(self, claim: OpenClaim) -> None:
        """Give a claim back, because nothing was sent and the rule no longer asks for it."""
        with self._writing() as run:
            run(f"DELETE FROM claims WHERE {_MINE}", claim)

    def left_open(self, *, is_over: Callable[[OpenClaim], bool]) -> list[OpenClaim]:
        """Return the claims whose answer nobody recorded and whose lease is over, as this says of each."""
        with self._opened.used("read") as connection:
            rows = connection.execute(
                "SELECT lease, rule, sid, about, action FROM claims WHERE world = ? AND lease > 0", (self._world,)
            ).fetchall()
        found = [
            OpenClaim(str(rule), str(sid), str(about), str(action), nearest_time(lease))
            for lease, rule, sid, about, action in rows
        ]
        return [claim for claim in found if is_over(claim)]

    def claimed(self) -> set[tuple[str, str]]:
        """Return rule and leg of all claims."""
        with self._opened.used("read") as connection:
            rows = connection.execute("SELECT rule, sid FROM claims WHERE world = ?", (self._world,)).fetchall()
        return {(str(rule), str(sid)) for rule, sid in rows}

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call, its parent, its siblings and its children, in their order of arrival."""
        return Reader(self._opened, world=self._world).family(call_sid)

    def asked_of(self, call_sid: str) -> list[ActionEvent]:
        """Return what commands and rules have asked of a leg."""
        with self._opened.used("read") as connection:
            rows = connection.execute(
                "SELECT record FROM actions WHERE world = ? AND sid = ? ORDER BY id", (self._world, call_sid)
            ).fetchall()
        try:
            return [read_action(row[0]) for row in rows]
        except Exception as error:  # whatever stands there: nobody shall act as if nothing had been asked
            raise StoreError(
                f"a record of what was asked of {call_sid} can't be read in the event store {self._path}",
                hint="`callctl doctor` looks at the store",
            ) from error

    def at_work_on(self, call_sid: str, *, beside: str) -> str | None:
        """Return how another rule than ``beside`` is changing a leg just now, its answer not recorded yet."""
        with self._opened.used("read") as connection:
            row = connection.execute(
                f"SELECT action FROM claims WHERE {_OTHERS}",
                {"world": self._world, "sid": call_sid, "rule": beside},
            ).fetchone()
        return None if row is None else str(row[0])

    def is_about_to_change(self, call_sid: str, *, is_over: Callable[[datetime], bool]) -> bool:
        """Tell whether a command is changing a call just now, and has no answer yet.

        It says until when at most; ``is_over`` tells whether that time has come.
        """
        with self._opened.used("read") as connection:
            row = connection.execute(
                "SELECT until FROM intents WHERE world = ? AND sid = ?", (self._world, call_sid)
            ).fetchone()
        return row is not None and not is_over(nearest_time(row[0]))

    def was_placed(self, call_sid: str) -> bool:
        """Tell whether callctl placed a call."""
        with self._opened.used("read") as connection:
            return bool(
                connection.execute(
                    "SELECT EXISTS (SELECT 1 FROM placed_calls WHERE world = :world AND sid = :sid)"
                    " OR EXISTS (SELECT 1 FROM placed WHERE world = :world AND sid = :sid)",
                    {"world": self._world, "sid": call_sid},
                ).fetchone()[0]
            )

    def dial_action(self, call_sid: str) -> str | None:
        """Return where the <Dial> of a call that callctl placed sends it, as its user called it; None if nowhere."""
        with self._opened.used("read") as connection:
            row = connection.execute(
                "SELECT dial_action FROM placed_calls WHERE world = ? AND sid = ?", (self._world, call_sid)
            ).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    @contextmanager
    def _writing(self) -> Iterator[_Run]:
        """Run statements in one transaction; each tells whether it changed a row."""
        with self._opened.changed() as connection:

            def run(sql: str, claim: OpenClaim, **times: int) -> bool:
                names = {"world": self._world, "rule": claim.rule, "sid": claim.call_sid}
                columns = {"about": claim.about, "action": claim.action}
                return connection.execute(sql, {**names, **columns, **times}).rowcount > 0

            yield run

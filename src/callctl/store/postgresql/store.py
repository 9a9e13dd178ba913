"""The event store in PostgreSQL: what listeners, watches and commands on many machines share of one world."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from callctl.errors import StoreError
from callctl.store.postgresql.connection import CONNECT_LIMIT, Engine, Link
from callctl.store.postgresql.cursor import ACTIONS, EVENTS, Row, RowCursor
from callctl.store.postgresql.rows import action_json, action_of, actions_json, event_of, fit, plain, record_of, unfit
from callctl.store.postgresql.schema import check_version
from callctl.store.records import (
    MOST_UNDELIVERED,
    ActionLimit,
    CallRow,
    Forgotten,
    OpenClaim,
    PlacedCall,
    Refusal,
    Undelivered,
    declined_rule,
)
from callctl.support.dates import microseconds, nearest_time
from callctl.support.identity import user_at_host

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from callctl.calls.action import ActionEvent
    from callctl.calls.event import CallEvent
    from callctl.store.postgresql.writer import SharedWriter

# How many events are read at a time.
_PAGE = 1000
_CALLS_AT_ONCE = 250  # of which all records are read at a time
# How many calls are deleted in one statement, which locks the world meanwhile.
_DELETED = 1000
_NEWEST = 2**63 - 1
# Who is announced for longer was so before the server's clock was set back.
_LONGEST_ANNOUNCED = "5 minutes"

_CALLS = "SELECT sid, parent_sid, status, is_final, last_at FROM callctl.stored_calls WHERE world = %(world)s"
_EVENT = "key, kind, received_at, verified, form"
# OFFSET 0 has each call's events looked up by its SID. Else the planner may read all events of the world, as where it
# has no statistics yet: for the first minutes, or after an upgrade of the server.
_POSITIONS = """
    SELECT event.position FROM {calls} AS call (sid) CROSS JOIN LATERAL (
        SELECT position FROM callctl.stored_events
        WHERE world = %(world)s AND sid = call.sid AND position <= %(up_to)s OFFSET 0
    ) AS event ORDER BY event.position
"""
_WHOLE_FAMILY = f"""
    WITH RECURSIVE above (sid) AS (
        SELECT %(sid)s::text COLLATE "C"
        UNION SELECT c.parent_sid FROM above JOIN callctl.stored_calls AS c ON c.world = %(world)s AND c.sid = above.sid
            WHERE c.parent_sid IS NOT NULL
    ), family (sid) AS (
        SELECT sid FROM above
        UNION SELECT c.sid FROM family JOIN callctl.stored_calls AS c
            ON c.world = %(world)s AND c.parent_sid = family.sid
    )
    {_POSITIONS.format(calls="family")}
"""
# As above: looked up one by one, whatever the planner knows of the table.
_AT = f"""
    SELECT wanted.position, event.* FROM unnest(%(page)s::bigint[]) AS wanted (position) CROSS JOIN LATERAL (
        SELECT {_EVENT} FROM callctl.stored_events WHERE world = %(world)s AND position = wanted.position OFFSET 0
    ) AS event ORDER BY wanted.position
"""
# All events of a call as one text: fewer rows take less time. JSON has no line breaks. The events of calls that ended
# one after the other lie near each other.
_RECORDS = """
    DECLARE records NO SCROLL CURSOR FOR SELECT (
        SELECT string_agg(
            encode(key, 'hex') || ' ' || kind || ' ' || verified::int || ' '
                || (extract(epoch FROM received_at) * 1000000)::bigint || ' ' || form::text, E'\n'
        ) FROM callctl.stored_events WHERE world = %(world)s AND sid = call.sid
    ) FROM callctl.stored_calls AS call
    WHERE world = %(world)s AND last_at >= %(since)s AND abs(hashtext(sid)::bigint) %% %(of)s = %(part)s
    ORDER BY last_at
"""
_AFTER = (
    "SELECT position{columns} FROM callctl.stored_events WHERE world = %(world)s AND position > %(last)s"
    " ORDER BY position LIMIT %(limit)s"
)
_ACTIONS_AFTER = (
    "SELECT position, md5(record::text), at, record FROM callctl.actions"
    " WHERE world = %(world)s AND position > %(last)s ORDER BY position LIMIT %(limit)s"
)
# A row is an array: sid, key, URL, arrival in microseconds, why, and for how many microseconds it is tried again. Of
# events that are not stored, as that of a request for TwiML may be, nothing is kept.
_KEEP_UNDELIVERED = """
    INSERT INTO callctl.undelivered (world, sid, key, url, at, why, tried_until)
    SELECT stored.world, stored.sid, stored.key, e ->> 2,
        'epoch'::timestamptz + (e ->> 3)::bigint * interval '1 microsecond', e ->> 4,
        clock_timestamp() + (e ->> 5)::bigint * interval '1 microsecond'
    FROM jsonb_array_elements(%(rows)s::jsonb) AS row (e) CROSS JOIN LATERAL (
        SELECT world, sid, key FROM callctl.stored_events
        WHERE world = %(world)s AND sid = e ->> 0 AND key = decode(e ->> 1, 'hex') OFFSET 0
    ) AS stored
    ON CONFLICT (world, sid, key, md5(url)) DO UPDATE SET why = excluded.why, tried_until = excluded.tried_until
"""
_FORGET_UNDELIVERED = """
    DELETE FROM callctl.undelivered AS kept USING jsonb_array_elements(%(rows)s::jsonb) AS row (e)
    WHERE kept.world = %(world)s AND kept.sid = e ->> 0 AND kept.key = decode(e ->> 1, 'hex') AND kept.url = e ->> 2
"""
_FORGET_OLDEST_UNDELIVERED = """
    DELETE FROM callctl.undelivered WHERE world = %(world)s AND ctid = ANY (ARRAY(
        SELECT ctid FROM callctl.undelivered WHERE world = %(world)s ORDER BY at DESC OFFSET %(most)s
    ))
"""
_UNDELIVERED = """
    SELECT kept.sid, kept.url, kept.at, kept.why, greatest(kept.tried_until - clock_timestamp(), interval '0'),
        event.key, event.kind, event.received_at, event.verified, event.form
    FROM callctl.undelivered AS kept CROSS JOIN LATERAL (
        SELECT position, key, kind, received_at, verified, form FROM callctl.stored_events
        WHERE world = kept.world AND sid = kept.sid AND key = kept.key OFFSET 0
    ) AS event
    WHERE kept.world = %(world)s ORDER BY event.position, kept.url
"""
_CLAIM = "world = %(world)s AND rule = %(rule)s AND sid = %(sid)s AND fence = %(fence)s AND lease IS NOT NULL"


class PostgresStore:
    """The part of a shared store that belongs to one world. Safe to use from several threads.

    A method that writes has committed when it returns. Every method raises StoreError where the store can't be read or
    written, StoreAwayError at once while the server is known to be away. Leases, intents and the limits of actions are
    by the server's clock.
    """

    is_shared = True

    def __init__(self, engine: Engine, *, world: str, by: str | None = None) -> None:
        """Prepare; nothing is connected. ``by`` is who uses it: user@host."""
        self._engine, self._world, self._by = engine, world, by or user_at_host()
        self._intends = f"{self._by} {secrets.token_hex(8)}"  # whose intents are its own
        # What waits for one of them does not keep the others waiting. A command uses one.
        self._reading, self._writing, self._testing = Link(engine), Link(engine), Link(engine)
        self._reading_on = threading.Lock()
        self._new_events = RowCursor(self._read, EVENTS, put_back=self._note_put_back)
        self._new_actions = RowCursor(self._read, ACTIONS, put_back=lambda: None)  # the events are, too
        # How many events and actions were left out, since their records can't be read.
        self.unreadable = self.unreadable_actions = 0

    @cached_property
    def _writer(self) -> SharedWriter:
        from callctl.store.postgresql.writer import SharedWriter

        return SharedWriter(self._engine, world=self._world)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        world: str,
        connect_limit: float = CONNECT_LIMIT,
        on_trouble: Callable[[str], None] = lambda _text: None,
        on_recovery: Callable[[str], None] = lambda _text: None,
        by: str | None = None,
    ) -> PostgresStore:
        """Open the store that a URL names, whose schema is there.

        Args:
            url: Where it is.
            world: What separates this account's calls from those of others in the same database.
            connect_limit: How many seconds a connection may take to be opened.
            on_trouble: Called, in any thread, with why the server is away.
            on_recovery: Called, in any thread, with the news that it is there again.
            by: Who uses it; this user at this host if None.

        Raises:
            StoreError: It can't be reached, or its schema is of another version.
        """
        engine = Engine(url, connect_limit=connect_limit, on_trouble=on_trouble, on_recovery=on_recovery)
        store = cls(engine, world=world, by=by)
        try:
            store.check()
        except BaseException:
            store.close()
            raise
        return store

    def describe_world(self, *, account_sid: str | None, api_url: str) -> None:
        """Store whose calls these are, for those who read the views."""
        self._write(
            """
            INSERT INTO callctl.worlds AS w (world, account_sid, api_url)
            VALUES (%(world)s, %(account_sid)s, %(api_url)s)
            ON CONFLICT (world) DO UPDATE SET account_sid = excluded.account_sid, api_url = excluded.api_url
            WHERE (w.account_sid, w.api_url) IS DISTINCT FROM (excluded.account_sid, excluded.api_url)
            """,
            account_sid=account_sid,
            api_url=api_url,
        )

    @property
    def away(self) -> str | None:
        """Why nothing can be stored or read just now; None where that is not known to be so."""
        return None if self._engine.away is None else self._engine.away.message

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        return self._engine.name

    def check(self) -> None:
        """Make sure that this callctl can work with the schema.

        Raises:
            StoreError: It can't, or the server can't be reached.
        """
        (has_schema,) = self._reading.read("SELECT to_regclass('callctl.schema_version') IS NOT NULL", {})
        version = self._reading.read("SELECT version FROM callctl.schema_version", {})[0][0] if has_schema[0] else 0
        check_version(version, name=self._engine.name)

    def close(self, *, timeout: float = 5.0) -> None:
        """Write what was submitted and close the connections; wait ``timeout`` seconds at most."""
        if "_writer" in vars(self) and not self._writer.close(timeout=timeout):
            self._writer.break_off()
        self._engine.close()
        self._reading.close()
        self._writing.close()
        self._testing.close(patience=0)

    def mend(self) -> bool:
        """Do nothing: the connections are made anew by themselves."""
        return True

    def check_writable(self) -> None:
        """Write what events write and undo it, as a test that they can be stored now."""
        self._testing.test(self._trial, {})

    @cached_property
    def _trial(self) -> str:
        from callctl.store.postgresql.trial import trial

        return trial(self._world)

    def observe_commits(self, observe: Callable[[float, int], None]) -> None:
        """Have ``observe`` called, in the writer's thread, with the seconds that each commit took and its events."""
        self._writer.observe = observe

    # Events

    def append(self, event: CallEvent) -> bool:
        """Store an event; return False if it was stored before."""
        return self.submit(event).result()

    def submit(self, event: CallEvent) -> Future[bool]:
        """Do what ``append`` does, without waiting; the future is settled in the writer's thread."""
        return self._writer.submit(event)

    def append_async(self, event: CallEvent) -> asyncio.Future[bool]:
        """Do what ``append`` does, in an event loop. All that share a commit are woken at once."""
        return self._writer.submit_in_loop(event)

    def replay(self, *, since: datetime | None, up_to: int | None = None) -> Iterator[CallEvent]:
        """Yield, in their order of arrival, the events of the families that are not over or were touched since.

        With None, of all families. A family comes whole, however old its first events are; but nothing that came
        after the event with the id ``up_to``, if that is given.
        """
        last = _NEWEST if up_to is None else up_to
        if since is None:
            pages = self._pages_to(last)
        else:
            sql = _POSITIONS.format(calls="callctl.recent_calls(%(world)s, %(since)s)")
            positions = [row[0] for row in self._read(sql, since=since, up_to=last)]
            pages = (event for _, event in self._pages(positions))
        for event in pages:
            if event is None:
                self.unreadable += 1
            else:
                yield event

    def records(self, *, since: datetime | None = None, part: int = 0, of: int = 1) -> Iterator[list[str]]:
        """Yield the records of each call that was touched since, one call after the other; with None, of all calls.

        They are what ``CallEvent.from_record`` reads. What is stored after the first one was read is missing.
        Each call is in one of ``of`` parts.
        """
        values = {"since": since or nearest_time(0), "part": part, "of": of}
        with self._engine.snapshot() as read:
            read(_RECORDS, {"world": self._world, **values})
            while rows := read(f"FETCH {_CALLS_AT_ONCE} FROM records", {}):
                yield from ([record_of(line) for line in text.split("\n")] for (text,) in rows if text is not None)

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call, its parent, its siblings and its children, in their order of arrival."""
        sql = _POSITIONS.format(calls="callctl.family_calls(%(world)s, %(sid)s)")
        positions = [row[0] for row in self._read(sql, sid=plain(call_sid), up_to=_NEWEST)]
        return (event for _, event in self._pages(positions) if event is not None)

    def whole_family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call and of all above and below it, parent by parent, in their order of arrival."""
        positions = [row[0] for row in self._read(_WHOLE_FAMILY, sid=plain(call_sid), up_to=_NEWEST)]
        return (event for _, event in self._pages(positions) if event is not None)

    def after(self, event_id: int, *, limit: int = _PAGE) -> list[tuple[int, CallEvent]]:
        """Return the events that came after the one with this id, with their ids, at most ``limit``.

        Positions are given out in the order of commits, so that none below the newest is still to come.
        """
        events: list[tuple[int, CallEvent]] = []
        cursor = self._new_events
        with self._reading_on:
            last = cursor.place_after(event_id)
            while not events and (page := self._next_events(last, limit)):
                readable = [(position, event) for position, event in page if event is not None]
                self.unreadable += len(page) - len(readable)
                cursor.note(Row(position, event.key, event.received_at) for position, event in readable)
                events = [(position, event) for position, event in readable if cursor.is_new(event.key)]
                last = page[-1][0]
            cursor.note_place(last, returned=events[-1][0] if events else event_id)
        return events

    def _note_put_back(self) -> None:
        if "_writer" in vars(self):
            self._writer.forget_kept()
        self._engine.report(
            f"the event store {self._engine.name} was put back to an earlier state: what was stored last is not in it; "
            "events that come are shown, and rules act on them, as before"
        )

    def _next_events(self, last: int, limit: int) -> list[tuple[int, CallEvent | None]]:
        """Return the events after a position; None for each whose form can't be read.

        What this process has written itself is not read back, nor looked up as far as nobody else wrote in between.
        """
        if "_writer" not in vars(self):
            rows = self._read(_AFTER.format(columns=f", {_EVENT}"), last=last, limit=limit)
            return [(position, _readable(event_of, row)) for position, *row in rows]
        own = self._writer.take_from(last + 1, limit=limit)  # none comes before them: positions have no gaps
        last, limit = own[-1][0] if own else last, limit - len(own)
        rows = self._read(_AFTER.format(columns=""), last=last, limit=limit) if limit else []
        events = [(position, self._writer.take(position)) for (position,) in rows]
        read = dict(self._pages([position for position, event in events if event is None]))
        # One that is in neither was deleted meanwhile.
        there = ((position, event) for position, event in events if event is not None or position in read)
        return [*own, *((position, event or read[position]) for position, event in there)]

    def missed_after(self, event_id: int) -> tuple[int, list[CallEvent]]:
        """Return the id of the newest event, and those of the kind ``missed`` that came after the one with this id."""
        newest = self._new_events.last_position()
        sql = f"SELECT {_EVENT} FROM callctl.stored_events WHERE world = %(world)s AND position > %(last)s"
        sql += " AND position <= %(newest)s AND kind = 'missed' ORDER BY position"
        rows = self._read(sql, last=event_id, newest=newest)
        events = (_readable(event_of, row) for row in rows)
        return newest, [event for event in events if event is not None]

    def last_event_id(self) -> int:
        """Return the id after which new events come, or 0."""
        with self._reading_on:
            return self._new_events.newest()

    # Calls

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call."""
        rows = self._read(f"{_CALLS} AND sid = %(sid)s", sid=plain(call_sid))
        return CallRow(*rows[0]) if rows else None

    def calls_starting(self, start: str, *, limit: int = 10) -> list[CallRow]:
        """Return the calls whose SID begins with a text, the latest first."""
        rows = self._read(
            f"{_CALLS} AND status <> '' AND starts_with(sid, %(start)s) AND sid >= %(start)s AND sid < %(end)s"
            " ORDER BY last_at DESC LIMIT %(limit)s",
            start=plain(start),
            end=plain(start) + "\U0010ffff",
            limit=limit,
        )
        return [CallRow(*row) for row in rows]

    def live_calls(self) -> list[CallRow]:
        """Return the calls of which no final status is stored."""
        rows = self._read(f"{_CALLS} AND NOT is_final AND status <> '' ORDER BY last_at")
        return [CallRow(*row) for row in rows]

    def ended_calls(self, *, limit: int) -> list[CallRow]:
        """Return the calls of which a final status is stored, those of the latest events first, at most ``limit``."""
        rows = self._read(f"{_CALLS} AND is_final ORDER BY last_at DESC LIMIT %(limit)s", limit=limit)
        return [CallRow(*row) for row in rows]

    def delete_older_than(self, moment: datetime, *, limit: int = 100) -> int:
        """Delete at most ``limit`` calls without an event since, with their events; return how many."""
        sql = "SELECT callctl.delete_older_than(%(world)s, %(moment)s, %(limit)s)"
        deleted = 0
        while deleted < limit:
            step = min(limit - deleted, _DELETED)
            ((done,),) = self._write(sql, moment=moment, limit=step)
            deleted += done
            if done < step:
                break
        return deleted

    def cap_times(self, latest: datetime, *, limit: int = 100) -> int:
        """Set the time of calls that lies after ``latest`` to that, of at most ``limit``; return of how many."""
        sql = "SELECT callctl.cap_times(%(world)s, %(latest)s, %(limit)s)"
        ((changed,),) = self._write(sql, latest=latest, limit=limit)
        return int(changed)

    # Placed calls

    def remember_placed(
        self,
        call_sid: str,
        *,
        at: datetime,
        turn: datetime | None = None,
        is_last: bool = True,
        callback: str | None = None,
        events: Iterable[str] = (),
        dial_action: str | None = None,
    ) -> None:
        """Store the call that was placed last: what ``@last`` stands for in this world, for this user and host.

        Args:
            call_sid: The call.
            at: When it was placed.
            turn: The turn that ``forget_last_placed`` gave it. If another one was given a turn since, that is the last
                one, or it is not known which is. None: this is the last one in any case.
            is_last: False if another one was placed since, which the store may not know yet.
            callback: Where its callbacks go, without what may be secret.
            events: The names of the events of which it sends callbacks.
            dial_action: The name of where its <Dial> sends it; empty if it hangs up once that is over, None if that
                is not known.
        """
        self._write(
            """
            WITH last AS (
                INSERT INTO callctl.placed AS placed (world, by, sid, at)
                SELECT %(world)s, %(by)s, %(sid)s, %(at)s WHERE %(is_last)s
                ON CONFLICT (world, by) DO UPDATE
                SET sid = excluded.sid, at = greatest(placed.at + interval '1 microsecond', excluded.at)
                WHERE %(turn)s::timestamptz IS NULL OR placed.at = %(turn)s
            )
            INSERT INTO callctl.placed_calls (world, sid, at, by, callback, events, dial_action)
            VALUES (%(world)s, %(sid)s, %(at)s, %(by)s, %(callback)s, %(events)s, %(dial_action)s)
            ON CONFLICT DO NOTHING
            """,
            sid=plain(call_sid),
            at=at,
            turn=turn,
            is_last=is_last,
            by=self._by,
            callback=callback,
            events=" ".join(events),
            dial_action=dial_action,
        )

    def forget_last_placed(self, *, at: datetime) -> Forgotten:
        """Store that the call that was placed last is not known, since one is about to be placed."""
        ((former, turn),) = self._write(
            """
            WITH former AS (SELECT sid FROM callctl.placed WHERE world = %(world)s AND by = %(by)s FOR UPDATE)
            INSERT INTO callctl.placed AS placed (world, by, sid, at)
            SELECT %(world)s, %(by)s, '', %(at)s FROM (SELECT count(*) FROM former) AS locked
            ON CONFLICT (world, by) DO UPDATE
            SET sid = '', at = greatest(placed.at + interval '1 microsecond', excluded.at)
            RETURNING (SELECT sid FROM former), at
            """,
            at=at,
            by=self._by,
        )
        return Forgotten(former, turn)

    def restore_last_placed(self, forgotten: Forgotten) -> None:
        """Undo a ``forget_last_placed``, since no call was placed. Where more was stored since, do nothing."""
        change = "DELETE FROM callctl.placed" if forgotten.former is None else "UPDATE callctl.placed SET sid = %(sid)s"
        self._write(
            f"{change} WHERE world = %(world)s AND by = %(by)s AND sid = '' AND at = %(turn)s",
            sid=plain(forgotten.former or ""),
            turn=forgotten.turn,
            by=self._by,
        )

    def last_placed(self) -> str | None:
        """Return the SID of the call that this user placed last from here; it is empty where that is not known."""
        rows = self._read("SELECT sid FROM callctl.placed WHERE world = %(world)s AND by = %(by)s", by=self._by)
        return str(rows[0][0]) if rows else None

    def placed_since(self, moment: datetime, *, callback: str) -> list[PlacedCall]:
        """Return the calls that callctl placed since, with callbacks to this very URL, the first one first."""
        rows = self._read(
            "SELECT sid, at, events FROM callctl.placed_calls"
            " WHERE world = %(world)s AND at >= %(since)s AND callback = %(callback)s ORDER BY at",
            since=moment,
            callback=callback,
        )
        return [PlacedCall(sid, at, tuple(events.split())) for sid, at, events in rows]

    def was_placed(self, call_sid: str) -> bool:
        """Return whether callctl placed a call."""
        rows = self._read(
            "SELECT EXISTS (SELECT 1 FROM callctl.placed_calls WHERE world = %(world)s AND sid = %(sid)s)",
            sid=plain(call_sid),
        )
        return bool(rows[0][0])

    def placed_at(self, call_sid: str) -> datetime | None:
        """Return when callctl placed a call, by the clock of who placed it; None if it did not."""
        rows = self._read(
            "SELECT at FROM callctl.placed_calls WHERE world = %(world)s AND sid = %(sid)s", sid=plain(call_sid)
        )
        return rows[0][0] if rows else None

    def dial_action(self, call_sid: str) -> str | None:
        """Return where the <Dial> of a call that callctl placed sends it, as its user called it.

        Empty if it hangs up once its Dial is over; None if that is not known.
        """
        rows = self._read(
            "SELECT dial_action FROM callctl.placed_calls WHERE world = %(world)s AND sid = %(sid)s",
            sid=plain(call_sid),
        )
        return rows[0][0] if rows else None

    # Requests that were to be passed on

    def keep_undelivered(self, requests: Iterable[Undelivered], *, now: datetime) -> None:  # noqa: ARG002
        """Store requests that an application has not taken; this replaces what was stored of them before.

        They stay as long as their calls, and the newest ``MOST_UNDELIVERED`` at most.
        """
        self._write(_KEEP_UNDELIVERED, rows=json.dumps([_undelivered_row(request) for request in requests]))
        self._write(_FORGET_OLDEST_UNDELIVERED, most=MOST_UNDELIVERED)

    def forget_undelivered(self, requests: Iterable[Undelivered]) -> None:
        """Delete requests that were taken."""
        self._write(_FORGET_UNDELIVERED, rows=json.dumps([_undelivered_row(request) for request in requests]))

    def undelivered(self, *, now: datetime) -> list[tuple[Undelivered, CallEvent]]:  # noqa: ARG002
        """Return the requests that were not taken, each with its event, in the order in which the events arrived."""
        requests = []
        for sid, url, at, why, tried_for, *row in self._read(_UNDELIVERED):
            if (event := _readable(event_of, row)) is not None:
                requests.append((Undelivered(sid, event.key, url, at, why, tried_for), event))
        return requests

    # Actions, and the intents that precede them

    def record_actions(self, actions: Iterable[ActionEvent]) -> None:
        """Store actions on several calls with one commit; the intents end of those that may have been changed."""
        self._write("SELECT callctl.record_actions(%(world)s, %(actions)s::jsonb)", actions=actions_json(actions))

    def actions(self, call_sid: str) -> list[ActionEvent]:
        """Return the actions of commands and rules on one call that can be read, the first one first."""
        records = self._records(call_sid)
        return [action for record in records if (action := _readable(action_of, record)) is not None]

    def all_actions(self, call_sid: str) -> list[ActionEvent]:
        """Return the actions on one call; where one can't be read, no rule may act as if there had been none.

        Raises:
            StoreError: One can't be read.
        """
        records = self._records(call_sid)
        try:
            return [action_of(record) for record in records]
        except Exception as error:  # whatever is there
            raise StoreError(
                f"the record of an action on {call_sid} can't be read in the event store {self._engine.name}",
                hint="`callctl store check` looks at the store",
            ) from error

    def actions_after(self, action_id: int, *, limit: int = _PAGE) -> list[tuple[int, ActionEvent]]:
        """Return the actions that came after the one with this id, with their ids, at most ``limit``."""
        actions: list[tuple[int, ActionEvent]] = []
        cursor = self._new_actions
        with self._reading_on:
            last = cursor.place_after(action_id)
            while not actions and (page := self._read(_ACTIONS_AFTER, last=last, limit=limit)):
                rows = [(Row(*row), _readable(action_of, record)) for *row, record in page]
                cursor.note(row for row, _ in rows)
                readable = [(row, action) for row, action in rows if action is not None]
                self.unreadable_actions += len(rows) - len(readable)
                actions = [(row.position, action) for row, action in readable if cursor.is_new(row.mark)]
                last = rows[-1][0].position
            cursor.note_place(last, returned=actions[-1][0] if actions else action_id)
        return actions

    def last_action_id(self) -> int:
        """Return the id after which new actions come, or 0."""
        with self._reading_on:
            return self._new_actions.newest()

    def add_intents(self, call_sids: Iterable[str], *, now: datetime, until: datetime) -> set[str]:
        """Store that a command is about to change calls, for a while; return those that had an intent before."""
        sids = [plain(sid) for sid in call_sids]
        sql = "SELECT callctl.add_intents(%(world)s, %(sids)s::text[], %(lasting)s, %(by)s)"
        ((before,),) = self._write(sql, sids=sids, lasting=until - now, by=self._intends)
        return set(before)

    def remove_intents(self, call_sids: Iterable[str]) -> None:
        """Remove the intents to change calls that were added here last, and by nobody since."""
        sids = [plain(sid) for sid in call_sids]
        sql = "DELETE FROM callctl.intents WHERE world = %(world)s AND sid = ANY (%(sids)s::text[]) AND by = %(by)s"
        self._write(sql, sids=sids, by=self._intends)

    def has_intent(self, call_sid: str, *, is_over: Callable[[datetime], bool]) -> bool:  # noqa: ARG002
        """Return whether a command is about to change a call, by the server's clock."""
        return self._has_intent(call_sid, " AND until > clock_timestamp()")

    def had_intent(self, call_sid: str) -> bool:
        """Return whether there is an intent to change a call, though its time may be over."""
        return self._has_intent(call_sid, "")

    def _has_intent(self, call_sid: str, condition: str) -> bool:
        sql = f"SELECT 1 FROM callctl.intents WHERE world = %(world)s AND sid = %(sid)s{condition}"
        return bool(self._read(sql, sid=plain(call_sid)))

    # Who listens

    def announce(self, nonce: str, record: Mapping[str, Any], *, lasting: timedelta) -> None:
        """Store that a listener is there for a while, with what others have to know of it."""
        self._write(
            """
            WITH gone AS (
                DELETE FROM callctl.listeners
                WHERE world = %(world)s AND nonce <> %(nonce)s AND until < clock_timestamp() - interval '1 hour'
            )
            INSERT INTO callctl.listeners (world, nonce, record, since, until)
            VALUES (%(world)s, %(nonce)s, %(record)s::jsonb, clock_timestamp(), clock_timestamp() + %(lasting)s)
            ON CONFLICT (world, nonce) DO UPDATE SET record = excluded.record, until = excluded.until
            """,
            nonce=nonce,
            record=json.dumps(fit(dict(record))),
            lasting=lasting,
        )

    def withdraw(self, *nonces: str) -> None:
        """Store that listeners are gone."""
        sql = "DELETE FROM callctl.listeners WHERE world = %(world)s AND nonce = ANY (%(nonces)s::text[])"
        self._write(sql, nonces=list(nonces))

    def announced(self, *, limit: int | None = None) -> dict[str, Mapping[str, Any]]:
        """Return what listeners that are there said of themselves, by nonce, the one that was started last first.

        At most ``limit``, if that is given.
        """
        rows = self._read(
            "SELECT nonce, record FROM callctl.listeners WHERE world = %(world)s AND until > clock_timestamp()"
            f" AND until < clock_timestamp() + interval '{_LONGEST_ANNOUNCED}' ORDER BY since DESC LIMIT %(limit)s",
            limit=limit,
        )
        return {nonce: unfit(record) for nonce, record in rows if isinstance(record, dict)}

    def lead(self, holder: str, *, lasting: timedelta) -> bool:
        """Return whether one of those that share the store is to do what one alone does, for a while from now on.

        A term that ends much later than one that begins now is from before the server's clock was set back.
        """
        rows = self._write(
            """
            INSERT INTO callctl.leaders AS l (world, holder, until)
            VALUES (%(world)s, %(holder)s, clock_timestamp() + %(lasting)s)
            ON CONFLICT (world) DO UPDATE SET holder = excluded.holder, until = excluded.until
            WHERE l.holder = excluded.holder OR l.until <= clock_timestamp()
                OR l.until > excluded.until + interval '1 minute'
            RETURNING holder
            """,
            holder=holder,
            lasting=lasting,
        )
        return bool(rows)

    # Claims

    def claim(
        self,
        claim: OpenClaim,
        *,
        now: datetime,
        until: datetime,
        exclusive: bool = False,
        limit: ActionLimit | None = None,
    ) -> OpenClaim | Refusal:
        """Claim a rule's action on a leg, with a lease, in one step; return the claim with its fence, or why not.

        Args:
            claim: What is claimed.
            now: The caller's time.
            until: When the lease ends by that: it lasts as long by the server's clock.
            exclusive: Whether to refuse while another rule's action on the leg is in progress: of two that claim at
                once, one wins.
            limit: How many claims that named a limit there may be; what is released or declined does not count.
        """
        # Another listener may decline it between this and the claim, as it may just after: this one has looked too.
        sql = "SELECT 1 FROM callctl.claims WHERE world = %(world)s AND rule = %(declined)s AND sid = %(sid)s"
        if self._read(sql, **self._claim_values(claim)):
            return Refusal.CLAIMED_BEFORE
        ((refusal, fence, lease),) = self._write(
            "SELECT * FROM callctl.claim(%(world)s, %(rule)s, %(sid)s, %(about)s, %(action)s, %(lasting)s,"
            " %(exclusive)s, %(per_second)s, %(per_minute)s)",
            **self._claim_values(claim),
            lasting=until - now,
            exclusive=exclusive,
            per_second=None if limit is None else limit.per_second,
            per_minute=None if limit is None else limit.per_minute,
        )
        return Refusal(refusal) if refusal else replace(claim, fence=fence, lease=lease)

    def renew(self, claim: OpenClaim, *, now: datetime, until: datetime) -> bool:
        """Extend the lease of an open claim; return False, and nothing may be sent, if it was taken over."""
        return bool(self._change(claim, "lease = clock_timestamp() + %(lasting)s", lasting=until - now))

    def take_over(self, claim: OpenClaim, *, now: datetime, until: datetime) -> OpenClaim | None:
        """Take an open claim whose lease is over, under a new fence; return None if that is no longer so."""
        changes = "fence = nextval('callctl.fences'), lease = clock_timestamp() + %(lasting)s"
        rows = self._change(claim, changes, condition=" AND lease <= clock_timestamp()", lasting=until - now)
        return replace(claim, fence=rows[0][0], lease=rows[0][1]) if rows else None

    def settle(self, claim: OpenClaim, event: ActionEvent) -> bool:
        """Close a claim and store the action's result; return False, with neither, if it was taken over or settled."""
        sql = "SELECT callctl.settle(%(world)s, %(rule)s, %(sid)s, %(fence)s, %(event)s::jsonb)"
        ((is_settled,),) = self._write(sql, **self._claim_values(claim), event=action_json(event))
        return bool(is_settled)

    def decline(self, claim: OpenClaim, event: ActionEvent) -> bool:
        """Store that an action was declined, and the event of it, once for each leg that the rule looked at.

        Return False, with neither, if this was stored before, if the claim was taken over or settled, or, of a claim
        without a fence, if the action is done or in progress.
        """
        sql = (
            "SELECT callctl.decline(%(world)s, %(rule)s, %(declined)s, %(sid)s, %(about)s, %(action)s, %(fence)s,"
            " %(events)s::jsonb)"
        )
        ((is_declined,),) = self._write(sql, **self._claim_values(claim), events=actions_json([event]))
        return bool(is_declined)

    def release(self, claim: OpenClaim) -> None:
        """Delete a claim, because nothing was sent and the rule no longer proposes the action."""
        self._write(f"DELETE FROM callctl.claims WHERE {_CLAIM}", **self._claim_values(claim))

    def expired_claims(self, *, is_over: Callable[[OpenClaim], bool]) -> list[OpenClaim]:  # noqa: ARG002
        """Return the open claims whose lease is over by the server's clock."""
        rows = self._read(
            "SELECT rule, sid, about, action, lease, fence FROM callctl.claims"
            " WHERE world = %(world)s AND lease <= clock_timestamp()"
        )
        return [OpenClaim(*row) for row in rows]

    def is_settled(self, claim: OpenClaim) -> bool:
        """Return whether an action is done, or was declined because of the same leg, by anybody."""
        sql = (
            "SELECT 1 FROM callctl.claims WHERE world = %(world)s AND sid = %(sid)s"
            " AND rule IN (%(rule)s, %(declined)s) AND lease IS NULL"
        )
        return bool(self._read(sql, **self._claim_values(claim)))

    def open_claims(self) -> int:
        """Return how many claims are open."""
        rows = self._read("SELECT count(*) FROM callctl.claims WHERE world = %(world)s AND lease IS NOT NULL")
        return int(rows[0][0])

    def claim_keys(self) -> set[tuple[str, str]]:
        """Return rule and leg of all claims, open and settled; of what was declined the ``declined_rule``."""
        rows = self._read("SELECT rule, sid FROM callctl.claims WHERE world = %(world)s")
        return {(rule, sid) for rule, sid in rows}

    def action_in_progress(self, call_sid: str, *, other_than: str, action: str = "") -> str | None:
        """Return the action of an open claim on a leg that belongs to another rule than ``other_than``."""
        rows = self._read(
            "SELECT action FROM callctl.claims WHERE world = %(world)s AND sid = %(sid)s AND rule <> %(rule)s"
            " AND lease IS NOT NULL AND action <> 'limit' AND %(action)s IN ('', action)",
            sid=plain(call_sid),
            rule=other_than,
            action=action,
        )
        return str(rows[0][0]) if rows else None

    # Statements

    def _read(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._reading.read(sql, {"world": self._world, **values})

    def _write(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._writing.write(sql, {"world": self._world, **values})

    def _records(self, call_sid: str) -> list[Any]:
        sql = "SELECT record FROM callctl.actions WHERE world = %(world)s AND sid = %(sid)s ORDER BY position"
        return [row[0] for row in self._read(sql, sid=plain(call_sid))]

    def _pages(self, positions: Sequence[int]) -> Iterator[tuple[int, CallEvent | None]]:
        """Yield the events at some positions, with these; None for each whose form can't be read."""
        from array import array

        kept = array("q", positions)  # there may be a million
        for start in range(0, len(kept), _PAGE):
            rows = self._read(_AT, page=kept[start : start + _PAGE].tolist())
            yield from ((position, _readable(event_of, row)) for position, *row in rows)

    def _pages_to(self, last: int) -> Iterator[CallEvent | None]:
        """Yield all events up to a position; None for each whose form can't be read."""
        sql = (
            f"SELECT position, {_EVENT} FROM callctl.stored_events WHERE world = %(world)s AND position > %(after)s"
            " AND position <= %(last)s ORDER BY position LIMIT %(limit)s"
        )
        after = 0
        while rows := self._read(sql, after=after, last=last, limit=_PAGE):
            yield from (_readable(event_of, row[1:]) for row in rows)
            after = rows[-1][0]

    def _change(
        self, claim: OpenClaim, changes: str, *, condition: str = "", lasting: timedelta
    ) -> list[tuple[Any, ...]]:
        """Change an open claim; return its fence and lease, or nothing if it is another one's by now."""
        sql = f"UPDATE callctl.claims SET {changes} WHERE {_CLAIM}{condition} RETURNING fence, lease"
        return self._write(sql, **self._claim_values(claim), lasting=lasting)

    def _claim_values(self, claim: OpenClaim) -> dict[str, Any]:
        return {
            "rule": claim.rule,
            "sid": plain(claim.call_sid),
            "about": plain(claim.about),
            "action": claim.action,
            "fence": claim.fence,
            "declined": declined_rule(claim.rule, plain(claim.call_sid), about=plain(claim.about)),
        }


def _readable(read: Callable[[Any], Any], record: Any) -> Any:
    """Return what ``read`` makes of a record; None if it can't: one damaged record must not hide all others."""
    try:
        return read(record)
    except Exception:
        return None


def _undelivered_row(request: Undelivered) -> list[Any]:
    """Return a request that was not taken as the statements take it."""
    lasting = request.tried_for // timedelta(microseconds=1)
    at = microseconds(request.at)
    return [plain(request.call_sid), request.key, plain(request.url), at, plain(request.why), lasting]

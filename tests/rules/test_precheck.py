"""The look before an action with a time: Twilio's own dates must allow the age, of the leg that the rule looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from calls_api import UnexpectedRequest
from events import START, clock_of, event, moment, sid

from callctl.calls.action import DECLINED, DONE, LATE
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import NotFoundError
from callctl.rules.outcome import Outcome, Postponed
from callctl.rules.precheck import precheck, reported_conversation
from callctl.rules.rule import FOUND_SOON, Action, Cancel, Hangup, LastRinging, On, Redirect, Rule, Trigger, When
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import SqliteStore

RINGS, PARENT = sid(1), sid(2)
LASTING = timedelta(seconds=30)
NOW = 100.0


class FakeApi(UnexpectedRequest):
    """Knows some calls, and changes none."""

    def __init__(self, *calls: Call) -> None:
        self._calls = {call.sid: call for call in calls}

    def fetch(self, sid: str) -> Call:
        if sid not in self._calls:
            raise NotFoundError("not found", status=404)
        return self._calls[sid]

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return (call for call in self._calls.values() if call.parent_call_sid == query.parent)


def ringing(*, created: float | None, as_of: float | None = NOW) -> Call:
    return Call(
        RINGS,
        "ringing",
        parent_call_sid=PARENT,
        date_created=None if created is None else moment(created),
        as_of=None if as_of is None else moment(as_of),
    )


def update(
    claims: SqliteStore,
    *calls: Call,
    on: On = On.THIS,
    timestamp: datetime | None = None,
    watched: datetime | None = START,
) -> object:
    rule = Rule(name="r", when=When(statuses=frozenset({"ringing"}), lasting=LASTING), then=Hangup(), on=on)
    about, target = RINGS, PARENT if on is On.PARENT else RINGS
    action = Action(
        rule, target, about, PARENT, True, needs_precheck=True, status_timestamp=timestamp, observed_since=watched
    )
    return precheck(FakeApi(*calls), claims, action, clock=clock_of(lambda: moment(NOW)))


@pytest.fixture
def claims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    claims = SqliteStore.open(tmp_path_factory.mktemp("store") / "events.db", world="w")
    yield claims
    claims.close()


@pytest.mark.parametrize(
    ("age", "wait"),
    [(0.0, 31.0), (27.0, 4.0), (30.0, 1.0), (31.0, None), (40.0, None)],
)
def test_an_action_waits_until_the_leg_is_old_enough_by_rest(
    claims: SqliteStore, age: float, wait: float | None
) -> None:
    result = update(claims, ringing(created=NOW - age))
    assert result == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))


def test_the_leg_that_a_rule_looks_at_counts_and_not_the_one_that_it_ends(claims: SqliteStore) -> None:
    parent = Call(PARENT, "in-progress", start_time=START, as_of=moment(NOW))
    result = update(claims, ringing(created=NOW - 10), parent, on=On.PARENT)
    assert result == Postponed(retry=True, not_before=timedelta(seconds=21))
    assert update(claims, ringing(created=NOW - 31), parent, on=On.PARENT) is None


@pytest.mark.parametrize(("created", "as_of"), [(None, NOW), (0.0, None), (NOW + 3600, NOW)])
@pytest.mark.parametrize(("watched", "wait"), [(None, 30.0), (NOW - 10, 20.0), (NOW - 30, None)])
def test_without_dates_that_can_be_so_this_process_must_have_waited_itself(
    claims: SqliteStore, created: float | None, as_of: float | None, watched: float | None, wait: float | None
) -> None:
    result = update(claims, ringing(created=created, as_of=as_of), watched=None if watched is None else moment(watched))
    assert result == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))


def test_the_later_of_creation_and_timestamp_counts(claims: SqliteStore) -> None:
    assert update(claims, ringing(created=0), timestamp=moment(NOW - 5)) == Postponed(
        retry=True, not_before=timedelta(seconds=26)
    )
    assert update(claims, ringing(created=NOW - 5), timestamp=moment(0)) == Postponed(
        retry=True, not_before=timedelta(seconds=26)
    )


@pytest.mark.parametrize(("ahead", "wait"), [(1.0, 32.0), (2.0, 33.0), (3.0, None)])
def test_a_timestamp_may_be_a_little_ahead_of_the_date_of_the_reply(
    claims: SqliteStore, ahead: float, wait: float | None
) -> None:
    """They are not of one machine of Twilio's; what is further ahead can't be right."""
    result = update(claims, ringing(created=0), timestamp=moment(NOW + ahead))
    assert result == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))


@pytest.mark.parametrize(("started", "wait"), [(NOW - 10, 21.0), (NOW - 31, None)])
def test_the_start_of_a_call_counts_and_not_its_creation(
    claims: SqliteStore, started: float, wait: float | None
) -> None:
    # One that was queued for an hour has rung since it was dialled.
    call = replace(ringing(created=NOW - 3600), start_time=moment(started))
    result = update(claims, call)
    assert result == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))


def looked_at(claims: SqliteStore, rule: Rule, changed: datetime | None, **known: Any) -> object:
    """Return what comes of the look at a call that is in progress, last changed then, for a rule and what is known."""
    action = Action(rule, RINGS, RINGS, RINGS, is_own=True, needs_precheck=True, **known)
    answered = Call(RINGS, "in-progress", start_time=START, date_updated=changed, as_of=moment(NOW))
    return precheck(FakeApi(answered), claims, action, clock=clock_of(lambda: moment(NOW)))


@pytest.mark.parametrize(
    ("status", "timestamp", "watched", "changed", "wait"),
    [
        # A poll showed the answer, and its callback is on its way.
        ("in-progress", None, NOW, NOW - 1, 30.0),
        ("in-progress", None, NOW - 10, NOW - 12, 19.0),
        ("in-progress", None, NOW - 10, NOW - 31, None),
        # The last change may be another one since: callctl itself may have set a TimeLimit.
        ("in-progress", None, NOW - 10, NOW - 1, 21.0),
        ("in-progress", None, NOW - 31, NOW - 1, None),
        ("in-progress", None, NOW - 10, NOW + 3600, 21.0),
        ("in-progress", None, NOW - 10, None, 21.0),
        ("in-progress", NOW - 31, NOW - 10, NOW - 1, None),
        # As far as callbacks tell it rings.
        ("ringing", NOW - 50, NOW - 50, NOW - 1, 30.0),
        ("ringing", NOW - 50, NOW - 50, None, 31.0),
        ("ringing", NOW - 50, NOW - 50, NOW - 31, None),
    ],
)
def test_a_call_is_in_progress_since_its_last_change_unless_a_callback_reported_the_answer(
    claims: SqliteStore,
    status: str,
    timestamp: float | None,
    watched: float,
    changed: float | None,
    wait: float | None,
) -> None:
    """Its start is that of the ringing; it must not be hung up for that as it is picked up."""
    rule = Rule(name="r", when=When(statuses=frozenset({"ringing", "in-progress"}), lasting=LASTING), then=Hangup())
    reported = None if timestamp is None else moment(timestamp)
    updated = None if changed is None else moment(changed)
    assert looked_at(
        claims, rule, updated, status=status, status_timestamp=reported, observed_since=moment(watched)
    ) == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))


@pytest.mark.parametrize(
    ("rang", "changed", "wait"),
    [
        # The service did not count the answer as a change: it was ringing after that, as its callbacks reported.
        (LastRinging(timestamp=moment(NOW - 40)), NOW - 40, 21.0),
        (LastRinging(timestamp=moment(NOW - 40)), NOW - 38, 21.0),
        (LastRinging(received_at=moment(NOW - 39)), NOW - 60, 21.0),
        (LastRinging(moment(NOW - 60), moment(NOW - 39)), NOW - 50, 21.0),
        # It did.
        (LastRinging(timestamp=moment(NOW - 40)), NOW - 32, None),
        (LastRinging(received_at=moment(NOW - 40)), NOW - 15, 16.0),
        (LastRinging(), NOW - 60, None),
    ],
)
def test_a_change_from_before_a_call_last_rang_is_not_that_of_its_answer(
    claims: SqliteStore, rang: LastRinging, changed: float, wait: float | None
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({"in-progress"}), lasting=LASTING), then=Hangup())
    since = moment(NOW - 10)
    assert looked_at(claims, rule, moment(changed), status="in-progress", observed_since=since, last_ringing=rang) == (
        None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait))
    )


GOT_THERE_FIRST = Outcome(LATE, "the call got there first: it is ringing", "ringing")
LOOKED_AT_RINGS = Outcome(DECLINED, f"the leg that the rule looks at, {RINGS}, is ringing by now")


@pytest.mark.parametrize(
    ("statuses", "status", "timestamp", "changed", "rings"),
    [
        ({"queued"}, "queued", None, NOW - 8, True),
        ({"queued"}, "queued", None, None, True),
        ({"queued", "initiated"}, "queued", None, NOW - 8, True),
        ({"queued", "initiated"}, "initiated", NOW - 50, NOW - 8, True),
        ({"initiated"}, "initiated", NOW - 50, NOW - 8, True),
        # REST shows an initiated leg as ringing too: it has not changed since.
        ({"initiated"}, "initiated", NOW - 50, NOW - 49, False),
        ({"initiated"}, "initiated", NOW - 50, None, False),
        ({"initiated"}, "initiated", None, NOW - 8, True),
        ({"initiated"}, "initiated", None, NOW - 49, False),
        # Also where callbacks have it queued or initiated, a rule for ringing ones may end it.
        ({"initiated", "ringing"}, "initiated", NOW - 50, NOW - 8, False),
        ({"queued", "ringing"}, "queued", None, NOW - 8, False),
    ],
)
@pytest.mark.parametrize("on", [On.THIS, On.PARENT])
def test_a_rule_with_a_time_for_legs_that_do_not_ring_yet_leaves_one_alone_that_has_begun_to(
    claims: SqliteStore,
    on: On,
    statuses: set[str],
    status: str,
    timestamp: float | None,
    changed: float | None,
    rings: bool,
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset(statuses), lasting=LASTING), then=Hangup(), on=on)
    target = PARENT if on is On.PARENT else RINGS
    stamp = None if timestamp is None else moment(timestamp)
    action = Action(
        rule, target, RINGS, PARENT, True, True, status=status, status_timestamp=stamp, observed_since=moment(NOW - 50)
    )
    call = replace(ringing(created=NOW - 60), date_updated=None if changed is None else moment(changed))
    parent = Call(PARENT, "in-progress", start_time=START, as_of=moment(NOW))
    outcome = precheck(FakeApi(call, parent), claims, action, clock=clock_of(lambda: moment(NOW)))
    left_alone = GOT_THERE_FIRST if on is On.THIS else LOOKED_AT_RINGS
    assert outcome == (left_alone if rings else None)


@pytest.mark.parametrize(("status", "is_left_alone"), [("queued", True), ("initiated", False)])
def test_a_rule_for_the_moment_in_which_a_leg_is_queued_leaves_one_alone_that_rings(
    claims: SqliteStore, status: str, is_left_alone: bool
) -> None:
    """One that was initiated may ring by then."""
    for on, left_alone in ((On.THIS, GOT_THERE_FIRST), (On.PARENT, LOOKED_AT_RINGS)):
        rule = Rule(name="r", when=When(statuses=frozenset({status})), then=Hangup(), on=on)
        target = PARENT if on is On.PARENT else RINGS
        action = Action(rule, target, RINGS, PARENT, is_own=True, needs_precheck=True, status=status)
        parent = Call(PARENT, "in-progress", as_of=moment(NOW))
        api = FakeApi(ringing(created=0), parent)
        outcome = precheck(api, claims, action, clock=clock_of(lambda: moment(NOW)))
        assert outcome == (left_alone if is_left_alone else None)


@pytest.mark.parametrize(("age", "acts"), [(100.0, True), (1200.0, False)])
def test_a_conversation_that_a_poll_found_is_as_old_as_its_call_by_the_date_of_the_reply(
    claims: SqliteStore, age: float, acts: bool
) -> None:
    # The engine took it for new: this machine's clock is behind.
    rule = Rule(name="r", when=When(statuses=frozenset({"in-progress"})), then=Hangup())
    trigger = Trigger(moment(NOW - age), moment(NOW), FOUND_SOON)
    action = Action(rule, RINGS, RINGS, RINGS, True, needs_precheck=True, trigger=trigger)
    talks = Call(RINGS, "in-progress", start_time=moment(NOW - age), as_of=moment(NOW))
    outcome = precheck(FakeApi(talks), claims, action, clock=clock_of(lambda: moment(NOW)))
    assert (outcome is None) == acts
    assert acts or (isinstance(outcome, Outcome) and outcome.result == DECLINED)


@pytest.mark.parametrize(("as_of", "age", "acts"), [(NOW, 17, True), (NOW, 18, False), (None, 0, False)])
def test_of_what_is_too_old_by_this_machines_clock_rest_knows_how_old_it_is(
    claims: SqliteStore, as_of: float | None, age: float, acts: bool
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({"ringing"})), then=Hangup())
    trigger = Trigger(moment(NOW - age), moment(NOW + 3600), seems_old=True)
    action = Action(rule, RINGS, RINGS, RINGS, True, needs_precheck=True, trigger=trigger)
    outcome = precheck(
        FakeApi(ringing(created=0, as_of=as_of)), claims, action, clock=clock_of(lambda: moment(NOW + 3600))
    )
    assert (outcome is None) == acts
    assert acts or (isinstance(outcome, Outcome) and outcome.result == DECLINED)


def test_what_is_news_by_a_clock_that_callbacks_confirm_is_not_too_old_by_any_date(claims: SqliteStore) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({"ringing"})), then=Hangup())
    trigger = Trigger(moment(NOW - 1), moment(NOW), is_news=True)
    action = Action(rule, RINGS, RINGS, RINGS, True, needs_precheck=True, trigger=trigger)
    api = FakeApi(ringing(created=0, as_of=NOW + 60))
    assert precheck(api, claims, action, clock=clock_of(lambda: moment(NOW))) is None


@pytest.mark.parametrize("has_trigger", [True, False])
@pytest.mark.parametrize("lasting", [None, LASTING])
def test_a_leg_that_rest_does_not_know_yet_is_looked_at_again_and_one_it_should_know_is_not(
    claims: SqliteStore, has_trigger: bool, lasting: timedelta | None
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({"ringing"}), lasting=lasting), then=Hangup())

    def look(seconds_ago: float) -> object:
        seen = moment(NOW - seconds_ago)
        trigger = Trigger(seen, seen) if has_trigger else None
        action = Action(
            rule, RINGS, RINGS, PARENT, is_own=True, needs_precheck=True, trigger=trigger, observed_since=seen
        )
        return precheck(FakeApi(), claims, action, clock=clock_of(lambda: moment(NOW)))

    assert look(14) == Postponed(retry=True)
    with pytest.raises(NotFoundError):
        look(16)


@pytest.mark.parametrize("on", [On.PARENT, On.CHILDREN])
@pytest.mark.parametrize(
    ("child_at_rest", "seconds_ago", "expected"),
    [
        (Call(RINGS, "completed", parent_call_sid=PARENT), 1, None),
        (Call(RINGS, "completed", parent_call_sid=sid(3)), 1, f"REST does not name {PARENT} as the parent of {RINGS}"),
        (Call(RINGS, "completed"), 1, f"REST does not name {PARENT} as the parent of {RINGS}"),
        (None, 1, Postponed(retry=True)),  # REST may be behind
        (None, 60, f"REST knows no leg {RINGS}"),
    ],
)
def test_a_leg_is_changed_for_another_only_where_rest_names_one_the_parent_of_the_other(
    claims: SqliteStore, on: On, child_at_rest: Call | None, seconds_ago: float, expected: object
) -> None:
    """Also where nothing else needs a check: the parent in a callback is what an action on it rests on."""
    about, target = (RINGS, PARENT) if on is On.PARENT else (PARENT, RINGS)
    rule = Rule(name="r", when=When(statuses=frozenset({"completed"})), then=Hangup(), on=on)
    seen = Trigger(moment(NOW - seconds_ago), moment(NOW - seconds_ago))
    action = Action(rule, target, about, PARENT, is_own=True, needs_precheck=False, trigger=seen)
    calls = [child_at_rest] if child_at_rest else []
    outcome = precheck(FakeApi(*calls), claims, action, clock=clock_of(lambda: moment(NOW)))
    assert outcome == (Outcome(DECLINED, expected) if isinstance(expected, str) else expected)


@pytest.mark.parametrize(
    ("statuses", "status", "is_left_alone"),
    [
        ({"ringing"}, "in-progress", True),
        ({"ringing"}, "busy", True),
        ({"ringing", "in-progress"}, "in-progress", False),
        ({"ringing", "busy"}, "busy", False),
        ({"in-progress"}, "in-progress", False),
    ],
)
def test_a_parent_is_left_alone_where_rest_shows_the_ringing_child_of_a_rule_as_answered_or_over(
    claims: SqliteStore, statuses: set[str], status: str, is_left_alone: bool
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset(statuses)), then=Hangup(), on=On.PARENT)
    action = Action(rule, PARENT, RINGS, PARENT, is_own=True, needs_precheck=False)
    child = Call(RINGS, status, parent_call_sid=PARENT)
    outcome = precheck(FakeApi(child), claims, action, clock=clock_of(lambda: moment(NOW)))
    reason = f"the leg that the rule looks at, {RINGS}, is {status} by now"
    assert outcome == (Outcome(DECLINED, reason) if is_left_alone else None)


TALKS = sid(3)


@pytest.mark.parametrize("lasting", [None, LASTING])
@pytest.mark.parametrize(
    ("statuses", "other", "is_left_alone"),
    [
        ({"ringing"}, "in-progress", True),
        ({"ringing"}, "ringing", False),
        ({"ringing"}, "completed", False),  # it talked to that one before
        ({"ringing", "in-progress"}, "in-progress", False),
    ],
)
def test_a_parent_is_left_alone_where_rest_shows_another_child_in_progress_than_the_ringing_one(
    claims: SqliteStore, statuses: set[str], other: str, is_left_alone: bool, lasting: timedelta | None
) -> None:
    """As of a group of phones that ring, of which one was answered just now: no callback has reported that."""
    rule = Rule(name="r", when=When(statuses=frozenset(statuses), lasting=lasting), then=Hangup(), on=On.PARENT)
    action = Action(rule, PARENT, RINGS, PARENT, True, needs_precheck=lasting is not None, status="ringing")
    calls = (Call(PARENT, "in-progress", as_of=moment(NOW)), Call(TALKS, other, parent_call_sid=PARENT))
    outcome = precheck(FakeApi(ringing(created=0), *calls), claims, action, clock=clock_of(lambda: moment(NOW)))
    reason = f"another leg of that parent, {TALKS}, was answered"
    assert outcome == (Outcome(DECLINED, reason) if is_left_alone else None)


@pytest.mark.parametrize(("end", "is_left_alone"), [(Hangup(), True), (Redirect("s", "https://example.com/s"), False)])
def test_the_end_of_one_child_ends_no_parent_that_talks_to_another(
    claims: SqliteStore, end: Hangup | Redirect, is_left_alone: bool
) -> None:
    """A redirect waits for the other's end instead."""
    rule = Rule(name="r", when=When(statuses=frozenset({"no-answer"})), then=end, on=On.PARENT)
    action = Action(rule, PARENT, RINGS, PARENT, True, needs_precheck=True)
    parent, rang = Call(PARENT, "in-progress"), Call(RINGS, "no-answer", parent_call_sid=PARENT)
    api = FakeApi(parent, rang, Call(TALKS, "in-progress", parent_call_sid=PARENT))
    outcome = precheck(api, claims, action, clock=clock_of(lambda: moment(NOW)))
    reason = f"another leg of that parent, {TALKS}, was answered"
    assert outcome == (Outcome(DECLINED, reason) if is_left_alone else Postponed(retry=True))


@pytest.mark.parametrize(
    ("status", "seconds_ago", "is_looked_at_again"), [("ringing", 14, True), ("ringing", 16, False), ("busy", 1, False)]
)
def test_a_parent_that_may_have_just_ended_a_conversation_is_looked_at_again_while_its_next_child_rings(
    claims: SqliteStore, status: str, seconds_ago: float, is_looked_at_again: bool
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({status})), then=Hangup(), on=On.PARENT)
    seen = moment(NOW - seconds_ago)
    action = Action(rule, PARENT, RINGS, PARENT, True, needs_precheck=False, status=status, observed_since=seen)
    api = FakeApi(Call(RINGS, status, parent_call_sid=PARENT), Call(TALKS, "in-progress", parent_call_sid=PARENT))
    left_alone = Outcome(DECLINED, f"another leg of that parent, {TALKS}, was answered")
    outcome = precheck(api, claims, action, clock=clock_of(lambda: moment(NOW)))
    assert outcome == (Postponed(retry=True) if is_looked_at_again else left_alone)


def test_a_conversation_that_is_over_as_callbacks_reported_it_spares_no_parent(claims: SqliteStore) -> None:
    """REST may be behind: it shows the first agent in progress while the next one's phone rings."""
    rule = Rule(name="r", when=When(statuses=frozenset({"ringing"})), then=Hangup(), on=On.PARENT)
    action = Action(rule, PARENT, RINGS, PARENT, True, needs_precheck=False, status="ringing")
    api = FakeApi(ringing(created=0), Call(TALKS, "in-progress", parent_call_sid=PARENT))
    for number, status in enumerate(("in-progress", "completed")):
        claims.append(event(3, status, number=number, parent=2))
        outcome = precheck(api, claims, action, clock=clock_of(lambda: moment(NOW)))
        assert (outcome is None) == (status == "completed")


@pytest.mark.parametrize(
    ("listed", "is_left_alone"),
    [("completed", False), ("in-progress", True), ("ringing", True), (None, True)],
)
@pytest.mark.parametrize("status", ["ringing", "no-answer"])
def test_whether_a_conversation_that_callbacks_reported_still_lasts_is_decided_by_what_rest_lists(
    claims: SqliteStore, status: str, listed: str | None, is_left_alone: bool
) -> None:
    """The callback of its end may come after the next child's, or be lost; REST may not show the answer yet."""
    rule = Rule(name="r", when=When(statuses=frozenset({status})), then=Hangup(), on=On.PARENT)
    action = Action(rule, PARENT, RINGS, PARENT, True, needs_precheck=True, status=status)
    others = () if listed is None else (Call(TALKS, listed, parent_call_sid=PARENT),)
    rings = Call(RINGS, status, parent_call_sid=PARENT)
    claims.append(event(3, "in-progress", number=1, parent=2))
    api, clock = FakeApi(Call(PARENT, "in-progress"), rings, *others), clock_of(lambda: moment(NOW))
    left_alone = Outcome(DECLINED, f"another leg of that parent, {TALKS}, was answered")
    assert precheck(api, claims, action, clock=clock) == (left_alone if is_left_alone else None)
    assert reported_conversation(api, claims, action, clock=clock) == (left_alone if is_left_alone else None)


@pytest.mark.parametrize("end", [Hangup(), Cancel(), Redirect("closed", "https://example.com/closed")])
def test_a_child_is_not_ended_while_another_watch_is_at_work_on_a_leg_above(
    claims: SqliteStore, end: Hangup | Cancel | Redirect
) -> None:
    """Or a crash has left that open: what came of it is not known yet."""
    rule = Rule(name="r", when=When(statuses=frozenset({"in-progress"})), then=end)
    action = Action(rule, sid(3), sid(3), sid(1), True, needs_precheck=False, ancestors=(sid(2), sid(1)))
    clock = clock_of(lambda: moment(NOW))
    claim = claims.claim(OpenClaim("r", sid(1), sid(1), "hangup"), now=moment(NOW), until=moment(NOW + 90))
    assert isinstance(claim, OpenClaim)
    waits = not isinstance(end, Redirect)
    assert precheck(FakeApi(), claims, action, clock=clock) == (Postponed(retry=True) if waits else None)
    assert claims.settle(claim, Outcome(DONE, "hung up").to_event(claim, Hangup(), at=moment(NOW)))
    assert precheck(FakeApi(), claims, action, clock=clock) is None


@pytest.mark.parametrize(
    ("ahead", "age", "watched", "known_ahead", "wait"),
    [
        (60, 3, 3, 0, 27),  # by its ``Date`` it is a minute older
        (60, 40, 3, 0, None),  # found by a late poll
        (0, 40, 3, 600, None),
        (0, 3, 3, 600, 28),
        (60, 3, 3, -600, 27),
        (0, 40, 12, 0, None),
        (-60, 40, 40, 0, None),
    ],
)
def test_a_date_that_is_ahead_makes_no_leg_older(
    claims: SqliteStore, ahead: int, age: int, watched: int, known_ahead: int, wait: int | None
) -> None:
    """``known_ahead`` is by how much this machine's clock is known to be wrong."""
    now = NOW + known_ahead
    rule = Rule(name="r", when=When(statuses=frozenset({"in-progress"}), lasting=LASTING), then=Hangup())
    action = Action(
        rule,
        RINGS,
        RINGS,
        RINGS,
        True,
        needs_precheck=True,
        status="in-progress",
        observed_since=moment(now - watched),
        clock_ahead=timedelta(seconds=known_ahead),
    )
    began = moment(NOW - age)
    call = Call(RINGS, "in-progress", start_time=began, date_updated=began, as_of=moment(NOW + ahead))
    result = precheck(FakeApi(call), claims, action, clock=clock_of(lambda: moment(now)))
    assert result == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))


@pytest.mark.parametrize(("watched", "wait"), [(3, 27), (30, None)])
def test_on_a_clock_that_is_behind_what_this_process_has_seen_counts(
    claims: SqliteStore, watched: int, wait: int | None
) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({"in-progress"}), lasting=LASTING), then=Hangup())
    now = NOW - 60
    seen = moment(now - watched)
    action = Action(rule, RINGS, RINGS, RINGS, True, needs_precheck=True, status="in-progress", observed_since=seen)
    began = moment(NOW - 50)
    call = Call(RINGS, "in-progress", start_time=began, date_updated=began, as_of=moment(NOW))
    result = precheck(FakeApi(call), claims, action, clock=clock_of(lambda: moment(now)))
    assert result == (None if wait is None else Postponed(retry=True, not_before=timedelta(seconds=wait)))

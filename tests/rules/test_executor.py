"""The executor: which failures are repeated, for how long, and what is recorded and reported."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from calls_api import UnexpectedRequest
from claims import claimed, forget_claims
from events import WORLD, clock_of, event, moment, sid

from callctl.api.requests import RedirectRequest
from callctl.calls.action import DECLINED, DONE, LATE, NOT_ENDED, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import (
    ApiError,
    AuthenticationError,
    CallctlError,
    NetworkError,
    NoLongerWantedError,
    NotFoundError,
    NoThreadError,
    OutcomeUnknownError,
    RateLimitedError,
    StoreError,
    WrongCallStateError,
)
from callctl.rules.executor import LEASE, DryRun, Executor
from callctl.rules.outcome import Postponed
from callctl.rules.rule import Action, Cancel, Hangup, Limit, Operation, Redirect, Rule, Trigger, When, after_dial_rule
from callctl.store.records import ActionLimit, OpenClaim, Refusal
from callctl.store.sqlite.store import SqliteStore

BUSY = RateLimitedError("too many requests", status=429, code="20429")
REFUSED_CONNECTION = NetworkError("connection refused")
BROKEN = ApiError("it broke", status=503)
SURVEY = Redirect("survey", "https://example.com/survey")
PARENTS = {sid(2): sid(1)}


@dataclass
class FailingApi(UnexpectedRequest):
    """An API that raises these failures, one for each request, then does what is requested."""

    failures: list[CallctlError] = field(default_factory=list)
    status: str = "in-progress"
    parent: str | None = None
    sent: list[str] = field(default_factory=list)

    def fetch(self, sid: str) -> Call:
        return Call(sid=sid, status=self.status, parent_call_sid=self.parent or PARENTS.get(sid))

    def list(self, _query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return iter(())

    def _answer(self, what: str, sid: str) -> Call:
        self.sent.append(what)
        if self.failures:
            raise self.failures.pop(0)
        return Call(sid=sid, status=self.status, parent_call_sid=self.parent)

    def cancel(self, sid: str) -> Call:
        return self._answer("cancel", sid)

    def hangup(self, sid: str) -> Call:
        return self._answer("hangup", sid)

    def redirect(self, sid: str, request: RedirectRequest) -> Call:
        return self._answer(f"redirect {request.url} {request.method}", sid)

    def limit_time(self, sid: str, seconds: int) -> Call:
        return self._answer(f"limit {seconds}", sid)


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[SqliteStore]:
    claims = SqliteStore.open(tmp_path / "events.db", world=WORLD)
    yield claims
    claims.close()


def action(operation: Operation) -> Action:
    rule = Rule(name="mine", when=When(statuses=frozenset({"in-progress"})), then=operation)
    return Action(rule, sid(1), sid(1), sid(1), needs_precheck=False, is_own=True)


def after_dial_action(*, needs_precheck: bool = False, duration: int | None = None) -> Action:
    return Action(
        after_dial_rule(SURVEY), sid(1), sid(2), sid(1), is_own=True, needs_precheck=needs_precheck, duration=duration
    )


def executor(
    api: FailingApi,
    claims: SqliteStore,
    *,
    pauses: list[float],
    applies: int = 10**6,
    report: Callable[[str], None] = lambda _: None,
) -> Executor:
    """Return an executor whose rule applies for so many questions."""
    answers = iter(range(applies))
    return Executor(
        api,
        claims,
        clock=clock_of(lambda: moment(0)),
        sleep=pauses.append,
        applies=lambda _: next(answers, None) is not None,
        report=report,
    )


@pytest.mark.parametrize("failure", [BUSY, REFUSED_CONNECTION, NoThreadError()], ids=["429", "refused", "no-thread"])
@pytest.mark.parametrize("operation", [Hangup(), SURVEY, Limit(60)], ids=["hangup", "redirect", "limit"])
def test_what_was_never_processed_is_repeated_with_growing_pauses(
    claims: SqliteStore, failure: CallctlError, operation: Operation
) -> None:
    api, pauses = FailingApi([failure] * 7), list[float]()
    event = executor(api, claims, pauses=pauses).execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert event.result == DONE
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert len(api.sent) == 8


class LateApi(FailingApi):
    """Does not know a call at first: not for so many requests, fetches included."""

    def __init__(self, unknown: int) -> None:
        super().__init__(status="ringing")
        self.unknown = unknown

    def fetch(self, sid: str) -> Call:
        self._know()
        return super().fetch(sid)

    def hangup(self, sid: str) -> Call:
        self._know()
        return super().hangup(sid)

    def _know(self) -> None:
        if self.unknown:
            self.unknown -= 1
            raise NotFoundError("The requested resource was not found", status=404, code="20404")


@pytest.mark.parametrize(("seconds_ago", "result"), [(1, DONE), (16, REFUSED)])
def test_a_request_for_a_call_that_rest_does_not_know_yet_is_repeated(
    claims: SqliteStore, seconds_ago: float, result: str
) -> None:
    rule = Rule(name="mine", when=When(statuses=frozenset({"initiated"})), then=Hangup())
    seen = moment(-seconds_ago)
    proposal = Action(rule, sid(1), sid(1), sid(1), needs_precheck=False, is_own=True, trigger=Trigger(seen, seen))
    api, pauses = LateApi(unknown=3), list[float]()
    event = executor(api, claims, pauses=pauses).execute(proposal)
    assert isinstance(event, ActionEvent)
    assert event.result == result
    assert (api.sent, pauses) == ((["hangup"], [1, 2, 4]) if result == DONE else ([], []))


def test_nothing_is_repeated_when_the_rule_no_longer_asks_for_it(claims: SqliteStore) -> None:
    api = FailingApi([BUSY] * 99)
    event = executor(api, claims, pauses=[], applies=2).execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (DECLINED, 3)


@dataclass
class MovingCallApi(FailingApi):
    """An API whose call moves on to ``then`` while a change that was refused with 429 waits for its next try."""

    then: str = "in-progress"
    repeats: bool = False  # by itself, as the API client does, and not only as the executor repeats it
    wanted: Callable[[bool], bool] = lambda _may_be_done: True

    def while_wanted(self, wanted: Callable[[bool], bool]) -> MovingCallApi:
        self.wanted = wanted
        return self

    def _answer(self, what: str, sid: str) -> Call:
        self.sent.append(what)
        if len(self.sent) > 1:
            return Call(sid=sid, status=self.status)
        self.status = self.then
        if not self.repeats:
            raise BUSY
        if not self.wanted(False):
            raise NoLongerWantedError("too many requests")
        return self._answer(what, sid)


@pytest.mark.parametrize("repeats", [True, False])
def test_a_call_that_was_answered_while_a_hang_up_waited_is_not_cut(claims: SqliteStore, repeats: bool) -> None:
    """No callback has reported the answer: the rule would still propose it."""
    api = MovingCallApi(status="ringing", repeats=repeats)
    rule = Rule(name="mine", when=When(statuses=frozenset({"ringing"})), then=Hangup())
    proposal = Action(rule, sid(1), sid(1), sid(1), needs_precheck=False, is_own=True)
    event = executor(api, claims, pauses=[]).execute(proposal)
    assert isinstance(event, ActionEvent)
    assert (event.result, event.outcome, api.sent) == (LATE, "it was answered meanwhile and left alone", ["hangup"])


def test_what_callbacks_reported_while_a_hang_up_waited_counts_as_well(claims: SqliteStore) -> None:
    api = MovingCallApi(status="ringing", then="ringing", repeats=True)  # REST lags
    rule = Rule(name="mine", when=When(statuses=frozenset({"ringing"})), then=Hangup())
    proposal = Action(rule, sid(1), sid(1), sid(1), needs_precheck=False, is_own=True)
    event = executor(api, claims, pauses=[], applies=0).execute(proposal)
    assert isinstance(event, ActionEvent)
    assert (event.result, api.sent) == (DECLINED, ["hangup"])


class RedialledCallerApi(MovingCallApi):
    """Has another live child leg as soon as the first try was refused."""

    def list(self, _query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return iter([Call(sid=sid(3), status="in-progress", parent_call_sid=sid(1))] if self.sent else [])


@pytest.mark.parametrize("repeats", [True, False])
def test_a_caller_who_talks_to_somebody_else_by_then_is_not_redirected(claims: SqliteStore, repeats: bool) -> None:
    api = RedialledCallerApi(status="in-progress", repeats=repeats)
    result = executor(api, claims, pauses=[]).execute(after_dial_action())
    assert result == Postponed(retry=True)
    assert len(api.sent) == 1


@pytest.mark.parametrize("dial_action", ["", None])
def test_a_caller_whose_dial_sends_it_nowhere_is_redirected(claims: SqliteStore, dial_action: str | None) -> None:
    claims.remember_placed(sid(1), at=moment(0), dial_action=dial_action)
    event = executor(FailingApi(status="in-progress"), claims, pauses=[]).execute(after_dial_action())
    assert isinstance(event, ActionEvent)
    assert event.result == DONE


def test_a_service_in_trouble_when_it_is_looked_at_again_is_waited_for(claims: SqliteStore) -> None:
    """A redirect that was refused with 429 was not carried out, whatever the look after it meets."""

    class Troubled(FailingApi):
        troubles = 2

        def fetch(self, sid: str) -> Call:
            if self.troubles:
                self.troubles -= 1
                raise BROKEN
            return super().fetch(sid)

    api = Troubled([BUSY])
    event = executor(api, claims, pauses=[]).execute(action(SURVEY))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (DONE, 2)


def is_past(now: datetime, claim: OpenClaim) -> bool:
    return claim.lease is None or claim.lease <= now


def test_a_claim_is_held_while_the_api_client_waits_for_longer_than_a_lease(claims: SqliteStore) -> None:
    """Else another watch on the same store would take it for one that a crash left open."""
    seconds = 0
    open_claims: list[OpenClaim] = []

    class Waiting(FailingApi):
        wanted: Callable[[bool], bool] = lambda _may_be_done: True

        def while_wanted(self, wanted: Callable[[bool], bool]) -> Waiting:
            self.wanted = wanted
            return self

        def _answer(self, what: str, sid: str) -> Call:
            nonlocal seconds
            for _ in range(4):
                seconds += 40  # a Retry-After of 30 s, and the time limit of a request
                now = moment(seconds)
                open_claims.extend(claims.expired_claims(is_over=partial(is_past, now)))
                assert self.wanted(False)
            return super()._answer(what, sid)

    act = Executor(
        Waiting(),
        claims,
        clock=clock_of(lambda: moment(seconds)),
        sleep=lambda _seconds: None,
        applies=lambda _: True,
        report=lambda _: None,
    )
    event = act.execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, open_claims) == (DONE, [])


def not_answered() -> NetworkError:
    failure = NetworkError("the connection broke")
    failure.may_be_done = True
    return failure


OVER = WrongCallStateError("Call is not in-progress.", status=400, code="21220")


@pytest.mark.parametrize(
    ("status", "result"),
    [("completed", UNKNOWN), ("canceled", UNKNOWN), ("busy", LATE), ("no-answer", LATE)],
)
def test_a_call_that_is_over_may_have_been_ended_by_a_try_that_was_not_answered(
    claims: SqliteStore, status: str, result: str
) -> None:
    api = FailingApi([not_answered(), OVER], status=status)
    event = executor(api, claims, pauses=[]).execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.status, api.sent) == (result, status, ["hangup", "hangup"])


def test_a_try_that_was_never_processed_does_not_undo_one_that_was_not_answered(claims: SqliteStore) -> None:
    api = FailingApi([not_answered(), BUSY, OVER], status="completed")
    event = executor(api, claims, pauses=[]).execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (UNKNOWN, 3)


@pytest.mark.parametrize("status", [500, 599])
def test_after_any_server_error_a_hang_up_is_sent_again_and_a_redirect_is_not(claims: SqliteStore, status: int) -> None:
    for operation, result, count in ((Hangup(), DONE, 2), (SURVEY, UNKNOWN, 1)):
        api = FailingApi([ApiError("it broke", status=status)])
        event = executor(api, claims, pauses=[]).execute(action(operation))
        assert isinstance(event, ActionEvent)
        assert (event.result, len(api.sent)) == (result, count)
        forget_claims(claims)


def test_what_a_rule_no_longer_asks_for_may_have_been_done(claims: SqliteStore) -> None:
    api = FailingApi([not_answered()] * 99)
    event = executor(api, claims, pauses=[], applies=2).execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.outcome) == (UNKNOWN, "outcome unknown: a request was not answered")


def test_what_follows_a_dial_may_be_asked_for_again_if_it_was_not_sent(claims: SqliteStore) -> None:
    """The caller got another leg meanwhile: at its end the rule applies, and no claim may prevent it."""
    proposal, api = after_dial_action(), FailingApi([BUSY] * 99)
    assert executor(api, claims, pauses=[], applies=2).execute(proposal) == Postponed(retry=False)
    assert claims.claim_keys() == set()
    event = executor(FailingApi(), claims, pauses=[]).execute(proposal)
    assert isinstance(event, ActionEvent)
    assert event.result == DONE


class OvertakenStore:
    """Claims of which somebody else has been quicker by the time that one is claimed."""

    def __init__(self, claims: SqliteStore, quicker: Callable[[], object]) -> None:
        self._claims, self._quicker = claims, quicker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._claims, name)

    def claim(self, claim: OpenClaim, **options: Any) -> OpenClaim | Refusal:
        self._quicker()
        return self._claims.claim(claim, **options)


THANKS = OpenClaim("thanks", sid(1), sid(2), "redirect")


def test_of_two_rules_that_redirect_a_caller_at_once_one_does(claims: SqliteStore) -> None:
    """Both have looked before either claims; the one that comes second looks again, and sees what came of the first."""
    proposal, api = after_dial_action(), FailingApi()
    held: list[OpenClaim] = []

    def claim_first() -> None:
        held.append(claimed(claims, THANKS, now=moment(0), until=moment(90), exclusive=True))

    overtaken = cast("SqliteStore", OvertakenStore(claims, claim_first))
    assert executor(api, overtaken, pauses=[]).execute(proposal) == Postponed(retry=True)
    assert claims.claim_keys() == {("thanks", sid(1))}
    claims.settle(held[0], ActionEvent(moment(0), sid(1), "redirect", (), "redirected", rule="thanks", result=DONE))
    event = executor(api, claims, pauses=[]).execute(proposal)
    assert isinstance(event, ActionEvent)
    assert (event.result, event.outcome) == (DECLINED, "callctl itself changed it before (redirect)")
    assert api.sent == []


def test_a_rule_that_has_redirected_a_caller_before_the_claim_of_another_keeps_it(claims: SqliteStore) -> None:
    done = ActionEvent(moment(0), sid(1), "redirect", (), "redirected", rule="thanks", result=DONE)

    def quicker() -> None:
        held = claimed(claims, THANKS, now=moment(0), until=moment(90), exclusive=True)
        claims.settle(held, done)

    api, overtaken = FailingApi(), cast("SqliteStore", OvertakenStore(claims, quicker))
    event = executor(api, overtaken, pauses=[]).execute(after_dial_action())
    assert isinstance(event, ActionEvent)
    assert (event.result, event.outcome) == (DECLINED, "callctl itself changed it before (redirect)")
    assert api.sent == []


def test_a_command_that_begins_between_look_and_claim_is_waited_for(claims: SqliteStore, tmp_path: Path) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    overtaken = cast(
        "SqliteStore", OvertakenStore(claims, lambda: store.add_intents([sid(1)], now=moment(0), until=moment(60)))
    )
    api = FailingApi()
    assert executor(api, overtaken, pauses=[]).execute(after_dial_action()) == Postponed(retry=True)
    assert claims.claim_keys() == set()
    assert api.sent == []
    store.close()


def test_while_rest_is_behind_the_callbacks_nothing_is_claimed(claims: SqliteStore) -> None:
    proposal, api = after_dial_action(needs_precheck=True), FailingApi(status="ringing")
    assert executor(api, claims, pauses=[]).execute(proposal) == Postponed(retry=True)
    assert claims.claim_keys() == set()
    api.status = "completed"
    event = executor(api, claims, pauses=[]).execute(proposal)
    assert isinstance(event, ActionEvent)
    assert (event.result, event.outcome) == (LATE, "the call got there first: it is completed")


@pytest.mark.parametrize("leg", [1, 2], ids=["parent", "child"])
@pytest.mark.parametrize("what", ["redirect", "hangup", "cancel"])
def test_after_a_dial_nothing_is_done_where_callctl_changed_a_leg(claims: SqliteStore, what: str, leg: int) -> None:
    claim, api = OpenClaim("other", sid(leg), sid(leg), what), FailingApi()
    held = claimed(claims, claim, now=moment(0), until=moment(90))
    event = DryRun(api, claims, clock=clock_of(lambda: moment(0))).execute(after_dial_action())
    assert isinstance(event, ActionEvent)
    whose = "it" if leg == 1 else "the leg that ended"
    assert event.outcome == f"dry run: would not be done: callctl itself is changing {whose} ({what})"
    claims.settle(held, ActionEvent(moment(0), sid(leg), what, (), "done"))
    reports = executor(api, claims, pauses=[]).execute(after_dial_action())
    assert isinstance(reports, ActionEvent)
    assert (reports.result, reports.outcome) == (DECLINED, f"callctl itself changed {whose} before ({what})")
    assert api.sent == []


def test_after_a_dial_nothing_is_done_while_an_action_on_the_leg_can_not_be_read(
    claims: SqliteStore, tmp_path: Path
) -> None:
    claims.record_actions([ActionEvent(moment(0), sid(1), "redirect", (), "redirected")])
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection, connection:
        assert connection.execute("UPDATE actions SET record = '{'").rowcount == 1
    api, reported = FailingApi(), list[str]()
    result = executor(api, claims, pauses=[], applies=2, report=reported.append).execute(after_dial_action())
    assert (result, api.sent) == (Postponed(retry=False), [])
    assert "rule after-dial waits" in reported[0]


@pytest.mark.parametrize(("duration", "ended_by_limit"), [(None, True), (60, True), (59, False)])
def test_after_a_dial_nothing_is_done_where_callctl_had_the_leg_end(
    claims: SqliteStore, duration: int | None, ended_by_limit: bool
) -> None:
    limit = Limit(60)
    for leg in (1, 2):  # that of the parent has not ended it: it is in progress
        claim = OpenClaim("max-duration", sid(leg), sid(leg), "limit")
        held = claimed(claims, claim, now=moment(0), until=moment(90))
        claims.settle(held, ActionEvent(moment(0), sid(leg), "limit", limit.request(), "done"))
    event = executor(FailingApi(), claims, pauses=[]).execute(after_dial_action(duration=duration))
    assert isinstance(event, ActionEvent)
    assert event.result == (DECLINED if ended_by_limit else DONE)


def test_a_hang_up_is_repeated_after_a_broken_answer_and_a_redirect_is_not(claims: SqliteStore) -> None:
    api = FailingApi([BROKEN])
    event = executor(api, claims, pauses=[]).execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, api.sent) == (DONE, ["hangup", "hangup"])


@pytest.mark.parametrize("failure", [BROKEN, OutcomeUnknownError("no answer came")])
def test_a_redirect_that_may_have_been_done_is_reported_as_unknown(claims: SqliteStore, failure: CallctlError) -> None:
    api = FailingApi([failure])
    event = executor(api, claims, pauses=[]).execute(action(SURVEY))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (UNKNOWN, 1)
    assert event.outcome.startswith("outcome unknown")
    assert event.may_have_changed_it


def test_a_call_that_got_there_first_is_an_ordinary_outcome(claims: SqliteStore) -> None:
    api = FailingApi([WrongCallStateError("Call is not in-progress", status=400, code="21220")])
    event = executor(api, claims, pauses=[]).execute(action(SURVEY))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.code) == (LATE, "21220")
    assert "the call got there first" in event.outcome
    assert not event.may_have_changed_it


@pytest.mark.parametrize("by_callback", [True, False])
def test_a_redirect_that_is_taken_for_a_call_that_is_over_came_too_late(
    tmp_path: Path, claims: SqliteStore, by_callback: bool
) -> None:
    if by_callback:
        store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
        store.append(event(1, "completed", number=3))
        store.close()
    api = FailingApi(status="in-progress" if by_callback else "busy")
    recorded = executor(api, claims, pauses=[]).execute(action(SURVEY))
    assert isinstance(recorded, ActionEvent)
    assert (recorded.result, recorded.outcome) == (
        LATE,
        f"the call got there first: it is {'completed' if by_callback else 'busy'}",
    )
    assert not recorded.may_have_changed_it


IN_DIAL = WrongCallStateError("Call is not in a state for this", status=400, code="21220")


@pytest.mark.parametrize(
    ("operation", "result", "sent"),
    [(Cancel(), NOT_ENDED, ["cancel"]), (Cancel(cut_answered=True), DONE, ["cancel", "hangup"])],
    ids=["left alone", "cut"],
)
def test_a_cancel_that_is_refused_is_read_back_like_one_that_is_not(
    claims: SqliteStore, operation: Cancel, result: str, sent: list[str]
) -> None:
    """A leg that rings inside Dial may be refused for one that was answered: Twilio counts it as in progress."""
    api = FailingApi([IN_DIAL], status="ringing", parent=sid(9))
    event = executor(api, claims, pauses=[]).execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert (event.result, api.sent) == (result, sent)


@pytest.mark.parametrize("status", ["in-progress", "busy", "completed"])
def test_a_cancel_that_came_too_late_ends_nothing(claims: SqliteStore, status: str) -> None:
    api = FailingApi([IN_DIAL], status=status)
    event = executor(api, claims, pauses=[]).execute(action(Cancel(cut_answered=True)))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.code, api.sent) == (LATE, "21220", ["cancel"])


@pytest.mark.parametrize("operation", [Cancel(cut_answered=True), Hangup()], ids=["cancel", "hangup"])
@pytest.mark.parametrize("shown", ["ringing", "in-progress"])
def test_while_rest_is_behind_a_refused_leg_is_not_hung_up_again(
    claims: SqliteStore, operation: Operation, shown: str
) -> None:
    """It was answered or is over, whatever REST still shows."""
    api = FailingApi([IN_DIAL], status=shown)
    event = executor(api, claims, pauses=[]).execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.code, event.status, api.sent) == (LATE, "21220", None, [operation.action])
    over = "the call got there first: it is over"
    assert event.outcome == (over if operation == Hangup() else "it was answered or is over, and was left alone")


@pytest.mark.parametrize("cut", [False, True])
def test_a_call_that_rings_nowhere_but_in_rest_is_not_hung_up(claims: SqliteStore, cut: bool) -> None:
    """No <Dial> rings it, so Twilio has ended it, or it was answered and REST lags: ``completed`` would cut it."""
    api = FailingApi(status="ringing")
    event = executor(api, claims, pauses=[]).execute(action(Cancel(cut_answered=cut)))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.status) == (UNKNOWN, None)
    assert event.outcome == "outcome unknown: Twilio took it, and REST still shows it as ringing"
    assert api.sent == ["cancel"]


def test_what_the_store_has_outranks_what_rest_shows(tmp_path: Path, claims: SqliteStore) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.append(event(1, "in-progress", number=2))
    store.close()
    api = FailingApi([IN_DIAL], status="ringing", parent=sid(9))
    recorded = executor(api, claims, pauses=[]).execute(action(Cancel(cut_answered=True)))
    assert isinstance(recorded, ActionEvent)
    assert (recorded.result, recorded.outcome) == (LATE, "it was answered meanwhile and left alone")
    assert api.sent == ["cancel"]


def test_a_refusal_is_reported_with_its_code(claims: SqliteStore) -> None:
    for failure in (AuthenticationError("who?", status=401, code="20003"), ApiError("no", status=400, code="21218")):
        forget_claims(claims)
        event = executor(FailingApi([failure]), claims, pauses=[]).execute(action(Limit(60)))
        assert isinstance(event, ActionEvent)
        assert (event.result, event.code) == (REFUSED, failure.code)


def test_it_is_done_once_also_by_another_watch(claims: SqliteStore) -> None:
    first, second = FailingApi(), FailingApi()
    assert executor(first, claims, pauses=[]).execute(action(SURVEY)) is not None
    assert executor(second, claims, pauses=[]).execute(action(SURVEY)) is None
    assert (len(first.sent), second.sent) == (1, [])


def test_without_a_claim_nothing_is_sent(claims: SqliteStore) -> None:
    api, pauses, reports = FailingApi(), list[float](), list[str]()
    claims.close()
    done = executor(api, claims, pauses=pauses, applies=3, report=reports.append).execute(action(Hangup()))
    assert (done, api.sent, pauses) == (Postponed(retry=False), [], [1, 2, 4, 8])
    assert "rule mine waits" in reports[0]


class FullAtFirst:
    """Claims on a disk that is full for so many writes of one kind."""

    def __init__(self, claims: SqliteStore, kind: str, *, times: int) -> None:
        self._claims, self._kind, self.times = claims, kind, times

    def __getattr__(self, name: str) -> Any:
        if name == self._kind and self.times > 0:
            self.times -= 1

            def full(*_: Any, **__: Any) -> Any:
                raise StoreError("database or disk is full")

            return full
        return getattr(self._claims, name)


@pytest.mark.parametrize("operation", [Hangup(), SURVEY], ids=["hangup", "redirect"])
@pytest.mark.parametrize("kind", ["claim", "renew", "settle", "all_actions"])
def test_a_full_disk_is_waited_for_and_the_request_goes_out_once(
    claims: SqliteStore, kind: str, operation: Operation
) -> None:
    api, reports = FailingApi(), list[str]()
    full: Any = FullAtFirst(claims, kind, times=3)
    event = executor(api, full, pauses=[], report=reports.append).execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (DONE, 1)
    assert [one.result for one in claims.actions(sid(1))] == [DONE]
    assert claims.expired_claims(is_over=lambda _: True) == []
    assert len(reports) == (0 if kind == "all_actions" else 3)  # only what follows a Dial looks there


@pytest.mark.parametrize("kind", ["claim", "renew"])
def test_who_answers_while_a_full_disk_is_waited_for_is_not_hung_up(claims: SqliteStore, kind: str) -> None:
    rule = Rule(name="mine", when=When(statuses=frozenset({"ringing"})), then=Hangup())
    full: Any = FullAtFirst(claims, kind, times=2)
    api, now = FailingApi(status="ringing"), 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        api.status = "in-progress"  # its callback was refused, so the board does not know

    working = Executor(
        api, full, clock=clock_of(lambda: moment(now)), sleep=sleep, applies=lambda _: True, report=lambda _: None
    )
    event = working.execute(Action(rule, sid(1), sid(1), sid(1), needs_precheck=True, is_own=True))
    assert api.sent == []
    assert isinstance(event, ActionEvent)
    assert (event.result, event.status) == (LATE, "in-progress")


def test_what_can_not_be_written_down_stays_open_for_the_next_look(claims: SqliteStore) -> None:
    api, pauses = FailingApi(), list[float]()
    full: Any = FullAtFirst(claims, "settle", times=99)
    with pytest.raises(StoreError):
        executor(api, full, pauses=pauses).execute(action(Hangup()))
    assert len(api.sent) == 1
    assert sum(pauses) < LEASE.total_seconds() / 2
    assert [claim.call_sid for claim in claims.expired_claims(is_over=lambda _: True)] == [sid(1)]


def expired_claims(claims: SqliteStore, operation: Operation) -> OpenClaim:
    claim = OpenClaim("mine", sid(1), sid(1), operation.action)
    claims.claim(claim, now=moment(0) - 2 * LEASE, until=moment(0) - timedelta(seconds=1))
    (claim,) = claims.expired_claims(is_over=lambda _: True)
    return claim


def test_after_a_crash_a_hang_up_is_sent_again_and_a_redirect_is_reported_as_unknown(claims: SqliteStore) -> None:
    for operation, sent, result in ((Hangup(), ["hangup"], DONE), (SURVEY, [], UNKNOWN)):
        claim, api = expired_claims(claims, operation), FailingApi()
        event = executor(api, claims, pauses=[]).recover(claim, action(operation))
        assert isinstance(event, ActionEvent)
        assert (api.sent, event.result) == (sent, result)
        assert executor(api, claims, pauses=[]).recover(claim, action(operation)) is None
        forget_claims(claims)


def test_after_a_crash_nothing_is_sent_for_a_rule_that_no_longer_asks(claims: SqliteStore) -> None:
    api = FailingApi()
    event = executor(api, claims, pauses=[]).recover(expired_claims(claims, Hangup()), None)
    assert isinstance(event, ActionEvent)
    assert (api.sent, event.result) == ([], UNKNOWN)
    assert "the rule no longer proposes it" in event.outcome


def test_what_a_crash_left_is_settled_when_the_rule_no_longer_asks_while_it_could_not_be_sent(
    claims: SqliteStore,
) -> None:
    claim, api = expired_claims(claims, Hangup()), FailingApi([BUSY] * 99)
    event = executor(api, claims, pauses=[], applies=2).recover(claim, action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.outcome) == (DECLINED, "the rule no longer applied when it could be sent")
    assert claims.expired_claims(is_over=lambda _: True) == []
    assert claims.actions(sid(1)) == [event]


def test_what_a_crash_left_stays_open_while_rest_is_behind(claims: SqliteStore) -> None:
    claim, api = expired_claims(claims, Hangup()), FailingApi(status="ringing")
    proposal = replace(action(Hangup()), needs_precheck=True)
    assert executor(api, claims, pauses=[]).recover(claim, proposal) is None
    assert api.sent == []
    assert claims.expired_claims(is_over=lambda _: True) == [claim]


def test_a_dry_run_sends_claims_and_keeps_nothing(claims: SqliteStore) -> None:
    api = FailingApi()
    event = DryRun(api, claims, clock=clock_of(lambda: moment(0))).execute(action(SURVEY))
    assert isinstance(event, ActionEvent)
    assert (event.outcome, event.result) == ("dry run: would redirect to survey", "dry-run")
    assert event.request == (("Url", "https://example.com/survey"),)
    assert api.sent == []
    assert claims.claim_keys() == set()
    assert claims.actions(sid(1)) == []


def test_an_action_is_dated_before_its_request_for_callbacks_may_be_quicker_than_the_answer(
    claims: SqliteStore,
) -> None:
    now = moment(0)

    class SlowApi(FailingApi):
        def _answer(self, what: str, sid: str) -> Call:
            nonlocal now
            now = moment(2.5)
            return super()._answer(what, sid)

    clock = clock_of(lambda: now)
    working = Executor(SlowApi(), claims, clock=clock, sleep=lambda _: None, applies=lambda _: True, report=print)
    event = working.execute(action(Hangup()))
    assert isinstance(event, ActionEvent)
    assert event.at == moment(0)


def test_nothing_is_sent_by_who_stood_still_while_another_took_its_claim_over(claims: SqliteStore) -> None:
    """As a watch that was stopped (Ctrl-Z) and goes on after its lease."""
    api = FailingApi()

    class SlowStore(OvertakenStore):
        def claim(self, claim: OpenClaim, **options: Any) -> OpenClaim | Refusal:
            held = self._claims.claim(claim, **options)
            (read,) = self._claims.expired_claims(is_over=lambda _: True)
            self._quicker()
            assert self._claims.take_over(read, now=moment(0), until=moment(90))
            return held

    stopped = cast("SqliteStore", SlowStore(claims, lambda: None))
    assert executor(api, stopped, pauses=[]).execute(action(Hangup())) is None
    assert api.sent == []
    assert claims.all_actions(sid(1)) == []


def test_what_all_watches_did_in_a_minute_counts_for_each(claims: SqliteStore) -> None:
    limit = ActionLimit(per_second=5, per_minute=1)
    before = OpenClaim("theirs", sid(2), sid(2), "hangup")
    assert claims.claim(before, now=moment(0), until=moment(90), limit=limit)
    api = FailingApi()
    outcome = executor(api, claims, pauses=[]).execute(action(Hangup()), limit=limit)
    assert outcome == Postponed(retry=False, limit_reached=True)
    assert api.sent == []

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

from callctl.api.client import ApiClient
from callctl.api.requests import RedirectRequest
from callctl.calls.action import DECLINED, DONE, LATE, NOT_ENDED, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.call import Call
from callctl.calls.event import POLLED
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
from callctl.rules.outcome import Declination, Outcome, Postponed, Unsent
from callctl.rules.precheck import precheck
from callctl.rules.rule import (
    Action,
    Cancel,
    Declined,
    Hangup,
    Limit,
    On,
    Operation,
    Redirect,
    Rule,
    Trigger,
    When,
    after_dial_rule,
)
from callctl.settings import Settings
from callctl.store.records import ActionLimit, OpenClaim, Refusal
from callctl.store.sqlite.store import SqliteStore

GONE = Rule(name="gone", when=When(statuses=frozenset({"canceled"})), then=Hangup(), on=On.PARENT)
ENDS_PARENT = Action(GONE, sid(1), sid(2), sid(1), needs_precheck=False, is_own=True)
BUSY = RateLimitedError("too many requests", status=429, code="20429")
REFUSED_CONNECTION = NetworkError("connection refused")
BROKEN = ApiError("it broke", status=503)
SURVEY = Redirect("survey", "https://example.com/survey")
PARENTS = {sid(2): sid(1)}
WAITING = Postponed(retry=True, turned_away_since=moment(0))


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


def declined(result: object) -> ActionEvent:
    """Return what was recorded of an action that was declined."""
    assert isinstance(result, Declination)
    assert result.event is not None
    return result.event


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


TURNED_AWAY = [
    AuthenticationError("who?", status=401, code="20003"),
    ApiError("Found", status=302),
    ApiError("who?", status=407),
]


OPERATIONS = pytest.mark.parametrize("operation", [Hangup(), SURVEY, Limit(60)], ids=["hangup", "redirect", "limit"])


@OPERATIONS
def test_what_was_never_processed_is_repeated_with_growing_pauses(claims: SqliteStore, operation: Operation) -> None:
    api, pauses = FailingApi([BUSY] * 7), list[float]()
    event = executor(api, claims, pauses=pauses).execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert event.result == DONE
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert len(api.sent) == 8


@pytest.mark.parametrize(
    "failure",
    [REFUSED_CONNECTION, NoThreadError(), *TURNED_AWAY],
    ids=["refused", "no-thread", "401", "302", "407"],
)
@OPERATIONS
def test_what_one_listener_can_not_send_another_may(
    claims: SqliteStore, failure: CallctlError, operation: Operation
) -> None:
    """As where the token is replaced on one after the other. It is tried again by the one as well."""
    unable, able = executor(FailingApi([failure]), claims, pauses=[]), executor(api := FailingApi(), claims, pauses=[])
    open_claim = claimed(claims, OpenClaim("mine", sid(1), sid(1), "any"), now=moment(0), until=moment(90))
    assert able.execute(action(operation)) == WAITING  # the other one is at it
    claims.release(open_claim)
    postponed = unable.execute(action(operation))
    assert postponed == WAITING
    assert claims.claim_keys() == set()
    event = able.execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (DONE, 1)
    assert unable.execute(action(operation)) == Declination(None)


class OvertakenStore:
    """Claims of which somebody else has been quicker by the time that one is claimed."""

    def __init__(self, claims: SqliteStore, quicker: Callable[[], object]) -> None:
        self._claims, self._quicker = claims, quicker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._claims, name)

    def claim(self, claim: OpenClaim, **options: Any) -> OpenClaim | Refusal:
        self._quicker()
        return self._claims.claim(claim, **options)


class AwayStore(OvertakenStore):
    """A store that claims can't be deleted from."""

    def __init__(self, claims: SqliteStore) -> None:
        super().__init__(claims, lambda: None)

    def release(self, _claim: OpenClaim) -> None:
        raise StoreError("away")


def test_what_can_not_let_go_of_its_claim_waits_with_it(claims: SqliteStore) -> None:
    """As where the same network leads to both. A claim that is left open ends a redirect for good."""
    away = cast("SqliteStore", AwayStore(claims))
    pauses = list[float]()
    event = executor(FailingApi([REFUSED_CONNECTION] * 3), away, pauses=pauses).execute(action(SURVEY))
    assert isinstance(event, ActionEvent)
    assert (event.result, pauses) == (DONE, [1, 2, 4])


@OPERATIONS
@pytest.mark.timeout(20)
def test_a_client_that_reaches_no_api_lets_go_of_its_claim(claims: SqliteStore, operation: Operation) -> None:
    """It checks before each further try of a change, which fails in the same way."""
    settings = Settings(account_sid="AC" + "0" * 32, auth_token="fake-token", api_url="http://127.0.0.1:9")
    client = cast("FailingApi", ApiClient(settings, sleep=lambda _: None, random=lambda: 0.0))
    assert executor(client, claims, pauses=[]).execute(action(operation)) == WAITING
    assert claims.claim_keys() == set()


def test_nor_is_it_once_another_listener_has_let_go_of_it(claims: SqliteStore) -> None:
    passed, proposal, api = [0.0], action(SURVEY), FailingApi()
    held = claimed(claims, OpenClaim("mine", sid(1), sid(1), "redirect"), now=moment(0), until=moment(90))
    clock = clock_of(lambda: moment(sum(passed)))
    act = Executor(api, claims, clock=clock, sleep=passed.append, applies=lambda _: True, report=lambda _: None)
    assert act.execute(proposal) == WAITING
    claims.release(held)
    passed.append(61)
    event = declined(act.execute(replace(proposal, turned_away_since=moment(0))))
    assert (event.outcome, api.sent) == ("too late: for 61 s it could not be done", [])


@pytest.mark.parametrize("failure", [BUSY, *TURNED_AWAY], ids=["429", "401", "302", "407"])
@pytest.mark.parametrize("operation", [SURVEY, Hangup()], ids=["redirect", "hangup"])
def test_what_is_for_a_moment_is_not_done_minutes_later(
    claims: SqliteStore, failure: CallctlError, operation: Operation
) -> None:
    """The caller is elsewhere by then. A call that is to be ended is ended late too, while it has the same status."""
    passed = [0.0]
    api, proposal = FailingApi([failure] * 9), action(operation)
    act = Executor(
        api,
        claims,
        clock=clock_of(lambda: moment(sum(passed))),
        sleep=passed.append,
        applies=lambda _: True,
        report=lambda _: None,
    )
    while isinstance(result := act.execute(proposal), Postponed):
        assert result.retry
        proposal = replace(proposal, turned_away_since=result.turned_away_since)
        passed.append(20)
    if operation == SURVEY:
        assert declined(result).outcome.startswith("too late: for ")
    else:
        assert isinstance(result, ActionEvent)
        assert result.result == DONE


@pytest.mark.parametrize(("operation", "requests", "result"), [(SURVEY, 1, UNKNOWN), (Hangup(), 2, DONE)])
def test_a_redirect_whose_answer_is_elsewhere_may_have_been_carried_out(
    claims: SqliteStore, operation: Operation, requests: int, result: str
) -> None:
    """The API client says so of 302 and 303 in answer to a change."""
    failure = ApiError("it is not known whether the call was redirected: Found", status=302)
    failure.may_be_done = True
    api = FailingApi([failure])
    event = executor(api, claims, pauses=[]).execute(action(operation))
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (result, requests)


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
    event = declined(executor(api, claims, pauses=[], applies=2).execute(action(Hangup())))
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
    event = declined(executor(api, claims, pauses=[], applies=0).execute(proposal))
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


@pytest.mark.parametrize("trouble", [BROKEN, *TURNED_AWAY])
def test_a_service_in_trouble_when_it_is_looked_at_again_is_waited_for(
    claims: SqliteStore, trouble: CallctlError
) -> None:
    """A redirect that was refused with 429 was not carried out, whatever the look after it meets."""

    class Troubled(FailingApi):
        troubles = 2

        def fetch(self, sid: str) -> Call:
            if self.troubles:
                self.troubles -= 1
                raise trouble
            return super().fetch(sid)

    api = Troubled([BUSY])
    act = executor(api, claims, pauses=[])
    while isinstance(event := act.execute(action(SURVEY)), Postponed):
        assert event.retry
    assert isinstance(event, ActionEvent)
    assert (event.result, len(api.sent)) == (DONE, 2)


@pytest.mark.parametrize("trouble", TURNED_AWAY)
def test_a_look_that_is_turned_away_refuses_nothing_and_is_said(claims: SqliteStore, trouble: CallctlError) -> None:
    """As while a token is replaced. What another listener does meanwhile, or the next one, must be free."""

    class TurningAway(FailingApi):
        def fetch(self, sid: str) -> Call:  # noqa: ARG002
            raise trouble

    said = list[str]()
    looking = executor(TurningAway(), claims, pauses=[], applies=3, report=said.append)
    assert looking.execute(replace(action(Hangup()), needs_precheck=True)) == Postponed(retry=False)
    assert set(said) == {f"rule mine waits: {trouble.message}"}
    assert claims.claim_keys() == set()


RINGS = Rule(name="mine", when=When(statuses=frozenset({"ringing"})), then=Hangup())


@pytest.mark.parametrize("about", [1, 2])
def test_an_answer_that_was_reported_while_a_reply_was_on_its_way_keeps_its_call(
    claims: SqliteStore, about: int
) -> None:
    class Slow(FailingApi):
        def fetch(self, sid: str) -> Call:
            claims.append(event(about, "in-progress", number=2, parent=None if about == 1 else 1))
            return super().fetch(sid)

    rule = RINGS if about == 1 else replace(RINGS, on=On.PARENT)
    proposal = Action(rule, sid(1), sid(about), sid(1), needs_precheck=True, is_own=True)
    api = Slow(status="ringing")
    outcome = executor(api, claims, pauses=[]).execute(proposal)
    assert isinstance(outcome, Unsent | Declination)
    assert outcome.event is not None
    assert outcome.event.status == "in-progress" or "in-progress" in outcome.event.outcome
    assert api.sent == []


def test_so_does_one_that_was_reported_while_the_claim_was_stored(claims: SqliteStore) -> None:
    claims.append(event(1, "in-progress", number=2))
    api = FailingApi(status="ringing")
    proposal = Action(RINGS, sid(1), sid(1), sid(1), needs_precheck=False, is_own=True)
    outcome = executor(api, claims, pauses=[]).execute(proposal)
    assert isinstance(outcome, Unsent)
    assert api.sent == []


def test_a_check_whose_reply_was_long_on_its_way_is_repeated(claims: SqliteStore) -> None:
    seconds, statuses = 0.0, iter(["ringing", "in-progress"])

    class Slow(FailingApi):
        def fetch(self, sid: str) -> Call:
            nonlocal seconds
            seconds += 8
            return Call(sid=sid, status=next(statuses))

    api = Slow()
    act = Executor(
        api,
        claims,
        clock=clock_of(lambda: moment(seconds)),
        sleep=lambda _seconds: None,
        applies=lambda _: True,
        report=lambda _: None,
    )
    outcome = act.execute(Action(RINGS, sid(1), sid(1), sid(1), needs_precheck=True, is_own=True))
    assert isinstance(outcome, Unsent)
    assert api.sent == []
    assert next(statuses, None) is None


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


THANKS = OpenClaim("thanks", sid(1), sid(2), "redirect")


def test_of_two_rules_that_redirect_a_caller_at_once_one_does(claims: SqliteStore) -> None:
    """Both have looked before either claims; the one that comes second looks again, and sees what came of the first."""
    proposal, api = after_dial_action(), FailingApi()
    held: list[OpenClaim] = []

    def claim_first() -> None:
        held.append(claimed(claims, THANKS, now=moment(0), until=moment(90), exclusive=True))

    overtaken = cast("SqliteStore", OvertakenStore(claims, claim_first))
    assert executor(api, overtaken, pauses=[]).execute(proposal) == WAITING
    assert claims.claim_keys() == {("thanks", sid(1))}
    claims.settle(held[0], ActionEvent(moment(0), sid(1), "redirect", (), "redirected", rule="thanks", result=DONE))
    event = declined(executor(api, claims, pauses=[]).execute(proposal))
    assert (event.result, event.outcome) == (DECLINED, "callctl itself changed it before (redirect)")
    assert api.sent == []


def test_a_rule_that_has_redirected_a_caller_before_the_claim_of_another_keeps_it(claims: SqliteStore) -> None:
    done = ActionEvent(moment(0), sid(1), "redirect", (), "redirected", rule="thanks", result=DONE)

    def quicker() -> None:
        held = claimed(claims, THANKS, now=moment(0), until=moment(90), exclusive=True)
        claims.settle(held, done)

    api, overtaken = FailingApi(), cast("SqliteStore", OvertakenStore(claims, quicker))
    event = declined(executor(api, overtaken, pauses=[]).execute(after_dial_action()))
    assert (event.result, event.outcome) == (DECLINED, "callctl itself changed it before (redirect)")
    assert api.sent == []


def test_what_need_not_be_sent_does_not_count_for_the_limit_of_all_watches(claims: SqliteStore) -> None:
    limit, pauses = ActionLimit(per_second=1, per_minute=1), list[float]()
    for number in range(1, 4):
        api = FailingApi(status="completed")
        late = replace(action(Hangup()), call_sid=sid(number), about=sid(number), needs_precheck=True)
        unsent = executor(api, claims, pauses=pauses).execute(late, limit=limit)
        assert isinstance(unsent, Unsent)
        assert unsent.event
        assert (unsent.event.call_sid, unsent.event.result, api.sent) == (sid(number), LATE, [])
    done = replace(action(Hangup()), call_sid=sid(4), about=sid(4))
    event = executor(FailingApi(status="completed"), claims, pauses=pauses).execute(done, limit=limit)
    assert isinstance(event, ActionEvent)
    beyond = replace(action(Hangup()), call_sid=sid(5), about=sid(5))
    assert isinstance(executor(FailingApi(), claims, pauses=pauses, applies=3).execute(beyond, limit=limit), Postponed)


def test_a_parent_is_not_changed_for_a_ringing_child_once_the_board_shows_another_one_answered(
    claims: SqliteStore,
) -> None:
    """The callback comes after REST was looked at, which is behind."""
    rule = Rule(name="mine", when=When(statuses=frozenset({"ringing"})), then=Hangup(), on=On.PARENT)
    proposal, api = (
        Action(rule, sid(1), sid(2), sid(1), needs_precheck=False, is_own=True),
        FailingApi(status="ringing"),
    )
    event = declined(executor(api, claims, pauses=[], applies=0).execute(proposal))
    assert (event.result, event.outcome) == (DECLINED, "the rule no longer applied when it could be sent")
    assert api.sent == []


RING_PARENT = Rule(name="mine", when=When(statuses=frozenset({"ringing"})), then=Hangup(), on=On.PARENT)


def for_child(number: int) -> Action:
    """Return the action of a rule on a parent, because of one of its children."""
    return Action(RING_PARENT, sid(1), sid(number), sid(1), needs_precheck=False, is_own=True)


class SiblingsApi(FailingApi):
    """Has several child legs of one parent, all of a status unless they are in ``others``."""

    def __init__(self, *others: tuple[int, str], failures: list[CallctlError] | None = None) -> None:
        super().__init__(failures or [], status="ringing")
        self.others = {sid(number): status for number, status in others}

    def fetch(self, sid: str) -> Call:
        return Call(sid=sid, status=self.others.get(sid, self.status), parent_call_sid=PARENT)

    def list(self, _query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return map(self.fetch, self.others)


PARENT = sid(1)


def test_what_was_declined_because_of_one_child_is_done_because_of_the_next_and_then_never_again(
    claims: SqliteStore,
) -> None:
    api = SiblingsApi((2, "in-progress"))
    act = executor(api, claims, pauses=[])
    assert declined(act.execute(for_child(2))).about == sid(2)
    api.others.clear()
    assert act.execute(for_child(2)) == Declination(None)
    event = act.execute(for_child(3))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.about, api.sent) == (DONE, sid(3), ["hangup"])
    assert act.execute(for_child(4)) == Declination(None)
    api.others = {sid(5): "in-progress"}
    assert act.execute(for_child(5)) == Declination(None)  # nor is there anything more to say
    assert [one.result for one in claims.all_actions(PARENT)] == [DECLINED, DONE]


def test_what_was_declined_after_it_was_claimed_leaves_the_leg_free_for_the_next_child(claims: SqliteStore) -> None:
    api = SiblingsApi()
    assert declined(executor(api, claims, pauses=[], applies=0).execute(for_child(2))).result == DECLINED
    assert claims.open_claims() == 0
    event = executor(api, claims, pauses=[]).execute(for_child(3))
    assert isinstance(event, ActionEvent)
    assert (event.result, api.sent) == (DONE, ["hangup"])


def test_what_may_have_been_done_before_it_was_declined_stays_the_only_action(claims: SqliteStore) -> None:
    class AnsweredApi(SiblingsApi):
        def _answer(self, what: str, sid: str) -> Call:
            self.status = "in-progress"
            return super()._answer(what, sid)

    api = AnsweredApi(failures=[not_answered()])
    event = executor(api, claims, pauses=[]).execute(for_child(2))
    assert isinstance(event, ActionEvent)
    assert event.result == DECLINED
    api.status = "ringing"
    assert executor(api, claims, pauses=[]).execute(for_child(3)) == Declination(None)
    assert api.sent == ["hangup"]


def test_of_two_watches_one_acts_though_the_other_declines_because_of_another_child(claims: SqliteStore) -> None:
    held = claimed(claims, OpenClaim("mine", PARENT, sid(3), "hangup"), now=moment(0), until=moment(90))
    act = executor(SiblingsApi((2, "in-progress")), claims, pauses=[])
    assert act.execute(for_child(2)) == Declination(None)
    assert act.decline(Declined(RING_PARENT, PARENT, sid(4), PARENT, is_own=True, reason="too old")) is None
    assert claims.settle(held, ActionEvent(moment(0), PARENT, "hangup", (), "hung up", rule="mine", about=sid(3)))
    assert [one.about for one in claims.all_actions(PARENT)] == [sid(3)]


def test_what_another_watch_let_go_of_is_done_because_of_the_next_child(claims: SqliteStore) -> None:
    """As after a 429 while the parent's TwiML dialled on."""
    held = claimed(claims, OpenClaim("mine", PARENT, sid(2), "hangup"), now=moment(0), until=moment(90))
    act = executor(SiblingsApi(), claims, pauses=[])
    assert act.execute(for_child(2)) == WAITING  # to propose it because of another one is not ruled out
    claims.release(held)
    event = act.execute(for_child(3))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.about) == (DONE, sid(3))


def test_a_dry_run_says_what_it_would_not_do_as_what_may_be_done_because_of_another_child(claims: SqliteStore) -> None:
    api = SiblingsApi((2, "in-progress"))
    dry = DryRun(api, claims, clock=clock_of(lambda: moment(0)))
    assert "would not be done" in declined(dry.execute(for_child(2))).outcome
    api.others.clear()
    assert isinstance(dry.execute(for_child(3)), ActionEvent)


@pytest.mark.parametrize("talks", [2, 3])
def test_a_parent_is_not_changed_once_the_store_has_the_answer_of_a_child_that_the_board_lacks(
    claims: SqliteStore, tmp_path: Path, talks: int
) -> None:
    """Its callback comes after REST was looked at, which is behind."""
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)

    def report() -> None:
        store.append(event(talks, "in-progress", number=2, parent=1))

    api = SiblingsApi()
    result = executor(api, cast("SqliteStore", OvertakenStore(claims, report)), pauses=[]).execute(for_child(2))
    reasons = {
        2: f"the leg that the rule looks at, {sid(2)}, is in-progress by now",
        3: f"another leg of that parent, {sid(3)}, was answered",
    }
    assert (declined(result).outcome, api.sent) == (reasons[talks], [])
    store.append(event(talks, "completed", number=3, parent=1))
    assert isinstance(executor(api, claims, pauses=[]).execute(for_child(4)), ActionEvent)
    assert api.sent == ["hangup"]
    store.close()


@pytest.mark.parametrize("is_claimed", [True, False])
def test_a_conversation_that_may_be_just_over_is_looked_at_again_for_as_long_as_rest_may_be_behind(
    claims: SqliteStore, tmp_path: Path, is_claimed: bool
) -> None:
    """The next child rings, and neither the callback of that end nor REST shows it yet."""
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)

    def report() -> None:
        store.append(event(3, "in-progress", number=2, parent=1))

    api = SiblingsApi() if is_claimed else SiblingsApi((3, "in-progress"))
    act = executor(api, cast("SqliteStore", OvertakenStore(claims, report)), pauses=[])
    assert act.execute(replace(for_child(2), observed_since=moment(-14))) == Postponed(retry=True)
    assert (claims.claim_keys(), api.sent) == (set(), [])
    store.append(event(3, "completed", number=3, parent=1))
    assert isinstance(act.execute(replace(for_child(2), observed_since=moment(-14))), ActionEvent)
    assert api.sent == ["hangup"]
    store.close()


@pytest.mark.parametrize("is_reported_before", [True, False])
def test_a_conversation_that_is_over_as_rest_lists_it_spares_no_parent_though_the_store_lacks_its_end(
    claims: SqliteStore, tmp_path: Path, is_reported_before: bool
) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)

    def report() -> None:
        store.append(event(3, "in-progress", number=2, parent=1))

    if is_reported_before:
        report()
    api = SiblingsApi((3, "completed"))
    overtaken = cast("SqliteStore", OvertakenStore(claims, report))
    result = executor(api, overtaken, pauses=[]).execute(replace(for_child(2), needs_precheck=True))
    assert isinstance(result, ActionEvent)
    assert (result.result, api.sent) == (DONE, ["hangup"])
    store.close()


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
    unsent = executor(api, claims, pauses=[]).execute(proposal)
    assert isinstance(unsent, Unsent)
    assert unsent.event
    assert (unsent.event.result, unsent.event.outcome) == (LATE, "the call got there first: it is completed")


@pytest.mark.parametrize("leg", [1, 2], ids=["parent", "child"])
@pytest.mark.parametrize("what", ["redirect", "hangup", "cancel"])
def test_after_a_dial_nothing_is_done_where_callctl_changed_a_leg(claims: SqliteStore, what: str, leg: int) -> None:
    claim, api = OpenClaim("other", sid(leg), sid(leg), what), FailingApi()
    held = claimed(claims, claim, now=moment(0), until=moment(90))
    event = declined(DryRun(api, claims, clock=clock_of(lambda: moment(0))).execute(after_dial_action()))
    whose = "it" if leg == 1 else "the leg that ended"
    assert event.outcome == f"dry run: would not be done: callctl itself is changing {whose} ({what})"
    claims.settle(held, ActionEvent(moment(0), sid(leg), what, (), "done"))
    reports = declined(executor(api, claims, pauses=[]).execute(after_dial_action()))
    assert (reports.result, reports.outcome) == (DECLINED, f"callctl itself changed {whose} before ({what})")
    assert api.sent == []


@pytest.mark.parametrize(("what", "at", "is_spared"), [("redirect", 3, True), ("redirect", 1, False)])
def test_a_parent_that_callctl_redirected_is_not_ended_for_the_child_that_this_ended(
    claims: SqliteStore, tmp_path: Path, what: str, at: float, is_spared: bool
) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.append(event(2, "ringing", number=1, parent=1, received=2))
    store.append(event(2, "canceled", number=2, parent=1, received=4))
    store.close()
    ends, api = ENDS_PARENT, FailingApi()
    held = claimed(claims, OpenClaim("other", sid(1), sid(2), what), now=moment(0), until=moment(90))
    assert executor(api, claims, pauses=[]).execute(ends) == Postponed(retry=True)
    claims.settle(held, ActionEvent(moment(at), sid(1), what, (), "done"))
    result = executor(api, claims, pauses=[]).execute(ends)
    assert (isinstance(result, Declination), api.sent) == ((True, []) if is_spared else (False, ["hangup"]))


@pytest.mark.parametrize(
    ("began", "lasted", "is_spared"),
    [
        (20, 5, False),
        (10, 5, True),  # at about the time of the redirect, which may have ended it
        (10, 30, False),  # a redirect would have ended it long before
        (5, 30, True),
        (None, 5, True),
    ],
)
def test_rest_says_whether_a_child_began_before_its_parent_was_redirected_where_callbacks_report_its_end_alone(
    claims: SqliteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    began: int | None,
    lasted: int,
    is_spared: bool,
) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.append(event(2, "canceled", number=2, parent=1, received=40))
    store.close()
    ahead = 1000  # Twilio's clock
    dates: dict[str, Any] = {"as_of": moment(40 + ahead)}
    if began is not None:
        dates |= {"date_created": moment(began + ahead), "end_time": moment(began + lasted + ahead)}
    api = FailingApi()
    fetch = api.fetch
    monkeypatch.setattr(api, "fetch", lambda call: replace(fetch(call), **dates if call == sid(2) else {}))
    held = claimed(claims, OpenClaim("other", sid(1), sid(2), "redirect"), now=moment(0), until=moment(90))
    claims.settle(held, ActionEvent(moment(10), sid(1), "redirect", (), "done"))
    result = precheck(api, claims, ENDS_PARENT, clock=clock_of(lambda: moment(40)))
    why = Outcome(DECLINED, "callctl itself redirected it, maybe after that child had begun")
    assert result == (why if is_spared else None)


def test_a_poll_of_a_child_does_not_say_when_it_began(claims: SqliteStore, tmp_path: Path) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.append(replace(event(2, "ringing", parent=1, received=5), kind=POLLED))
    store.close()
    held = claimed(claims, OpenClaim("other", sid(1), sid(2), "redirect"), now=moment(0), until=moment(90))
    claims.settle(held, ActionEvent(moment(3), sid(1), "redirect", (), "done"))
    result = precheck(FailingApi(), claims, ENDS_PARENT, clock=clock_of(lambda: moment(9)))
    assert result == Outcome(DECLINED, "callctl itself redirected it, maybe after that child had begun")


def test_a_parent_that_a_command_may_have_redirected_before_it_was_cut_off_is_not_ended_for_its_child(
    claims: SqliteStore, tmp_path: Path
) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.add_intents([sid(1)], now=moment(0), until=moment(60))
    store.close()
    results = [
        precheck(FailingApi(), claims, ENDS_PARENT, clock=clock_of(partial(moment, seconds))) for seconds in (30, 61)
    ]
    assert results == [Postponed(retry=True), Outcome(DECLINED, "a command that was cut off may have redirected it")]


@pytest.mark.parametrize("what", ["hangup", "cancel"])
def test_rules_that_end_one_parent_do_not_wait_for_each_other(claims: SqliteStore, what: str) -> None:
    """Both have claimed, and look again since their first requests failed: neither may wait for the other's claim."""
    others = OpenClaim("other", sid(1), sid(2), what)
    api = FailingApi([BUSY])
    claimed(claims, others, now=moment(0), until=moment(90))
    result = executor(api, claims, pauses=[], applies=3).execute(ENDS_PARENT)
    assert isinstance(result, ActionEvent)
    assert (result.result, api.sent) == (DONE, ["hangup", "hangup"])


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
    result = executor(FailingApi(), claims, pauses=[]).execute(after_dial_action(duration=duration))
    event = declined(result) if ended_by_limit else result
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
    outcome = executor(api, claims, pauses=[]).execute(action(SURVEY))
    recorded = outcome.event if isinstance(outcome, Unsent) else outcome
    assert (isinstance(outcome, Unsent), api.sent == []) == (by_callback, by_callback)
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
    failure = ApiError("no", status=400, code="21218")
    event = executor(FailingApi([failure]), claims, pauses=[]).execute(action(Limit(60)))
    assert isinstance(event, ActionEvent)
    assert (event.result, event.code) == (REFUSED, "21218")


def test_it_is_done_once_also_by_another_watch(claims: SqliteStore) -> None:
    first, second = FailingApi(), FailingApi()
    assert executor(first, claims, pauses=[]).execute(action(SURVEY)) is not None
    assert executor(second, claims, pauses=[]).execute(action(SURVEY)) == Declination(None)
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
    unsent = working.execute(Action(rule, sid(1), sid(1), sid(1), needs_precheck=True, is_own=True))
    assert api.sent == []
    assert isinstance(unsent, Unsent)
    assert unsent.event
    assert (unsent.event.result, unsent.event.status) == (LATE, "in-progress")


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


@pytest.mark.parametrize("repeats", [True, False])
def test_nothing_is_sent_again_where_another_took_the_claim_over_while_the_call_was_looked_at(
    claims: SqliteStore, repeats: bool
) -> None:
    """The look may take longer than a lease, where REST is slow."""

    class SlowApi(MovingCallApi):
        def fetch(self, sid: str) -> Call:
            for claim in claims.expired_claims(is_over=lambda _: True):
                assert claims.take_over(claim, now=moment(0), until=moment(90))
            return super().fetch(sid)

    api = SlowApi(repeats=repeats)
    assert executor(api, claims, pauses=[]).execute(action(SURVEY)) is None
    assert len(api.sent) == 1


def test_what_all_watches_did_in_a_minute_counts_for_each(claims: SqliteStore) -> None:
    limit = ActionLimit(per_second=5, per_minute=1)
    before = OpenClaim("theirs", sid(2), sid(2), "hangup")
    assert claims.claim(before, now=moment(0), until=moment(90), limit=limit)
    api = FailingApi()
    outcome = executor(api, claims, pauses=[]).execute(action(Hangup()), limit=limit)
    assert outcome == Postponed(retry=False, limit_reached=True)
    assert api.sent == []

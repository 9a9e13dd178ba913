"""What the store knows for the commands that change calls: refusals, changes, and since when a call has its status."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from events import ACCOUNT, event, moment, sid

from callctl.calls.action import LATE, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.leg import Leg
from callctl.cli.io.results import Outcome
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import calls
from callctl.cli.options.history import History, StatusSince
from callctl.errors import (
    ApiError,
    CallctlError,
    NoLongerWantedError,
    OutcomeUnknownError,
    StoreAwayError,
    StoreError,
    WrongCallStateError,
)
from callctl.settings import load
from callctl.store import opening
from callctl.store.sqlite.store import SqliteStore

DIALS = "<Response><Dial>+12025550101</Dial></Response>"
SURVEYS = '<Response><Dial action="https://example.com/survey">+12025550101</Dial></Response>'
CREATED, DIALLED, CHANGED = moment(0), moment(2), moment(9)


def call(status: str) -> Call:
    return Call(sid(1), status, date_created=CREATED, start_time=DIALLED, date_updated=CHANGED)


def leg(*events: CallEvent) -> Leg | None:
    board = Board()
    for one in events:
        board.apply(one)
    return board.snapshot().leg(sid(1))


def test_what_callbacks_reported_counts() -> None:
    recorded_leg = leg(event(1, "ringing", number=1, at=3), event(1, "in-progress", number=2, at=20))
    since = StatusSince(lambda _: recorded_leg)
    assert since(call("in-progress")) == moment(20)
    assert since.in_words([sid(1)]) is None


def test_a_step_that_rest_does_not_show_yet_counts_as_well() -> None:
    """A call that was answered just now has not rung for longer than it did."""
    recorded_leg = leg(event(1, "in-progress", number=2, at=20))
    assert StatusSince(lambda _: recorded_leg)(call("ringing")) == moment(20)


@pytest.mark.parametrize("behind", [0.5, -600.5])
def test_of_a_callback_without_a_timestamp_no_clock_that_was_behind_makes_a_call_old(behind: float) -> None:
    recorded_leg = leg(event(1, "ringing", number=1, at=None, received=3 + behind))
    since = StatusSince(lambda _: recorded_leg)
    assert since(call("ringing")) == CHANGED
    assert since(Call(sid(1), "ringing", date_created=CREATED)) == max(CREATED, moment(3 + behind))
    assert since(Call(sid(1), "ringing")) == moment(3 + behind)
    assert since.by_rest == set()


@pytest.mark.parametrize(
    "recorded_leg", [None, leg(event(1, "ringing", number=1, at=3))], ids=["nothing", "an earlier step"]
)
def test_else_the_latest_of_rests_dates_counts_and_that_is_said(recorded_leg: Leg | None) -> None:
    since = StatusSince(lambda _: recorded_leg)
    assert since(call("in-progress")) == CHANGED
    assert "of 1 call no callback reported since when" in (since.in_words([sid(1)]) or "")
    assert since.in_words([sid(2)]) is None


@pytest.mark.parametrize(("changed", "is_known"), [(3, False), (5, False), (6, True)])
def test_a_change_from_before_a_call_last_rang_is_not_that_of_its_answer(changed: int, is_known: bool) -> None:
    """A service may not count an answer as a change."""
    recorded_leg = leg(event(1, "ringing", number=1, at=3))
    answered = replace(call("in-progress"), date_updated=moment(changed))
    assert StatusSince(lambda _: recorded_leg)(answered) == (moment(changed) if is_known else None)
    assert StatusSince(lambda _: None)(answered) == moment(changed)
    ringing = replace(answered, status="ringing")
    assert StatusSince(lambda _: leg(event(1, "initiated", number=0, at=3)))(ringing) == moment(changed)


def test_what_a_poll_reported_is_rests_word() -> None:
    polled = CallEvent.from_call(call("in-progress"), received_at=moment(5), world="w")
    since = StatusSince(lambda _: leg(polled))
    assert since(call("in-progress")) == CHANGED
    assert since.by_rest == {sid(1)}


def test_without_any_date_nothing_is_known() -> None:
    assert StatusSince(lambda _: None)(Call(sid(1), "ringing")) is None


@pytest.mark.parametrize("recorded_leg", [None, leg(event(1, "ringing", number=1, at=3))])
def test_nor_is_it_without_the_last_change_for_the_status_may_be_newer_than_the_call(recorded_leg: Leg | None) -> None:
    undated = Call(sid(1), "in-progress", date_created=CREATED, start_time=DIALLED)
    assert StatusSince(lambda _: recorded_leg)(undated) is None


@pytest.mark.parametrize(
    ("status", "dialled", "since"),
    [
        ("in-progress", DIALLED, moment(9 + 605)),
        ("in-progress", None, None),
        ("ringing", DIALLED, CHANGED),
        ("ringing", None, None),
        ("queued", None, CHANGED),
    ],
)
def test_where_the_store_was_not_read_an_answer_may_be_newer_than_rests_dates(
    status: str, dialled: datetime | None, since: datetime | None
) -> None:
    shown, is_read = replace(call(status), start_time=dialled), False
    status_since = StatusSince(lambda _: None, was_read=lambda _: is_read)
    assert status_since(shown) == since
    assert "the event store was not read" in (status_since.in_words(()) or "")
    is_read = True
    assert status_since(shown) == CHANGED
    assert status_since.in_words(()) is None
    assert "no callback reported" in (status_since.in_words([sid(1)]) or "")
    is_read = False
    assert status_since(replace(shown, date_updated=None)) is None


class Requests:
    """A history beside a store, or without one."""

    def __init__(self, home: Path, *, has_store: bool) -> None:
        self.settings = load({"HOME": str(home), "TWILIO_ACCOUNT_SID": ACCOUNT}, cwd=home)
        if has_store:
            SqliteStore.open(self.settings.store, world=self.settings.world).close()
        quiet = io.StringIO()
        self.runtime = Runtime({}, home, quiet, quiet, quiet, now=lambda: moment(50))

    def fail(self, error: CallctlError) -> None:
        """Send a request that fails."""
        with (
            History(self.runtime, self.settings) as history,
            pytest.raises(type(error)),
            history.requesting(sid(1), "hangup", (("Status", "completed"),)),
        ):
            raise error

    def changes(self) -> list[ActionEvent]:
        """Return what may have changed the call."""
        with History(self.runtime, self.settings, readonly=True) as history:
            return [action for action in history.actions(sid(1)) if action.may_have_changed_it]

    @property
    def recorded(self) -> list[tuple[str, str, str]]:
        """What the store has of it."""
        with closing(SqliteStore.open_readonly(self.settings.store, world=self.settings.world)) as store:
            return [(action.action, action.result, action.outcome) for action in store.actions(sid(1))]


def test_a_refusal_is_recorded_and_changed_nothing(home: Path) -> None:
    """A running watch shows it as a failure."""
    requests = Requests(home, has_store=True)
    requests.fail(ApiError("HTTP 503: try later", status=503))
    requests.fail(WrongCallStateError("it is over", status=400, code="21220"))
    assert requests.recorded == [("hangup", REFUSED, "HTTP 503: try later"), ("hangup", LATE, "it is over")]
    assert requests.changes() == []


@pytest.mark.parametrize("is_others", [True, False])
def test_what_is_refused_ends_no_intent_of_another_command(home: Path, is_others: bool) -> None:
    """Its hang-up is still under way: no rule may take the end of the call for the end of a conversation."""
    requests = Requests(home, has_store=True)
    with closing(SqliteStore.open(requests.settings.store, world=requests.settings.world)) as store:
        if is_others:
            store.add_intents([sid(1)], now=moment(40), until=moment(100))
        with History(requests.runtime, requests.settings) as history:
            history.record_intent([sid(1)])
            with (
                pytest.raises(WrongCallStateError),
                history.requesting(sid(1), "redirect", (("Url", "https://example.com/survey.xml"),)),
            ):
                raise WrongCallStateError("it is over", status=400, code="21220")
        assert store.had_intent(sid(1)) is is_others


def test_a_request_that_was_no_longer_wanted_is_no_failure(home: Path) -> None:
    requests = Requests(home, has_store=True)
    requests.fail(NoLongerWantedError("it was answered"))
    assert requests.recorded == []


def test_for_a_refusal_no_store_is_made(home: Path) -> None:
    requests = Requests(home, has_store=False)
    requests.fail(ApiError("HTTP 503: try later", status=503))
    assert not requests.settings.store.exists()


def test_what_may_have_changed_a_call_is_found(home: Path) -> None:
    requests = Requests(home, has_store=True)
    requests.fail(OutcomeUnknownError("no answer"))
    (change,) = requests.changes()
    assert (change.action, change.result, change.at) == ("hangup", UNKNOWN, moment(50))


@pytest.mark.parametrize("answers_again", [True, False])
def test_a_server_that_was_away_at_first_is_tried_once_more_at_the_end(
    home: Path, monkeypatch: pytest.MonkeyPatch, answers_again: bool
) -> None:
    """Each try may take seconds, and what was done should be written down all the same."""
    requests, tries = Requests(home, has_store=True), list[str]()

    def fail(*_args: object, **_options: object) -> None:
        tries.append("tried")
        raise StoreAwayError("can't reach it")

    monkeypatch.setattr(calls, "open_existing", fail)
    if not answers_again:
        monkeypatch.setattr(opening, "open_store", fail)
    with History(requests.runtime, requests.settings) as history:
        assert history.is_incomplete
        for number in (1, 2):
            history.record([Outcome("hangup", sid(number), "ended", "ended", ())])
        assert len(tries) == 1
    assert len(requests.recorded) == answers_again
    assert len(tries) == (1 if answers_again else 2)


@pytest.mark.parametrize("behind", [-600, 0, 600])
@pytest.mark.parametrize(("first", "last", "action"), [(DIALS, SURVEYS, None), (SURVEYS, DIALS, "")])
def test_where_a_dial_ends_is_known_of_the_last_redirect_whatever_its_clock(
    home: Path, behind: float, first: str, last: str, action: str | None
) -> None:
    requests = Requests(home, has_store=True)
    with closing(SqliteStore.open(requests.settings.store, world=requests.settings.world)) as store:
        for at, twiml in ((moment(50), first), (moment(60 - behind), last)):
            request = (("Twiml", twiml),)
            store.record_actions(
                [ActionEvent(at=at, call_sid=sid(1), action="redirect", request=request, outcome="done")]
            )
    with History(requests.runtime, requests.settings, readonly=True) as history:
        assert history.dial_action(sid(1)) == action


def test_calls_that_lie_in_the_future_keep_none_of_now_from_being_fetched(home: Path) -> None:
    """They may do so for years, and only so many are fetched."""
    requests = Requests(home, has_store=True)
    with closing(SqliteStore.open(requests.settings.store, world=requests.settings.world)) as store:
        for number, at in enumerate((40, 90_000, 45, 49, 80_000), 1):
            store.append(event(number, "ringing", number=1, at=at))
    with History(requests.runtime, requests.settings, readonly=True) as history:
        assert list(history.lately_live(["ringing"])) == [sid(number) for number in (4, 3, 1, 2, 5)]


@pytest.mark.parametrize("is_urgent", [True, False])
def test_a_hangup_waits_for_a_store_that_does_not_answer_no_longer_than_before(
    home: Path, monkeypatch: pytest.MonkeyPatch, is_urgent: bool
) -> None:
    limits: list[float] = []

    def wait_in_vain(seconds: float, _work: Callable[[], object]) -> None:
        limits.append(seconds)
        raise TimeoutError

    monkeypatch.setattr("callctl.cli.options.history.run_with_time_limit", wait_in_vain)
    requests = Requests(home, has_store=True)
    with closing(SqliteStore.open(requests.settings.store, world=requests.settings.world)) as store:
        store.append(event(1, "ringing", number=1, at=3))
    with History(requests.runtime, requests.settings, is_urgent=is_urgent) as history:
        families = [list(history.family(sid(1))) for _ in range(2)]
        history.record_intent([sid(1)])
    assert families == ([[], []] if is_urgent else [[sid(1)], [sid(1)]])
    assert limits == ([1.0, 0.0] if is_urgent else [1.0])


def test_a_call_without_callbacks_differs_from_one_that_could_not_be_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests(home, has_store=False)
    with History(requests.runtime, requests.settings, readonly=True) as history:
        assert (history.leg(sid(1)), history.was_read(sid(1))) == (None, True)
    requests = Requests(home, has_store=True)
    with History(requests.runtime, requests.settings, readonly=True) as history:
        assert (history.leg(sid(1)), history.was_read(sid(1))) == (None, True)
        with monkeypatch.context() as patched:
            patched.setattr(SqliteStore, "call", fail)
            assert (history.leg(sid(1)), history.was_read(sid(1)), history.was_read(sid(2))) == (None, False, True)
        assert (history.leg(sid(1)), history.was_read(sid(1))) == (None, True)
    for opening_it in ("open_store_alone", "open_store_for_writing"):
        monkeypatch.setattr(f"callctl.cli.options.history.{opening_it}", fail)
    for readonly in (True, False):
        with History(requests.runtime, requests.settings, readonly=readonly) as history:
            assert (history.leg(sid(1)), history.was_read(sid(1))) == (None, False)


def fail(*_: object, **__: object) -> None:
    raise StoreError("can't read the event store: disk I/O error")


def test_the_family_of_a_call_is_read_where_only_its_child_was_reported(home: Path) -> None:
    requests = Requests(home, has_store=True)
    with History(requests.runtime, requests.settings, readonly=True) as history:
        assert history.family(sid(1)) == {}
    with closing(SqliteStore.open(requests.settings.store, world=requests.settings.world)) as store:
        store.append(event(2, "ringing", number=1, at=3, parent=1))
    with History(requests.runtime, requests.settings, readonly=True) as history:
        assert {leg.call_sid: leg.parent_call_sid for leg in history.family(sid(1)).values()} == {sid(2): sid(1)}

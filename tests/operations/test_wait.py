"""Waiting for a status, with a clock that only sleeping moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from calls_api import UnexpectedRequest
from operations.fake_api import SID, Time, Unanswered, call

from callctl.calls.call import Call
from callctl.errors import ConditionNotMetError, NotFoundError, UsageError, WaitTimeoutError
from callctl.operations.wait import GAP_WITH_CALLBACKS, GAPS, LOOK, Goal, Reported, Waiter

# When each status begins, in seconds.
Life = Sequence[tuple[float, str]]
ANSWERED: Life = [(0, "queued"), (1, "ringing"), (8, "in-progress"), (60, "completed")]
BUSY: Life = [(0, "queued"), (1, "ringing"), (3, "busy")]


@dataclass
class Rest(UnexpectedRequest):
    """The API: shows a call as its life has it at the time."""

    time: Time
    life: Life
    requests_at: list[float] = field(default_factory=list)
    missing_until: float = 0.0

    def fetch(self, sid: str) -> Call:
        self.requests_at.append(self.time.now)
        if self.time.now < self.missing_until:
            raise NotFoundError("no such call", status=404, code="20404")
        return call([status for begins, status in self.life if begins <= self.time.now][-1], sid)


@dataclass
class Watch:
    """What callbacks reported to a watch, while it runs."""

    time: Time
    life: Life = ()
    runs: Callable[[float], bool] = lambda _now: True
    is_reached: Callable[[float], bool] = lambda _now: True

    def reported(self, sid: str) -> Reported:
        assert sid == SID
        now = self.time.now
        so_far = [(begins, status) for begins, status in self.life if begins <= now] if self.runs(now) else []
        age = now - so_far[-1][0] if so_far else 0.0
        return Reported([status for _, status in so_far], age, is_complete=self.is_reached(now))


@dataclass
class WaitSetup:
    rest: Rest
    waiter: Waiter
    statuses: list[str]

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.rest.requests_at)]


def wait_setup(
    life: Life,
    *,
    reported: Life = (),
    watch_runs: Callable[[float], bool] = lambda _now: True,
    watch_is_reached: Callable[[float], bool] = lambda _now: True,
    missing_until: float = 0.0,
    missing_for: float = 0.0,
) -> WaitSetup:
    time = Time()
    rest = Rest(time, life, missing_until=missing_until)
    statuses: list[str] = []
    waiter = Waiter(
        SID,
        api=rest,
        reported=Watch(time, reported, watch_runs, watch_is_reached).reported,
        sleep=time.sleep,
        now=time.monotonic,
        on_status=statuses.append,
        missing_for=missing_for,
    )
    return WaitSetup(rest, waiter, statuses)


def goal(text: str) -> Goal:
    return Goal.read(text, option="--for")


def test_without_callbacks_it_asks_with_growing_gaps_until_it_gets_there() -> None:
    setup = wait_setup([(0, "queued"), (1, "ringing"), (40, "in-progress")])
    reached = setup.waiter.until(goal("in-progress"), limit=None)
    assert (reached.status, reached.source) == ("in-progress", "rest")
    assert setup.statuses == ["queued", "ringing", "in-progress"]
    assert all(later > earlier - LOOK for earlier, later in pairwise(setup.gaps))  # in steps of LOOK
    assert setup.gaps[0] < 1
    assert max(setup.gaps) == pytest.approx(GAPS.longest, abs=0.2)


def test_from_callbacks_it_knows_at_once_and_asks_nobody() -> None:
    setup = wait_setup(ANSWERED, reported=ANSWERED)
    reached = setup.waiter.until(goal("answered"), limit=None)
    assert (reached.status, reached.source) == ("in-progress", "callbacks")
    assert setup.rest.requests_at == []


def test_a_lost_callback_is_made_up_for_by_asking_after_a_long_silence() -> None:
    setup = wait_setup(ANSWERED, reported=ANSWERED[:3])
    reached = setup.waiter.until(goal("ended"), limit=None)
    assert (reached.status, reached.source) == ("completed", "rest")
    assert len(setup.rest.requests_at) == 2
    assert setup.rest.requests_at[0] == pytest.approx(8 + GAP_WITH_CALLBACKS, abs=0.3)


def test_rest_is_asked_once_more_before_a_wait_ends_in_vain() -> None:
    setup = wait_setup(
        [(0, "queued"), (1, "ringing"), (20, "in-progress")], reported=[(0, "initiated"), (1, "ringing")]
    )
    reached = setup.waiter.until(goal("answered"), limit=27)
    assert (reached.status, reached.source) == ("in-progress", "rest")
    assert setup.rest.requests_at == [pytest.approx(27)]


def test_the_limit_is_over_only_once_rest_says_so_too() -> None:
    setup = wait_setup([(0, "ringing")], reported=[(0, "ringing")])
    with pytest.raises(WaitTimeoutError, match="is not in-progress after 7 s: it is ringing"):
        setup.waiter.until(goal("answered"), limit=7)
    assert setup.rest.requests_at == [pytest.approx(7)]


def test_what_callbacks_say_is_not_certain_where_the_last_question_is_not_answered(unanswered: Unanswered) -> None:
    waiter = wait_setup([], reported=[(0, "ringing")]).waiter
    waiter._api = unanswered
    with pytest.raises(WaitTimeoutError, match="is not known to be in-progress after 1 s: it was ringing"):
        waiter.until(goal("answered"), limit=1)


@pytest.mark.parametrize(("age", "asked_after"), [(20, 10), (29, 1), (30, 0), (900, 0)])
def test_old_news_at_the_beginning_has_rest_asked_the_earlier(age: float, asked_after: float) -> None:
    setup = wait_setup([(-1000, "in-progress"), (-1, "completed")], reported=[(-age, "in-progress")])
    assert setup.waiter.until(goal("ended"), limit=None).source == "rest"
    assert setup.rest.requests_at == [pytest.approx(asked_after, abs=2 * LOOK)]


def test_news_from_the_future_has_rest_asked_as_new_ones_do() -> None:
    """The clock was set back, or is another machine's."""
    setup = wait_setup([(0, "completed")])
    setup.waiter._reported_by = lambda _sid: Reported(["in-progress"], age=-3600.0)
    assert setup.waiter.until(goal("ended"), limit=None).source == "rest"
    assert setup.rest.requests_at == [pytest.approx(GAP_WITH_CALLBACKS, abs=2 * LOOK)]


def test_old_news_that_is_enough_has_nobody_asked() -> None:
    setup = wait_setup([(-900, "in-progress")], reported=[(-900, "in-progress")])
    assert setup.waiter.until(goal("answered"), limit=0).source == "callbacks"
    assert setup.rest.requests_at == []


def test_rest_is_asked_as_without_callbacks_while_none_come_through() -> None:
    life = [(0, "queued"), (1, "ringing"), (12, "in-progress"), (25, "completed")]
    setup = wait_setup(life, reported=life[:2], watch_is_reached=lambda now: now < 5)
    reached = setup.waiter.until(goal("answered"), limit=None)
    assert (reached.status, reached.source) == ("in-progress", "rest")
    assert setup.rest.requests_at[0] == pytest.approx(5, abs=0.3)
    assert max(setup.gaps) <= GAPS.longest + 2 * LOOK
    assert setup.rest.requests_at[-1] < 20


@pytest.mark.parametrize(
    ("name", "event"), [("ringing", "ringing"), ("answered", "answered"), ("ended", "completed"), ("busy", "completed")]
)
def test_each_status_is_reported_by_the_callback_of_an_event(name: str, event: str) -> None:
    assert goal(name).event == event


def test_when_the_watch_goes_away_rest_is_requests_at_once() -> None:
    setup = wait_setup(ANSWERED, reported=ANSWERED, watch_runs=lambda now: now < 5)
    reached = setup.waiter.until(goal("answered"), limit=None)
    assert reached.source == "rest"
    assert setup.rest.requests_at[0] == pytest.approx(5, abs=0.3)


def test_callbacks_take_over_as_soon_as_the_first_is_there() -> None:
    setup = wait_setup(ANSWERED, reported=ANSWERED[1:])
    assert setup.waiter.until(goal("answered"), limit=None).source == "callbacks"
    assert all(moment <= 1.1 for moment in setup.rest.requests_at)


def test_rest_that_lags_does_not_take_a_status_back() -> None:
    setup = wait_setup([(0, "queued")], reported=[(0, "initiated"), (1, "ringing")])
    with pytest.raises(WaitTimeoutError, match="it is ringing"):
        setup.waiter.until(goal("answered"), limit=40)
    assert setup.statuses == ["initiated", "ringing"]


@pytest.mark.parametrize(
    ("wanted", "passed"),
    [
        ("ringing", ["in-progress", "completed", "busy", "no-answer"]),
        ("answered", ["in-progress", "completed"]),
        ("ended", ["completed", "busy", "no-answer", "failed", "canceled"]),
        ("completed", ["completed"]),
    ],
)
def test_a_status_already_passed_counts(wanted: str, passed: list[str]) -> None:
    for status in ("in-progress", "completed", "busy", "no-answer", "failed", "canceled"):
        waiter = wait_setup([(0, status)]).waiter
        if status in passed:
            assert waiter.until(goal(wanted), limit=0).status == status
        else:
            with pytest.raises((ConditionNotMetError, WaitTimeoutError), match=status):
                waiter.until(goal(wanted), limit=0)


def test_what_callbacks_reported_before_counts_where_the_end_alone_does_not_show_it() -> None:
    canceled: Life = [(0, "queued"), (0, "ringing"), (0, "canceled")]
    assert wait_setup(canceled, reported=canceled).waiter.until(goal("ringing"), limit=0).status == "canceled"
    with pytest.raises(ConditionNotMetError):
        wait_setup(canceled).waiter.until(goal("ringing"), limit=0)


def test_an_end_of_another_kind_says_how() -> None:
    with pytest.raises(ConditionNotMetError, match=f"{SID} did not get to in-progress: it ended busy"):
        wait_setup(BUSY).waiter.until(goal("answered"), limit=60)


def test_the_limit_is_kept_and_says_how_it_stands() -> None:
    setup = wait_setup(ANSWERED)
    with pytest.raises(WaitTimeoutError, match="not in-progress after 4 s: it is ringing") as caught:
        setup.waiter.until(goal("answered"), limit=4)
    assert f"callctl hangup {SID}" in (caught.value.hint or "")
    assert setup.rest.time.now == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (None, f"{SID} is not known to be ended after 0.1 s; the API has not answered since"),
        ("ringing", f"{SID} is not known to be ended after 0.1 s: it was ringing by the last report; the API"),
    ],
)
def test_the_limit_is_kept_by_an_api_that_does_not_answer(
    before: str | None, words: str, unanswered: Unanswered
) -> None:
    waiter = wait_setup([]).waiter
    waiter._api = unanswered
    if before is not None:
        waiter._note(before, source="rest")
    with pytest.raises(WaitTimeoutError, match=words):
        waiter.until(goal("ended"), limit=0.1)


def test_a_call_placed_just_now_may_be_unknown_for_a_moment() -> None:
    setup = wait_setup(ANSWERED, missing_until=2, missing_for=5)
    assert setup.waiter.until(goal("ringing"), limit=None).status == "ringing"
    with pytest.raises(NotFoundError):
        wait_setup(ANSWERED, missing_until=9, missing_for=5).waiter.until(goal("ringing"), limit=None)
    with pytest.raises(NotFoundError):
        wait_setup(ANSWERED, missing_until=2).waiter.until(goal("ringing"), limit=None)


def test_a_status_nobody_knows_is_waited_through() -> None:
    setup = wait_setup([(0, "pondering"), (2, "ringing")])
    assert setup.waiter.until(goal("ringing"), limit=None).status == "ringing"
    assert setup.statuses == ["pondering", "ringing"]


@pytest.mark.parametrize("word", ["", "queued", "initiated", "done", "in progress"])
def test_words_that_are_no_goal_are_refused_with_those_that_are(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        goal(word)
    assert "answered, ringing, in-progress, ended, busy" in (caught.value.hint or "")


def test_answered_is_another_word_and_case_does_not_count() -> None:
    assert goal("Answered") == goal("in-progress")
    assert goal("ENDED").name == "ended"


def test_the_limit_of_many_counts_from_the_same_moment() -> None:
    setup = wait_setup(ANSWERED)
    work = setup.waiter.waiting(goal("answered"), limit=5, since=-4.0)
    pauses = []
    with pytest.raises(WaitTimeoutError, match="is not in-progress after 5 s"):
        for pause in work:
            pauses.append(pause)
            setup.rest.time.sleep(pause)
    assert sum(pauses) == pytest.approx(1.0)

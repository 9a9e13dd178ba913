"""What many stories come to, in words and in charts."""

from __future__ import annotations

import pytest
from events import WORLD, moment, sid

from callctl.calls.action import REFUSED
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.reports.figures import DELAYS, TIMES, Tally
from callctl.reports.overview import Overview
from callctl.support.dates import local_time
from reports.evening import StoredCalls, evening, talk


@pytest.fixture
def overview() -> Overview:
    overview = Overview()
    for story in evening().stories():
        overview.add(story)
    return overview


def test_it_says_what_happened_to_somebody_who_was_not_there(overview: Overview) -> None:
    assert overview.in_words == [
        "60 calls with 84 legs: 36 completed, 12 not answered, 12 failed. 12 legs failed: "
        "SIP 404 (not found) (9), SIP 503 (service unavailable) (3).",
        "6 calls were redirected, 54 times in all, by ann@ops; one of them, with +12025550100, 9 times. "
        "18 legs were ended, by ann@ops (12), rule ring-limit (6).",
        "6 requests came to nothing: redirect by ann@ops.",
    ]


def test_the_charts_count_each_call_and_each_leg_once(overview: Overview) -> None:
    charts = {chart.title: chart for chart in overview.charts}
    assert charts.keys() == {
        "Calls by when they began",
        "How legs came out",
        "From dialling to ringing",
        "How long legs rang",
        "How long legs talked",
        "How late callbacks arrived",
        "What commands and rules did",
        "Why legs failed",
    }
    assert sum(int(rect.title.split(": ")[1].split()[0]) for rect in charts["Calls by when they began"].rects) == 60
    assert [rect.title for rect in charts["How legs came out"].rects] == [
        "completed: 48",
        "busy: 6",
        "canceled: 18",
        "failed: 12",
    ]
    assert charts["How legs came out"].note == "48 of 84 were answered, 57.1 %"
    delays = charts["How late callbacks arrived"].note
    assert delays.endswith("of 288 of 288 callbacks. Twilio's times are whole seconds: up to 1 s is no delay")
    assert charts["How long legs rang"].note == "half of them up to 2 s, 95 % up to 35 s; of 72 of 84 legs"


def test_its_figures_of_times_are_those_of_stats(overview: Overview) -> None:
    figures = Tally()
    for stored in evening().stories():
        for one in stored.legs:
            assert one.facts is not None
            figures.add(one.facts)
    charts = {chart.title: chart for chart in overview.charts}
    for title, times, starts in (
        ("How long legs rang", figures.ring_time, TIMES),
        ("How late callbacks arrived", figures.callback_delay, DELAYS),
    ):
        bars = [f"{bar.label}: {bar.times:,}" for bar in times.bars(starts) if bar.times]
        assert [rect.title for rect in charts[title].rects] == bars


def test_a_chart_that_would_be_empty_is_left_out() -> None:
    stored, overview = StoredCalls(), Overview()
    overview.add(stored.story(talk(stored, 0, 20)))
    assert [chart.title for chart in overview.charts] == [
        "Calls by when they began",
        "How legs came out",
        "From dialling to ringing",
        "How long legs rang",
        "How long legs talked",
        "How late callbacks arrived",
    ]
    assert overview.in_words == ["1 call: 1 completed."]


def test_it_grows_with_its_figures_alone(overview: Overview) -> None:
    kept = [value for value in vars(overview).values() if isinstance(value, list)]
    assert all(isinstance(item, (int, tuple)) for values in kept for item in values)


def test_calls_without_a_callback_are_told_apart() -> None:
    overview = Overview()
    stored = StoredCalls()
    overview.add(stored.story(talk(stored, 0, 30)))
    assert "no callback arrived" not in overview.in_words[0]
    for number in (7, 8):
        call = Call(
            sid(number), "completed", start_time=moment(10 * number), end_time=moment(10 * number + 9), duration=9
        )
        stored.events.append(CallEvent.from_call(call, received_at=moment(99), world=WORLD))
        overview.add(stored.story(number))
    when = f"from {local_time(moment(70))} to {local_time(moment(80))}"
    assert overview.in_words[0] == f"3 calls: 3 completed. Of 2 calls, begun {when}, no callback arrived."


def test_a_limit_is_one_of_time() -> None:
    stored = StoredCalls()
    call = talk(stored, 0, 30)
    for at in (3, 4):
        stored.act(call, "limit", at, "refused: no", rule="short", result=REFUSED)
    overview = Overview()
    story = stored.story(call)
    overview.add(story)
    assert overview.in_words[-1] == "2 requests came to nothing: time limit by rule short."
    assert [remark.words for remark in story.remarks] == [
        "2 requests (time limit) by rule short came to nothing; the last: refused: no"
    ]
    assert [step.words for step in story.steps if step.kind == "rule"] == ["time limit: refused: no"] * 2

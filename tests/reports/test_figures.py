from __future__ import annotations

import pytest
from events import START, sid
from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.action import ActionEvent
from callctl.reports.figures import DELAYS, TIMES, Bar, Done, Figures, Groups, Histogram, Tally
from callctl.reports.leg_facts import LegFacts, LegKind


def leg(
    status: str = "completed",
    *,
    to: str = "+12025550100",
    code: str = "",
    answered: bool = True,
    outgoing: bool = True,
    child: bool = False,
    ring: int | None = 5000,
    delays: tuple[int, ...] = (),
) -> LegFacts:
    kind = LegKind(status, status not in ("ringing", "in-progress"), code, answered, outgoing, child, "callbacks")
    return LegFacts(sid(1), kind, "+15005550006", to, 0, 2000, ring, 42_000 if answered else None, delays, 0, False)


def tally(*legs: LegFacts) -> Tally:
    counted = Tally()
    for one in legs:
        counted.add(one)
    return counted


def histogram(*milliseconds: int) -> Histogram:
    counted = Histogram()
    counted.add_all(milliseconds)
    return counted


@given(st.lists(st.integers(-5, 10**11), max_size=200), st.integers(1, 100))
def test_quantiles_are_of_the_nearest_rank_to_three_digits(times: list[int], percent: int) -> None:
    counted = histogram(*times)
    found = counted.quantile(percent)
    if not times:
        assert found is None
        return
    exact = min(max(sorted(times)[-(-len(times) * percent // 100) - 1], 0), 10**10)
    assert found == pytest.approx(exact / 1000, rel=0.005)
    assert counted.count == len(times)


@given(st.lists(st.integers(0, 999)))
def test_whole_seconds_are_exact(seconds: list[int]) -> None:
    counted = histogram(*(second * 1000 for second in seconds))
    assert counted.quantile(100) == (max(seconds) if seconds else None)


def test_however_many_times_there_are_few_are_kept() -> None:
    counted = histogram(*range(0, 10**9, 9973))
    assert len(counted.counts) < 7000


@given(st.lists(st.integers(0, 10**8)), st.lists(st.integers(0, 10**8)))
def test_merged_they_are_as_if_counted_together(some: list[int], others: list[int]) -> None:
    merged = histogram(*some)
    merged.merge(histogram(*others))
    assert merged.counts == histogram(*some, *others).counts


def test_bars_go_from_the_first_to_the_last_that_is_not_empty() -> None:
    bars = histogram(1999, 2000, 9999, 20_000).bars(TIMES)
    assert bars == [Bar(2, 5, 2), Bar(5, 10, 0), Bar(10, 20, 1), Bar(20, 30, 1)]  # 1999 and 9999 to three digits
    assert histogram(10**10).bars(TIMES) == [Bar(3600, None, 1)]
    assert histogram(50, 150).bars(DELAYS) == [Bar(0, 0.1, 1), Bar(0.1, 0.2, 1)]
    assert histogram().bars(TIMES) == []


def test_callbacks_before_their_time_are_counted() -> None:
    counted = tally(leg(delays=(-2000, 84, 84)), leg(delays=(-1,)))
    assert (counted.early, counted.callback_delay.quantile(100), counted.callback_delay.count) == (2, 0.084, 4)


LEGS = [
    leg(),
    leg(code="200", child=True),
    leg("busy", answered=False, code="486"),
    leg("busy", answered=False, code="486"),
    leg("ringing", answered=False, ring=None),
    leg("in-progress", outgoing=False),
]


def test_of_some_legs() -> None:
    counted = tally(*LEGS)
    assert (counted.legs, counted.calls, counted.live) == (6, 5, 2)
    assert (counted.answered, counted.decided, counted.answer_rate) == (3, 5, 0.6)
    assert (counted.outgoing_answered, counted.outgoing_decided, counted.outgoing_answer_rate) == (2, 4, 0.5)
    assert counted.ends == {("busy", "486"): 2, ("completed", ""): 1, ("completed", "200"): 1}
    assert counted.ended_with == {"busy": 2, "completed": 2}
    assert Tally().answer_rate is None


def test_tallies_merged_are_as_if_counted_together() -> None:
    merged = tally(*LEGS[:2])
    merged.merge(tally(*LEGS[2:]))
    assert merged.to_json() == tally(*LEGS).to_json()


def counted_by_number(numbers: list[int], *, most: int) -> Figures:
    figures = Figures(Groups(lambda one: one.to, most=most))
    for number in numbers:
        figures.add(leg(to=str(number)))
    return figures


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 6))
def test_of_too_many_groups_those_with_the_most_legs_are_kept(numbers: list[int], most: int) -> None:
    groups = counted_by_number(numbers, most=most).groups
    assert groups is not None
    shown, others = groups.top(most)
    assert len(groups.tallies) <= 2 * most
    assert sum(group.legs for _, group in shown) + others.legs == len(numbers)
    assert groups.lost <= len(numbers) / (most + 1)
    for number in set(numbers):
        kept = groups.tallies.get(str(number), Tally()).legs
        assert numbers.count(number) - groups.lost <= kept <= numbers.count(number)


@given(st.lists(st.lists(st.integers(0, 30), max_size=100), min_size=1, max_size=4), st.integers(1, 6))
def test_groups_of_several_parts_are_merged_with_no_more_lost(parts: list[list[int]], most: int) -> None:
    merged, *others = (counted_by_number(numbers, most=most) for numbers in parts)
    for other in others:
        merged.merge(other)
    groups, numbers = merged.groups, [number for part in parts for number in part]
    assert groups is not None
    assert len(groups.tallies) <= 2 * most
    assert sum(group.legs for group in groups.tallies.values()) + groups.others.legs == len(numbers) == merged.all.legs
    assert groups.lost <= len(numbers) / (most + 1)
    for number in set(numbers):
        kept = groups.tallies.get(str(number), Tally()).legs
        assert numbers.count(number) - groups.lost <= kept <= numbers.count(number)


def test_the_groups_with_the_most_legs_come_first() -> None:
    groups = counted_by_number([1, 2, 2, 3, 3, 3, 4], most=10).groups
    assert groups is not None
    shown, others = groups.top(2)
    assert [(key, group.legs) for key, group in shown] == [("3", 3), ("2", 2)]
    assert (others.legs, groups.lost) == (2, 0)


def test_a_name_without_end_is_cut() -> None:
    figures = Figures(Groups(lambda one: one.to))
    figures.add(leg(to="x" * 65_536))
    assert figures.groups is not None
    assert list(figures.groups.tallies) == ["x" * 256]


def test_who_did_what() -> None:
    figures = Figures()
    for rule, by in (("after-dial", None), (None, "ann@desk"), ("after-dial", None), (None, None)):
        figures.add_action(ActionEvent(START, sid(1), "hangup", (), "ended", rule=rule, by=by))
    assert figures.actions_in_order() == [
        (Done("after-dial", None, "hangup", "done"), 2),
        (Done(None, None, "hangup", "done"), 1),
        (Done(None, "ann@desk", "hangup", "done"), 1),
    ]

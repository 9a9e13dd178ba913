"""Charts as data: everything is counted, and everything stands within the picture."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.reports.charts import Chart, Column, Slice, bar_chart, column_chart, over_time

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def stands_within(chart: Chart) -> bool:
    """Return whether no bar leaves the picture, and no bar has less than no size."""
    return all(
        rect.x >= 0 and rect.y >= -0.1 and rect.width >= 0 and rect.height >= 0
        and rect.x + rect.width <= chart.width + 0.1 and rect.y + rect.height <= chart.height + 0.1
        for rect in chart.rects
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 10**8), st.sampled_from(["failed", "completed"]))))
def test_over_time_counts_each_thing_once_and_in_its_look(things: list[tuple[int, str]]) -> None:
    columns = over_time(
        [(NOON + timedelta(seconds=second), look) for second, look in things], looks=("completed", "failed")
    )
    for look in ("completed", "failed"):
        assert sum(column.parts[look] for column in columns) == sum(one == look for _, one in things)
    assert stands_within(column_chart("of these", columns))


def test_the_columns_over_time_begin_at_round_times() -> None:
    columns = over_time(
        [(NOON + timedelta(minutes=minutes), "completed") for minutes in (7, 8, 70)], looks=("completed",)
    )
    assert {column.label[-1] for column in columns} <= {"0", "5"}
    assert [column.parts["completed"] for column in columns if column.parts["completed"]] == [2, 1]


@given(st.lists(st.builds(Slice, st.text(), st.integers(0, 10**9))))
def test_bars_stand_within_the_chart(slices: list[Slice]) -> None:
    chart = bar_chart("of these", slices)
    assert len(chart.rects) == len(slices)
    assert stands_within(chart)


def test_a_bar_says_what_it_is_and_how_much() -> None:
    chart = bar_chart("Ends", [Slice("completed", 31, "completed"), Slice("failed", 12, "failed", "12 (28 %)")])
    assert [(rect.look, rect.title) for rect in chart.rects] == [
        ("completed", "completed: 31"),
        ("failed", "failed: 12 (28 %)"),
    ]
    assert chart.in_words == "completed: 31; failed: 12 (28 %)"
    assert chart.rects[0].width > chart.rects[1].width


def test_the_legend_names_what_there_is() -> None:
    columns = [Column("12:00", "at noon", {"completed": 2, "failed": 0})]
    chart = column_chart("Calls", columns, legend=(("completed", "completed"), ("failed", "failed")))
    assert chart.legend == (("completed", "completed"),)
    assert [rect.title for rect in chart.rects] == ["at noon: 2 completed"]


@pytest.mark.parametrize(
    ("most", "ticks"), [(1, "0 1"), (4, "0 1 2 3 4"), (12, "0 5 10 15"), (5000, "0 1,000 2,000 3,000 4,000 5,000")]
)
def test_the_axis_has_round_numbers(most: int, ticks: str) -> None:
    chart = column_chart("of these", [Column("a", "a", {"plain": most})])
    assert [text.words for text in chart.texts if text.anchor == "end"] == ticks.split()


def test_labels_below_columns_do_not_touch() -> None:
    hours = [Column(f"{hour:02}:00", f"{hour} h", {"plain": 1}) for hour in range(24)]
    spans = [Column(label, label, {"plain": 80}) for label in ("1-2 s", "20-30 s", "30-60 s", "1-2 min")] * 2
    for columns, most_apart in ((hours, 60), (spans, 55)):
        labels = [text for text in column_chart("of these", columns).texts if text.anchor == "middle"]
        distances = [after.x - before.x for before, after in itertools.pairwise(labels)]
        assert len({text.y for text in labels}) == 1
        assert max(len(text.words) for text in labels) * 7 < min(distances) + 1 <= max(distances) + 1 < most_apart

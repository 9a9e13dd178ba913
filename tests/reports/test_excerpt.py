"""Stories of calls that dialled many legs: all of it is written, what is drawn can be read, and work grows linearly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from events import WORLD, event, sid
from hypothesis import example, given
from hypothesis import strategies as st
from stage import local_time_is_utc
from work import work_of

from callctl.api.resources import Notification
from callctl.reports.diagram import diagram_of
from callctl.reports.excerpt import MOST_LEGS, Excerpt, excerpt_of
from callctl.reports.mermaid import markdown, sequence_diagram
from callctl.reports.overview import Overview
from callctl.reports.stories.rest_facts import RestFacts
from callctl.reports.stories.stored_family import find_family, read_family
from callctl.reports.stories.story import Story, story_of
from callctl.reports.story_csv import csv_lines
from callctl.reports.story_json import story_json
from callctl.store.sqlite.store import SqliteStore
from reports.evening import StoredCalls
from reports.test_mermaid import LINE
from reports.test_page import page_of

ENDS = ("no-answer", "busy", "failed", "canceled")


def queue(count: int, *, answered: tuple[int, ...] = (), redirects: int = 0) -> StoredCalls:
    """Return a call that dials so many agents, one after the other, of whom most don't answer."""
    stored = StoredCalls()
    end = 10.0 + 10 * count
    caller = stored.leg(("ringing", 0), ("in-progress", 1), ("completed", end), to="+12025550100", CallDuration="9")
    for number in range(count):
        at = 2.0 + 10 * number
        talk = [("in-progress", at + 3)] if number in answered else []
        stored.leg(
            ("initiated", at), ("ringing", at + 1), *talk, ("completed" if talk else ENDS[number % 4], at + 9),
            to=f"sip:agent{number}@example.com", parent=caller,
        )  # fmt: skip
        for _ in range(redirects):
            stored.act(caller + 1 + number, "redirect", at + 4, "to survey")
            stored.act(caller, "hangup", at + 5, "no", result="refused")
            stored.act(caller, "redirect", at + 8.5, "to queue")
    return stored


def excerpt(story: Story, *, most: int = 160, first: int = 110) -> Excerpt:
    return excerpt_of(story, most_steps=most, first_steps=first)


def rows_of_legs(page: str) -> list[str]:
    """Return the SIDs in the table of legs, row by row."""
    (table,) = re.findall(r'(?s)<table class="legs">.*?</table>', page)
    return re.findall(r"<code[^>]*>(CA[0-9a-f]{32})</code>", table)


_STATUSES = st.sampled_from(("initiated", "ringing", "in-progress", "completed", *ENDS, "teleporting"))
# Of each leg: under which it stands, counted back from its own, and its steps.
_LEG = st.tuples(st.integers(0, 3), st.lists(st.tuples(_STATUSES, st.integers(0, 40)), min_size=1, max_size=4))


@given(st.lists(_LEG, max_size=6), st.integers(0, 150), st.lists(st.integers(1, 160), max_size=40))
@example([(0, [("initiated", 0), ("ringing", 0), ("no-answer", 9)])], 60, [])
@example([(1, [("completed", 0)])], 150, [])
@example([], 0, [1] * 40)
def test_families_of_any_size_are_written_in_every_format(
    kinds: list[tuple[int, list[tuple[str, int]]]], count: int, redirected: list[int]
) -> None:
    stored = StoredCalls()
    stored.leg(("in-progress", 0), ("completed", 100), to="+12025550100")
    for number in range(count if kinds else 0):
        back, steps = kinds[number % len(kinds)]
        parent = max(1, number + 1 - back) if back else 1
        stored.leg(*((status, number + second) for status, second in steps), to=f"client:a{number}", parent=parent)
    for number in redirected:
        stored.act(number, "redirect", number, "to survey")
    story = stored.story(1)
    sids = [story_leg.leg.call_sid for story_leg in story.legs]
    assert len(sids) == 1 + (count if kinds else 0)
    page = page_of([story])
    assert rows_of_legs(page) == sids
    with local_time_is_utc():
        document = "".join(markdown([story], title="What happened"))
        lines = sequence_diagram(story).splitlines()
        assert all(LINE.fullmatch(line) for line in lines)
    assert [line.split(",")[1] for line in list(csv_lines([story]))[1:]] == sids
    assert [one["sid"] for one in json.loads(json.dumps(story_json(story)))["legs"]] == sids
    said = excerpt(story).in_words
    drawn = [lane for lane in diagram_of(story).lanes if "  CA" in lane.whole]
    assert bool(said) == (len(drawn) < len(sids))
    assert said in page
    assert excerpt(story, most=150, first=100).in_words in document


def test_of_many_legs_some_are_drawn_and_those_left_out_are_named() -> None:
    story = queue(320, answered=(150,)).story(1)
    shown = diagram_of(story)
    assert [lane.title for lane in shown.lanes[-6:]] == [
        f"sip:agent{number}@example.c…" for number in (150, 315, 316, 317, 318, 319)
    ]
    assert len(shown.lanes) == 1 + MOST_LEGS
    assert shown.lanes[-1].subtitle == "dialled leg, 321"
    assert shown.left_out == ("Not in the diagram: 305 of 321 legs, with their steps: numbers 11 to 151, 153 to 316.")
    page = page_of([story])
    assert f"321 legs: 80 no-answer, 80 busy, 80 canceled, 79 failed, 2 completed. {shown.left_out}" in page
    assert [pause.words for pause in shown.pauses if "left out" in pause.words] == [
        "423 steps left out here", "492 steps left out here",
    ]  # fmt: skip
    with local_time_is_utc():
        assert shown.left_out in "".join(markdown([story], title="x"))
        assert "    participant L320 as 321: sip:agent319@example.com\n" in sequence_diagram(story)


def test_few_legs_are_drawn_all_and_have_no_numbers() -> None:
    story = queue(MOST_LEGS - 1).story(1)
    shown = diagram_of(story)
    assert (len(shown.lanes), shown.left_out) == (1 + MOST_LEGS, "")
    assert shown.lanes[-1].subtitle == "dialled leg"
    assert "<summary>16 legs" not in page_of([story])


def test_steps_after_the_last_that_is_drawn_are_counted() -> None:
    stored = queue(30)
    stored.events.append(event(19, "busy", number=9, at=900, parent=1))
    shown = diagram_of(stored.story(1))
    assert shown.pauses[-1].words == "1 step left out here"
    assert shown.pauses[-1].y < shown.lanes[0].bottom


def test_a_leg_all_of_whose_steps_are_left_out_has_no_lifeline() -> None:
    stored = StoredCalls()
    call = stored.leg(("in-progress", 0), ("completed", 500), to="+12025550100")
    silent = stored.leg(("ringing", 200), ("busy", 201), to="client:silent", parent=call)
    redirected = stored.leg(("in-progress", 202), ("completed", 203), to="client:redirected", parent=call)
    for second in range(1, 400):
        stored.act(call, "redirect", second, "again")
    stored.act(redirected, "redirect", 499, "the call is not in progress", result="refused")
    story = stored.story(call)
    shown = diagram_of(story)
    assert [lane.title for lane in shown.lanes] == ["callctl", "Twilio", "+12025550100", "client:redirected"]
    assert shown.left_out == "Not in the diagram: 1 of 3 legs, with their steps: number 2."
    assert {bar.x for bar in shown.bars} == {shown.lanes[2].x - 4}
    assert sid(silent) in rows_of_legs(page_of([story]))
    assert "client:silent" not in sequence_diagram(story)


def test_what_is_the_same_of_many_legs_is_one_remark() -> None:
    story = queue(40, redirects=3).story(1)
    words = [remark.words for remark in story.remarks]
    assert words[0].startswith("10 legs could not be connected (sip:agent2@example.com, sip:agent6@example.com, ")
    assert words[0].endswith(" and 7 more)")
    assert words[1].startswith("41 legs were redirected 3 times or more each, 240 times in all (")
    assert len(words) == 3


def test_an_error_of_many_legs_is_one_remark() -> None:
    stored = queue(40)
    note = Notification("NO1", "11200", "error", "no answer", None, None, None)
    story = stored.story(1, facts=RestFacts(notifications={sid(number): [note] for number in range(1, 42)}))
    assert story.remarks[-1].words == "error 11200 (41 times): no answer"
    assert story.remarks[-1].weight == 82


def _families(count: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is done to export a call with so many legs, by name."""
    stored = queue(count, answered=tuple(range(0, count, 3)), redirects=2)
    store = SqliteStore.open(folder / f"{count}.db", world=WORLD)
    for one in stored.events:
        store.append(one)
    store.record_actions(stored.actions)
    story = stored.story(1)
    legs = [story_leg.leg.call_sid for story_leg in story.legs]
    overview = Overview()
    return {
        "find": lambda: find_family(store, sid(2)),
        "read": lambda: read_family(store, legs),
        "story": lambda: story_of(stored.events, stored.actions, sid=sid(2)),
        "remarks": lambda: Story(story.sid, story.legs, story.steps).remarks,
        "overview": lambda: overview.add(Story(story.sid, story.legs, story.steps)),
        "diagram": lambda: diagram_of(story),
        "mermaid": lambda: "".join(markdown([story], title="x")),
        "page": lambda: page_of([story]),
        "csv": lambda: list(csv_lines([story])),
        "json": lambda: story_json(story),
    }


def test_the_work_grows_with_the_legs_and_not_faster(tmp_path: Path) -> None:
    few, many = _families(40, tmp_path), _families(80, tmp_path)
    for name, run in few.items():
        run()  # what is read, compiled or kept once is not counted
        assert work_of(many[name]) < 2.15 * work_of(run), name

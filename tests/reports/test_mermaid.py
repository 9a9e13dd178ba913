"""Mermaid in Markdown: to the letter, and whatever callers send."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

from events import event, sid
from hypothesis import given
from hypothesis import strategies as st
from stage import local_time_is_utc

from callctl.calls.action import DRY_RUN
from callctl.reports.mermaid import markdown, sequence_diagram
from callctl.reports.stories.story import Story
from reports.evening import HOSTILE, StoredCalls, dials, failed, rings_too_long, storm

GOLDEN = Path(__file__).parent / "golden"
# A line of a diagram as Mermaid's grammar has it, as far as it is used here; a text has no sign that means anything.
TEXT = r"(?:[^#;%<>&`\n\\|\[\]{}\"*_~]|#\d+;)*"
LINE = re.compile(
    rf"sequenceDiagram|    participant [CTL]\d* as {TEXT}|    (?:[CT]|L\d+)(?:->>|-->>|-x)(?:[CT]|L\d+): {TEXT}"
    rf"|    Note over (?:T|L\d+): {TEXT}"
)


def golden(text: str, name: str) -> None:
    """Compare a text with a golden file."""
    file = GOLDEN / name
    if os.environ.get("CALLCTL_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def some_stories() -> list[Story]:
    stored = StoredCalls()
    for number, add in enumerate((dials, rings_too_long, failed, storm)):
        add(stored, number * 100.0)
    return stored.stories()


def test_a_document() -> None:
    with local_time_is_utc():
        golden("".join(markdown(some_stories(), title="What happened", notes=["4 calls."])), "stories.md")


def test_the_lines_are_of_mermaids_grammar() -> None:
    with local_time_is_utc():
        for story in some_stories():
            assert all(LINE.fullmatch(line) for line in sequence_diagram(story).splitlines())


def test_what_is_refused_or_only_would_be_done_looks_otherwise() -> None:
    stored = StoredCalls()
    call = storm(stored, 0)
    stored.act(call, "hangup", 3, "would end it", rule="limit", result=DRY_RUN)
    text = sequence_diagram(stored.story(call))
    assert re.search(r"C-xL0: .* redirect: the call is not in progress, by ann@ops, error 21220", text)
    assert re.search(r"C-->>L0: .* hangup: would end it, by rule limit", text)


@given(st.text() | st.sampled_from([HOSTILE, "a;b", "end", "%%{init: {}}%%", "a\nb->>c: d", "```", "#35;", "wrap:x"]))
def test_whatever_is_called_stays_one_line_of_text(to: str) -> None:
    stored = StoredCalls()
    stored.events.append(event(1, "ringing", number=0, at=0, To=to))
    stored.events.append(event(1, "failed", number=1, at=9, To=to, ErrorMessage=to))
    story = stored.story(1)
    lines = sequence_diagram(story).splitlines()
    assert len(lines) == 3 + 2 + 1  # of which one is the pause
    assert all(LINE.fullmatch(line) for line in lines), lines
    text = "".join(markdown([story], title=to, notes=[to]))
    assert text.count("```") == 2
    assert not re.search("[<>]", text.replace("->>", ""))


def test_names_and_numbers_of_others_are_not_those_of_users_and_issues_of_github() -> None:
    stored = StoredCalls()
    call = failed(stored, 0)
    stored.act(call, "redirect", 5, "no (@octocat), #12 or _@octocat", result="refused", by="@octocat")
    text = "".join(
        markdown(
            [stored.story(call)],
            title="to @octocat, sip:ann@pbx, GH-1",
            notes=["@octocat/team gh-2", "ann@ops @", "https://github.com/octocat/hello/issues/3", "FIGH-4"],
        )
    )
    outside = html.unescape(re.sub("(?s)```mermaid.*?```", "", text))
    assert not re.search(r"(^|[^A-Za-z0-9])@[A-Za-z0-9]|#[0-9]|\bGH-[0-9]|github\.com/", outside, re.IGNORECASE)
    shown = outside.replace("\u200d", "")
    assert shown.count("@octocat") >= 4
    assert "sip:ann@pbx" in outside
    assert "ann@ops @" in outside


def test_a_long_story_is_cut_in_the_middle() -> None:
    stored = StoredCalls()
    call = storm(stored, 0)
    for number in range(300):
        stored.act(call, "redirect", 10 + number / 10, "again")
    text = sequence_diagram(stored.story(call))
    assert "Note over T: 164 steps left out here" in text
    assert len(text) < 50_000
    assert sid(call) not in text

"""Stories as Markdown with a Mermaid sequence diagram each, which GitHub draws."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from callctl.calls.event import TWIML_REQUEST
from callctl.errors import shortened
from callctl.reports.excerpt import excerpt_of, left_out_here
from callctl.reports.stories.ending import far_end
from callctl.reports.stories.story import COMMAND, FEATURE, RULE, Step, Story
from callctl.support.dates import local_time, time_of_day
from callctl.views.table import clock
from callctl.views.terminal_safe import printable

# Mermaid draws no text of more than 50,000 characters. Of more steps the first and the last are drawn.
_MOST_STEPS = 150
_FIRST_STEPS = 100
_MOST_CHARACTERS = 120  # of a label
_LEAST_PAUSE = 5  # seconds
# Characters that mean nothing to Mermaid, Markdown and HTML; all others are written as their numbers.
_HARMLESS: Final = r"A-Za-z0-9 .,:()/@+=?!'\u00b7\u2026\u2192\u00c0-\u024f\u0370-\u1fff\u3040-\ud7ff-"
_UNSAFE_IN_MERMAID, _UNSAFE_IN_MARKDOWN = rf"[^{_HARMLESS}]", rf"[^{_HARMLESS};%]"

# What GitHub takes for a user, unless it is within a word, or for an issue, by number or URL, and tells those whom that
# concerns; and a character that is not seen.
_REFERENCE, _JOINER = r"(?i)(?<![a-z0-9])@(?=[a-z0-9])|#(?=[0-9])|\bGH-(?=[0-9])|\bgithub\.com(?=/)", "\u200d"


def markdown(stories: Iterable[Story], *, title: str, notes: Iterable[str] = ()) -> Iterator[str]:
    """Yield the document piece by piece: a heading for each story, how it ended, and its diagram."""
    yield f"# {_html(title)}\n"
    yield from (f"\n{_html(note)}\n" for note in notes)
    for story in stories:
        yield _section(story)


def _section(story: Story) -> str:
    head = story.head
    whole = f", {clock(story.seconds)}" if story.seconds is not None else ""
    how = head.ending.words
    how = how if how.startswith(head.leg.status) else f"{head.leg.status}: {how}"
    facts = f"{local_time(story.began_at)}{whole}, {how}"
    remarks = "".join(f"- {_html(remark.words)}\n" for remark in story.remarks)
    excerpt = excerpt_of(story, most_steps=_MOST_STEPS, first_steps=_FIRST_STEPS)
    left_out = f"\n{_html(excerpt.in_words)}\n" if excerpt.in_words else ""
    return (
        f"\n## {_html(story.sid)}\n\nFrom {_html(head.leg.from_)} to {_html(head.leg.to)}.  \n{_html(facts)}\n"
        f"{chr(10) + remarks if remarks else ''}{left_out}\n```mermaid\n{sequence_diagram(story)}```\n"
    )


def sequence_diagram(story: Story) -> str:
    """Return a story as a Mermaid sequence diagram: Twilio, each leg, and callctl where it did something."""
    return "".join(f"{line}\n" for line in _lines(story))


def _lines(story: Story) -> Iterator[str]:
    yield "sequenceDiagram"
    if any(step.kind in (COMMAND, RULE, TWIML_REQUEST) for step in story.steps):
        yield "    participant C as callctl"
    yield "    participant T as Twilio"
    excerpt = excerpt_of(story, most_steps=_MOST_STEPS, first_steps=_FIRST_STEPS)
    for number in excerpt.legs:
        name = far_end(story.legs[number].leg)
        yield f"    participant L{number} as {_text(name if excerpt.is_whole else f'{number + 1}: {name}')}"
    before = None
    for step, left_out in excerpt.steps:
        if left_out:
            yield f"    Note over T: {left_out_here(left_out)}"
        if before is not None and step.gap >= _LEAST_PAUSE and step.after - before == step.gap:
            yield f"    Note over T: {clock(step.gap)} later"
        before = step.after
        yield f"    {_step(step)}"
    if excerpt.left_out_at_end:
        yield f"    Note over T: {left_out_here(excerpt.left_out_at_end)}"


def _step(step: Step) -> str:
    leg = "T" if step.leg is None else f"L{step.leg}"
    words = _text(f"{time_of_day(step.at)} {', '.join([step.words, *step.facts])}")
    if step.kind == FEATURE or step.leg is None:
        return f"Note over {leg}: {words}"
    if step.kind in (COMMAND, RULE):
        return f"C{'-x' if step.is_bad else '-->>' if step.is_dry else '->>'}{leg}: {words}"
    if step.kind == TWIML_REQUEST:
        return f"T->>C: {words}"
    arrow = "-->>" if step.kind == "rest" else "->>"
    return f"{leg}{arrow}T: {words}" if step.is_from_far_end else f"T{arrow}{leg}: {words}"


def _text(text: str) -> str:
    """Return a text for a diagram: on one line, with entities for what means something to Mermaid."""
    return _escaped(_safe(shortened(text, _MOST_CHARACTERS)), _UNSAFE_IN_MERMAID, "#{};") or "-"


def _html(text: str) -> str:
    """Return a text for Markdown, on one line, with entities for what means something to Markdown or HTML.

    GitHub reads what is shown, not the entities: it would notify a user by an ``@name``, and link a ``#1``.
    """
    safe = re.sub(_REFERENCE, rf"\g<0>{_JOINER}", _safe(text))
    return _escaped(safe, _UNSAFE_IN_MARKDOWN, "&#{};") or "-"


def _safe(text: str) -> str:
    return printable(" ".join(text.split()))


def _escaped(text: str, unsafe: str, form: str) -> str:
    return re.sub(unsafe, lambda match: form.format(ord(match[0])), text)

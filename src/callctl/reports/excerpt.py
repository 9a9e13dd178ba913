"""What of a story a diagram shows: of many legs some, and of many steps the first and the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from callctl.calls.call import CallStatus
from callctl.reports.stories.story import Step, Story

MOST_LEGS: Final = 16  # more lifelines beside one another are not read
_LAST_LEGS = 5
_NOTABLE_LEGS = 5  # that were answered, or that a request was about


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The legs and the steps that are drawn.

    ``legs`` are the numbers of the legs, from 0. ``steps`` are the steps, each with how many before it are left out;
    ``left_out_at_end`` is how many are after the last one. ``of_legs`` is how many legs there are.
    """

    legs: tuple[int, ...]
    steps: tuple[tuple[Step, int], ...]
    left_out_at_end: int
    of_legs: int

    @property
    def is_whole(self) -> bool:
        """Whether all legs are drawn."""
        return len(self.legs) == self.of_legs

    @property
    def in_words(self) -> str:
        """Which legs are left out, by their numbers, from 1; nothing if none is."""
        if self.is_whole:
            return ""
        runs = list(_gaps(self.legs, self.of_legs))
        numbers = ", ".join(f"{first} to {last}" if first < last else str(first) for first, last in runs)
        missing = self.of_legs - len(self.legs)
        return (
            f"Not in the diagram: {missing:,} of {self.of_legs:,} legs, with their steps: "
            f"{'number' if missing == 1 else 'numbers'} {numbers}."
        )


def excerpt_of(story: Story, *, most_steps: int, first_steps: int) -> Excerpt:
    """Return what is drawn of a story: at most ``most_steps`` steps, of which ``first_steps`` are the first.

    Of more than 16 legs these are drawn: the first and the last, and of those in between some that were answered or
    that a request was about. A leg all of whose steps are left out has no lifeline, but for the first leg.
    """
    chosen = set(_chosen(story))
    count = sum(step.leg is None or step.leg in chosen for step in story.steps)
    skipped = range(first_steps, first_steps + max(0, count - most_steps))
    steps: list[tuple[Step, int]] = []
    number = left_out = 0
    for step in story.steps:
        if step.leg is None or step.leg in chosen:
            if number not in skipped:
                steps.append((step, left_out))
                left_out = -1
            number += 1
        left_out += 1
    drawn = {0, *(step.leg for step, _ in steps if step.leg is not None)}
    return Excerpt(tuple(sorted(drawn)), tuple(steps), left_out, len(story.legs))


def left_out_here(count: int) -> str:
    """Return what is shown in a diagram where steps are left out."""
    return f"{count:,} {'step' if count == 1 else 'steps'} left out here"


def _chosen(story: Story) -> Iterable[int]:
    count = len(story.legs)
    if count <= MOST_LEGS:
        return range(count)
    notable = [number for number in range(1, count - _LAST_LEGS) if _is_notable(story, number)][:_NOTABLE_LEGS]
    others = [number for number in range(MOST_LEGS) if number not in notable]
    return [*others[: MOST_LEGS - _LAST_LEGS - len(notable)], *notable, *range(count - _LAST_LEGS, count)]


def _is_notable(story: Story, number: int) -> bool:
    story_leg = story.legs[number]
    was_answered = story_leg.leg.answered_at is not None or story_leg.leg.status == CallStatus.COMPLETED
    return was_answered or story_leg.redirects + story_leg.requests_failed > 0


def _gaps(numbers: Iterable[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of numbers from 1 to ``count`` that are not among these, which count from 0 and are sorted."""
    expected = 0
    for number in [*numbers, count]:
        if number > expected:
            yield expected + 1, number
        expected = number + 1

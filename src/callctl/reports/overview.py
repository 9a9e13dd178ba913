"""Figures of many stories, counted one by one, so that ten thousand need no more memory than their figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from callctl.calls.action import DONE, NOT_ENDED, REFUSED, UNKNOWN
from callctl.calls.call import CallStatus
from callctl.reports.charts import Chart, Column, Slice, bar_chart, column_chart, over_time
from callctl.reports.figures import DELAYS, TIMES, Histogram, Tally, in_short
from callctl.reports.stories.ending import TWILIO, action_words, actor, sip_words
from callctl.reports.stories.story import COMPLETED, FAILED, LIVE, UNANSWERED, Story, StoryLeg
from callctl.support.dates import local_time

# In the order in which they are stacked.
_OUTCOMES: Final = ((COMPLETED, "completed"), (UNANSWERED, "not answered"), (LIVE, "not over"), (FAILED, "failed"))
_STATUSES: Final = (
    CallStatus.COMPLETED,
    CallStatus.BUSY,
    CallStatus.NO_ANSWER,
    CallStatus.CANCELED,
    CallStatus.FAILED,
)
_SHOWN = 8  # bars of a chart whose bars have names


class Overview:
    """The sentences and charts of the stories that were added."""

    def __init__(self) -> None:
        self.calls = 0  # families
        self.legs = 0
        self.callbacks = 0
        self.missing_callbacks = 0
        self.outcomes: Counter[str] = Counter()
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._begun: list[tuple[datetime, str]] = []
        self._silent: list[datetime] = []  # when families began of which no callback arrived
        self._statuses: Counter[str] = Counter()
        self._figures = Tally()
        self._causes: Counter[str] = Counter()
        self._done: Counter[tuple[str, str]] = Counter()  # requests, by action and who made them
        self._undone: Counter[tuple[str, str]] = Counter()
        self._redirected = 0  # families
        self._most_redirected = (0, "")  # how often, and with whom

    def add(self, story: Story) -> None:
        """Count a story."""
        self.calls += 1
        self.outcomes[story.outcome] += 1
        self._begun.append((story.began_at, story.outcome))
        end = story.ended_at or max(story_leg.leg.last_event_at for story_leg in story.legs)
        self.first = min(self.first or story.began_at, story.began_at)
        self.last = max(self.last or end, end)
        if not any(story_leg.callbacks for story_leg in story.legs):
            self._silent.append(story.began_at)
        for story_leg in story.legs:
            self.legs += 1
            self._statuses[story_leg.leg.status] += 1
            self.callbacks += story_leg.callbacks
            self.missing_callbacks += len(story_leg.missing_callbacks)
            if story_leg.facts is not None:
                self._figures.add(story_leg.facts)
            if story_leg.ending.by == TWILIO:
                self._causes[_cause(story_leg)] += 1
        self._add_actions(story)

    def _add_actions(self, story: Story) -> None:
        for action in story.actions:
            if action.result in (DONE, UNKNOWN):
                self._done[action_words(action.action), actor(action)] += 1
            elif action.result in (REFUSED, NOT_ENDED):
                self._undone[action_words(action.action), actor(action)] += 1
        if story.redirects:
            self._redirected += 1
            self._most_redirected = max(self._most_redirected, (story.redirects, story.head.far_end))

    @property
    def in_words(self) -> list[str]:
        """What happened, in a few sentences, for somebody who was not there."""
        return [sentence for sentence in (self._how_many(), self._who_acted(), self._what_failed()) if sentence]

    def _how_many(self) -> str:
        parts = [f"{count:,} {words}" for outcome, words in _OUTCOMES if (count := self.outcomes[outcome])]
        legs = f" with {self.legs:,} legs" if self.legs != self.calls else ""
        causes = ", ".join(f"{cause} ({count:,})" for cause, count in self._causes.most_common(3))
        failed = sum(self._causes.values())
        why = f" {_count(failed, 'leg')} failed: {causes}." if causes else ""
        lost = self.missing_callbacks
        missing = f" {lost:,} {'callback' if lost == 1 else 'callbacks'} never arrived." if lost else ""
        return f"{_count(self.calls, 'call')}{legs}: {', '.join(parts)}.{why}{missing}{self._without_callbacks()}"

    def _without_callbacks(self) -> str:
        """Return of how many calls no callback arrived, and when: whether nobody listened then."""
        if not self._silent:
            return ""
        first, last = local_time(min(self._silent)), local_time(max(self._silent))
        when = f"at {first}" if first == last else f"from {first} to {last}"
        return f" Of {_count(len(self._silent), 'call')}, begun {when}, no callback arrived."

    def _who_acted(self) -> str:
        redirects, ends = self._actors("redirect"), self._actors("hangup", "cancel")
        sentences = []
        if redirects:
            most, whom = self._most_redirected
            often = f"; one of them, with {whom}, {most} times" if most > 2 and self._redirected > 1 else ""
            sentences.append(
                f"{_count(self._redirected, 'call')} {_was(self._redirected)} redirected, "
                f"{_count(sum(redirects.values()), 'time')} in all, by {_names(redirects)}{often}."
            )
        if ends:
            count = sum(ends.values())
            sentences.append(f"{_count(count, 'leg')} {_was(count)} ended, by {_names(ends)}.")
        return " ".join(sentences)

    def _actors(self, *actions: str) -> Counter[str]:
        """Return who did these things, and how often."""
        counts = Counter[str]()
        for (action, who), count in self._done.items():
            if action in actions:
                counts[who] += count
        return counts

    def _what_failed(self) -> str:
        count = sum(self._undone.values())
        if not count:
            return ""
        by = Counter({f"{action} by {who}": number for (action, who), number in self._undone.items()})
        return f"{_count(count, 'request')} came to nothing: {_names(by)}."

    @property
    def charts(self) -> list[Chart]:
        """The charts, without those that would be empty."""
        looks = [look for look, _ in _OUTCOMES]
        statuses = [*_STATUSES, *sorted(set(self._statuses) - set(_STATUSES))]
        charts = [
            column_chart("Calls by when they began", over_time(self._begun, looks=looks), legend=_OUTCOMES),
            bar_chart(
                "How legs came out",
                [Slice(status, count, status) for status in statuses if (count := self._statuses[status])],
                note=self._rate(),
            ),
            *self._charts_of_times(),
            bar_chart(
                "What commands and rules did",
                [
                    *(
                        Slice(f"{action}, {who}", number, "rule" if who.startswith("rule ") else "command")
                        for (action, who), number in self._done.most_common(_SHOWN)
                    ),
                    *(
                        Slice(f"{action}, {who}: in vain", number, FAILED)
                        for (action, who), number in self._undone.most_common(_SHOWN)
                    ),
                ],
                note=_rest(self._done),
            ),
            bar_chart(
                "Why legs failed",
                [Slice(cause, count, FAILED) for cause, count in self._causes.most_common(_SHOWN)],
                note=_rest(self._causes),
            ),
        ]
        return [chart for chart in charts if chart.rects]

    def _rate(self) -> str:
        answered, decided = self._figures.answered, self._figures.decided
        return f"{answered:,} of {decided:,} were answered, {100 * answered / decided:.1f} %" if decided else ""

    def _charts_of_times(self) -> Iterator[Chart]:
        """Yield the charts of the times that ``callctl stats`` shows too."""
        figures = self._figures
        for title, times, starts, look in (
            ("From dialling to ringing", figures.post_dial_delay, TIMES, "initiated"),
            ("How long legs rang", figures.ring_time, TIMES, "ringing"),
            ("How long legs talked", figures.talk_time, TIMES, "in-progress"),
            ("How late callbacks arrived", figures.callback_delay, DELAYS, "plain"),
        ):
            columns = [Column(bar.label, bar.label, {look: bar.times}) for bar in times.bars(starts)]
            of = f"{self.legs:,} legs" if starts is TIMES else f"{self.callbacks:,} callbacks"
            note = _middle(times, of=of)
            if times is figures.callback_delay and note:
                note += ". Twilio's times are whole seconds: up to 1 s is no delay"
            yield column_chart(title, columns, note=note)


def _cause(story_leg: StoryLeg) -> str:
    """Return why a leg failed, in few words."""
    if story_leg.leg.status == CallStatus.FAILED:
        return sip_words(story_leg.leg.sip_response_code) if story_leg.leg.sip_response_code else "no SIP code"
    return next((f"error {note.code}" for note in story_leg.notifications if note.level == "error"), "an error")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _names(counts: Counter[str]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    shown = ", ".join(f"{who} ({count:,})" for who, count in counts.most_common(3))
    return f"{shown} and {len(counts) - 3} more" if len(counts) > 3 else shown


def _middle(times: Histogram, *, of: str) -> str:
    half, most = times.quantile(50), times.quantile(95)
    if half is None or most is None:
        return ""
    return f"half of them up to {in_short(half)}, 95 % up to {in_short(most)}; of {times.count:,} of {of}"


def _rest(counts: Counter[object] | Counter[str] | Counter[tuple[str, str]]) -> str:
    left = len(counts) - _SHOWN
    return f"and {left} more" if left > 0 else ""

"""A story: what became of a family of calls, as data. Its legs, what happened to them and when, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from callctl.calls.action import DONE, DRY_RUN, NOT_ENDED, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.board import Board
from callctl.calls.call import Call, CallStatus, is_final
from callctl.calls.event import CALLBACK, MISSED, POLLED, TWIML_REQUEST, CallEvent
from callctl.calls.leg import Leg
from callctl.calls.participation import JOIN
from callctl.reports.leg_facts import LegFacts, facts_of_events, missing_numbers
from callctl.reports.stories.ending import TWILIO, Ending, Endings, action_words, actor, far_end, unexpected_sip
from callctl.reports.stories.rest_facts import RestFacts
from callctl.views.call_page import timeline_of
from callctl.views.table import clock

if TYPE_CHECKING:
    from callctl.api.resources import Notification

AnyItem = TypeVar("AnyItem", CallEvent, ActionEvent)

# The kinds of steps. The page has CSS classes of these names.
COMMAND: Final = "command"
RULE: Final = "rule"
FEATURE: Final = "feature"  # machine detection, a recording, a conference, speech
REST: Final = "rest"  # the API reported it

# How a family came out.
FAILED: Final = "failed"
UNANSWERED: Final = "unanswered"
COMPLETED: Final = "completed"
LIVE: Final = "live"

# What the far end reports to Twilio.
_BY_FAR_END = frozenset(
    {
        CallStatus.IN_PROGRESS.value,
        CallStatus.COMPLETED.value,
        CallStatus.BUSY.value,
        CallStatus.NO_ANSWER.value,
        CallStatus.FAILED.value,
    }
)
# As the live table has it: so many seconds of ringing need a person.
_RINGS_LONG = 30
_MANY = 3
_NAMED = 3  # of many legs of which the same is said
_LATE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``after`` and ``gap`` are the seconds since the first step and since the one before.

    ``leg`` is the number of the leg among the story's, or None; ``kind`` is ``callback``, ``twiml-request`` or one of
    the words above; ``words`` say what happened, ``facts`` what else is known; ``status`` is that of an event.
    ``is_bad``: it failed or was refused.
    """

    at: datetime
    after: int
    gap: int
    leg: int | None
    kind: str
    words: str
    facts: tuple[str, ...]
    status: str
    item: CallEvent | ActionEvent
    is_bad: bool = False
    is_dry: bool = False

    @property
    def is_from_far_end(self) -> bool:
        """Whether the far end did it, as when it answers or hangs up; all else is done by Twilio."""
        is_inbound = isinstance(self.item, CallEvent) and self.item.direction == "inbound"
        if is_inbound and not is_final(self.status):  # the caller calls, and Twilio answers
            return self.status != CallStatus.IN_PROGRESS
        return self.status in _BY_FAR_END


@dataclass(frozen=True, slots=True)
class StoryLeg:
    """A leg in a story. ``ring_seconds`` and ``talk_seconds`` are None where no callbacks report them.

    ``redirects`` counts those that were done, ``requests_failed`` all requests that were not. ``call`` is what REST
    shows, and ``notifications`` are the errors and warnings there, if they were fetched. ``facts`` is what the leg
    adds to figures, None if they don't count it.
    """

    leg: Leg
    ending: Ending
    began_at: datetime
    ring_seconds: int | None
    talk_seconds: int | None
    redirects: int
    requests_failed: int
    callbacks: int
    missing_callbacks: tuple[int, ...]
    call: Call | None = None
    notifications: tuple[Notification, ...] = ()
    facts: LegFacts | None = None

    @property
    def far_end(self) -> str:
        """The other end of the leg."""
        return far_end(self.leg)

    @property
    def duration(self) -> int | None:
        """Its duration in seconds; None if it was never answered: REST has none then, callbacks report 0."""
        leg = self.leg
        was_answered = leg.answered_at is not None or leg.status == CallStatus.COMPLETED
        return leg.duration if was_answered else leg.duration or None


@dataclass(frozen=True, slots=True)
class Remark:
    """What stands out in a story, as a sentence; ``weight`` is how much trouble it is, 0 if it is none."""

    words: str
    weight: int = 1

    @property
    def is_bad(self) -> bool:
        """Whether it is trouble."""
        return self.weight > 0


@dataclass(frozen=True)
class Story:
    """What became of one family. ``sid`` is that of its parent leg, which may not be among ``legs``."""

    sid: str
    legs: tuple[StoryLeg, ...]
    steps: tuple[Step, ...]

    @property
    def head(self) -> StoryLeg:
        """The parent leg; if nothing is known of that, the first of the others."""
        return self.legs[0]

    @cached_property
    def began_at(self) -> datetime:
        """When the first leg began."""
        return min(story_leg.began_at for story_leg in self.legs)

    @cached_property
    def ended_at(self) -> datetime | None:
        """When the last leg ended; None while one has not."""
        ends = [story_leg.leg.ended_at for story_leg in self.legs]
        return None if self.is_live else max((end for end in ends if end), default=None)

    @cached_property
    def seconds(self) -> int | None:
        """How long it took from its beginning to its end; None while it has not ended."""
        return None if self.ended_at is None else max(0, int((self.ended_at - self.began_at).total_seconds()))

    @property
    def is_live(self) -> bool:
        """Whether a leg has not ended, as far as was reported."""
        return any(story_leg.leg.is_live for story_leg in self.legs)

    @cached_property
    def outcome(self) -> str:
        """How it came out: ``live``, ``failed``, ``unanswered`` or ``completed``."""
        head = self.head.leg
        if self.is_live:
            return LIVE
        if self.head.ending.by == TWILIO:
            return FAILED
        dialled = [story_leg.leg for story_leg in self.legs[1:]]
        answered = [leg for leg in dialled if leg.answered_at or leg.status == CallStatus.COMPLETED]
        if head.status != CallStatus.COMPLETED or (dialled and not answered):
            failed = any(leg.status == CallStatus.FAILED for leg in dialled)
            return FAILED if failed else UNANSWERED
        return COMPLETED

    @cached_property
    def actions(self) -> tuple[ActionEvent, ...]:
        """What commands and rules did to it, or tried to."""
        return tuple(step.item for step in self.steps if isinstance(step.item, ActionEvent))

    @property
    def statuses(self) -> list[tuple[str, int]]:
        """How its legs came out, and how many so, the most first."""
        return Counter(story_leg.leg.status for story_leg in self.legs).most_common()

    @property
    def redirects(self) -> int:
        """How often one of its legs was redirected."""
        return sum(story_leg.redirects for story_leg in self.legs)

    @cached_property
    def remarks(self) -> tuple[Remark, ...]:
        """What stands out."""
        return tuple(_remarks(self))

    @cached_property
    def trouble(self) -> int:
        """How much went wrong, as a number by which stories can be ranked."""
        return sum(remark.weight for remark in self.remarks)

    @cached_property
    def cost(self) -> tuple[Decimal, str] | None:
        """What its legs cost together, and in which currency; None if no price is known."""
        rated = [
            story_leg.call for story_leg in self.legs if story_leg.call is not None and story_leg.call.price is not None
        ]
        units = {call.price_unit or "" for call in rated}
        if len(units) != 1:
            return None
        return sum((-call.price for call in rated if call.price is not None), Decimal()), units.pop()


def story_of(
    events: Iterable[CallEvent], actions: Iterable[ActionEvent], *, sid: str, facts: RestFacts | None = None
) -> Story | None:
    """Return the story of the family that a call belongs to; None if no event reports a leg of it.

    Args:
        events: Those of all its legs, and of the conferences that they were in.
        actions: What commands and rules did to these.
        sid: One leg of it.
        facts: What REST says of it, where it was fetched.
    """
    known, done, rest = list(events), list(actions), facts or RestFacts()
    board = Board()
    for event in known:
        board.apply(event)
    family = board.snapshot().family_of.get(sid)
    if family is None:
        return None
    timeline = timeline_of(known, done)
    joined = {event.call_sid for event in known if event.verified and event.event == JOIN}
    endings = Endings(family.legs, done, joined=joined)
    events_of, actions_of = _by_leg(known), _by_leg(done)
    legs = tuple(
        _story_leg(
            leg,
            events=events_of.get(leg.call_sid, ()),
            actions=actions_of.get(leg.call_sid, ()),
            endings=endings,
            facts=rest,
        )
        for leg in family.legs
    )
    numbers = {story_leg.leg.call_sid: number for number, story_leg in enumerate(legs)}
    return Story(family.sid, legs, tuple(_steps(timeline, numbers)))


def _by_leg(items: Iterable[AnyItem]) -> dict[str, list[AnyItem]]:
    of: dict[str, list[AnyItem]] = {}
    for item in items:
        of.setdefault(item.call_sid, []).append(item)
    return of


def _story_leg(
    leg: Leg, *, events: Sequence[CallEvent], actions: Sequence[ActionEvent], endings: Endings, facts: RestFacts
) -> StoryLeg:
    """Return a leg of a story; events and actions are its own."""
    own = [event for event in events if event.kind == CALLBACK]
    arrived = [event.received_at for event in events if event.is_final]
    call, notes = facts.calls.get(leg.call_sid), facts.notifications.get(leg.call_sid, ())
    counted = facts_of_events(events)
    return StoryLeg(
        leg=leg,
        ending=endings.of(
            leg,
            arrived=min(arrived, default=None),
            notes=notes,
            is_reported=any(event.is_final for event in own),
        ),
        began_at=began_at(leg, call),
        ring_seconds=None if counted is None else _whole(counted.ring_time),
        talk_seconds=None if counted is None else _talk_seconds(counted),
        redirects=sum(map(_is_redirect, actions)),
        requests_failed=sum(action.result != DONE for action in actions),
        callbacks=len(own),
        missing_callbacks=missing_numbers(event.sequence_number for event in own if event.sequence_number is not None),
        call=call,
        notifications=tuple(notes),
        facts=counted,
    )


def began_at(leg: Leg, call: Call | None = None) -> datetime:
    """Return when a leg began; if only its end was reported, its duration before that."""
    known = [leg.first_at]
    if leg.ended_at is not None and leg.duration is not None:
        known.append(leg.ended_at - timedelta(seconds=max(0, leg.duration)))
    if call is not None:
        known += [moment for moment in (call.date_created, call.start_time) if moment is not None]
    return min(known)


def _whole(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000


def _talk_seconds(facts: LegFacts) -> int | None:
    """Return how long a leg was answered for; 0 if it was not answered."""
    is_unanswered = facts.kind.has_ended and not facts.kind.is_answered
    return 0 if is_unanswered else _whole(facts.talk_time)


def _steps(timeline: Iterable[CallEvent | ActionEvent], numbers: Mapping[str, int]) -> Iterator[Step]:
    first: datetime | None = None
    before: datetime | None = None
    for item in timeline:
        at = (item.at if isinstance(item, ActionEvent) else item.moment).replace(microsecond=0)
        first, before = first or at, before or at
        leg = numbers.get(item.call_sid)
        after, gap = int((at - first).total_seconds()), int((at - before).total_seconds())
        # A clock of this machine that is ahead must not make what follows come earlier.
        before = max(before, at)
        if isinstance(item, ActionEvent):
            yield _read_action(item, at=at, after=max(0, after), gap=max(0, gap), leg=leg)
        else:
            yield _read_event(item, at=at, after=max(0, after), gap=max(0, gap), leg=leg)


def _read_action(action: ActionEvent, *, at: datetime, after: int, gap: int, leg: int | None) -> Step:
    name = action_words(action.action)
    words = f"{name}: {_outcome(action)}" if action.outcome else name
    facts = (f"by {actor(action)}", f"error {action.code}" if action.code else "")
    is_bad = action.result in (REFUSED, NOT_ENDED)
    kind = RULE if action.rule else COMMAND
    known = tuple(fact for fact in facts if fact)
    return Step(at, after, gap, leg, kind, words, known, "", action, is_bad, action.result == DRY_RUN)


def _read_event(event: CallEvent, *, at: datetime, after: int, gap: int, leg: int | None) -> Step:
    facts = tuple(fact for fact in _facts(event) if fact)
    if not event.status:
        return Step(at, after, gap, leg, FEATURE, event.in_words, facts, "", event)
    if event.kind == TWIML_REQUEST:
        return Step(at, after, gap, leg, TWIML_REQUEST, "requests TwiML", facts, event.status, event)
    kind = REST if event.kind in (POLLED, MISSED) else CALLBACK
    return Step(at, after, gap, leg, kind, event.status, facts, event.status, event, event.status == CallStatus.FAILED)


def _facts(event: CallEvent) -> Iterator[str]:
    if event.is_final and event.duration:
        yield clock(event.duration)
    yield unexpected_sip(event.status, event.sip_response_code) if event.is_final else ""
    if event.is_final and (event.error_code or event.error_message):
        yield " ".join(filter(None, ("error", event.error_code, event.error_message)))
    yield event.answered_by or "" if event.status else ""
    yield {POLLED: "found by polling", MISSED: "no callback reported it"}.get(event.kind, "")
    late = event.received_at - event.timestamp if event.timestamp and event.kind == CALLBACK else timedelta()
    yield f"arrived {clock(late.total_seconds())} late" if late >= _LATE else ""
    yield "" if event.verified else "not verified"


def _remarks(story: Story) -> Iterator[Remark]:
    yield from _failed(story)
    yield from _redirected(story)
    yield from _not_done(story)
    yield from _rang_long(story)
    yield from _about_callbacks(story)
    yield from _noted(story)


def _failed(story: Story) -> Iterator[Remark]:
    alike: dict[str, list[StoryLeg]] = {}  # by how they ended
    for story_leg in story.legs:
        if story_leg.leg.status == CallStatus.FAILED:
            if story_leg is story.head:
                yield Remark(f"{story_leg.far_end} {story_leg.ending.words}", weight=3)
            else:
                alike.setdefault(story_leg.ending.words, []).append(story_leg)
    for words, legs in alike.items():
        if len(legs) > _NAMED:
            yield Remark(f"{len(legs)} legs {words} ({_names(legs)})", weight=2 * len(legs))
        else:
            yield from (Remark(f"{story_leg.far_end} {words}", weight=2) for story_leg in legs)


def _rang_long(story: Story) -> Iterator[Remark]:
    rang = [(one.ring_seconds, one) for one in story.legs if one.ring_seconds is not None]
    long = [(seconds, story_leg) for seconds, story_leg in rang if seconds >= _RINGS_LONG]
    if len(long) > _NAMED:
        most, longest = max(long, key=lambda pair: pair[0])
        yield Remark(
            f"{len(long)} legs rang for {clock(_RINGS_LONG)} or longer, {longest.far_end} for {clock(most)}", weight=0
        )
    else:
        yield from (Remark(f"{story_leg.far_end} rang for {clock(seconds)}", weight=0) for seconds, story_leg in long)


def _names(legs: Sequence[StoryLeg]) -> str:
    """Return the first of the legs by name, and how many more there are."""
    more = len(legs) - _NAMED
    shown = ", ".join(story_leg.far_end for story_leg in legs[: _NAMED if more > 0 else None])
    return f"{shown} and {more} more" if more > 0 else shown


def _redirected(story: Story) -> Iterator[Remark]:
    legs = [story_leg for story_leg in story.legs if story_leg.redirects >= _MANY]
    if len(legs) > _NAMED:
        times = sum(story_leg.redirects for story_leg in legs)
        words = f"{len(legs)} legs were redirected {_MANY} times or more each, {times} times in all ({_names(legs)})"
        yield Remark(words, weight=4 * len(legs))
        return
    for story_leg in legs:
        sid = story_leg.leg.call_sid
        done = [step for step in story.steps if step.item.call_sid == sid and _is_redirect(step.item)]
        span = (done[-1].at - done[0].at).total_seconds()
        whom = _whom([step.item for step in done if isinstance(step.item, ActionEvent)])
        yield Remark(
            f"{story_leg.far_end} was redirected {story_leg.redirects} times within {clock(span)}, by {whom}", weight=4
        )


def _is_redirect(item: CallEvent | ActionEvent) -> bool:
    return isinstance(item, ActionEvent) and item.action == "redirect" and item.result == DONE


def _not_done(story: Story) -> Iterator[Remark]:
    """Yield the requests that came to nothing, those of one kind together: a script may have tried again and again."""
    others: dict[tuple[str, bool], list[ActionEvent]] = {}
    for event in story.actions:
        if event.result not in (DONE, DRY_RUN, UNKNOWN):
            others.setdefault((event.action, event.result in (REFUSED, NOT_ENDED)), []).append(event)
    for (action, is_bad), tries in others.items():
        # That a call got there first is an ordinary outcome, and what a rule declines is by its own rules.
        weight = 2 if is_bad or len(tries) >= _MANY else 0
        name = action_words(action)
        how_many = f"a {name}" if len(tries) == 1 else f"{len(tries)} requests ({name})"
        last = f"{'; the last: ' if len(tries) > 1 else ': '}{_outcome(tries[-1])}"
        yield Remark(f"{how_many} by {_whom(tries)} came to nothing{last}", weight=weight)


def _whom(actions: Sequence[ActionEvent]) -> str:
    """Return who made requests; if several did, how many each."""
    by = Counter(map(actor, actions))
    return ", ".join(f"{name} ({count})" if len(by) > 1 else name for name, count in by.most_common())


def _outcome(action: ActionEvent) -> str:
    """Return the outcome of a request without the SID of the call, which is beside it."""
    return action.outcome.removeprefix(f"{action.call_sid} ")


def _about_callbacks(story: Story) -> Iterator[Remark]:
    lost = [story_leg for story_leg in story.legs if story_leg.missing_callbacks]
    if lost:
        count = sum(len(story_leg.missing_callbacks) for story_leg in lost)
        yield Remark(f"{count} {'callback' if count == 1 else 'callbacks'} never arrived: of {_names(lost)}")
    events = [step.item for step in story.steps if isinstance(step.item, CallEvent)]
    if any(event.kind == MISSED for event in events):
        yield Remark("no callback reported the end: the API did")
    late = [event.received_at - event.timestamp for event in events if event.kind == CALLBACK and event.timestamp]
    latest = max(late, default=timedelta())
    if latest >= _LATE:
        yield Remark(f"a callback arrived {clock(latest.total_seconds())} late")
    if not all(event.verified for event in events):
        yield Remark("not all callbacks are signed by Twilio: anybody may have sent them")


def _noted(story: Story) -> Iterator[Remark]:
    """Yield the errors, each with how often Twilio noted it, for whichever legs."""
    errors: dict[str | None, list[Notification]] = {}
    legs = Counter[str | None]()
    for story_leg in story.legs:
        noted = [note for note in story_leg.notifications if note.level == "error"]
        legs.update({note.code for note in noted})
        for note in noted:
            errors.setdefault(note.code, []).append(note)
    for code, notes in errors.items():
        times = f" ({len(notes)} times)" if len(notes) > 1 else ""
        yield Remark(f"error {code or ''}{times}: {notes[0].message}", weight=2 * legs[code])

"""Where the stories of calls come from: the local store, and the API with --fetch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from callctl.calls.call import Call, CallStatus
from callctl.calls.filter import CallFilter
from callctl.cli.io.progress import Progress
from callctl.cli.io.results import counted, name_some
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import filters
from callctl.cli.options.calls import calls_to_read
from callctl.errors import CallctlError, NotFoundError, UnknownCallError

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.calls.leg import Leg
    from callctl.reports.stories.rest_facts import RestFacts
    from callctl.reports.stories.story import Story
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore
    from callctl.store.records import Undelivered

_PARALLEL = 20  # families that are fetched at once: as many calls as ``show`` fetches


@dataclass(frozen=True, slots=True)
class Family:
    """A family to be exported: ``sid`` is its parent leg, or another one if that is unknown; ``legs`` are known.

    ``is_named``: it was named itself, and not found by a filter.
    """

    sid: str
    legs: tuple[str, ...] = ()
    is_named: bool = False


@dataclass(frozen=True)
class Source:
    """Where stories come from: the local store, if there is one, and REST, if there is a client."""

    runtime: Runtime
    settings: Settings
    store: EventStore | None
    client: ApiClient | None
    masks: bool

    def named(self, texts: Sequence[str]) -> list[Family]:
        """Return the families of calls that are named.

        Raises:
            UsageError: A text is no SID and no start of one, or several calls begin with it.
            UnknownCallError: The store has no event of a call, and there is no client.
        """
        from callctl.reports.stories.stored_family import find_family

        families = []
        for sid in calls_to_read(self.runtime, self.settings, self.client, texts):
            events = [] if self.store is None else find_family(self.store, sid).events
            legs = tuple(dict.fromkeys(event.call_sid for event in events if event.status))
            if not legs and self.client is None:
                raise UnknownCallError(
                    f"no callback of {sid} is stored here", hint="--fetch gets what the API knows of the call"
                )
            families.append(Family(sid, legs, is_named=True))
        return families

    def matching(self, chosen: CallFilter) -> list[Family]:
        """Return the families of which a leg matches: those in the store, then those that REST alone knows.

        Raises:
            CallctlError: The store or the list can't be read, or there is none.
        """
        from callctl.reports.stories.stored_family import families_since

        if self.store is None and self.client is None:
            raise CallctlError(
                "there is no store of callbacks here that could be read",
                hint="`callctl watch` and `callctl listen` keep one; --fetch queries the API",
            )
        with Progress(self.runtime, _search_progress) as progress:
            by_head = {}
            if self.store is not None:
                # Since now: only families that are not over.
                since = self.runtime.now() if chosen.means_live_alone else chosen.since
                families = families_since(self.store, since, matches=partial(_matches, chosen))
                by_head = {legs[0]: Family(legs[0], legs) for legs in progress.counted(families)}
                if self.store.unreadable:
                    count = self.store.unreadable
                    what = "1 event is" if count == 1 else f"{count:,} events are"
                    self.runtime.say(f"callctl: {what} left out, for the record can't be read; `callctl doctor` helps")
            if self.client is not None:
                known = {leg for family in by_head.values() for leg in family.legs}
                for call in progress.counted(filters.find_calls(self.client, chosen, limit=None)):
                    head = call.parent_call_sid or call.sid
                    if call.sid not in known and head not in known:
                        by_head.setdefault(head, Family(head))
        return list(by_head.values())

    def stories(self, families: Iterable[Family]) -> Iterator[Story]:
        """Yield the story of each family, once, in their order.

        Raises:
            CallctlError: The store can't be read, or REST does not have a call that was named and that is not stored.
        """
        known: set[str] = set()
        with Progress(self.runtime, lambda number: f"reading the calls: {number:,} so far") as progress:
            for story in progress.counted(self._each(list(families))):
                if story.sid not in known:
                    known.add(story.sid)
                    yield story

    def untaken(self, legs: Collection[str]) -> list[str]:
        """Return which applications have not taken callbacks of these legs, a sentence for each."""
        from callctl.calls.masked_numbers import masked

        kept = [] if self.store is None else self.store.undelivered(now=self.runtime.now())
        by_url: dict[str, list[Undelivered]] = {}
        for request, _ in kept:
            if request.call_sid in legs:
                by_url.setdefault(request.url, []).append(request)
        command = "callctl replay --failed --to URL" if self.settings.is_store_found else "callctl replay --failed"
        sentences = (
            f"{url} has not taken {counted(len(requests), 'callback')} of these calls, the first because: "
            f"{min(requests, key=lambda request: request.at).why}. {command} sends what is kept."
            for url, requests in by_url.items()
        )
        return [masked(sentence) if self.masks else sentence for sentence in sentences]

    def _each(self, families: list[Family]) -> Iterator[Story]:
        if self.client is None:
            stories = (self._story(family, None) for family in families)
        else:
            stories = (self._story(family, facts) for family, facts in self._fetched(self.client, families))
        return (story for story in stories if story is not None)

    def _fetched(self, client: ApiClient, families: list[Family]) -> Iterator[tuple[Family, RestFacts | None]]:
        """Yield what REST says of each family, in their order; several are fetched at once."""
        from callctl.operations.bulk import Done, for_each_in_order
        from callctl.operations.rest_family import RestFamily, fetch_family

        by_sid = {family.sid: family for family in families}

        def fetch(sid: str) -> RestFamily:
            family = fetch_family(client, sid, by_sid[sid].legs)
            if len(by_sid) > 1:
                family.check_limit()
            return family

        missing: dict[tuple[str, str], list[str]] = {}  # legs, by what of them and why
        gone: dict[str, list[str]] = {}  # calls of which nothing is known here, by why
        for result in for_each_in_order(list(by_sid), fetch, parallel=_PARALLEL):
            family = by_sid[result.sid]
            if isinstance(result, Done):
                for (leg, what), error in result.value.missing.items():
                    missing.setdefault((what, error.message), []).append(leg)
                yield family, result.value.facts
            elif family.legs:
                missing.setdefault(("what the API knows", result.error.message), []).append(family.sid)
                yield family, None
            elif isinstance(result.error, NotFoundError) and not family.is_named:
                gone.setdefault(result.error.message, []).append(family.sid)
            else:
                raise result.error
        for (what, why), legs in missing.items():
            self.runtime.say(f"callctl: warning: exported without {what} of {name_some(legs)}: {why}")
        for why, sids in gone.items():  # they were listed, and then deleted
            self.runtime.say(f"callctl: warning: exported without {name_some(sids)}: {why}")

    def _story(self, family: Family, facts: RestFacts | None) -> Story | None:
        from callctl.reports.stories.stored_family import StoredFamily, find_family, read_family
        from callctl.reports.stories.story import story_of

        stored = StoredFamily()
        if self.store is not None:
            is_whole = family.legs and family.legs[0] == family.sid
            stored = read_family(self.store, family.legs) if is_whole else find_family(self.store, family.sid)
        if facts is not None:
            from callctl.operations.rest_family import unreported

            new = unreported(facts, stored.events, now=self.runtime.now(), world=self.settings.world)
            stored = replace(stored, events=(*stored.events, *new))
        if self.masks:
            stored, facts = stored.masked(), None if facts is None else facts.masked()
        return story_of(stored.events, stored.actions, sid=family.sid, facts=facts)


def _search_progress(count: int) -> str:
    return f"looking for calls: {count:,} so far" if count else "looking for calls"


def _matches(chosen: CallFilter, leg: Leg) -> bool:
    """Return whether a leg matches, as callbacks reported it."""
    from callctl.reports.stories.story import began_at

    status = leg.status
    if status == CallStatus.INITIATED:  # which REST, and so --status, has no word for
        status = CallStatus.RINGING if CallStatus.RINGING in chosen.statuses else CallStatus.QUEUED
    began = began_at(leg)
    return chosen.matches(
        Call(
            leg.call_sid,
            status,
            from_=leg.from_,
            to=leg.to,
            parent_call_sid=leg.parent_call_sid,
            date_created=began,
            start_time=began,
        )
    )

"""``callctl export``: what became of calls, as a page, a diagram, CSV or JSON, out of the local store."""

from __future__ import annotations

import heapq
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.calls.call import Call, CallStatus
from callctl.calls.filter import CallFilter
from callctl.cli.io.progress import Progress
from callctl.cli.io.results import counted, name_some
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common, completion, filters
from callctl.cli.options.another_store import warn_of_another_store
from callctl.cli.options.calls import calls_to_read, open_store_to_read
from callctl.cli.options.checks import check_account
from callctl.cli.options.common import OUTPUT
from callctl.cli.options.completion import FORMATS
from callctl.errors import CallctlError, NotFoundError, UnknownCallError, UsageError, why_unreadable
from callctl.settings.own_folder import is_mine
from callctl.store.opening import open_readonly
from callctl.store.sqlite.location import BESIDE

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.calls.leg import Leg
    from callctl.reports.overview import Overview
    from callctl.reports.stories.rest_facts import RestFacts
    from callctl.reports.stories.story import Story
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore
    from callctl.store.records import Undelivered

# Stories on a page or in a Mermaid document; more would be megabytes that nobody reads.
DEFAULT_LIMIT = 200
_PARALLEL = 20  # families that are fetched at once: as many calls as ``show`` fetches
_ENDINGS = {"html": "html", "mermaid": "md", "csv": "csv", "json": "json"}
_TO_STDOUT = "-"
_LONGEST_NAME = 100  # characters of a SID in the name of a file


def export(
    ctx: typer.Context,
    call: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CALL",
            help="SIDs, starts of them, @last, or - for SIDs on stdin; else the calls that the filters choose.",
            autocompletion=completion.past_call_sids,
        ),
    ] = None,
    live: filters.Live = False,
    status: filters.Status = None,
    to: filters.To = None,
    from_: filters.From = None,
    parent: filters.Parent = None,
    since: filters.Since = None,
    until: filters.Until = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=completion.formats,
            help="html, mermaid, csv or json.\n\n"
            "html: one page with a sequence diagram of each call; it loads nothing from elsewhere. mermaid: Markdown "
            "with diagrams that GitHub draws. csv: a row for each leg. json: an array of families with their legs.",
            rich_help_panel=OUTPUT,
        ),
    ] = "html",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file, - for stdout; else to a new one here.\n\n"
            "A new file is named after the call, or after the day on which the calls began, and replaces no other. One "
            "that is named here is replaced. Its path is what stands on stdout.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help=f"At most N calls; else {DEFAULT_LIMIT}, in csv and json all.\n\n"
            "A page or a Mermaid document shows those in which most went wrong, then the newest. Its figures are of "
            "all calls. csv and json have the newest.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Open the page in the browser.", rich_help_panel=OUTPUT)] = False,
    fetch: Annotated[
        bool,
        typer.Option(
            "--fetch",
            help="Ask the API for prices, errors and what is missing.\n\n"
            "Without it no request is sent: all comes out of the store of callbacks that watch and listen keep.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    mask_numbers: common.MaskNumbers = False,
    debug: common.Debug = False,
) -> None:
    """Write what became of calls: a page to show others, a diagram, CSV or JSON.

    A call comes with its whole family of legs if one of them is named or matches. --since, --until: when a leg began.
    """
    runtime = common.runtime_of(ctx, debug=debug, request_timeout=request_timeout, mask_numbers=mask_numbers)
    _check(format_, output=output, web=web)
    chosen = filters.read_filter(
        live=live, status=status, to=to, from_=from_, parent=parent, since=since, until=until, now=runtime.now()
    )
    _check_choice(call, chosen)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    check_account(settings)
    _check_output(runtime, settings, output)
    client = runtime.client(settings) if fetch else None
    store = open_store_to_read(runtime, settings) if fetch else _open_store(runtime, settings)
    try:
        source = _Source(runtime, settings, store, client, masks=mask_numbers)
        families = source.named(call) if call else source.matching(chosen)
        target = _Target(runtime, format_, output)
        if format_ in ("html", "mermaid"):
            most = DEFAULT_LIMIT if limit is None else min(limit, common.MOST)
            words = _in_words(call, chosen, masks=mask_numbers)
            path = _write_document(source, families, target, chosen=words, most=most)
        else:
            path = _write_data(source, families, target, most=limit)
    finally:
        if store is not None:
            store.close()
    if web and path is not None:
        _open(runtime, path)


def _check(format_: str, *, output: str | None, web: bool) -> None:
    if format_ not in FORMATS:
        raise UsageError(
            f"--format is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {format_ or common.EMPTY}",
            hint="html is a page",
        )
    if output == "":
        raise UsageError("--output names no file", hint="- stands for stdout; without it a new file is made here")
    if web and (format_ != "html" or output == _TO_STDOUT):
        raise UsageError("--web opens a page, and none is written to a file", hint="leave out --format and --output -")


def _check_output(runtime: Runtime, settings: Settings, output: str | None) -> None:
    """Refuse a file of callctl's own: the store with what SQLite has beside it, or what is in the state folder.

    Raises:
        UsageError: It is one.
    """
    if output in (None, _TO_STDOUT):
        return
    path = os.path.realpath(runtime.cwd / output)
    own = [f"{os.path.realpath(settings.store)}{ending}" for ending in ("", *BESIDE)]
    is_own = any(path == one or _is_same_file(path, one) for one in own)
    if is_own or Path(path).is_relative_to(os.path.realpath(settings.state_dir)):
        raise UsageError(f"--output {output} is a file of callctl's own", hint="name another file, or - for stdout")


def _is_same_file(path: str, other: str) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:
        return False


def _open_store(runtime: Runtime, settings: Settings) -> EventStore | None:
    """Return the store, or None if there is none; it alone has all that is wanted, so that its errors are raised.

    Raises:
        StoreError: It can't be read.
    """
    warn_of_another_store(runtime, settings)
    return open_readonly(settings)


def _check_choice(calls: Sequence[str] | None, chosen: CallFilter) -> None:
    is_filtered = not replace(chosen, now=None).is_empty
    if calls and is_filtered:
        raise UsageError("calls are named, and filters are given too", hint="leave out one of the two")
    if not calls and not is_filtered:
        raise UsageError("which calls?", hint="name calls or @last, or choose them: --since 2h, --to +12025550100")


def _in_words(calls: Sequence[str] | None, chosen: CallFilter, *, masks: bool) -> str:
    """Return which calls were chosen, for the head of a document; nothing where they were named."""
    from callctl.calls.masked_numbers import masked_filter
    from callctl.support.dates import local_time

    if masks:
        chosen = masked_filter(chosen)
    parts = [
        "" if calls else chosen.in_words,
        f"dialled by {chosen.parent}" if chosen.parent else "",
        f"begun since {local_time(chosen.since)}" if chosen.since else "",
        f"begun before {local_time(chosen.until)}" if chosen.until else "",
    ]
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class _Family:
    """A family to be exported: ``sid`` is its parent leg, or another one if that is unknown; ``legs`` are known.

    ``is_named``: somebody asked for it, and not for those that match.
    """

    sid: str
    legs: tuple[str, ...] = ()
    is_named: bool = False


@dataclass(frozen=True)
class _Source:
    """Where stories come from: the local store, if there is one, and REST, if there is a client."""

    runtime: Runtime
    settings: Settings
    store: EventStore | None
    client: ApiClient | None
    masks: bool

    def named(self, texts: Sequence[str]) -> list[_Family]:
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
                    f"no callback of {sid} is stored here", hint="--fetch asks the API what it knows of the call"
                )
            families.append(_Family(sid, legs, is_named=True))
        return families

    def matching(self, chosen: CallFilter) -> list[_Family]:
        """Return the families of which a leg matches: those in the store, then those that REST alone knows.

        Raises:
            CallctlError: The store or the list can't be read, or there is none.
        """
        from callctl.reports.stories.stored_family import families_since

        if self.store is None and self.client is None:
            raise CallctlError(
                "there is no store of callbacks here that could be read",
                hint="`callctl watch` and `callctl listen` keep one; --fetch asks the API",
            )
        with Progress(self.runtime, _search_progress) as progress:
            by_head = {}
            if self.store is not None:
                # Since now: only families that are not over.
                since = self.runtime.now() if chosen.means_live_alone else chosen.since
                families = families_since(self.store, since, matches=partial(_matches, chosen))
                by_head = {legs[0]: _Family(legs[0], legs) for legs in progress.counted(families)}
                if self.store.unreadable:
                    count = self.store.unreadable
                    what = "1 event is" if count == 1 else f"{count:,} events are"
                    self.runtime.say(f"callctl: {what} left out, for the record can't be read; `callctl doctor` helps")
            if self.client is not None:
                known = {leg for family in by_head.values() for leg in family.legs}
                for call in progress.counted(filters.find_calls(self.client, chosen, limit=None)):
                    head = call.parent_call_sid or call.sid
                    if call.sid not in known and head not in known:
                        by_head.setdefault(head, _Family(head))
        return list(by_head.values())

    def stories(self, families: Iterable[_Family]) -> Iterator[Story]:
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
        sentences = (
            f"{url} has not taken {counted(len(requests), 'callback')} of these calls, the first because: "
            f"{min(requests, key=lambda request: request.at).why}. callctl replay --failed sends what is kept."
            for url, requests in by_url.items()
        )
        return [masked(sentence) if self.masks else sentence for sentence in sentences]

    def _each(self, families: list[_Family]) -> Iterator[Story]:
        if self.client is None:
            stories = (self._story(family, None) for family in families)
        else:
            stories = (self._story(family, facts) for family, facts in self._fetched(self.client, families))
        return (story for story in stories if story is not None)

    def _fetched(self, client: ApiClient, families: list[_Family]) -> Iterator[tuple[_Family, RestFacts | None]]:
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

    def _story(self, family: _Family, facts: RestFacts | None) -> Story | None:
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


@dataclass(frozen=True)
class _Target:
    """Where a document goes: stdout, a file that is named, or a new one in the working folder."""

    runtime: Runtime
    format: str
    output: str | None

    def write(self, pieces: Iterable[str], *, name: str) -> Path | None:
        """Write a document; return its path, which is also said on stdout, or None where it went there itself.

        A file is replaced as a whole, once all of it is there; where a link leads to it, the link stays. What is no
        file, such as a device or a pipe, is written to as it is, and so is a file in a folder that takes no new one.

        Raises:
            CallctlError: The file can't be written. One that was made is removed again.
        """
        if self.output == _TO_STDOUT:
            for piece in pieces:
                self.runtime.stdout.write(piece)
            self.runtime.stdout.flush()
            return None
        shown = Path(self.output) if self.output is not None else self._new_file(name)
        path = self.runtime.cwd / shown
        is_new = self.output is None
        try:
            _write_file(path, pieces)
        except BaseException as error:
            if is_new:
                with suppress(OSError):
                    path.unlink()
            if isinstance(error, OSError):
                raise self._unwritable(shown, error) from error
            raise
        self.runtime.write(str(shown))
        return path

    def _new_file(self, name: str) -> Path:
        """Make an empty file with a name that no other has, by a number where there is one, and return that name."""
        ending = _ENDINGS[self.format]
        for number in count(1):
            shown = Path(f"{name}{f'-{number}' if number > 1 else ''}.{ending}")
            try:
                os.close(os.open(self.runtime.cwd / shown, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                continue
            except OSError as error:
                raise self._unwritable(shown, error) from error
            return shown
        raise AssertionError("there is no end of numbers")

    def _unwritable(self, shown: Path, error: OSError) -> CallctlError:
        return CallctlError(
            f"can't write {shown}: {why_unreadable(error)}", hint="--output names another file, or - for stdout"
        )


def _write_file(path: Path, pieces: Iterable[str]) -> None:
    """Write a text into a new file beside another one, with its mode, and put it in its place at the end.

    Raises:
        OSError: That can't be done; the file is as it was.
    """
    real = Path(os.path.realpath(path))
    beside = _new_beside(path, real)
    if beside is None:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        return
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        beside.replace(real)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _new_beside(path: Path, real: Path) -> Path | None:
    """Make an empty file beside ``real``, where a path leads; return None where that is to be written to itself.

    That is so of what is no regular file, or is passed on as a device, of another user's file, whose owner would
    change, of one with several names, and where no other file can be made.

    Raises:
        OSError: The file can't be looked at, or this user may not write it.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    if status is not None:
        is_passed_on = path.is_relative_to("/dev") or path.is_relative_to("/proc")
        if is_passed_on or not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or not is_mine(status):
            return None
        path.open("a").close()  # one that may not be written is not replaced either
    beside = real.with_name(f".callctl-{secrets.token_hex(8)}")
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        if status is not None:
            beside.chmod(stat.S_IMODE(status.st_mode))
    except PermissionError:
        return None
    return beside


def _write_document(
    source: _Source, families: Sequence[_Family], target: _Target, *, chosen: str, most: int
) -> Path | None:
    """Write a page or a Mermaid document of the stories in which most went wrong; return its path, if it has one."""
    from callctl.reports.overview import Overview

    overview = Overview()
    stories, left_out = _worst(source.stories(families), overview, most=most)
    if not stories:
        source.runtime.say("callctl: no calls match")
        return None
    _say_left_out(source.runtime, left_out, of=overview.calls)
    render = _html if target.format == "html" else _markdown
    untaken = source.untaken({leg for family in families for leg in family.legs})
    pieces = render(source, stories, overview, chosen=chosen, left_out=left_out, untaken=untaken)
    return target.write(pieces, name=_name_of(source, stories))


def _worst(stories: Iterable[Story], overview: Overview, *, most: int) -> tuple[list[Story], int]:
    """Return the stories in which most went wrong, the oldest first, and how many others there are; count all."""
    kept: list[tuple[int, float, int, Story]] = []
    left_out = 0
    for number, story in enumerate(stories):
        overview.add(story)
        heapq.heappush(kept, (story.trouble, story.began_at.timestamp(), number, story))
        if len(kept) > most:
            heapq.heappop(kept)
            left_out += 1
    return sorted((story for *_, story in kept), key=lambda story: story.began_at), left_out


def _html(
    source: _Source, stories: list[Story], overview: Overview, *, chosen: str, left_out: int, untaken: list[str]
) -> Iterator[str]:
    from callctl import __version__
    from callctl.reports.page import Page, html

    runtime, settings = source.runtime, source.settings
    return html(
        Page(
            stories,
            overview,
            chosen=chosen,
            made_at=runtime.now(),
            version=__version__,
            api_url=None if settings.is_twilio else settings.api_url,
            left_out=left_out,
            untaken=untaken,
            notes=list(_notes(source, chosen)),
        )
    )


def _markdown(
    source: _Source, stories: list[Story], overview: Overview, *, chosen: str, left_out: int, untaken: list[str]
) -> Iterator[str]:
    from callctl.reports.mermaid import markdown

    api = "" if source.settings.is_twilio else f"Not Twilio: the API was {source.settings.api_url}"
    said = f"{left_out:,} of {overview.calls:,} calls are left out; --limit N shows more." if left_out else ""
    notes = [*(overview.in_words if overview.calls > 1 else ()), *untaken, said, api]
    title = f"What happened{f': {chosen}' if chosen else ''}"
    return markdown(stories, title=title, notes=[note for note in notes if note])


def _notes(source: _Source, chosen: str) -> Iterator[str]:
    """Yield what a page rests on."""
    rest = ", and from what the API knew of the calls at that time" if source.client is not None else ""
    yield f"Written from the callbacks that callctl stored and from what its commands and rules did{rest}."
    if source.client is None:
        silent = (
            "errors that Twilio noted, and calls of which no callback came,"
            if chosen
            else "and errors that Twilio noted,"
        )
        yield f"Prices, {silent} are not in it: --fetch asks the API for them."
    if source.masks:
        yield "Phone numbers and names are masked."


def _write_data(source: _Source, families: Sequence[_Family], target: _Target, *, most: int | None) -> Path | None:
    """Write CSV or JSON, story by story; return its path, if it has one."""
    left_out = 0 if most is None else max(0, len(families) - most)
    _say_left_out(source.runtime, left_out, of=len(families))
    stories = source.stories(families[left_out:])
    first = list(islice(stories, 2))
    if not first:
        source.runtime.say("callctl: no calls match")
    every = chain(first, stories)
    return target.write(_csv(every) if target.format == "csv" else _json(every, source), name=_name_of(source, first))


def _say_left_out(runtime: Runtime, left_out: int, *, of: int) -> None:
    if left_out:
        runtime.say(f"callctl: {left_out:,} of {of:,} calls are left out; --limit N shows more")


def _csv(stories: Iterable[Story]) -> Iterator[str]:
    from callctl.reports.story_csv import csv_lines

    return (f"{line}\n" for line in csv_lines(stories))


def _json(stories: Iterable[Story], source: _Source) -> Iterator[str]:
    from callctl.reports.story_json import story_json
    from callctl.views.terminal_safe import json_text

    extra = {} if source.settings.is_twilio else {"api_url": source.settings.api_url}
    opening = "["
    for story in stories:
        yield f"{opening}{json_text({**story_json(story), **extra})}"
        opening = ",\n "
    yield "[]\n" if opening == "[" else "]\n"


def _name_of(source: _Source, stories: Sequence[Story]) -> str:
    """Return the name of a file, without its ending: after the one call, or the day on which the first began."""
    if len(stories) == 1:
        return f"callctl-{re.sub('[^A-Za-z0-9._-]', '-', stories[0].sid[:_LONGEST_NAME])}"
    first = min((story.began_at for story in stories), default=source.runtime.now())
    return f"callctl-{first.astimezone():%Y-%m-%d}"


def _open(runtime: Runtime, path: Path) -> None:
    """Open a page in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        runtime.say(f"callctl: no browser could be started; the page is {path}")

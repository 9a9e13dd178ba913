"""``callctl replay``: stored callbacks sent to an application once more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from callctl.calls.event import CALLBACK, TWIML_REQUEST, CallEvent
from callctl.calls.other_callbacks import FEATURES
from callctl.cli.io.dry_run import say_nothing_was_sent
from callctl.cli.io.event_loop import run_loop
from callctl.cli.io.results import counted, name_some
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, completion, filters
from callctl.cli.options.calls import calls_in_store
from callctl.cli.options.common import OUTPUT, WHICH, words_in
from callctl.errors import REDACTED, PartlyFailedError, StoreError, UsageError, without_secrets, without_user_info
from callctl.support.dates import format_date, time_of_day
from callctl.support.urls import is_http_url, is_loopback_url, scheme_hint

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore
    from callctl.store.records import Undelivered
    from callctl.watch.forwarding.replay import Replay, Replayed, Sending

SENDING = "How they are sent"
# What callctl itself found in REST was never sent. A request for TwiML goes to another URL, and wants TwiML.
KINDS = (CALLBACK, *FEATURES)

_Kept = Sequence[tuple["Undelivered", "CallEvent"]]
_Rows = dict[tuple[str, str], "Undelivered"]  # by an event's key and the URL that it is sent to
_WHOLE_URL = "--to names the whole URL, and then only what was to go there is sent"


def replay(
    ctx: typer.Context,
    calls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CALL",
            help="SIDs, starts of them, @last, or - for SIDs on stdin.",
            autocompletion=completion.past_call_sids,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            help="The URL of your application; here it is no filter by number.\n\n"
            "The callbacks are signed for it. With --failed it replaces the URL to which they were to go; of several "
            "it chooses one.",
            rich_help_panel=SENDING,
        ),
    ] = None,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed",
            help="What --forward-to could not pass on.\n\n"
            "It is sent to the URL to which it was to go, unless --to names another. What is accepted is forgotten. "
            "Where the URL had a password, or a .env that was found names the store, --to is needed.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="Came since 2h, 2026-01-05, 2026-01-05T14:00Z.", rich_help_panel=WHICH
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="WHEN", help="Came before; a date means the end of it.", rich_help_panel=WHICH),
    ] = None,
    status: filters.Status = None,
    from_: filters.From = None,
    family: Annotated[
        bool, typer.Option("--family", help="Also callbacks of the calls' other legs.", rich_help_panel=WHICH)
    ] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            autocompletion=completion.callback_kinds,
            help="callback, recording, conference, …; repeatable.\n\n"
            f"{', '.join((*KINDS, TWIML_REQUEST))}; without it all but {TWIML_REQUEST}, with --failed all.",
            rich_help_panel=WHICH,
        ),
    ] = None,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Also what came without a valid signature.", rich_help_panel=WHICH),
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            metavar="FACTOR",
            help="So many times as fast as they came: 10, 0.5.\n\n"
            "Without it, as fast as they came; with --failed, at once.",
            rich_help_panel=SENDING,
        ),
    ] = None,
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="Send each as soon as the one before is answered.", rich_help_panel=SENDING),
    ] = False,
    sign_for: Annotated[
        str | None,
        typer.Option(
            "--sign-for",
            metavar="URL",
            help="Sign for another URL than --to has.\n\n"
            "For an application that checks signatures against its public URL, wherever the request arrives.",
            rich_help_panel=SENDING,
        ),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Send to another machine too.\n\n"
            "Callbacks show who called whom, and the signature is as good as Twilio's.",
            rich_help_panel=SENDING,
        ),
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Accept any certificate.\n\nOnly on loopback. SSL_CERT_FILE names a CA to trust.",
            rich_help_panel=SENDING,
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and when.", rich_help_panel=OUTPUT)
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Send stored callbacks to an application once more.

    Each has the form that was stored and a new signature for the URL. They are sent in the order and at the pace in
    which they once came. No request is sent to Twilio.

    Exit code 8: one was refused (HTTP 400 and above), not answered or, with --failed, not sent for want of a password.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug)
    now = runtime.now()
    if not (calls or since or failed):
        raise UsageError("which callbacks?", hint="name calls, or give --since 2h, or --failed")
    if to is None and not failed:
        raise UsageError("to which URL?", hint="--to http://127.0.0.1:5000/status names your application")
    chosen = _Chosen(
        filters.read_filter(status=status, from_=from_, since=since, until=until, now=now),
        kinds=_kinds(kind, failed=failed),
        takes_unverified=unverified,
    )
    target = None if to is None else _checked_url(to, "--to", allow_remote=allow_remote)
    if sign_for is not None:
        _check_http(sign_for, "--sign-for")
    pace = _pace(speed, at_once=at_once or (failed and speed is None))
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    if to is None and not dry_run:
        _check_urls_are_own(settings)
    from callctl.cli.options.listener_checks import check_credentials

    check_credentials(settings, unverified=False)
    store = _open(runtime, settings)
    with closing(store):
        chosen.calls = calls_in_store(runtime, settings, store, calls) if calls else None
        chosen.whole_families = family
        callbacks: Iterable[Replay]
        rows: _Rows = {}
        unsent: Sequence[str] = ()
        if failed:
            kept = _kept(runtime, store, chosen, now=now)
            if target is None:
                kept, unsent = _with_whole_urls(kept, allow_remote=allow_remote)
            else:
                kept = _meant_by(runtime, kept, target)
            rows, callbacks = _failed(kept, target)
        else:
            callbacks = _stored(store, chosen, str(target))
        _check_certificates(insecure, [target] if target else [url for _, url in rows])
        run = _Run(runtime, store, rows, unsent)
        if dry_run:
            _show(runtime, callbacks, pace)
        else:
            from callctl.watch.forwarding.replay import Sending

            run.send(callbacks, Sending(settings.signing_keys[0], pace, sign_for, verify=not insecure))
        if chosen.left_out:
            what = counted(chosen.left_out, "callback")
            runtime.say(f"callctl: {what} left out that came unverified; --unverified sends such too")
        run.check()


# Options


def _kinds(given: Sequence[str] | None, *, failed: bool) -> Collection[str]:
    """Return which kinds of events are sent. Of a request for TwiML that failed it is known where it was to go."""
    if given is None:
        return (*KINDS, TWIML_REQUEST) if failed else KINDS
    kinds = words_in(given)
    unknown = [kind for kind in kinds if kind not in (*KINDS, TWIML_REQUEST)]
    if unknown or not kinds:
        what = f"no such kind of callback: {unknown[0]}" if unknown else "--kind names no kind"
        raise UsageError(what, hint=f"one of {', '.join((*KINDS, TWIML_REQUEST))}; what REST reported was never sent")
    return kinds


def _pace(speed: float | None, *, at_once: bool) -> float | None:
    if at_once:
        if speed is not None:
            raise UsageError("--speed and --at-once exclude each other", hint="--at-once is the fastest")
        return None
    if speed is None:
        return 1.0
    if not 0 < speed < float("inf"):
        raise UsageError(f"--speed is out of range: {speed:g}", hint="above 0; 10 is ten times as fast as then")
    return speed


def _check_http(url: str, option: str) -> None:
    if not is_http_url(url):
        raise UsageError(
            f"{option} is not an http or https address: {without_user_info(url)}",
            hint=scheme_hint(url, otherwise="such as http://127.0.0.1:5000/status"),
        )


def _checked_url(url: str, option: str, *, allow_remote: bool) -> str:
    _check_http(url, option)
    if not (allow_remote or is_loopback_url(url)):
        raise UsageError(
            f"{option} is not on this machine: {without_secrets(url)}",
            hint="callbacks show who called whom, and their signatures are valid: --allow-remote, if you mean it",
        )
    return url


def _check_urls_are_own(settings: Settings) -> None:
    """Make sure that the URLs in the store are of who runs this: each gets a signature that is as good as Twilio's."""
    if settings.is_store_found:
        raise UsageError(
            f"{settings.sources['CALLCTL_STORE']} names the store, and was found, not named: where the callbacks are "
            "to go may be another's choice",
            hint="--to names your application, --env-file a file that you trust; --dry-run shows what is kept",
        )


def _check_certificates(insecure: bool, urls: Iterable[str]) -> None:
    if insecure and not all(map(is_loopback_url, urls)):
        raise UsageError(
            "--insecure is for addresses on loopback: elsewhere anybody could answer",
            hint="name the file of the CA that signed your application's certificate in SSL_CERT_FILE",
        )


def _open(runtime: Runtime, settings: Settings) -> EventStore:
    from callctl.cli.options.another_store import warn_of_another_store
    from callctl.store.opening import open_existing

    warn_of_another_store(runtime, settings)
    store = open_existing(settings)
    if store is None:
        raise StoreError(
            f"there is no event store: {settings.store_name}",
            hint="`callctl watch` or `callctl listen` makes one, and stores there what it receives",
        )
    return store


@dataclass
class _Chosen:
    """Which callbacks are meant. ``left_out`` counts those that are not sent because they came unverified."""

    call_filter: CallFilter
    kinds: Collection[str]
    takes_unverified: bool
    calls: list[str] | None = None  # None: any
    whole_families: bool = False
    left_out: int = field(default=0, init=False)

    def of(self, events: Iterable[CallEvent], *, matching: Collection[str] | None) -> Iterator[CallEvent]:
        """Yield the events that are meant; ``matching`` are the calls that match the filter, None: all."""
        since, until = self.call_filter.since, self.call_filter.until
        for event in events:
            if event.kind not in self.kinds or (matching is not None and event.call_sid not in matching):
                continue
            if (since and event.received_at < since) or (until and event.received_at >= until):
                continue
            if not (event.verified or self.takes_unverified):
                self.left_out += 1
                continue
            yield event

    def fits(self, events: Iterable[CallEvent]) -> set[str] | None:
        """Return the calls that match --status and --from, as these events report them; None for all."""
        if not self.call_filter.concerns_leg:
            return None
        last: dict[str, tuple[str, str]] = {}  # order and status of each call's highest event
        callers: dict[str, str] = {}
        for event in events:
            if event.status and event.order > last.get(event.call_sid, ("", ""))[0]:
                last[event.call_sid] = event.order, event.status
            if event.from_:
                callers[event.call_sid] = event.from_
        reported = {sid: _Reported(status, callers.get(sid, "")) for sid, (_, status) in last.items()}
        return {sid for sid, call in reported.items() if self.call_filter.matches_leg(call)}


class _Reported(NamedTuple):
    """What events report of a call, for the filter."""

    status: str
    from_: str
    to: str = ""


def _stored(store: EventStore, chosen: _Chosen, url: str) -> Iterator[Replay]:
    from callctl.watch.forwarding.replay import Replay

    def read() -> Iterable[CallEvent]:
        if chosen.calls is None:
            return store.replay(since=chosen.call_filter.since)
        return _of_calls(store, chosen.calls, whole_families=chosen.whole_families)

    matching = chosen.fits(read())
    return (Replay(event, url) for event in chosen.of(read(), matching=matching))


def _of_calls(store: EventStore, calls: Sequence[str], *, whole_families: bool) -> list[CallEvent]:
    """Return the events of calls, or of their families with their conferences, each once, in the order of arrival."""
    from callctl.reports.stories.stored_family import find_family, in_order_of_arrival

    if whole_families:
        return in_order_of_arrival(find_family(store, sid).events for sid in calls)
    return in_order_of_arrival([event for event in store.family(sid) if event.call_sid == sid] for sid in calls)


def _kept(runtime: Runtime, store: EventStore, chosen: _Chosen, *, now: datetime) -> _Kept:
    """Return what was not passed on and is meant, each with its event."""
    kept = store.undelivered(now=now)
    if chosen.calls is not None:
        family = _of_calls(store, chosen.calls, whole_families=True) if chosen.whole_families else []
        sids = {*chosen.calls, *(event.call_sid for event in family)}
        kept = [(row, event) for row, event in kept if event.call_sid in sids]
    waiting = [row for row, _ in kept if row.tried_for]
    if waiting:
        longest = max(row.tried_for for row in waiting).total_seconds()
        runtime.say(
            f"callctl: {counted(len(waiting), 'callback')} left out that a listener still tries to pass on, for "
            f"{longest:.0f} s at most"
        )
    kept = [(row, event) for row, event in kept if not row.tried_for]
    sids_kept = dict.fromkeys(event.call_sid for _, event in kept)
    matching = chosen.fits(event for sid in sids_kept for event in store.family(sid) if event.call_sid == sid)
    meant = {event.key for event in chosen.of((event for _, event in kept), matching=matching)}
    return [(row, event) for row, event in kept if event.key in meant]


def _with_whole_urls(kept: _Kept, *, allow_remote: bool) -> tuple[_Kept, list[str]]:
    """Return what can be sent to where it was to go, and the URLs of the rest, whose passwords are not stored.

    Raises:
        UsageError: Nothing of it can be sent, or it was to go to another machine.
    """
    # It is maybe within its query, where what follows is percent-encoded.
    unsent = [row.url for row, _ in kept if REDACTED in row.url]
    whole = [(row, event) for row, event in kept if REDACTED not in row.url]
    if unsent and not whole:
        raise UsageError(_why_unsent(unsent), hint=_WHOLE_URL)
    for url in dict.fromkeys(row.url for row, _ in whole):
        _checked_url(url, "where it was to go", allow_remote=allow_remote)
    return whole, unsent


def _meant_by(runtime: Runtime, kept: _Kept, target: str) -> _Kept:
    """Return what --to means of what was to go to one URL or several; the rest stays kept.

    Raises:
        UsageError: That is not clear.
    """
    from callctl.watch.forwarding.kept_for import is_same_location, kept_for

    found = kept_for(kept, target)
    if found is None:
        raise UsageError(
            "they were to go to several URLs, and --to does not say which is meant: "
            f"{_named(row.url for row, _ in kept)}",
            hint="--to names one of them; without --failed, calls or --since are sent to any URL",
        )
    others = [row.url for row, _ in found if not is_same_location(row.url, target)]
    if others:
        runtime.say(f"callctl: --to replaces {_named(others)}")
    sent = {row.key_of_row for row, _ in found}
    left = [row.url for row, _ in kept if row.key_of_row not in sent]
    if left:
        runtime.say(f"callctl: {counted(len(left), 'callback')} left out that were to go to {_named(left)}")
    return found


def _failed(kept: _Kept, target: str | None) -> tuple[_Rows, list[Replay]]:
    """Return what was not passed on: the rows by event and URL, and the callbacks to be sent."""
    from callctl.watch.forwarding.replay import Replay

    rows = {(event.key, target or row.url): row for row, event in kept}
    return rows, [Replay(event, target or row.url) for row, event in kept]


def _why_unsent(urls: Sequence[str]) -> str:
    return f"the password in {_named(urls)} is not stored"


def _named(urls: Iterable[str]) -> str:
    """Name a few URLs, without their queries unless they differ by them alone."""
    given = dict.fromkeys(urls)
    short = dict.fromkeys(url.partition("?")[0] for url in given)
    return name_some(list(short if len(short) > 1 else given))


# Output


def _show(runtime: Runtime, callbacks: Iterable[Replay], pace: float | None) -> None:
    """Write what would be sent, and after how many seconds."""
    from callctl.views.terminal_safe import printable
    from callctl.watch.forwarding.replay import facts

    first: datetime | None = None
    count = 0
    for event, url in callbacks:
        first = first or event.received_at
        after = 0.0 if pace is None else max(0.0, (event.received_at - first).total_seconds() / pace)
        count += 1
        if runtime.form is Form.JSON:
            record: dict[str, Any] = {"v": 1, "type": "dry-run", **facts(event), "method": "POST"}
            form = [list(pair) for pair in event.form]
            runtime.write_json(record | {"url": without_secrets(url), "after": round(after, 3), "form": form})
        elif runtime.form is Form.PLAIN:
            runtime.write("\t".join(map(printable, (*_fields(event), f"{after:.3f}", without_secrets(url)))))
        else:
            when = time_of_day(event.received_at)
            runtime.write(printable(f"{when}  {event.call_sid}  {_word(event)}  after {after:.1f} s"))
    _say_if_none(runtime, count)
    say_nothing_was_sent(runtime)


def _fields(event: CallEvent) -> tuple[str, ...]:
    """Return when a callback came, its call, its event and the call's status, as they are printed on a pipe."""
    return format_date(event.received_at) or "", event.call_sid, event.event, event.status or "-"


def _word(event: CallEvent) -> str:
    """Return what a callback reported, in one word, padded to the longest of Twilio's."""
    return f"{event.status or event.event:<19}"


def _say_if_none(runtime: Runtime, count: int) -> None:
    if not count and runtime.form is not Form.JSON:
        runtime.say("callctl: no stored callbacks match")


class _Run:
    """Sends callbacks, and writes how each was answered. Of ``rows`` what is accepted is forgotten.

    ``unsent`` are URLs, one for each callback that can't be sent.
    """

    def __init__(self, runtime: Runtime, store: EventStore, rows: _Rows, unsent: Sequence[str]) -> None:
        self._runtime, self._store, self._rows, self._unsent = runtime, store, rows, unsent
        self._count = self._failures = 0

    def send(self, callbacks: Iterable[Replay], sending: Sending) -> None:
        """Send them."""
        try:
            run_loop(self._runtime, self._send(callbacks, sending))
        except KeyboardInterrupt:
            self._runtime.say(f"callctl: stopped after {counted(self._count, 'callback')}")
            raise
        _say_if_none(self._runtime, self._count)

    def check(self) -> None:
        """Make sure that all were accepted.

        Raises:
            PartlyFailedError: One was refused, or not answered, or can't be sent.
        """
        unsent = (
            f"{counted(len(self._unsent), 'callback')} not sent: {_why_unsent(self._unsent)}" if self._unsent else ""
        )
        if self._failures:
            error = PartlyFailedError(
                f"{self._failures} of {counted(self._count, 'callback')} refused or not answered",
                hint="what --failed sends stays kept until it is accepted" if self._rows else None,
            )
            if unsent:
                error.add(unsent, hint=_WHOLE_URL)
            raise error
        if unsent:
            raise PartlyFailedError(unsent, hint=_WHOLE_URL)
        if self._count and self._runtime.form is not Form.JSON:
            self._runtime.say(f"callctl: {counted(self._count, 'callback')} sent and accepted")

    async def _send(self, callbacks: Iterable[Replay], sending: Sending) -> None:
        from contextlib import aclosing

        from callctl.watch.forwarding.replay import replay

        async with aclosing(replay(callbacks, sending, on_gap=self._say_gap)) as sent:
            async for replayed in sent:
                self._count += 1
                self._failures += not replayed.is_accepted
                self._write(replayed)
                row = self._rows.get((replayed.event.key, replayed.given))
                if row and replayed.is_accepted:
                    self._store.forget_undelivered([row])

    def _say_gap(self, seconds: float, event: CallEvent) -> None:
        from callctl.views.table import clock

        self._runtime.say(
            f"callctl: the next one came at {time_of_day(event.received_at)}, and is sent in {clock(seconds)}; "
            "--speed or --at-once is faster"
        )

    def _write(self, replayed: Replayed) -> None:
        from callctl.views.terminal_safe import printable

        runtime, event = self._runtime, replayed.event
        if replayed.came_to_callctl:
            runtime.say_once(
                f"callctl: {replayed.url} is a listener of callctl, which takes no replays\n"
                "hint: give the address of your application"
            )
        if runtime.form is Form.JSON:
            runtime.write_json(replayed.to_json())
        elif runtime.form is Form.PLAIN:
            seconds, status = f"{replayed.answer.seconds:.3f}", str(replayed.answer.status or "-")
            fields = (*_fields(event), status, seconds, replayed.reason or "-", replayed.url)
            runtime.write("\t".join(map(printable, fields)))
        else:
            when = time_of_day(event.received_at)
            runtime.write(printable(f"{when}  {event.call_sid}  {_word(event)}  {replayed.answer.text}"))

"""The route of callbacks: the port, the public URL, and a signed request that goes out there and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlsplit

from callctl.calls.event import CallEvent
from callctl.doctor.spelling import difference, is_same_url, leads_to_same
from callctl.errors import CallctlError, NetworkError, PortTakenError, StoreError, without_secrets
from callctl.settings import FLAG, Settings
from callctl.support.threads import run_in_thread
from callctl.support.urls import is_loopback_url, is_unencrypted, why_unreachable
from callctl.views.doctor_finding import Finding, Level, fine, skipped, warning, wrong
from callctl.watch.listener.address import Address
from callctl.watch.listener.listener import Listener, ListenerConfig
from callctl.watch.listener.server import SelftestId
from callctl.watch.registry import registry
from callctl.watch.registry.health import (
    PLACING,
    STARTING,
    UNREACHED,
    ask_health,
    health_url_at,
    starting_in_words,
    trouble_of,
)
from callctl.watch.registry.process import has_stopped_process, is_here, resume_hint, stopped_in_words
from callctl.watch.registry.record import NO, WatchRecord
from callctl.watch.selftest import CERTIFICATE_REFUSED, SelftestResult, selftest, why_not_ours
from callctl.watch.tunnel.ngrok import NGROK_AGENT, OthersAgentError, find_agent

_HINT_ROUTE = "see that the tunnel or proxy runs, that it leads to this port, and that it changes neither path nor host"
_HINT_WATCH = (
    "if credentials and signing are in order above, then see that the watch was started with the same token, and that "
    "a tunnel or proxy, if there is one, runs and changes neither path nor host"
)
_HINT_CERTIFICATE = (
    "Twilio refuses it too, unless only this machine doesn't know its CA: SSL_CERT_FILE names what callctl trusts"
)
_HINT_SIGN_IN = (
    "put both into the public URL, a colon between them and @ before the host: Twilio signs in with them too"
)
_HOST = "127.0.0.1"
_SIGNED = "a signed request"
_ANY_CALLBACK = "callbacks without verifying them (--unverified): anybody who gets there can send some"
_HINT_VERIFY = "start it without --unverified"


@dataclass(frozen=True, slots=True)
class CallbackRoute:
    """What is checked: the callback URL as it is set, if it is, and the path of callbacks here.

    ``doubted`` names the check that found the token which verifies callbacks to be wrong or missing, if one did.
    """

    callback_url: str | None
    path: str
    agent: str = NGROK_AGENT
    doubted: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Who listens for an account and API address; ``is_known``: whether all could be looked for.

    ``silent`` are those here whose process is there, stopped or not, and that do not answer.
    """

    watches: Sequence[WatchRecord] = ()
    is_known: bool = True
    silent: Sequence[WatchRecord] = ()

    @property
    def first(self) -> WatchRecord | None:
        """The one that is looked at."""
        return next(iter(self.watches), None)

    @property
    def why_unverified(self) -> CallctlError | None:
        """Why callbacks need no signature, if all of them were started so."""
        if not self.watches or not all(watch.verifies == NO for watch in self.watches):
            return None
        what = f"the running {self.watches[0].noun} takes" if len(self.watches) == 1 else "all that listen take"
        return CallctlError(f"{what} {_ANY_CALLBACK}", hint=_HINT_VERIFY)


def who_listens(settings: Settings) -> Running:
    """Look for who listens: first those that have a record here, that at the port before the others."""
    watches: list[WatchRecord] = []
    silent: list[WatchRecord] = []
    try:
        watches += sorted(registry.running(settings), key=lambda record: record.port != settings.port)
        silent += registry.silent(settings, other_than=[watch.nonce for watch in watches])
        watches += registry.announced(settings)
    except CallctlError:  # a finding of its own
        return Running(watches, is_known=False, silent=silent)
    return Running(watches, silent=silent)


@dataclass(frozen=True, slots=True)
class Examined:
    """What is found of the route, and for the callback URLs of those that run, why callbacks to them may be lost.

    ``lost`` has the reason in words, for each URL that is not in order or not known to be. ``dead`` has those through
    which nothing comes, and whether that is certain of Twilio's requests too.
    """

    findings: list[Finding]
    lost: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, bool] = field(default_factory=dict)

    @property
    def came_back(self) -> bool:
        """Whether a request went out and came back."""
        return any(finding.name == "round trip" and finding.level is Level.FINE for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Trip:
    """A round trip; if it did not come back, whether Twilio's requests are certain not to arrive either."""

    finding: Finding
    is_certain: bool = True


async def examine_route(
    settings: Settings,
    route: CallbackRoute,
    *,
    running: Running,
    now: Callable[[], datetime],
) -> Examined:
    """Return what is found of who listens, port, public URL and round trip.

    Args:
        settings: The settings.
        route: Where callbacks go.
        running: Who listens for this account and API address: the test goes through the first; if there is none, a
            listener is opened for the moment of the test.
        now: The time.
    """
    watch = running.first
    if watch is not None:
        return await _examine_watches(settings, route, running)
    return Examined(await _without_watch(settings, route, running=running, now=now))


async def _examine_watches(settings: Settings, route: CallbackRoute, running: Running) -> Examined:
    watches = running.watches
    watch = watches[0]
    troubles = [trouble_of(each) for each in watches]
    public_url = await _public(settings, watch.callback_url, source=f"of the running {watch.noun}")
    trip = (
        # A refusal would say nothing of the route.
        _Trip(skipped("round trip", f"not tried: the token to sign it with is in question, see {route.doubted} above"))
        if route.doubted and watch.verifies != NO
        else await _round_trip_to(watch, settings)
    )
    findings = [
        _watch_at_port(watch, settings),
        *_beside(watches),
        *_silent_findings(running.silent),
        *_another_store(watches, settings),
        *(() if running.why_unverified else _unverified(watches)),
        *_impairments(watches, troubles),
        *_untested(settings, route, watch),
        public_url,
        trip.finding,
        *(finding for each in watches for finding in _misdirected(each)),
    ]
    lost, dead = _of_others(watches, troubles)
    for silent in running.silent:
        if silent.callback_url not in {each.callback_url for each in watches}:
            lost[silent.callback_url] = f"the {silent.noun} at {silent.where} does not answer, see watch"
            dead[silent.callback_url] = has_stopped_process(silent)
    url, noun = watch.callback_url, watch.noun
    if _refused(settings, url):
        lost[url], dead[url] = f"Twilio does not request the address of the {noun}, see public URL", True
    elif trip.finding.level is Level.WRONG:
        lost[url] = f"nothing comes through to the {noun}, see round trip"
        # One elsewhere may be cut off from here alone.
        dead[url] = trip.is_certain and not (watch.host and troubles[0] != UNREACHED)
    elif trip.finding.level is Level.FINE:
        if dead.pop(url, None) is not None:
            del lost[url]
    elif url not in lost and not _vouched_for(settings, watch):
        lost[url] = f"whether anything comes through to the {noun} is not known, see round trip"
    return Examined(findings, lost, dead)


def _of_others(
    watches: Sequence[WatchRecord], troubles: Sequence[str | None]
) -> tuple[dict[str, str], dict[str, bool]]:
    """Return what they say themselves of their URLs; one of several at a URL that is in order is enough there."""
    lost: dict[str, str] = {}
    dead: dict[str, bool] = {}
    for url in {watch.callback_url for watch in watches}:
        here = [(watch, why) for watch, why in zip(watches, troubles, strict=True) if watch.callback_url == url]
        watch, why = here[0]
        if not why or not all(each for _, each in here):
            continue
        if why == UNREACHED:
            lost[url], dead[url] = f"nothing comes through to the {watch.noun} at {watch.where}, see listener", True
        else:
            lost[url] = f"the {watch.noun} at {watch.where} can't store callbacks now, see listener"
    return lost, dead


def _vouched_for(settings: Settings, watch: WatchRecord) -> bool:
    """Return whether a watch says that its own test came back, where there is no token here to sign another with.

    One elsewhere says only what is not in order, which is not the case.
    """
    if settings.signing_keys:
        return False
    return bool(watch.host) or (ask_health(watch.health_url) or {}).get("reachable") is True


async def _without_watch(
    settings: Settings, route: CallbackRoute, *, running: Running, now: Callable[[], datetime]
) -> list[Finding]:
    listener = _listener(settings, route, now=now)
    try:
        async with _listening(listener):
            return [
                fine("port", f"{settings.port} is free" if settings.port else "any that is free"),
                *(_silent_findings(running.silent) or [_nobody(settings, running)]),
                *await _through(settings, route, listener),
            ]
    except CallctlError as error:
        occupant = await _port_user(settings) if isinstance(error, PortTakenError) else None
        if occupant is not None:
            return [
                occupant.port,
                *_silent_findings(running.silent),
                await _public(settings, route.callback_url, source="of CALLCTL_PUBLIC_URL"),
                skipped("round trip", f"not tried: {occupant.why_untried}"),
            ]
        return [
            wrong("port", _explained(error, settings.port, running.silent)),
            *_silent_findings([each for each in running.silent if each.port != settings.port]),
            await _public(settings, route.callback_url, source="of CALLCTL_PUBLIC_URL"),
            skipped("round trip", "not tried: nothing can listen at the port"),
        ]


async def _through(
    settings: Settings,
    route: CallbackRoute,
    listener: Listener,
) -> list[Finding]:
    url, source = route.callback_url, "of CALLCTL_PUBLIC_URL"
    if url is None and not settings.is_loopback:
        try:
            agent = await find_agent(listener.port, agent=route.agent)
        except OthersAgentError as refused:
            return [wrong("public URL", refused), skipped("round trip", "not tried: there is no public URL")]
        if agent:
            url, source = agent[0] + route.path, "of the ngrok agent that runs here"
            listener.move_to(replace(listener.address, public_url=url))
    public_url = await _public(settings, url, source=source)
    if url is None and not settings.is_loopback:
        return [public_url, skipped("round trip", "not tried: there is no public URL")]
    if url is not None and url != route.callback_url:
        # An address that another program reports may be somebody else's: nothing signed goes there.
        why = await why_not_ours(url, nonce=listener.config.nonce, awaited=listener.awaited_selftests)
        if why is not None:
            error = NetworkError(f"{url} does not lead here: {why}", hint=_hint(why, _HINT_ROUTE))
            return [public_url, wrong("round trip", error)]
    trip = await _round_trip(
        settings,
        listener.callback_url,
        nonce=listener.config.nonce,
        awaited=listener.awaited_selftests,
        doubted=route.doubted,
    )
    return [public_url, trip.finding]


def _listener(settings: Settings, route: CallbackRoute, *, now: Callable[[], datetime]) -> Listener:
    address = Address(_HOST, settings.port, route.path, route.callback_url)
    config = ListenerConfig.of(settings, address, unverified=not settings.signing_keys)
    return Listener(config, append=_refuse, now=now)


async def _refuse(_event: CallEvent) -> bool:
    """Store no event, so that it is answered with 500 and Twilio tries again later."""
    raise StoreError("only a check listens here")


@asynccontextmanager
async def _listening(listener: Listener) -> AsyncIterator[None]:
    await listener.start()
    try:
        yield
    finally:
        await listener.stop()


def _watch_at_port(watch: WatchRecord, settings: Settings) -> Finding:
    beside = "" if watch.host or watch.port == settings.port else f", not at {settings.port}"
    return fine("port", f"a {watch.noun} of this account listens at {_where(watch, beside)}")


def _where(watch: WatchRecord, beside: str = "") -> str:
    host = f" of {watch.host}" if watch.host else ""
    return f"{watch.port}{host}{beside} (process {watch.pid})"


def _beside(watches: Sequence[WatchRecord]) -> list[Finding]:
    """Return who else listens."""
    if len(watches) < 2:
        return []
    others = ", ".join(f"a {watch.noun} at {_where(watch)}" for watch in watches[1:])
    return [fine("listeners", f"{len(watches)}; beside that one {others}")]


def _another_store(watches: Sequence[WatchRecord], settings: Settings) -> list[Finding]:
    """Return a warning for each that keeps events in another store: commands and its rules don't know of each other."""
    elsewhere = (watch for watch in watches if registry.keeps_another_store(settings, watch))
    texts = (registry.another_store_in_words(settings, watch) for watch in elsewhere)
    return [warning("same store", what, fix=fix) for what, fix in texts]


def _impairments(watches: Sequence[WatchRecord], troubles: Sequence[str | None]) -> list[Finding]:
    """Return a warning for each watch that says that callbacks to it may be lost."""
    impaired = [(watch, why) for watch, why in zip(watches, troubles, strict=True) if why]
    return [
        warning(
            "listener",
            f"the {watch.noun}{'' if len(watches) == 1 else f' at {_where(watch)}'} says that {why}",
            fix=f"see what the {watch.noun} says in its log or table",
        )
        for watch, why in impaired
    ]


def _unverified(watches: Sequence[WatchRecord]) -> list[Finding]:
    """Return a warning for each watch that takes callbacks without a signature, beside others that don't."""
    unverified = (watch for watch in watches if watch.verifies == NO)
    return [
        warning("signing", f"the {watch.noun} at {_where(watch)} takes {_ANY_CALLBACK}", fix=_HINT_VERIFY)
        for watch in unverified
    ]


def _nobody(settings: Settings, running: Running) -> Finding:
    """Return that nobody listens; a warning where the settings are made for somebody who does."""
    if not running.is_known:
        return skipped("listener", "who listens is not known: that can't be looked for, see above")
    what = "no watch and no listener of this account runs"
    is_set_up = settings.public_url is not None and settings.sources.get("CALLCTL_PUBLIC_URL") != FLAG
    if is_set_up or settings.store_url is not None:
        return warning("listener", f"{what}: callbacks are lost", fix="start `callctl listen` or `callctl watch`")
    return fine("listener", f"{what}; `callctl watch` takes callbacks in")


def _misdirected(watch: WatchRecord) -> list[Finding]:
    """Return a warning if the watch says that signed requests come to a path where it has nothing."""
    if watch.host:  # it need not answer from here
        return []
    misdirected = (ask_health(watch.health_url) or {}).get("misdirected")
    if not isinstance(misdirected, dict):
        return []
    count, path = misdirected.get("count"), misdirected.get("path")
    return [
        warning(
            "callback path",
            f"{count} signed request{'' if count == 1 else 's'} came to {path} and found nothing there",
            fix=f"where a number, a call or a <Dial> names that path, give {watch.callback_url} instead",
            count=count,
            path=path,
        )
    ]


@dataclass(frozen=True, slots=True)
class _PortUser:
    """A watch that is starting, or a ``place --watch``, of this account at the port; and why no request is tried."""

    port: Finding
    why_untried: str


async def _port_user(settings: Settings) -> _PortUser | None:
    port = settings.port
    health = await run_in_thread(lambda: ask_health(health_url_at(port))) or {}
    if health.get(STARTING) == settings.world:
        fix = "try again once it says where it listens"
        return _PortUser(warning("port", starting_in_words(port), fix=fix), "the watch is still starting")
    if health.get(PLACING) == settings.world:
        what = f"`callctl place --watch` listens at {port} until its call is over"
        return _PortUser(
            warning("port", what, fix="try again then; `callctl watch` takes all calls in"),
            "nothing else can listen at the port",
        )
    return None


def _untested(settings: Settings, route: CallbackRoute, watch: WatchRecord) -> list[Finding]:
    """Return that a URL which was given to be tested is not: a watch takes what is signed over its own alone."""
    url = route.callback_url
    if url is None or settings.sources.get("CALLCTL_PUBLIC_URL") != FLAG or is_same_url(url, watch.callback_url):
        return []
    why = f"{url} is not tested: the running {watch.noun} has another one"
    if leads_to_same(url, watch.callback_url):
        why += f", for this is spelled {difference(url, watch.callback_url)}"
    return [skipped("public URL", why)]


def _silent_findings(silent: Sequence[WatchRecord]) -> list[Finding]:
    """Return a warning for each watch that keeps its port, and does not answer there."""
    return [warning("watch", what, fix=fix) for what, fix in map(_silent_in_words, silent)]


def _silent_in_words(watch: WatchRecord) -> tuple[str, str]:
    """Say that a watch does not answer, and what mends that."""
    if has_stopped_process(watch):
        return stopped_in_words(watch), resume_hint(watch)
    # A process that has ended without removing its record may have left its number to another one.
    return (
        f"the {watch.noun} at {_where(watch)} does not answer: what is sent to it may be lost",
        f"see what it says in its log or table, and that process {watch.pid} is it: if it hangs, start it anew",
    )


def _explained(error: CallctlError, port: int, silent: Sequence[WatchRecord]) -> CallctlError:
    if not isinstance(error, PortTakenError):
        return error
    for what, fix in (_silent_in_words(each) for each in silent if each.port == port):
        return PortTakenError(f"{port} is taken: {what}", hint=fix)
    answer = ask_health(health_url_at(port))
    who = (
        "a watch of another account, API address, user or state folder"
        if answer and "nonce" in answer
        else "another program"
    )
    return PortTakenError(
        f"{port} is taken by {who}",
        hint="stop that, or choose another port with CALLCTL_PORT or `callctl watch --port`",
    )


async def _public(settings: Settings, url: str | None, *, source: str) -> Finding:
    if url is None:
        if settings.is_loopback:
            return fine("public URL", "none is needed: the API runs on this machine")
        return warning(
            "public URL",
            "there is none: Twilio can't send status callbacks here",
            fix="`callctl watch --tunnel cloudflared`, a running ngrok agent, or your own in CALLCTL_PUBLIC_URL",
        )
    reason = _refused(settings, url)
    if reason is not None:
        return wrong(
            "public URL",
            CallctlError(f"{url}: {reason}", hint="give Twilio a public name without underscores, such as a tunnel's"),
        )
    if is_unencrypted(url):
        return warning(
            "public URL",
            f"{url} ({source}) is plain http",
            fix="use https: callbacks carry numbers and names of callers",
        )
    return fine("public URL", f"{url} ({source}), no underscore in its host", url=without_secrets(url))


def _refused(settings: Settings, url: str) -> str | None:
    """Say why Twilio would refuse a URL or not reach it; what runs on this machine reaches it all, but refuses too."""
    reason = why_unreachable(url)
    return reason if not settings.is_loopback or "_" in (urlsplit(url).hostname or "") else None


async def _round_trip_to(watch: WatchRecord, settings: Settings) -> _Trip:
    url = watch.callback_url
    if settings.is_loopback and is_loopback_url(url) and not is_here(watch):
        why = f"not tried: {url} is an address of {watch.host} that only leads there from there"
        return _Trip(skipped("round trip", why))
    others = registry.others(settings, watch)
    doubted = "signing" if watch.verifies == NO else None
    return await _round_trip(settings, url, nonce=watch.nonce, others=others, hint=_HINT_WATCH, doubted=doubted)


async def _round_trip(
    settings: Settings,
    url: str,
    *,
    nonce: str,
    awaited: set[SelftestId] | None = None,
    others: Callable[[], Collection[str]] = tuple,
    hint: str = _HINT_ROUTE,
    doubted: str | None = None,
) -> _Trip:
    if _refused(settings, url):
        return _Trip(skipped("round trip", "not tried: Twilio could not use this URL"))
    keys = settings.signing_keys or None
    result = await selftest(url, keys=keys, nonce=nonce, awaited=awaited, others=others)
    if result.round_trip is not None:
        what, but = ("a request", f"; of signatures it says nothing, see {doubted} above") if doubted else (_SIGNED, "")
        text = f"{what} came back in {result.round_trip * 1000:.0f} ms{but}"
        return _Trip(fine("round trip", text, seconds=round(result.round_trip, 3)))
    # The watch may have the token that Twilio signs with, and Twilio may know the certificate's issuer.
    is_certain = result.status != 403 and not (result.failure or "").startswith(CERTIFICATE_REFUSED)
    return _Trip(wrong("round trip", _lost(url, result, is_signed=keys is not None, hint=hint)), is_certain)


def _lost(url: str, result: SelftestResult, *, is_signed: bool, hint: str) -> CallctlError:
    if not is_signed:
        return NetworkError(
            f"{url}: {result.failure}", hint="without a token the request can't be signed; see signing above"
        )
    return NetworkError(
        f"a signed request through {url} did not come back: {result.failure}",
        hint=_HINT_SIGN_IN if result.status == 401 else _hint(result.failure, hint),
    )


def _hint(failure: str | None, otherwise: str) -> str:
    return _HINT_CERTIFICATE if (failure or "").startswith(CERTIFICATE_REFUSED) else otherwise

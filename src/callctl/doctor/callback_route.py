"""The way from Twilio to here: the port, the public URL, and a signed request that goes out there and comes back."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from callctl.calls.event import CallEvent
from callctl.calls.findings import Finding, fine, skipped, warning, wrong
from callctl.errors import CallctlError, NetworkError, PortTakenError, StoreError, without_secrets
from callctl.settings import Settings
from callctl.support.threads import run_in_thread
from callctl.support.urls import is_loopback_url, why_unreachable
from callctl.watch import registry
from callctl.watch.listener.listener import Listener
from callctl.watch.selftest import Outcome, probe, why_not_ours
from callctl.watch.tunnel import NGROK_AGENT, find_agent

_HINT_WAY = "see that the tunnel or proxy runs, that it leads to this port, and that it changes neither path nor host"
_HINT_WATCH = (
    "if credentials and signing are in order above, then see that the watch was started with the same token, and that "
    "a tunnel or proxy, if there is one, runs and changes neither path nor host"
)
_HOST = "127.0.0.1"
_SIGNED = "a signed request"


@dataclass(frozen=True, slots=True)
class Way:
    """What is to be looked at: the callback URL as it is set, if it is, and the path of callbacks here.

    ``doubted`` names the check that found the token which verifies callbacks to be wrong or missing, if one did.
    """

    callback_url: str | None
    path: str
    agent: str = NGROK_AGENT
    doubted: str | None = None


class _Keeping:
    """Stands for the store of a listener that is there for a moment: Twilio shall try again later (a 500)."""

    async def append_async(self, _event: CallEvent) -> bool:
        """Refuse."""
        raise StoreError("only a check listens here")


async def way_findings(
    settings: Settings,
    way: Way,
    *,
    watch: registry.WatchRecord | None,
    now: Callable[[], datetime],
    clock: Callable[[], float],
) -> list[Finding]:
    """Return what is found of port, public URL and round trip.

    Args:
        settings: The settings.
        way: Where callbacks go.
        watch: The running watch of this account and API address, through which the test goes; if there is none, a
            listener is opened for the moment of the test.
        now: The time.
        clock: Seconds, to measure with.
    """
    keys = settings.signing_keys or None
    if watch is not None:
        return [
            _held(watch, settings),
            await _public(settings, watch.callback_url, source="of the running watch"),
            # A refusal would say nothing of the way.
            skipped("round trip", f"not tried: the token to sign it with is in question, see {way.doubted} above")
            if way.doubted
            else await _round_trip(
                settings, watch.callback_url, keys=keys, nonce=watch.nonce, clock=clock, hint=_HINT_WATCH
            ),
            *_misdirected(watch),
        ]
    nonce = secrets.token_hex(16)
    listener = _listener(settings, way, keys=keys, nonce=nonce, now=now)
    stopped = _stopped(settings)
    try:
        async with _listening(listener):
            return [
                fine("port", f"{settings.port} is free" if settings.port else "any that is free"),
                *_told_of(stopped),
                *await _through(settings, way, listener, keys=keys, nonce=nonce, clock=clock),
            ]
    except CallctlError as error:
        holder = await _holder(settings) if isinstance(error, PortTakenError) else None
        if holder is not None:
            return [
                holder.port,
                *_told_of(stopped),
                await _public(settings, way.callback_url, source="of CALLCTL_PUBLIC_URL"),
                skipped("round trip", f"not tried: {holder.why_untried}"),
            ]
        return [
            wrong("port", _explained(error, settings.port, stopped=stopped)),
            *_told_of(stopped if stopped is None or stopped.port != settings.port else None),
            await _public(settings, way.callback_url, source="of CALLCTL_PUBLIC_URL"),
            skipped("round trip", "not tried: nothing can listen at the port"),
        ]


async def _through(
    settings: Settings,
    way: Way,
    listener: Listener,
    *,
    keys: Sequence[str] | None,
    nonce: str,
    clock: Callable[[], float],
) -> list[Finding]:
    url, source = way.callback_url, "of CALLCTL_PUBLIC_URL"
    if url is None and not settings.is_loopback:
        agent = await find_agent(listener.port, agent=way.agent)
        if agent:
            url, source = agent[0] + way.path, "of the ngrok agent that runs here"
            listener.is_at(replace(listener.address, public_url=url))
    found = await _public(settings, url, source=source)
    if url is None and not settings.is_loopback:
        return [found, skipped("round trip", "not tried: there is no public URL")]
    if url is not None and url != way.callback_url and (why := await why_not_ours(url, nonce=nonce)) is not None:
        # An address that a program told may be somebody else's: no signature goes there.
        return [found, wrong("round trip", NetworkError(f"{url} does not lead here: {why}", hint=_HINT_WAY))]
    trip = await _round_trip(settings, listener.callback_url, keys=keys, nonce=nonce, clock=clock, doubted=way.doubted)
    return [found, trip]


def _listener(
    settings: Settings, way: Way, *, keys: Sequence[str] | None, nonce: str, now: Callable[[], datetime]
) -> Listener:
    return Listener(
        host=_HOST,
        port=settings.port,
        path=way.path,
        public_url=way.callback_url,
        keys=keys,
        world=settings.world,
        store=_Keeping(),
        on_event=lambda _event, _is_new: None,
        nonce=nonce,
        now=now,
    )


@asynccontextmanager
async def _listening(listener: Listener) -> AsyncIterator[None]:
    await listener.start()
    try:
        yield
    finally:
        await listener.stop()


def _held(watch: registry.WatchRecord, settings: Settings) -> Finding:
    beside = "" if watch.port == settings.port else f", not at {settings.port}"
    return fine("port", f"a watch of this account listens at {watch.port}{beside} (process {watch.pid})")


def _misdirected(watch: registry.WatchRecord) -> list[Finding]:
    """Return a warning if the watch says that signed requests come to a path where it has nothing."""
    told = (registry.ask_health(watch.health_url) or {}).get("misdirected")
    if not isinstance(told, dict):
        return []
    count, path = told.get("count"), told.get("path")
    return [
        warning(
            "callback path",
            f"{count} signed request{'' if count == 1 else 's'} came to {path} and found nothing there",
            fix=f"where a number, a call or a <Dial> names that path, give {watch.callback_url} instead",
            count=count,
            path=path,
        )
    ]


def _stopped(settings: Settings) -> registry.WatchRecord | None:
    with suppress(CallctlError):  # told as a finding of its own
        return registry.stopped(settings)
    return None


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who holds the port for a while, of this account and API address; and why there is no round trip meanwhile."""

    port: Finding
    why_untried: str


async def _holder(settings: Settings) -> _Holder | None:
    port = settings.port
    health = await run_in_thread(lambda: registry.ask_health(registry.health_url_at(port))) or {}
    if health.get(registry.STARTING) == settings.world:
        fix = "try again once it says where it listens"
        return _Holder(warning("port", registry.starting_in_words(port), fix=fix), "the watch is still starting")
    if health.get(registry.PLACING) == settings.world:
        what = f"`callctl place --watch` listens at {port} until its call is over"
        return _Holder(
            warning("port", what, fix="try again then; `callctl watch` takes all calls in"),
            "nothing else can listen at the port",
        )
    return None


def _told_of(stopped: registry.WatchRecord | None) -> list[Finding]:
    """Return a warning of a watch that is stopped: it keeps its port, and takes in no callbacks."""
    if stopped is None:
        return []
    return [warning("watch", registry.stopped_in_words(stopped), fix=registry.how_to_go_on(stopped))]


def _explained(error: CallctlError, port: int, *, stopped: registry.WatchRecord | None) -> CallctlError:
    if not isinstance(error, PortTakenError):
        return error
    if stopped is not None and stopped.port == port:
        return PortTakenError(
            f"{port} is taken: {registry.stopped_in_words(stopped)}", hint=registry.how_to_go_on(stopped)
        )
    answer = registry.ask_health(registry.health_url_at(port))
    who = "a watch of another account or API address" if answer and "nonce" in answer else "another program"
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
    plain = urlsplit(url).scheme == "http" and not is_loopback_url(url)
    if plain:
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


async def _round_trip(
    settings: Settings,
    url: str,
    *,
    keys: Sequence[str] | None,
    nonce: str,
    clock: Callable[[], float],
    hint: str = _HINT_WAY,
    doubted: str | None = None,
) -> Finding:
    if _refused(settings, url):
        return skipped("round trip", "not tried: Twilio could not use this URL")
    outcome = await probe(url, keys=keys, nonce=nonce, clock=clock)
    if outcome.round_trip is not None:
        what, but = ("a request", f"; of signatures it says nothing, see {doubted} above") if doubted else (_SIGNED, "")
        text = f"{what} came back in {outcome.round_trip * 1000:.0f} ms{but}"
        return fine("round trip", text, seconds=round(outcome.round_trip, 3))
    return wrong("round trip", _lost(url, outcome, is_signed=keys is not None, hint=hint))


def _lost(url: str, outcome: Outcome, *, is_signed: bool, hint: str) -> CallctlError:
    if not is_signed:
        return NetworkError(
            f"{url}: {outcome.failure}", hint="without a token the request can't be signed; see signing above"
        )
    return NetworkError(
        f"a signed request through {url} did not come back: {outcome.failure}",
        hint=hint,
    )

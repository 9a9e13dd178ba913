"""The listener for status callbacks: verify, store, answer 204, and only then forward.

By default Twilio repeats a callback only when the connection failed (docs/twilio.md, "Delivery"), so an event that is
not in the store when it is answered for is lost. Nothing slow comes before the answer but the store.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web

from callctl import __version__
from callctl.calls.call import CallStatus
from callctl.calls.event import CALLBACK, TWIML_REQUEST, AmbiguousEventError, CallEvent, NotACallEventError
from callctl.calls.other_callbacks import FEATURES, asks_for_announcement
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import (
    StoreAwayError,
    StoreBusyError,
    StoreError,
    shortened,
    type_and_message,
    without_secrets,
)
from callctl.settings import Settings, may_be_token
from callctl.support.server import TcpServer
from callctl.support.tasks import cancel_until_done
from callctl.watch.counts import Counts, is_to_be_reported
from callctl.watch.forwarding.forwarder import Forwarder
from callctl.watch.listener.address import Address
from callctl.watch.listener.loop_calls import AfterTurn, TimeLimit
from callctl.watch.listener.server import (
    ACCOUNT_FIELD,
    REPLAY_HEADER,
    SELFTEST_BYTES,
    SELFTEST_FIELD,
    BodyRefusedError,
    Limits,
    ReceivedRequest,
    SelftestId,
    is_from_here,
    most_connections,
    no_content,
    not_allowed,
    receive,
    serve,
    target_of,
)
from callctl.watch.listener.signature import SIGNATURE_HEADERS, RequestedUrl, SignatureCheck, SignedRequest
from callctl.watch.listener.twiml_responder import NOT_FOR_TWIML, TwimlResponder

_HEALTH_PATH = "/healthz"
_STATUSES = frozenset(("", *CallStatus))
_NO_REPLAYS = "this is a listener of callctl, which has these events: replay them to an application\n"
# The most wrong paths of signed requests that are reported: a captured request can be sent to any path.
_MOST_PATHS = 8
# The most events that are remembered as answered with 500. Twilio has stopped sending the first of them by then.
_MOST_UNREPORTED = 8192
# The most tests of a store that have to pass before it counts as working: five minutes of them.
_MOST_TESTS = 64
# The most ambiguous callbacks that are remembered, so that REST is not queried again where one is sent once more.
_MOST_AMBIGUOUS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where a listener is, and whose callbacks it accepts.

    ``keys`` are the tokens that may sign; None accepts everything and marks it unverified. ``other_keys`` are tokens of
    the account that may not: they explain refusals. ``nonce`` distinguishes its answers from those of another listener.
    """

    address: Address
    keys: Sequence[str] | None
    world: str
    account_sid: str | None = None
    other_keys: Sequence[str] = ()
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, settings: Settings, address: Address, *, unverified: bool = False) -> ListenerConfig:
        """Return what the settings say of a listener at this address."""
        return cls(
            address=address,
            keys=None if unverified else settings.signing_keys,
            world=settings.world,
            account_sid=settings.account_sid,
            other_keys=tuple(key for key in (settings.auth_token,) if key and may_be_token(key)),
        )


class Listener:
    """One listening address.

    ``append`` returns once an event is durable, False if it was there before; it may raise StoreError. ``on_event`` is
    called with each stored event after its answer, and whether it is new; ``on_trouble``, once per cause, with why
    requests are refused or can't be stored, and that they are stored again. ``on_ambiguous`` is called with the
    SIDs that a signed callback may be about which can be read in more than one way, and the one that it is about for
    certain, if one is. None may be slow. ``forwarder`` is given what was acknowledged, ``responder`` answers requests
    for TwiML; without it they are answered with 404.

    The counters may be read at any time, the URLs and the port once it has started; ``features`` counts, by kind, the
    events that carry no status; ``counts`` are for monitoring. ``health`` is what /healthz says, with 503 while the
    last event could not be stored. A self-test that arrives is taken out of ``awaited_selftests``.

    Raises:
        SettingsError: ``keys`` is empty.
    """

    def __init__(
        self,
        config: ListenerConfig,
        *,
        append: Callable[[CallEvent], Awaitable[bool]],
        now: Callable[[], datetime],
        on_event: Callable[[CallEvent, bool], None] = lambda _event, _is_new: None,
        on_trouble: Callable[[Trouble], None] = lambda _trouble: None,
        on_ambiguous: Callable[[Sequence[str], str | None], None] = lambda _call_sids, _sender: None,
        forwarder: Forwarder | None = None,
        responder: TwimlResponder | None = None,
    ) -> None:
        self.config = config
        self._append, self._now, self._on_trouble, self._on_ambiguous = append, now, on_trouble, on_ambiguous
        self._stored = AfterTurn(on_event)
        self._time_limit = TimeLimit(config.limits.store_seconds)
        self._forwarder, self._responder = forwarder, responder
        self.health: dict[str, object] = {"status": "ok", "nonce": config.nonce, "version": __version__}
        self.awaited_selftests: set[SelftestId] = set()
        self._server: TcpServer | None = None
        self.store_works = True
        # How many tests of the store have passed since an event could not be stored, one after the other, and how many
        # have to before it counts as working.
        self._tests_passed, self._tests_needed = 0, 1
        self.accepted = self.duplicates = self.ignored = self.refused = self.failed = self.misdirected = 0
        self._misdirected_to: set[str] = set()
        self._streams_refused: set[str] = set()
        self._has_reported_recut = self._has_reported_lost_form = False
        self._ambiguous: dict[str, None] = {}  # keys of ambiguous callbacks, the newest last
        # Keys of events that were answered with 500, and may be in the store all the same; the newest last.
        self._unreported: dict[str, None] = {}
        self._keeping: set[asyncio.Task[int | None]] = set()  # events of requests for TwiML, which don't wait for them
        self.features: Counter[str] = Counter()
        self.counts = Counts()
        self.last_callback_at: datetime | None = None
        self.move_to(config.address)

    def move_to(self, address: Address) -> None:
        """Accept requests that are signed over an address: that of a tunnel is known only once it runs."""
        self.address, self.port, self.url = address, address.port, address.url
        self.callback_url, self.health_url = address.callback_url, address.url + _HEALTH_PATH
        self.health["callback_url"] = address.shown_url
        self._paths, self._https_hosts = address.paths, address.https_hosts
        self._signs_in = without_secrets(address.callback_url) != address.callback_url
        self._public_paths = {urlsplit(urls[0]).path or "/" for urls in address.signed_urls.values()}
        self._selftest_text = _selftest_text(address.callback_url)
        self._checks: dict[str, SignatureCheck] = {}  # by path; empty where nothing is verified
        if (keys := self.config.keys) is not None:
            others, account_sid = self.config.other_keys, self.config.account_sid
            self._checks = {
                path: SignatureCheck(urls, keys=keys, other_keys=others, account_sid=account_sid)
                for path, urls in address.signed_urls.items()
            }

    async def start(self) -> None:
        """Listen; raise PortTakenError, or CallctlError if the address can't be bound for another reason."""
        address = self.address
        limits, refused = self.config.limits, self._connection_refused
        self._server = await serve(
            self._answer, host=address.host, port=address.port, limits=limits, on_refused=refused
        )
        self.move_to(replace(address, port=self._server.port))

    def _connection_refused(self) -> None:
        """Count a connection that there is no room for, and report some."""
        self.counts.refusals["connections"] += 1
        count = self.counts.refusals["connections"]
        if is_to_be_reported(count):
            which = "1 connection was" if count == 1 else f"{count} connections were"
            most = most_connections(self.config.limits)
            what = f"{which} closed at once, for {most} wait for an answer: what would have come over such is lost"
            self._on_trouble(Trouble(what, Cause.REFUSED, url=self.callback_url))

    async def stop(self) -> None:
        """Stop listening, and answer and store what is under way, for ``limits.stop_seconds`` at most each.

        Report how many events of requests that were answered are not stored.
        """
        server, self._server = self._server, None
        failed = self.failed
        self._time_limit.shorten(self.config.limits.last_store_seconds)
        if server is not None:
            await server.close()
        unstored = 0
        if keeping := list(self._keeping):
            _, unfinished = await asyncio.wait(keeping, timeout=self.config.limits.stop_seconds)
            unstored = len(unfinished)
            await cancel_until_done(keeping)
        if unstored := unstored + self.failed - failed:
            events = "1 event" if unstored == 1 else f"{unstored} events"
            self._on_trouble(Trouble(f"{events} that came last may be missing from the event store", Cause.STORE))

    @property
    def is_listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._server is not None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        target = target_of(request)
        path = target.partition("?")[0]
        if path == _HEALTH_PATH:
            if request.method != "GET":
                return not_allowed("GET")
            return web.json_response(self.health, status=200 if self.store_works else 503)
        try:
            response = await self._answer_to(request, path, target)
        except Exception:
            self.counts.answers[500] += 1
            raise
        self.counts.answers[response.status] += 1
        return response

    async def _answer_to(self, request: web.BaseRequest, path: str, target: str) -> web.Response:
        if REPLAY_HEADER in request.headers:
            self.counts.refusals["replay"] += 1
            return web.Response(status=409, headers={REPLAY_HEADER: "refused"}, text=_NO_REPLAYS)
        own_path = self._paths.get(path.rstrip("/"))  # a trailing slash too many is left to the signature
        if own_path is None and (request.method not in ("GET", "POST") or not _says_it_is_signed(request)):
            return web.Response(status=404)
        if request.method not in ("GET", "POST"):
            is_lacking = own_path is not None and await self._lacks_document(own_path, request)
            return web.Response(status=410) if is_lacking else not_allowed("GET, POST")
        try:
            received = await receive(request, target, limits=self.config.limits)
        except BodyRefusedError as error:
            self.counts.refusals["body"] += 1
            return error.answer()
        if self._forwarder is not None:
            received.is_https = request.host.lower() in self._https_hosts
            if self._signs_in:  # for the proxy in front; applications get no password that is not theirs
                received.headers = tuple(one for one in received.headers if one[0].lower() != b"authorization")
        own = None if own_path is None else self._checks.get(own_path)
        if own_path is not None and not self._may_be_elsewhere(path, own, received):
            return await self._accept(own_path, received, own)
        if (check := self._check_elsewhere(path, received)) is not None and check.accepts(received.signed):
            received.is_elsewhere, received.folder = True, self._folder_in(path, received)
            return await self._accept(path, received, check)
        return self._misdirected(path, received) if own_path is None else await self._accept(own_path, received, own)

    async def _lacks_document(self, path: str, request: web.BaseRequest) -> bool:
        """Return whether the document at a path can't be given now; False to all but `doctor`, which is here."""
        if self._responder is None or not is_from_here(request, self.url):
            return False
        return await self._responder.lacks(path)

    def _may_be_elsewhere(self, path: str, own: SignatureCheck | None, received: ReceivedRequest) -> bool:
        """Return whether a request to a path of ours may be for the application's own path of that name.

        At the public URL's host it is, where the public URL has another path. With a slash more or less at the end it
        is another one: an application's paths may all end with a slash.
        """
        if self._forwarder is None or own is None or path in self._public_paths:
            return False
        return not own.accepts(received.signed)

    def _check_elsewhere(self, path: str, received: ReceivedRequest) -> SignatureCheck | None:
        """Return what checks the signature of a request to a path of the application, None if there can be none.

        Twilio resolves a relative URL of the application's TwiML against the URL of the document, which is the
        listener's. What was signed over another path may be cut again, so that this one ends within the form, or that
        one's end becomes the form's beginning (docs/twilio.md, "Signatures"). Each form has an AccountSid near its
        beginning: either the path holds the name then, or the form lacks it.
        """
        keys = self.config.keys
        if self._forwarder is None or not keys or ACCOUNT_FIELD in path:
            return None
        if not received.has_no_form and ACCOUNT_FIELD not in {name for name, _ in received.pairs}:
            return None
        return SignatureCheck(self.address.urls_at(path), keys=keys)

    def _folder_in(self, path: str, received: ReceivedRequest) -> str:
        """Return what of a path of the application is the public URL's folder, which no proxy has taken away."""
        folder, keys = self.address.folder, self.config.keys
        if not keys or not folder or not path.startswith(f"{folder}/"):
            return ""
        check = SignatureCheck([self.address.public_url_at(path)], keys=keys)
        return folder if check.accepts(received.signed) else ""

    def _misdirected(self, path: str, received: ReceivedRequest) -> web.Response:
        """Answer a request to a path that is not served here, and report it if Twilio sent it: it is lost."""
        keys = self.config.keys
        if keys and received.method == "GET" and self._is_stream(path, received, keys):
            self._refuse_stream(path)
        elif keys and SignatureCheck(self.address.misdirected_urls(path), keys=keys).accepts(received.signed):
            self.misdirected += 1
            self.counts.refusals["path"] += 1
            path = shortened(path, 200)
            self.health["misdirected"] = {"count": self.misdirected, "path": path}
            if _is_first(path, self._misdirected_to):
                what = (
                    f"signed requests come to {path}, this watch listens at {self.address.path}: they are answered "
                    f"with 404, and what they report is lost; the URL to give Twilio is {self.address.shown_url}"
                )
                self._on_trouble(Trouble(what, Cause.MISDIRECTED, url=path, status=404))
        return web.Response(status=404)

    def _is_stream(self, path: str, received: ReceivedRequest, keys: Sequence[str]) -> bool:
        """Return whether a request is to open a media stream; a proxy may have taken away that it is to be upgraded."""
        places = {url.partition("://")[2] for url in self.address.urls_at(path)}
        urls = [f"{scheme}://{place}" for place in places for scheme in ("wss", "ws")]
        return SignatureCheck(urls, keys=keys).accepts(received.signed)

    def _refuse_stream(self, path: str) -> None:
        """Report a media stream that Twilio wants to open here, once for each path: the call has no voice then."""
        self.counts.refusals["stream"] += 1
        path = shortened(path, 200)
        if _is_first(path, self._streams_refused):
            what = (
                f"a media stream was to be opened at {path}, and was answered with 404: streams are not passed on to "
                "an application; <Stream> needs the application's own wss address, not one made of the request's host"
            )
            self._on_trouble(Trouble(what, Cause.TWIML, url=path, status=404))

    async def _accept(self, path: str, received: ReceivedRequest, check: SignatureCheck | None) -> web.Response:
        received_at = self._now()
        if received.asks_which_watch:
            return self._answer_selftest(received)
        covered = None if check is None else check.covered(received.signed)
        if check is not None and covered is None:
            self.refused += 1
            self.counts.refusals["signature" if received.signed.signature else "unsigned"] += 1
            requested = RequestedUrl.read(received.headers)
            if text := check.refusals.explain_once(received.signed, requested=requested, now=received_at):
                self._on_trouble(Trouble(text, Cause.REFUSED, url=self.callback_url, status=403))
            return web.Response(status=403)
        if received.is_selftest:
            return self._answer_selftest(received)
        if received.is_elsewhere and received.has_no_form:
            self.ignored += 1
            return await self._answer_twiml(path, received)
        signed = received.signed.covered
        if self._selftest_text.fullmatch(signed):
            return self._refuse_recut_selftest()
        try:
            event = CallEvent.from_form(
                received.pairs,
                received_at=received_at,
                world=self.config.world,
                verified=check is not None,
                signed=signed,
                covered=covered,
            )
        except AmbiguousEventError as error:
            return await self._answer_ambiguous(error, path, received)
        except NotACallEventError:
            self.ignored += 1  # valid, but nothing to show
            is_followed = received.has_no_form and self._forwarder is not None  # where an application redirected to
            if received.has_no_form and check is not None and path == self.address.path:
                self._report_lost_form(received)
            if self._is_for_twiml(path, received) or is_followed or asks_for_announcement(dict(received.pairs)):
                return await self._answer_twiml(path, received)
            return self._acknowledge(received)
        if event.key in self._ambiguous:  # another reading of what was signed was no event: then none of them is
            unclear = AmbiguousEventError(event.key, (), sender=None, asks_for_twiml=event.kind == TWIML_REQUEST)
            return await self._answer_ambiguous(unclear, path, received)
        return await self._store(event, path, received)

    def _report_lost_form(self, received: ReceivedRequest) -> None:
        """Report, once, a GET without fields at the callback URL: what came with the first request is lost.

        With another query than the URL's own, an application redirected to itself.
        """
        is_own = received.target.partition("?")[2] == urlsplit(self.callback_url).query
        if is_own and not self._has_reported_lost_form:
            self._has_reported_lost_form = True
            what = (
                "a signed GET without a form came to the callback URL: a redirect on the way, as from http to https, "
                f"loses the form and with it the callback; the URL to give Twilio is {self.address.shown_url}"
            )
            self._on_trouble(Trouble(what, Cause.MISDIRECTED, url=self.address.path))

    async def _answer_ambiguous(self, error: AmbiguousEventError, path: str, received: ReceivedRequest) -> web.Response:
        """Answer a callback or a request for TwiML as any other, and say that it is no event."""
        self.ignored += 1
        if error.key not in self._ambiguous:
            self._ambiguous[error.key] = None
            if len(self._ambiguous) > _MOST_AMBIGUOUS:
                del self._ambiguous[next(iter(self._ambiguous))]
            calls = ", ".join(error.call_sids[:2]) or "a call"
            request = "a request for TwiML" if error.asks_for_twiml else "a callback"
            what = (
                f"{request}, signed, of {calls} can be read in more than one way, as by what a caller calls himself: "
                "it is no event"
            )
            self._on_trouble(Trouble(what, Cause.AMBIGUOUS, call_sid=error.sender))
            self._on_ambiguous(error.call_sids, error.sender)
        if error.asks_for_twiml or self._is_for_twiml(path, received):
            return await self._answer_twiml(path, received)
        return self._acknowledge(received)

    def _answer_selftest(self, received: ReceivedRequest) -> web.Response:
        self.awaited_selftests.discard((received.method, received.pairs[0][1]))
        return web.json_response(self.health)

    def _refuse_recut_selftest(self) -> web.Response:
        """Refuse a self-test that was captured and sent again, cut into a call that the URL's own query names."""
        self.refused += 1
        self.counts.refusals["selftest"] += 1
        if not self._has_reported_recut:
            self._has_reported_recut = True
            what = "refused a request: self-test sent again: somebody captured one, and sends it as a call's callback"
            self._on_trouble(Trouble(what, Cause.REFUSED, url=self.callback_url, status=403))
        return web.Response(status=403)

    def _acknowledge(self, received: ReceivedRequest, event: CallEvent | None = None) -> web.Response:
        if self._forwarder is not None:
            self._forwarder.put(received, event)
        return no_content(received)

    async def _answer_twiml(self, path: str, received: ReceivedRequest, event: CallEvent | None = None) -> web.Response:
        if self._responder is None:
            return web.Response(status=404, text=NOT_FOR_TWIML)
        return await self._responder.answer(path, received, event)

    async def _store(self, event: CallEvent, path: str, received: ReceivedRequest) -> web.Response:
        if self._is_answered_with_twiml(path, received, event):
            keeping = asyncio.create_task(self._keep(event))
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)
            # The call goes on, stored or not: without TwiML it would end.
            await asyncio.wait({keeping}, timeout=self.config.limits.twiml_store_seconds)
            return await self._answer_twiml(path, received, event)
        status = await self._keep(event)
        return self._acknowledge(received, event) if status is None else web.Response(status=status)

    def _is_answered_with_twiml(self, path: str, received: ReceivedRequest, event: CallEvent) -> bool:
        """Return whether what reports an event may want a document; at the callback URL few things do."""
        if event.kind == TWIML_REQUEST:
            return True
        if received.is_elsewhere:  # in doubt the application answers: with none a call would end
            is_callback = event.kind == CALLBACK and (event.is_final or "CallbackSource" in event.fields)
            return not is_callback and event.kind not in FEATURES
        return self._is_for_twiml(path, received) and event.kind not in FEATURES

    def _is_for_twiml(self, path: str, received: ReceivedRequest) -> bool:
        """Return whether a request came to a path at which documents are requested: of ours, or of the application."""
        return received.is_elsewhere or path != self.address.path

    async def _keep(self, event: CallEvent) -> int | None:
        """Store an event and have it reported; return the status that says it could not be stored, None if it was."""
        self.counts.pending += 1
        try:
            outcome = asyncio.ensure_future(self._append(event))
            self._time_limit.add(outcome)
            is_new = await outcome
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # it is not the time limit
                raise
            return self._not_stored(f"the event store takes longer than {self._time_limit.seconds:g} s", event)
        except StoreError as error:
            status = 503 if isinstance(error, StoreAwayError | StoreBusyError) else 500
            return self._not_stored(error.message, event, status=status)
        except Exception as error:  # whatever it is, the request is answered in time and it is reported
            return self._not_stored(f"can't keep an event: {type_and_message(error)}", event)
        finally:
            self.counts.pending -= 1
        self._tests_needed = 1
        self._store_works_again()
        # The store may have kept it before, though it was answered with 500: then it was not reported.
        is_new |= self._unreported.pop(event.key, False) is None
        if event.kind in FEATURES:
            self.features[event.kind] += is_new
        else:
            self.accepted += is_new
        self.duplicates += not is_new
        if is_new:
            # Anybody may send a status where nothing is verified.
            self.counts.events[event.kind, event.status if event.status in _STATUSES else "other"] += 1
        self.last_callback_at = event.received_at
        self._stored.put(event, is_new)  # reported once this task, which goes on to write the answer, has let go
        return None

    def _not_stored(self, why: str, event: CallEvent, *, status: int = 500) -> int:
        self.failed += 1
        self._tests_passed = 0
        if (
            status == 500
        ):  # with 503 it went nowhere: what is in the store then came by another listener, which counted it
            self._unreported[event.key] = None
            if len(self._unreported) > _MOST_UNREPORTED:
                del self._unreported[next(iter(self._unreported))]
        if self.store_works:
            self._on_trouble(Trouble(f"{why}; callbacks are answered with {status}", Cause.STORE, status=status))
        self.store_works = False
        # Without the reason: anybody may request this page, and the reason names files of this machine.
        self.health |= {"status": "failing", "answers_with": status}
        return status

    def store_tested(self, *, passed: bool) -> None:
        """Take note of a test of the store, made since maybe no callback comes to show that events can be stored again.

        A test is not the event that failed. Where callbacks still fail after one has passed, twice as many have to pass
        the next time, until an event is stored: else the trouble and its end would be reported in turn.
        """
        if self.store_works:
            return
        self._tests_passed = self._tests_passed + 1 if passed else 0
        if self._tests_passed >= self._tests_needed:
            self._tests_needed = min(2 * self._tests_needed, _MOST_TESTS)
            self._store_works_again()

    def _store_works_again(self) -> None:
        if not self.store_works:
            self.store_works = True
            self._on_trouble(Trouble("events are stored again", Cause.STORE, is_over=True))
            self.health["status"] = "ok"
            self.health.pop("answers_with", None)


def _selftest_text(callback_url: str) -> re.Pattern[str]:
    """Return what a self-test's signature covers after the path, and no callback's: Twilio's have more fields."""
    query = re.escape(SignedRequest(callback_url.partition("#")[0]).covered)
    return re.compile(f"{query}{SELFTEST_FIELD}[0-9a-f]{{{2 * SELFTEST_BYTES}}}")


def _is_first(path: str, reported: set[str]) -> bool:
    """Return whether a path is to be reported, and take note of it: each once, and not too many."""
    if path in reported or len(reported) >= _MOST_PATHS:
        return False
    reported.add(path)
    return True


def _says_it_is_signed(request: web.BaseRequest) -> bool:
    return any(name in request.headers for name in SIGNATURE_HEADERS)

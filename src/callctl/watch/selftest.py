"""The self-test: a signed request through the public URL that must come back to this very watch."""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import aiohttp
from yarl import URL

from callctl.support.connection_errors import reason_of, tls_reason
from callctl.support.parsing import read_json
from callctl.support.threads import run_in_thread
from callctl.support.urls import is_loopback_url, without_user_and_fragment
from callctl.watch.forwarding.name_lookup import NameLookup
from callctl.watch.listener.server import SELFTEST_BYTES, SELFTEST_FIELD, SelftestId
from callctl.watch.listener.signature import signature_of

# Twilio waits 15 s for an answer; a listener that takes longer than this is as good as unreachable. In seconds.
LIMIT = 10.0
_LONGEST_ANSWER = 65536  # bytes; a watch's has a few hundred
# How a failure begins where TLS does not come about.
CERTIFICATE_REFUSED = "its certificate is not accepted"


@dataclass(frozen=True, slots=True)
class SelftestResult:
    """The round trip of a self-test in seconds, or why there was none, with the HTTP status that came instead."""

    round_trip: float | None = None
    failure: str | None = None
    status: int | None = None


async def selftest(
    url: str,
    *,
    keys: Sequence[str] | None,
    nonce: str,
    awaited: set[SelftestId] | None = None,
    others: Callable[[], Collection[str]] = tuple,
    limit: float = LIMIT,
    clock: Callable[[], float] = time.perf_counter,
) -> SelftestResult:
    """Send a request as Twilio would and see that the watch with this nonce receives and answers it.

    Args:
        url: The callback URL as Twilio was given it. Its user and password go to its own server, if that asks for them.
        keys: The tokens that may sign, of which the first one does; None where nothing is verified.
        nonce: By which the watch is known. Anybody can read it in the health report and answer with that.
        awaited: Where the watch, if it is in this process, notes what has arrived (``Listener.awaited_selftests``).
        others: Looks up, in a thread, the nonces of other listeners that may answer in its place: they store the same.
        limit: How many seconds the answer may take.
        clock: Seconds, to measure with.
    """
    value = secrets.token_hex(SELFTEST_BYTES)
    form = ((SELFTEST_FIELD, value),)
    headers = {"X-Twilio-Signature": signature_of(url, form, key=keys[0])} if keys else {}
    began = clock()
    with _awaiting(awaited, ("POST", value)) as why_not_here:
        failure, answered_by, status = await _ask(
            url, "POST", limit=limit, middlewares=_signing_in(url), data=list(form), headers=headers
        )
        if failure is None and answered_by != nonce and answered_by in await run_in_thread(others):
            return SelftestResult(round_trip=clock() - began)
        if status == 401 and "@" in urlsplit(url).netloc:
            failure = "it does not take the user and password of the URL (HTTP 401)"
        failure = failure or _why_another(nonce, answered_by, status) or why_not_here()
    if failure is not None:
        return SelftestResult(failure=failure, status=status)
    return SelftestResult(round_trip=clock() - began)


async def why_not_ours(
    url: str, *, nonce: str, awaited: set[SelftestId] | None = None, limit: float = LIMIT
) -> str | None:
    """Say why a URL does not lead to the watch with this nonce; None if it does, within ``limit`` seconds.

    It is requested by a GET without a signature and a password: the URL may be somebody else's, who must get neither,
    and where a POST might do something.
    """
    value = secrets.token_hex(SELFTEST_BYTES)
    with _awaiting(awaited, ("GET", value)) as why_not_here:
        failure, answered_by, status = await _ask(url, "GET", limit=limit, params={SELFTEST_FIELD: value})
        return failure or _why_another(nonce, answered_by, status) or why_not_here()


@contextmanager
def _awaiting(awaited: set[SelftestId] | None, own: SelftestId) -> Iterator[Callable[[], str | None]]:
    """Have the listener take note of a self-test; yield what says why it has not arrived, None if it has."""
    if awaited is None:
        yield lambda: None
        return
    awaited.add(own)
    try:
        yield (
            lambda: "what answers there knows this watch, but passes no self-test on to it" if own in awaited else None
        )
    finally:
        awaited.discard(own)


async def _ask(url: str, method: str, *, limit: float, **request: Any) -> tuple[str | None, str | None, int | None]:
    """Return why there is no answer, else the nonce in it, if it has one, and its status.

    The URL is requested as it is spelled, for so it is signed, unless it has letters that can't be sent.
    """
    bare = without_user_and_fragment(url)
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=NameLookup()), timeout=aiohttp.ClientTimeout(total=limit)
            ) as http,
            http.request(
                method,
                URL(bare, encoded=bare.isascii()),
                proxy=None if is_loopback_url(url) else await run_in_thread(lambda: _proxy_to(url)),
                allow_redirects=False,
                **request,
            ) as reply,
        ):
            status, body = reply.status, await _read(reply)
    except TimeoutError:
        return f"no answer within {limit:g} s", None, None
    except aiohttp.ClientError as error:
        return _why_no_answer(error), None, None
    except ValueError:  # a host that no name may have, a proxy's address that is none
        return "it can't be requested", None, None
    except Exception as error:  # one odd answer must not end the self-tests
        return f"it can't be requested ({type(error).__name__})", None, None
    return None, _nonce_in(body), status


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    """Return all of an answer, which a tunnel may pass on in pieces; of a longer one than a watch gives its start."""
    body = bytearray()
    async for piece in reply.content.iter_any():
        body += piece
        if len(body) > _LONGEST_ANSWER:
            break
    return bytes(body)


def _proxy_to(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, the same as for requests to the API.

    aiohttp would look it up as well (``trust_env``), but also send what ``~/.netrc`` has for any host. It speaks no
    SOCKS: where the environment names such a proxy, the request goes without one.

    Raises:
        ValueError: Its address is malformed.
    """
    from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy

    named = select_proxy(url, get_environ_proxies(url))
    if not named:
        return None
    try:
        proxy: str = prepend_scheme_if_needed(named, "http")  # type: ignore[no-untyped-call] # so in the stubs
    except TypeError as error:  # it has a user and no host
        raise ValueError("a proxy's address has no host") from error
    return None if urlsplit(proxy).scheme.startswith("socks") else proxy


def _signing_in(url: str) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return what signs in with the user and password of a URL as Twilio does: once the server asks, and as it asks.

    Source: docs/twilio.md, "Delivery".
    """
    user_info = urlsplit(url).netloc.rpartition("@")[0]
    if not user_info:
        return ()
    user, _, password = user_info.partition(":")
    basic = "Basic " + base64.b64encode(unquote_to_bytes(f"{user}:{password}")).decode()

    async def sign_in(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        reply = await send(request)
        if reply.status != 401 or not _asks_for_basic(reply):
            return reply
        reply.release()
        request.headers["Authorization"] = basic
        return await send(request)

    name = unquote(user)
    # Where a name has a colon, Digest does not exist.
    return (sign_in,) if ":" in name else (sign_in, aiohttp.DigestAuthMiddleware(name, unquote(password)))


def _asks_for_basic(reply: aiohttp.ClientResponse) -> bool:
    challenges = (re.sub(r'"(\\.|[^"\\])*"', "", text) for text in reply.headers.getall("WWW-Authenticate", ()))
    return any(re.search(r"(^|,)\s*basic(\s|,|$)", text, re.IGNORECASE) for text in challenges)


def _why_no_answer(error: aiohttp.ClientError) -> str:
    # Never with the library's own text: it can hold a proxy's address with its password.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{CERTIFICATE_REFUSED} ({tls_reason(error.certificate_error)})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        to_proxy = " to the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        reason = reason_of(error.os_error)
        return f"can't connect{to_proxy}" + (f": {reason}" if reason else "")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy did not let the connection through (HTTP {error.status})"
    if isinstance(error, aiohttp.InvalidURL):
        return "its address or the proxy's is malformed"
    if isinstance(error, aiohttp.ClientResponseError):
        return "its answer can't be read"
    return "the connection broke"


def _why_another(nonce: str, answered_by: str | None, status: int | None) -> str | None:
    """Say why an answer is none of the watch with this nonce; None if it is."""
    if answered_by == nonce:
        return None
    if answered_by is not None:
        return "another watch answers there"
    if status is not None and 300 <= status < 400:
        return f"it redirects (HTTP {status}), which loses the form"
    if status == 401:
        return "it asks for a user and a password (HTTP 401)"
    if status == 403:
        return "the request is refused (HTTP 403), as if its signature were wrong; is this the URL that callers use?"
    return f"something else answers there (HTTP {status})"


def _nonce_in(body: bytes) -> str | None:
    try:
        answer = read_json(body.decode("utf-8", "replace"))
    except ValueError:
        return None
    return str(answer["nonce"]) if isinstance(answer, dict) and "nonce" in answer else None

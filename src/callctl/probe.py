"""The self-test: a signed request through the public URL that must come back to this very watch."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from callctl.addresses import is_loopback_url, reason_of, without_fragment
from callctl.received import PROBE
from callctl.signatures import signature_of

# Twilio waits 15 s for an answer; a listener that takes longer than this one is as good as deaf. In seconds.
LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe found: the round trip in seconds, or why there was none."""

    round_trip: float | None = None
    failure: str | None = None


async def probe(url: str, *, keys: Sequence[str] | None, nonce: str, clock: Callable[[], float]) -> Outcome:
    """Send a request as Twilio would and see that the watch with this nonce answers it.

    Args:
        url: The callback URL as Twilio was given it.
        keys: The tokens that may sign, of which the first one does; None where nothing is verified.
        nonce: What the watch calls itself.
        clock: Seconds, to measure with.
    """
    form = ((PROBE, secrets.token_hex(8)),)
    headers = {"X-Twilio-Signature": signature_of(url, form, key=keys[0])} if keys else {}
    began = clock()
    try:
        async with (
            # A public URL may lie behind the proxy that the environment names; this machine never does.
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=LIMIT), trust_env=not is_loopback_url(url)
            ) as http,
            http.post(without_fragment(url), data=list(form), headers=headers, allow_redirects=False) as reply,
        ):
            status, body = reply.status, await reply.content.read(65536)
    except TimeoutError:
        return Outcome(failure=f"no answer within {LIMIT:g} s")
    except aiohttp.ClientError as error:
        return Outcome(failure=_told(error))
    if _is_from(nonce, body):
        return Outcome(round_trip=clock() - began)
    return Outcome(failure=_why(status, body))


def _told(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not accepted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"can't connect: {reason_of(error.os_error)}"
    return f"the connection broke: {error}" if str(error) else "the connection broke"


def _is_from(nonce: str, body: bytes) -> bool:
    answer = _as_object(body)
    return answer is not None and answer.get("nonce") == nonce


def _why(status: int, body: bytes) -> str:
    if "nonce" in (_as_object(body) or {}):
        return "another watch answers there"
    if 300 <= status < 400:
        return f"it redirects (HTTP {status}), which loses the form"
    if status == 403:
        return "the request is refused (HTTP 403), as if its signature were wrong; is this the URL that callers use?"
    return f"something else answers there (HTTP {status})"


def _as_object(body: bytes) -> dict[str, object] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None

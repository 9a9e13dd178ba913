"""Why no whole reply came: a sentence and a hint for people, and whether the request may have reached the server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from requests import exceptions as rq
from urllib3 import exceptions as u3

# All that the transport may raise. OSError: what requests raises for a certificate file that is not there. ValueError:
# what Python's own URL parser raises, as for a bracket in the password of a proxy's address.
TRANSPORT_ERRORS = (rq.RequestException, u3.HTTPError, OSError, ValueError)


class TooLargeError(rq.RequestException):
    """The reply is larger than any of the API."""


# What the TLS handshake fails with where the other side does not speak TLS, or not this.
_HANDSHAKE_REASONS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNSUPPORTED_PROTOCOL",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
    }
)
# The time limit was over. To the libraries, a wait for a proxy's answer or within the handshake is one for a reply.
_TIMEOUTS = (u3.ConnectTimeoutError, rq.ConnectTimeout, rq.ReadTimeout, u3.ReadTimeoutError, TimeoutError)
# The file of trusted certificates can't be read.
_CERTIFICATE_FILE_REASONS = frozenset({"NO_CERTIFICATE_OR_CRL_FOUND", "BAD_BASE64_DECODE", "PEM_LIB"})


class Failure(NamedTuple):
    """Why there is no reply.

    Attributes:
        sentence: What happened, without the library's text, which can hold a proxy's password.
        sent: Whether the server may have seen the request, and acted on it.
        is_transient: Whether trying again could help.
        hint: What to do about it.
    """

    sentence: str
    sent: bool
    is_transient: bool
    hint: str


def explain(error: Exception, *, sent: bool, url: str, timeout: float) -> Failure:
    """Say what an exception of the transport means for a request to ``url``.

    ``sent`` is whether anything of it may have been sent. The exception does not say so: most kinds come before and
    after. ``timeout`` is in seconds.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    chain = list(_chain(error))
    if sent:
        return _after_sending(chain, host=host, timeout=timeout)
    return _before_sending(chain, host=host, timeout=timeout)


def _before_sending(chain: list[BaseException], *, host: str, timeout: float) -> Failure:
    proxy = _has(chain, u3.ProxyError, rq.ProxyError)
    peer = "the proxy" if proxy else host
    if _has(chain, socket.gaierror, u3.NameResolutionError):
        failure = Failure(f"the name of {peer} could not be resolved", False, True, _CHECK_NETWORK)
    elif _has(chain, ConnectionRefusedError):
        hint = _CHECK_PROXY if proxy else _START_SIMULATOR
        failure = Failure(f"nothing answers at {peer}: the connection was refused", False, True, hint)
    elif _has(chain, *_TIMEOUTS) and not _has(chain, u3.NewConnectionError):
        failure = Failure(f"no connection to {peer} within {timeout:g} s", False, True, _CHECK_NETWORK)
    elif _has(chain, u3.NewConnectionError):
        failure = Failure(f"no connection to {peer}", False, True, _CHECK_NETWORK)
    elif proxy:
        failure = Failure(f"the proxy did not let the connection to {host} through", False, False, _CHECK_PROXY)
    else:
        interrupted = Failure(f"the connection to {host} broke before the request was sent", False, True, _INTERMEDIARY)
        failure = _unsendable(chain, host=host) or interrupted
    return failure


def _unsendable(chain: list[BaseException], *, host: str) -> Failure | None:
    tls = next((error for error in chain if isinstance(error, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Failure(f"the certificate of {host} was not accepted: {tls.verify_message}", False, False, _CERTIFICATE)
    if tls is not None and tls.reason in _CERTIFICATE_FILE_REASONS:
        return Failure("the certificate file can't be read", False, False, _CERTIFICATE)
    if tls is not None and tls.reason in _HANDSHAKE_REASONS:
        return Failure(f"{host} does not speak TLS as it should", False, False, _CHECK_ADDRESS)
    if _has(chain, u3.ProxySchemeUnknown, ValueError):  # requests' errors of malformed addresses are ValueErrors too
        return Failure("the API address or a proxy's address is malformed", False, False, _CHECK_PROXY)
    return None


def _after_sending(chain: list[BaseException], *, host: str, timeout: float) -> Failure:
    if _has(chain, TooLargeError):
        return Failure(f"the answer of {host} is larger than any of the API", True, False, _CHECK_ADDRESS)
    if _has(chain, *_TIMEOUTS):
        return Failure(f"no whole answer from {host} within {timeout:g} s", True, True, _TAKE_LONGER)
    if _has(chain, rq.ContentDecodingError, u3.DecodeError):
        return Failure(f"the answer of {host} could not be decoded", True, True, _INTERMEDIARY)
    return Failure(f"the connection to {host} broke before the whole answer came", True, True, _INTERMEDIARY)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk an exception and what it wraps; the libraries wrap in four ways."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            wrapped = (getattr(current, name, None) for name in ("reason", "original_error", "__cause__"))
            pending += [*current.args, *wrapped]


def _has(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(error, kinds) for error in chain)


_CHECK_NETWORK = "check the network connection, and the API address (CALLCTL_API_URL, TWILIO_REGION, TWILIO_EDGE)"
_START_SIMULATOR = "check the API address (CALLCTL_API_URL); `callctl simulator` starts the simulator"
_CHECK_ADDRESS = "check the API address (CALLCTL_API_URL)"
_TAKE_LONGER = "try again, with a longer --request-timeout if the API or the network is slow"
_INTERMEDIARY = "try again; if it stays so, see what is between here and the API: a proxy, or a service of your own"
_CHECK_PROXY = "check the proxy settings (HTTPS_PROXY, NO_PROXY)"
_CERTIFICATE = (
    "if a proxy or a server of your own signs its certificates itself, name its CA file in SSL_CERT_FILE; "
    "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, where set, count before it"
)

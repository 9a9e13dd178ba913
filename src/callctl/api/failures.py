"""What went wrong when no whole reply came: in words, and whether the request may have reached the server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from requests import exceptions as rq
from urllib3 import exceptions as u3

# Whatever the transport may raise. OSError: requests' word for a certificate file that is not there.
FAULTS = (rq.RequestException, u3.HTTPError, OSError)


class TooLargeError(rq.RequestException):
    """The reply is larger than any of the API."""


# What the TLS handshake fails with where the other side does not speak TLS, or not this.
_HANDSHAKE = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNSUPPORTED_PROTOCOL",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
    }
)
# The time limit was over. A wait for a proxy's answer, or within the handshake, is one for a reply to the libraries.
_LATE = (u3.ConnectTimeoutError, rq.ConnectTimeout, rq.ReadTimeout, u3.ReadTimeoutError, TimeoutError)
# A file of trusted certificates that is none.
_UNREADABLE = frozenset({"NO_CERTIFICATE_OR_CRL_FOUND", "BAD_BASE64_DECODE", "PEM_LIB"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no reply.

    Attributes:
        sentence: What happened, without the library's text, which can hold a proxy's password.
        sent: Whether the server may have seen the request, and acted on it.
        passing: Whether trying again could help.
        hint: What to do about it.
    """

    sentence: str
    sent: bool
    passing: bool
    hint: str


def fault_of(error: Exception, *, sent: bool, url: str, timeout: float) -> Fault:
    """Say what an exception of the transport means for a request to ``url``.

    ``sent`` is whether anything of it may have been sent. The exception does not tell: most kinds come before and
    after.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    chain = list(_chain(error))
    if sent:
        return _after_sending(chain, host=host, timeout=timeout)
    return _before_sending(chain, host=host, timeout=timeout)


def _before_sending(chain: list[BaseException], *, host: str, timeout: float) -> Fault:
    proxy = _has(chain, u3.ProxyError, rq.ProxyError)
    where = "the proxy" if proxy else host
    if _has(chain, socket.gaierror, u3.NameResolutionError):
        fault = Fault(f"the name of {where} could not be resolved", False, True, _NETWORK)
    elif _has(chain, ConnectionRefusedError):
        fault = Fault(f"nothing answers at {where}: the connection was refused", False, True, _proxy_or(proxy, _START))
    elif _has(chain, *_LATE) and not _has(chain, u3.NewConnectionError):
        fault = Fault(f"no connection to {where} within {timeout:g} s", False, True, _NETWORK)
    elif _has(chain, u3.NewConnectionError):
        fault = Fault(f"no connection to {where}", False, True, _NETWORK)
    elif proxy:
        fault = Fault(f"the proxy did not let the connection to {host} through", False, False, _PROXY)
    else:
        broke = Fault(f"the connection to {host} broke before the request was sent", False, True, _BETWEEN)
        fault = _unsendable(chain, host=host) or broke
    return fault


def _unsendable(chain: list[BaseException], *, host: str) -> Fault | None:
    tls = next((error for error in chain if isinstance(error, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Fault(f"the certificate of {host} was not accepted: {tls.verify_message}", False, False, _CERTIFICATE)
    if tls is not None and tls.reason in _UNREADABLE:
        return Fault("the certificate file can't be read", False, False, _CERTIFICATE)
    if tls is not None and tls.reason in _HANDSHAKE:
        return Fault(f"{host} does not speak TLS as it should", False, False, _ADDRESS)
    if _has(chain, rq.InvalidProxyURL, u3.ProxySchemeUnknown, u3.LocationParseError, rq.InvalidSchema, rq.InvalidURL):
        return Fault("the API address or a proxy's address is malformed", False, False, _PROXY)
    return None


def _after_sending(chain: list[BaseException], *, host: str, timeout: float) -> Fault:
    if _has(chain, TooLargeError):
        return Fault(f"the answer of {host} is larger than any of the API", True, False, _ADDRESS)
    if _has(chain, *_LATE):
        return Fault(f"no whole answer from {host} within {timeout:g} s", True, True, _SLOW)
    if _has(chain, rq.ContentDecodingError, u3.DecodeError):
        return Fault(f"the answer of {host} could not be decoded", True, True, _BETWEEN)
    return Fault(f"the connection to {host} broke before the whole answer came", True, True, _BETWEEN)


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


def _proxy_or(proxy: bool, hint: str) -> str:
    return _PROXY if proxy else hint


_NETWORK = "check the network connection, and the API address (CALLCTL_API_URL, TWILIO_REGION, TWILIO_EDGE)"
_START = "check the API address (CALLCTL_API_URL); `callctl simulator` starts the simulator"
_ADDRESS = "check the API address (CALLCTL_API_URL)"
_SLOW = "try again, with a longer --request-timeout if the API or the network is slow"
_BETWEEN = "try again; if it stays so, see what stands between here and the API: a proxy, or a service of your own"
_PROXY = "check the proxy settings (HTTPS_PROXY, NO_PROXY)"
_CERTIFICATE = (
    "if a proxy or a server of your own signs its certificates itself, name its CA file in SSL_CERT_FILE; "
    "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, where set, count before it"
)

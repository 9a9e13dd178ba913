"""What a request says of its signature, and whether that holds over a URL (docs/twilio.md, "Signatures").

The signature is computed by Twilio's library, over the URL that Twilio was given and the request's own query; the
request's Host header is not believed. What the library leaves out, or libraries disagree on, is settled here:

* The fragment is cut off. User information is tried as given and cut off, for Twilio says that it drops it.
* The port is tried as given, cut off and, where there is none, as the scheme's default, for Twilio is inconsistent.
* The URL is otherwise taken by the letter: the host's and scheme's upper and lower case, and characters beyond ASCII,
  count as they were given to Twilio.
* An apostrophe, ``@`` or ``:`` in the query is tried escaped and not, for Twilio signs it otherwise than it sends it.
* A JSON body counts only with the ``bodySHA256`` that the signed URL carries; without it the request is refused.
* A SharedKey (``X-Twilio-Webhooks-Signature-Settings``) is a key as good as the auth token. The algorithm it names is
  used if the library knows it; without the key, naming another one helps nobody.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from callctl.calls.forms import signed_form

# SignalWire signs alike under a name of its own (docs/twilio.md, "Compatible services").
SIGNATURE_HEADERS = ("X-Twilio-Signature", "X-SignalWire-Signature")
SETTINGS_HEADER = "X-Twilio-Webhooks-Signature-Settings"

_USUAL_ALGORITHM = "HMAC_SHA1"  # as the library names it

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request the signature covers, and how it says it was signed.

    ``target`` is the path and query as they stood in the request line. ``pairs`` is the form of a POST, empty for a
    GET; ``json_body`` is the body where it is JSON. ``form`` is the form as it is signed.
    """

    target: str
    pairs: Pairs = ()
    signature: str | None = None
    settings: str | None = None
    json_body: bytes | None = None
    # Put in order once: it is asked for again and again, and may have thousands of names.
    form: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", signed_form(self.pairs))

    @property
    def covered(self) -> str:
        """What the signature covers behind the path: the same, however the request was spelt that it fits."""
        mark, query = self.target.partition("?")[1:]
        return f"{mark}{_unescaped(query)}{self.form}"

    @classmethod
    def read(
        cls, target: str, headers: Mapping[str, str], *, pairs: Pairs, json_body: bytes | None = None
    ) -> SignedRequest:
        """Take the signature from a request's headers."""
        signature = next((headers[name] for name in SIGNATURE_HEADERS if name in headers), None)
        return cls(target, pairs, signature, headers.get(SETTINGS_HEADER), json_body)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its signature, and its form as it is signed: made once, for many URLs are tried."""

    target: str
    form: str
    given: bytes
    algorithm: str

    @classmethod
    def of(cls, request: SignedRequest) -> Claim | None:
        """Return None if there is no signature, or none that covers the body."""
        if not request.signature or not _body_fits(request):
            return None
        given = request.signature.encode("utf-8", "surrogateescape")
        return cls(request.target, request.form, given, _algorithm(request.settings))

    def holds(self, url: str, keys: Sequence[Any]) -> bool:
        """Tell whether one of the keys signed this over a URL, however it was spelt."""
        return any(
            hmac.compare_digest(key.compute_signature(text + self.form, None, self.algorithm).encode(), self.given)
            for text in _spellings(url, self.target)
            for key in keys
        )


def _spellings(url: str, target: str) -> Iterator[str]:
    """Return the texts that Twilio may have signed for a URL, the likeliest first."""
    mark, query = target.partition("?")[1:]
    if _is_encodable(url + query):
        yield url + mark + query
    scheme, colon, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    queries = dict.fromkeys((query, _unescaped(query), query.replace("'", "%27")))
    seen = {url + mark + query}
    for place in (netloc, netloc.rpartition("@")[2]):
        for spelt in (place, _other_port(place, scheme)):
            for told in queries:
                text = f"{scheme}{colon}{spelt}{slash}{path}{mark}{told}"
                if text not in seen and _is_encodable(text):
                    seen.add(text)
                    yield text


def _unescaped(query: str) -> str:
    return query.replace("%27", "'").replace("%40", "@").replace("%3A", ":").replace("%3a", ":")


def _other_port(netloc: str, scheme: str) -> str:
    """Return a network location without its port, or with the scheme's default one if it has none."""
    user, at, place = netloc.rpartition("@")
    host, colon, port = place.rpartition(":")
    if colon and port.isdecimal():  # not the last part of a bracketed IPv6 address
        return f"{user}{at}{host}"
    return f"{user}{at}{place}:{443 if scheme.lower() == 'https' else 80}"


def _body_fits(request: SignedRequest) -> bool:
    if request.json_body is None:
        return True
    told = parse_qs(request.target.partition("?")[2]).get("bodySHA256", [""])[0]
    return hmac.compare_digest(hashlib.sha256(request.json_body).hexdigest().encode(), told.encode())


def _algorithm(settings: str | None) -> str:
    if settings is None:
        return _USUAL_ALGORITHM
    from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, get_signature_algorithm

    named = str(get_signature_algorithm(settings)).upper()
    return named if named == HMAC_SHA256 else str(HMAC_SHA1)


def _is_encodable(text: str) -> bool:
    # A request line that is no UTF-8 comes with surrogates; nobody can have signed that.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

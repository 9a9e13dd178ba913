"""Whether a request was signed by Twilio (``X-Twilio-Signature``), and if not, the likely cause.

See docs/twilio.md, "Signatures". The signature is computed as in Twilio's library, over the URL that Twilio was given
and the request's own query; the request's Host header is not believed. What the library leaves out, or libraries
disagree on, is settled here:

* The fragment is cut off. User information is tried as given and cut off, for Twilio says that it drops it.
* The port is tried as given, cut off and, where there is none, as the scheme's default, for Twilio is inconsistent.
* The URL is otherwise taken literally: the host's and scheme's upper and lower case, and characters beyond ASCII,
  count as they were given to Twilio.
* An apostrophe, ``@`` or ``:`` in the query is tried escaped and not, for Twilio signs it otherwise than it sends it.
* A JSON body counts only with the ``bodySHA256`` that the signed URL carries; without it the request is refused.
* A SharedKey (``X-Twilio-Webhooks-Signature-Settings``) is a key as good as the auth token. The algorithm it names is
  used if the library knows it; without the key, naming another one is of no use.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import b2a_base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, parse_qsl

from callctl.calls.event_record import signed_form
from callctl.errors import SettingsError
from callctl.support.urls import hostname_of

# SignalWire signs alike under a name of its own (docs/twilio.md, "Compatible services").
SIGNATURE_HEADERS = ("X-Twilio-Signature", "X-SignalWire-Signature")
SETTINGS_HEADER = "X-Twilio-Webhooks-Signature-Settings"

# The algorithms, as a request names them, with Python's names.
_ALGORITHMS: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
# Characters of a form; Twilio's have less than 2,000. The cause of a refusal takes a thousand computations to find.
_LONGEST_EXPLAINED = 8192
# Where proxies say which host, and which path, was requested before they changed it; so many of each are tried.
_HOST_HEADERS = ("Host", "X-Forwarded-Host", "X-Original-Host", "X-Forwarded-Server")
_PATH_HEADERS = ("X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url", "X-Rewrite-Url", "X-Envoy-Original-Path")
_MOST = 4
# The most refusals that are reported of one path, beside the first of each cause.
_MOST_REPORTED = 16

Pairs = Sequence[tuple[str, str]]


def signature_of(url: str, pairs: Pairs, *, key: str) -> str:
    """Sign a POST as Twilio does, over the URL without its fragment."""
    return SigningKey(key).sign((url.partition("#")[0] + signed_form(pairs)).encode()).decode()


class SigningKey:
    """A key that signs: an auth token, or a SharedKey."""

    def __init__(self, key: str) -> None:
        secret = key.encode()
        # A copy of one that has taken in the key is made in a fraction of the time.
        self._begun = {name: hmac.new(secret, digestmod=own) for name, own in _ALGORITHMS.items()}

    def sign(self, text: bytes, algorithm: str = "HMAC_SHA1") -> bytes:
        """Return the signature of a text, in Base64."""
        mac = self._begun[algorithm].copy()
        mac.update(text)
        return b2a_base64(mac.digest(), newline=False)


@dataclass(slots=True)
class SignedRequest:
    """What of a request the signature covers, and how it says it was signed.

    ``target`` is the path and query as they were in the request line. ``pairs`` is the form of a POST, empty for a
    GET; ``json_body`` is the body where it is JSON. ``form`` is the form as it is signed.
    """

    target: str
    pairs: Pairs = ()
    signature: str | None = None
    settings: str | None = None
    json_body: bytes | None = None
    # Sorted once: it is used again and again, and may have thousands of names.
    form: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.form = signed_form(self.pairs)

    @property
    def covered(self) -> str:
        """What the signature covers after the path, the same however the request was spelt and cut."""
        return self.covered_from("")

    def covered_from(self, path: str) -> str:
        """Return what it covers from this path on, that of the URL which Twilio was given.

        Where the path ends is not signed either: what was signed over ``/twiml/survey2`` fits ``/twiml/survey`` with a
        form that begins with the ``2``.
        """
        mark, query = self.target.partition("?")[1:]
        return _unescaped(f"{path}{mark}{query}{self.form}")

    @classmethod
    def read(
        cls, target: str, headers: Mapping[str, str], *, pairs: Pairs, json_body: bytes | None = None
    ) -> SignedRequest:
        """Take the signature from a request's headers."""
        twilios, compatible = SIGNATURE_HEADERS
        signature = headers.get(twilios)
        if signature is None:
            signature = headers.get(compatible)
        return cls(target, pairs, signature, headers.get(SETTINGS_HEADER), json_body)


class SignatureCheck:
    """Accepts requests that are signed over one of the URLs that Twilio may have been given, with one of the keys.

    ``other_keys`` are keys of the account ``account_sid`` that are not accepted; they explain refusals.

    Raises:
        SettingsError: There is no key.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        keys: Sequence[str],
        other_keys: Sequence[str] = (),
        account_sid: str | None = None,
    ) -> None:
        if not keys:
            raise SettingsError(
                "nothing to verify callbacks with: an API key can place calls, but does not sign callbacks",
                hint="set TWILIO_AUTH_TOKEN beside it, or CALLCTL_SIGNING_TOKEN",
            )
        self._urls = list(dict.fromkeys(url.partition("#")[0].partition("?")[0] for url in urls))
        self._paths = {url: url.partition("://")[2].partition("/")[2] for url in self._urls}
        self._keys = [SigningKey(key) for key in keys]
        others = [SigningKey(key) for key in other_keys if key not in keys]
        self.refusals = Refusals(self._urls, self._keys, other_keys=others, account_sid=account_sid)

    def accepts(self, request: SignedRequest) -> bool:
        """Return whether a request was signed over one of the URLs with one of the keys."""
        return self.covered(request) is not None

    def covered(self, request: SignedRequest) -> str | None:
        """Return what the signature covers from the path of the URL on, the same for all that fits one signature.

        None: the request was not signed over one of the URLs with one of the keys.
        """
        signature = Signature.of(request)
        if signature is not None:
            for url in self._urls:
                if signature.fits(url, self._keys):
                    return request.covered_from(self._paths[url])
        return None


@dataclass(slots=True)
class Signature:
    """A request's signature and its form as it is signed: prepared once, for it is compared over many URLs."""

    target: str
    form: bytes
    given: bytes
    algorithm: str

    @classmethod
    def of(cls, request: SignedRequest) -> Signature | None:
        """Return None if there is no signature, or none that covers the body."""
        if not request.signature or not _body_fits(request):
            return None
        given = request.signature.encode("utf-8", "surrogateescape")
        return cls(request.target, request.form.encode(), given, _algorithm(request.settings))

    def fits(self, url: str, keys: Sequence[SigningKey]) -> bool:
        """Return whether one of the keys signed this over a URL, however it was spelt."""
        for spelt in _spellings(url, self.target):
            text = spelt + self.form
            for key in keys:
                if hmac.compare_digest(key.sign(text, self.algorithm), self.given):
                    return True
        return False


def _spellings(url: str, target: str) -> Iterator[bytes]:
    """Return the texts that Twilio may have signed for a URL, the likeliest first."""
    mark, query = target.partition("?")[1:]
    yield from _encoded(url + mark + query)
    scheme, colon, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    queries = dict.fromkeys((query, _unescaped(query), query.replace("'", "%27")))
    seen = {url + mark + query}
    for with_port in (netloc, netloc.rpartition("@")[2]):
        for location in (with_port, _other_port(with_port, scheme)):
            for spelt in queries:
                text = f"{scheme}{colon}{location}{slash}{path}{mark}{spelt}"
                if text not in seen:
                    seen.add(text)
                    yield from _encoded(text)


def _encoded(text: str) -> tuple[bytes, ...]:
    # A request line that is no UTF-8 comes with surrogates; it can't have been signed.
    try:
        return (text.encode(),)
    except UnicodeEncodeError:
        return ()


def _unescaped(query: str) -> str:
    if "%" not in query:  # as in nearly all
        return query
    return query.replace("%27", "'").replace("%40", "@").replace("%3A", ":").replace("%3a", ":")


def _other_port(netloc: str, scheme: str) -> str:
    """Return a network location without its port, or with the scheme's default one if it has none."""
    user, at, location = netloc.rpartition("@")
    host, colon, port = location.rpartition(":")
    if colon and port.isdecimal():  # not the last part of a bracketed IPv6 address
        return f"{user}{at}{host}"
    return f"{user}{at}{location}:{443 if scheme.lower() == 'https' else 80}"


def _body_fits(request: SignedRequest) -> bool:
    if request.json_body is None:
        return True
    expected = parse_qs(request.target.partition("?")[2]).get("bodySHA256", [""])[0]
    return hmac.compare_digest(hashlib.sha256(request.json_body).hexdigest().encode(), expected.encode())


def _algorithm(settings: str | None) -> str:
    if settings is None:
        return "HMAC_SHA1"
    from twilio.request_validator import get_signature_algorithm

    named = str(get_signature_algorithm(settings)).upper()
    return named if named in _ALGORITHMS else "HMAC_SHA1"


@dataclass(frozen=True, slots=True)
class RequestedUrl:
    """What a request's headers say of the URL that was requested: hosts and paths, each with its header's name.

    Anybody can send them, so they only explain refusals.
    """

    hosts: tuple[tuple[str, str], ...] = ()
    paths: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, headers: Iterable[tuple[bytes, bytes]]) -> RequestedUrl:
        """Take them from a request's headers."""
        fields: dict[str, str] = {}
        for name, value in headers:
            fields.setdefault(name.decode("latin-1").title(), value.decode("utf-8", "replace"))
        hosts = [(host.strip(), name) for name in _HOST_HEADERS for host in fields.get(name, "").split(",")]
        hosts += [(host, "Forwarded") for host in re.findall(r'(?i)\bhost="?([^";,\s]+)', fields.get("Forwarded", ""))]
        paths = [(_path_in(fields[name]), name) for name in _PATH_HEADERS if name in fields]
        named = {host: (host, name) for host, name in reversed(hosts) if _is_host(host)}
        return cls(
            tuple(named.values())[::-1][:_MOST], tuple(path for path in paths if path[0].startswith("/"))[:_MOST]
        )


class Refusals:
    """Explains why requests are refused that should be signed over these URLs with one of these keys.

    ``other_keys`` are keys of the account ``account_sid`` that are not accepted. ``causes`` counts the
    refusals that were explained.
    """

    def __init__(
        self,
        urls: Sequence[str],
        keys: Sequence[SigningKey],
        *,
        other_keys: Sequence[SigningKey],
        account_sid: str | None,
    ) -> None:
        self._urls, self._keys, self._other_keys, self._account_sid = urls, keys, other_keys, account_sid
        self._explained_at: datetime | None = None
        self.causes: Counter[str] = Counter()
        self._said: set[str] = set()

    def explain_once(self, request: SignedRequest, *, requested: RequestedUrl, now: datetime) -> str | None:
        """Explain a refusal if its cause is a new one, or another URL was signed; explain one a second at most.

        Finding the cause takes many computations, and any client may send a request. So not all URLs are said either.
        """
        if self._explained_at is not None and timedelta() <= now - self._explained_at < timedelta(seconds=1):
            return None
        self._explained_at = now
        text = self.explain(request, requested=requested)
        cause = text.partition(":")[0]
        self.causes[cause] += 1
        if self.causes[cause] > 1 and (text in self._said or len(self._said) >= _MOST_REPORTED):
            return None
        self._said.add(text)
        return f"refused a request: {text}"

    def explain(self, request: SignedRequest, *, requested: RequestedUrl) -> str:
        """Say the likely cause of a wrong signature in one sentence, by trying what usually goes wrong.

        ``requested`` is what the request's headers say of its URL.
        """
        if not request.signature:
            return "no signature: the request carries no X-Twilio-Signature, so Twilio did not send it"
        signature = Signature.of(request)
        if signature is None:
            return _about_json(request)
        if len(signature.form) <= _LONGEST_EXPLAINED:
            for cause, url, by in self._variants(request, requested):
                if signature.fits(url, self._keys):
                    said = f" (by {by})" if by else ""
                    return f"{cause}: signed over {url}{said}, while this listener expects {self._urls[0]}"
            bare = replace(signature, target=signature.target.partition("?")[0])
            if bare.target != signature.target and any(bare.fits(url, self._keys) for url in self._urls):
                return "query added: signed over the URL without its query, which was added on the way"
        if any(signature.fits(url, self._other_keys) for url in self._urls):
            return "other token: signed with a token that is not the one set for signing (CALLCTL_SIGNING_TOKEN)"
        # A GET has its form in the query.
        account_sid = dict(request.pairs or parse_qsl(request.target.partition("?")[2])).get("AccountSid", "")
        if self._account_sid and account_sid and account_sid != self._account_sid:
            return (
                "other account: the request names another account than this one's, and a subaccount's callbacks are "
                "signed with its own token (set CALLCTL_SIGNING_TOKEN)"
            )
        return (
            "unknown cause: neither the URL in any usual variant nor the token fits; the request is forged, or was "
            "signed with another token (a rotated one, an API key's secret) or over another URL"
        )

    def _variants(self, request: SignedRequest, requested: RequestedUrl) -> Iterator[tuple[str, str, str | None]]:
        """Yield causes, each with a URL, and the header that says so."""
        path = request.target.partition("?")[0]
        for url in self._urls:
            scheme, _, rest = url.partition("://")
            netloc, slash, own = rest.partition("/")
            other = "http" if scheme.lower() == "https" else "https"
            own = slash + own
            slashed = own.rstrip("/") if own.endswith("/") else own + "/"
            yield "wrong scheme", f"{other}://{rest}", None
            yield from _other_spellings(scheme, netloc, (own, slashed))
            yield "trailing slash", f"{scheme}://{netloc}{slashed}", None
            yield "trailing slash and wrong scheme", f"{other}://{netloc}{slashed}", None
            for tried, by in ((path, None), *requested.paths):
                yield "wrong path", f"{scheme}://{netloc}{tried}", by
                yield "wrong path and scheme", f"{other}://{netloc}{tried}", by
            for seen, header in requested.hosts:
                usual_port = ":443" if scheme.lower() == "https" else ":80"
                cause = _why_other_host(seen, netloc, usual_port=usual_port)
                by = None if header == "Host" else header
                for tried in dict.fromkeys((own, path, slashed, *(other_path for other_path, _ in requested.paths))):
                    yield cause or "wrong path", f"{scheme}://{seen}{tried}", by
                    yield f"{cause} and scheme" if cause else "wrong scheme", f"{other}://{seen}{tried}", by


def _other_spellings(scheme: str, netloc: str, paths: Sequence[str]) -> Iterator[tuple[str, str, str | None]]:
    """Yield the usual other spellings of scheme and host, with what is wrong; a Host header shows few of them."""
    user, at, location = netloc.rpartition("@")
    host, _, _ = location.partition(":")
    if host.startswith("["):
        return
    rest = location[len(host) :]
    dotted = host.removesuffix(".") if host.endswith(".") else f"{host}."
    for path in paths:
        for other in _other_capitals(scheme):
            yield "capitals in the scheme", f"{other}://{netloc}{path}", None
        for other in _other_capitals(host):
            yield "capitals in the host", f"{scheme}://{user}{at}{other}{rest}{path}", None
        yield "dot after the host", f"{scheme}://{user}{at}{dotted}{rest}{path}", None


def _other_capitals(text: str) -> list[str]:
    spelled = (text.lower(), text.upper(), text.capitalize(), text.title())
    return [other for other in dict.fromkeys(spelled) if other != text]


def _why_other_host(seen: str, expected: str, *, usual_port: str) -> str:
    """Return what is wrong with a host and port that were signed, in place of those that were expected; "" if nothing.

    The usual port of the scheme that was expected may be named by one of them alone.
    """
    signed, own = (text.rpartition("@")[2].removesuffix(usual_port) for text in (seen, expected))
    if signed.lower() == own.lower():
        return "" if signed == own else "capitals in the host"
    signed, own = signed.lower(), own.lower()
    host, own_host = ((hostname_of(f"//{text}") or "").removesuffix(".") for text in (signed, own))
    if host != own_host:
        return "wrong host"
    has_same_port = signed.rpartition(host)[2].removeprefix(".") == own.rpartition(host)[2].removeprefix(".")
    return "dot after the host" if has_same_port else "wrong port"


def _about_json(request: SignedRequest) -> str:
    if "bodySHA256=" in request.target.partition("?")[2]:
        return "changed JSON body: its hash is not the URL's bodySHA256, so it was changed on the way"
    return (
        "a JSON body without bodySHA256: Twilio signs a JSON body by its hash in the URL, so nobody vouches for this "
        "one; status callbacks come as forms"
    )


def _path_in(url: str) -> str:
    return (
        url.partition("?")[0]
        if url.startswith("/")
        else "/" + url.partition("://")[2].partition("?")[0].partition("/")[2]
    )


def _is_host(text: str) -> bool:
    """Return whether a header's text can stand for a host in a URL; any client may have sent it."""
    is_plain = text.isascii() and all(char.isalnum() or char in ".-:[]_" for char in text)
    return is_plain and bool(hostname_of(f"//{text}"))

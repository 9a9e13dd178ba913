"""Why a signature does not fit: the likely cause, found by trying what usually goes wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from callctl.watch.listener.claim import Claim, SignedRequest

# Characters of a form; Twilio's have less than 2,000. The cause takes a thousand computations to find.
_LONGEST_EXPLAINED = 8192
# Where proxies say which host, and which path, was asked for before they changed it; so many of each are tried.
_HOST_HEADERS = ("Host", "X-Forwarded-Host", "X-Original-Host", "X-Forwarded-Server")
_PATH_HEADERS = ("X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url", "X-Rewrite-Url", "X-Envoy-Original-Path")
_MOST = 4

Told = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request's headers say of the URL that was asked for: hosts and paths, each with its header's name.

    They are tried here alone, where nothing hangs on them.
    """

    hosts: Told = ()
    paths: Told = ()

    @classmethod
    def read(cls, headers: Iterable[tuple[bytes, bytes]]) -> Asked:
        """Take them from a request's headers."""
        found: dict[str, str] = {}
        for name, value in headers:
            found.setdefault(name.decode("latin-1").title(), value.decode("utf-8", "replace"))
        hosts = [(host.strip(), name) for name in _HOST_HEADERS for host in found.get(name, "").split(",")]
        hosts += [(host, "Forwarded") for host in re.findall(r'(?i)\bhost="?([^";,\s]+)', found.get("Forwarded", ""))]
        paths = [(_path_in(found[name]), name) for name in _PATH_HEADERS if name in found]
        named = {host: (host, name) for host, name in reversed(hosts) if _is_host(host)}
        return cls(tuple(named.values())[::-1][:_MOST], tuple(one for one in paths if one[0].startswith("/"))[:_MOST])


class Refusals:
    """Explains what was refused where requests are to be signed over these URLs with one of these keys.

    ``other_keys`` are keys of the account ``account_sid`` that do not count. ``causes`` counts the refusals that were
    looked into.
    """

    def __init__(
        self, urls: Sequence[str], keys: Sequence[Any], *, other_keys: Sequence[Any], account_sid: str | None
    ) -> None:
        self._urls, self._keys, self._other_keys, self._account_sid = urls, keys, other_keys, account_sid
        self._looked_at: datetime | None = None
        self.causes: Counter[str] = Counter()

    def explain_once(self, request: SignedRequest, *, asked: Asked, now: datetime) -> str | None:
        """Explain a refusal if its cause is a new one; look into one a second at most.

        Finding the cause takes many computations, and anybody may send a request.
        """
        if self._looked_at is not None and timedelta() <= now - self._looked_at < timedelta(seconds=1):
            return None
        self._looked_at = now
        text = self.explain(request, asked=asked)
        cause = text.partition(":")[0]
        self.causes[cause] += 1
        return f"refused a request: {text}" if self.causes[cause] == 1 else None

    def explain(self, request: SignedRequest, *, asked: Asked) -> str:
        """Say the likely cause of a wrong signature in one sentence, by trying what usually goes wrong.

        ``asked`` is what the request's headers say of its URL.
        """
        if not request.signature:
            return "no signature: the request carries no X-Twilio-Signature, so Twilio did not send it"
        claim = Claim.of(request)
        if claim is None:
            return _about_json(request)
        if len(claim.form) <= _LONGEST_EXPLAINED:
            for cause, url, by in self._variants(request, asked):
                if claim.holds(url, self._keys):
                    said = f" (by {by})" if by else ""
                    return f"{cause}: signed over {url}{said}, while this listener expects {self._urls[0]}"
            bare = replace(claim, target=claim.target.partition("?")[0])
            if bare.target != claim.target and any(bare.holds(url, self._keys) for url in self._urls):
                return "query added: signed over the URL without its query, which was added on the way"
        if any(claim.holds(url, self._other_keys) for url in self._urls):
            return "other token: signed with a token that is not the one set for signing (CALLCTL_SIGNING_TOKEN)"
        # A GET has its form in the query.
        told = dict(request.pairs or parse_qsl(request.target.partition("?")[2])).get("AccountSid", "")
        if self._account_sid and told and told != self._account_sid:
            return (
                "other account: the request names another account than this one's, and a subaccount's callbacks are "
                "signed with its own token (set CALLCTL_SIGNING_TOKEN)"
            )
        return (
            "unknown cause: neither the URL in any usual variant nor the token fits; the request is forged, or was "
            "signed with another token (a rotated one, an API key's secret) or over another URL"
        )

    def _variants(self, request: SignedRequest, asked: Asked) -> Iterator[tuple[str, str, str | None]]:
        """Yield causes, each with a URL, and the header that tells of it."""
        path = request.target.partition("?")[0]
        for url in self._urls:
            scheme, _, rest = url.partition("://")
            netloc, slash, own = rest.partition("/")
            other = "http" if scheme.lower() == "https" else "https"
            own = slash + own
            slashed = own.rstrip("/") if own.endswith("/") else own + "/"
            yield "wrong scheme", f"{other}://{rest}", None
            yield "trailing slash", f"{scheme}://{netloc}{slashed}", None
            yield "trailing slash and wrong scheme", f"{other}://{netloc}{slashed}", None
            for tried, by in ((path, None), *asked.paths):
                yield "wrong path", f"{scheme}://{netloc}{tried}", by
                yield "wrong path and scheme", f"{other}://{netloc}{tried}", by
            for seen, header in asked.hosts:
                cause = "wrong port" if _hostname(seen) == _hostname(netloc) else "wrong host"
                by = None if header == "Host" else header
                for tried in dict.fromkeys((own, path, slashed, *(told for told, _ in asked.paths))):
                    yield cause, f"{scheme}://{seen}{tried}", by
                    yield f"{cause} and scheme", f"{other}://{seen}{tried}", by


def _about_json(request: SignedRequest) -> str:
    if "bodySHA256=" in request.target.partition("?")[2]:
        return "changed JSON body: it has not the hash that the URL tells (bodySHA256), so it was changed on the way"
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
    """Tell whether a header's text can stand for a host in a URL; anybody may have sent it."""
    return bool(_hostname(text)) and text.isascii() and all(char.isalnum() or char in ".-:[]_" for char in text)


def _hostname(netloc: str) -> str | None:
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None

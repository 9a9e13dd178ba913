"""Why a signature does not fit: the likely cause, found by trying what usually goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from callctl.signatures.claim import Claim, SignedRequest

# Characters of a form; Twilio's have less than 2,000. The cause takes a thousand computations to find.
_LONGEST_EXPLAINED = 8192


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

    def explain_once(self, request: SignedRequest, *, host: str | None, now: datetime) -> str | None:
        """Explain a refusal if its cause is a new one; look into one a second at most.

        Finding the cause takes many computations, and anybody may send a request.
        """
        if self._looked_at is not None and timedelta() <= now - self._looked_at < timedelta(seconds=1):
            return None
        self._looked_at = now
        text = self.explain(request, host=host)
        cause = text.partition(":")[0]
        self.causes[cause] += 1
        return f"refused a request: {text}" if self.causes[cause] == 1 else None

    def explain(self, request: SignedRequest, *, host: str | None) -> str:
        """Say the likely cause of a wrong signature in one sentence, by trying what usually goes wrong.

        ``host`` is the request's Host header. It is tried here alone, where nothing hangs on it.
        """
        if not request.signature:
            return "no signature: the request carries no X-Twilio-Signature, so Twilio did not send it"
        claim = Claim.of(request)
        if claim is not None and len(claim.form) <= _LONGEST_EXPLAINED:
            for cause, url in self._variants(request, host):
                if claim.holds(url, self._keys):
                    return f"{cause}: signed over {url}, while this listener expects {self._urls[0]}"
        if claim is not None and any(claim.holds(url, self._other_keys) for url in self._urls):
            return "other token: signed with a token that is not the one set for signing (CALLCTL_SIGNING_TOKEN)"
        told = dict(reversed(request.pairs)).get("AccountSid", "")
        if self._account_sid and told and told != self._account_sid:
            return (
                "other account: the request names another account than this one's, and a subaccount's callbacks are "
                "signed with its own token (set CALLCTL_SIGNING_TOKEN)"
            )
        return (
            "unknown cause: neither the URL in any usual variant nor the token fits; the request is forged, or was "
            "signed with another token (a rotated one, an API key's secret) or over another URL"
        )

    def _variants(self, request: SignedRequest, host: str | None) -> Iterator[tuple[str, str]]:
        path = request.target.partition("?")[0]
        hosts = [host] if host and _is_host(host) else []
        for url in self._urls:
            scheme, _, rest = url.partition("://")
            netloc, slash, own = rest.partition("/")
            other = "http" if scheme.lower() == "https" else "https"
            own = slash + own
            slashed = own.rstrip("/") if own.endswith("/") else own + "/"
            yield "wrong scheme", f"{other}://{rest}"
            yield "trailing slash", f"{scheme}://{netloc}{slashed}"
            yield "wrong path", f"{scheme}://{netloc}{path}"
            yield "trailing slash and wrong scheme", f"{other}://{netloc}{slashed}"
            yield "wrong path and scheme", f"{other}://{netloc}{path}"
            for seen in hosts:
                cause = "wrong port" if _hostname(seen) == _hostname(netloc) else "wrong host"
                for tried in dict.fromkeys((own, path, slashed)):
                    yield cause, f"{scheme}://{seen}{tried}"
                    yield f"{cause} and scheme", f"{other}://{seen}{tried}"


def _is_host(text: str) -> bool:
    return all(char.isalnum() or char in ".-:[]_" for char in text) and text.isascii()


def _hostname(netloc: str) -> str | None:
    return urlsplit(f"//{netloc}").hostname

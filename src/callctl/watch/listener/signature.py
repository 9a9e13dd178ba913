"""Whether a request was signed by Twilio (``X-Twilio-Signature``), and if not, the likely cause.

Twilio's library, which computes signatures, is imported when there is something to verify or to sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from callctl.calls.forms import signed_form
from callctl.errors import SettingsError
from callctl.watch.listener.claim import SIGNATURE_HEADERS, Claim, Pairs, SignedRequest
from callctl.watch.listener.refusals import Asked, Refusals

__all__ = ["SIGNATURE_HEADERS", "Asked", "Gate", "SignedRequest", "signature_of"]


def signature_of(url: str, pairs: Pairs, *, key: str) -> str:
    """Sign a POST as Twilio does, over the URL without its fragment."""
    from twilio.request_validator import RequestValidator

    return str(RequestValidator(key).compute_signature(url.partition("#")[0] + signed_form(pairs), None))


class Gate:
    """Knows the URLs that Twilio may have been given for this listener, and the keys that may sign.

    ``other_keys`` let nobody in; with ``account_sid``, whose keys these are, they explain refusals.

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
        from twilio.request_validator import RequestValidator

        if not keys:
            raise SettingsError(
                "nothing to verify callbacks with: an API key can place calls, but does not sign callbacks",
                hint="set TWILIO_AUTH_TOKEN beside it, or CALLCTL_SIGNING_TOKEN",
            )
        self._urls = list(dict.fromkeys(url.partition("#")[0].partition("?")[0] for url in urls))
        self._keys = [RequestValidator(key) for key in keys]
        others = [RequestValidator(key) for key in other_keys if key not in keys]
        self.refusals = Refusals(self._urls, self._keys, other_keys=others, account_sid=account_sid)

    def admits(self, request: SignedRequest) -> bool:
        """Tell whether a request was signed over one of the URLs with one of the keys."""
        claim = Claim.of(request)
        return claim is not None and any(claim.holds(url, self._keys) for url in self._urls)

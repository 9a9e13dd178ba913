"""Whether Twilio tries a callback again that meets a listener which is restarted, or can't store it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

from callctl.api.resources import PhoneNumber
from callctl.doctor.spelling import leads_to
from callctl.views.doctor_finding import Finding, warning

# The failures after which a callback is lost unless Twilio tries again (docs/twilio.md, "Delivery").
_FAILURES = frozenset({"5xx", "ct", "rt"})
_SHOWN = 5


def has_retries(url: str) -> bool:
    """Return whether a callback URL's fragment has Twilio try again after each failure that a listener can cause."""
    given = parse_qs(urlsplit(url).fragment)
    policy = {word.strip() for text in given.get("rp", ()) for word in text.split(",")}
    return given.get("rc", ["1"])[-1] != "0" and ("all" in policy or policy >= _FAILURES)


def retry_findings(numbers: Sequence[PhoneNumber], *, callback_url: str, retries: str) -> Iterator[Finding]:
    """Yield a warning for callback URLs that do not have Twilio try again; nothing where all is well.

    They are the URL in use, if it has a fragment of its own, and those of the account's numbers that lead to it.

    Args:
        numbers: The account's numbers, as far as the credentials may read them.
        callback_url: Where callbacks go.
        retries: The fragment that does it.
    """
    fragment = urlsplit(callback_url).fragment
    fix = f"end it with #{retries}: without, what comes while the listener is restarted is lost"
    if fragment and not has_retries(callback_url):
        what = f"{callback_url}: the part behind # does not have Twilio try again after a 5xx or without an answer"
        yield warning("retries", what, fix=fix)
    without_retries = [
        number.number
        for number in numbers
        if leads_to(number.status_callback, callback_url) and not has_retries(number.status_callback)
    ]
    if without_retries:
        more = "" if len(without_retries) <= _SHOWN else f" and {len(without_retries) - _SHOWN} more"
        what = f"the status callback of {', '.join(without_retries[:_SHOWN])}{more} does not have Twilio try again"
        yield warning("retries", what, fix=fix, numbers=without_retries)

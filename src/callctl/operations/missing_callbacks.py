"""Why no status callback of a call came: what Twilio noted for the call, and what is left when it noted nothing.

A call that was accepted (201) may never send a callback (docs/twilio.md, "Creating a call"); the reason is in its
notifications alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from callctl.api.resources import Notification
from callctl.calls.call import CallStatus, is_final
from callctl.errors import without_secrets

# How long after a call was placed its silence is looked into, and how long a callback may be on its way after the
# step that it tells of.
AFTER = timedelta(seconds=10)
ON_ITS_WAY = timedelta(seconds=3)

_DOCTOR = "`callctl doctor` tests the way from Twilio to here"
_TUNNEL = f"see that the tunnel runs and leads to the watch; {_DOCTOR}"
# By code (docs/twilio.md, "Errors"): what it means for callbacks, and what to do; the likeliest first. A joined list of
# events has been taken for an effect of inline `Twiml`, which by all that is known does not stop callbacks.
_CAUSES = {
    "21626": (
        "its StatusCallbackEvent was not understood, so Twilio sends it no callbacks at all",
        "send StatusCallbackEvent once for each event, not `initiated ringing answered completed` in one value",
    ),
    "21609": (
        "its StatusCallback is no URL that Twilio takes, so it sends no callbacks",
        "give an absolute URL of at most 4,000 characters, without an underscore in its host",
    ),
}
# The events that a call which has a status must have had.
_PASSED: dict[str, frozenset[str]] = {
    CallStatus.RINGING: frozenset({"initiated", "ringing"}),
    CallStatus.IN_PROGRESS: frozenset({"initiated", "answered"}),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """The likeliest reason: in a clause, with Twilio's code and its documentation where there is one, and the fix."""

    text: str
    fix: str
    code: str | None = None
    more_info: str | None = None

    @property
    def sentence(self) -> str:
        """The reason with code and link."""
        facts = ", ".join(filter(None, (self.code, self.more_info)))
        return f"{self.text} ({facts})" if facts else self.text


def is_due(events: Collection[str], status: str) -> bool:
    """Tell whether a call that has this status must have sent a callback, if it was asked for these events.

    One that waits in the queue sends none yet; one in progress may never have rung.
    """
    passed = frozenset({"completed"}) if is_final(status) else _PASSED.get(status, frozenset())
    return not passed.isdisjoint(events)


def cause_in(notes: Iterable[Notification], *, callback_url: str) -> Cause | None:
    """Return the likeliest reason among a call's notifications; None if none of them is about its callbacks."""
    found = list(notes)
    for code, (text, fix) in _CAUSES.items():
        if note := next((one for one in found if one.code == code), None):
            return Cause(text, fix, code, note.more_info)
    ours = place_of(callback_url)
    failed = next((note for note in found if note.request_url and place_of(note.request_url) == ours), None)
    if failed is None:
        return None
    said = f": {failed.message}" if failed.message else ""
    return Cause(f"Twilio could not deliver to {ours}{said}", _TUNNEL, failed.code, failed.more_info)


def unnoted(deaf: str | None, *, callback_url: str) -> Cause:
    """Return the likeliest reason where Twilio noted nothing; ``deaf`` is why callbacks can't arrive, if known."""
    if deaf is not None:
        return Cause(f"callbacks can't arrive: {deaf}; Twilio has noted nothing yet", _TUNNEL)
    return Cause(
        f"Twilio has noted nothing; {place_of(callback_url)} may lead elsewhere, or the callbacks are late",
        _DOCTOR,
    )


def place_of(url: str) -> str:
    """Return a callback URL as it is compared and shown: without its fragment and its password."""
    return without_secrets(url.partition("#")[0])

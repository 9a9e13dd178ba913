"""Why no status callback of a call arrives: when one is overdue, and the likeliest cause.

Twilio may accept a call (201) and never send a callback for it (docs/twilio.md, "Creating a call"). The only trace of
the reason is in the call's notifications.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from callctl.api.calls_api import CallsApi
from callctl.api.resources import Notification
from callctl.calls.call import CallStatus, is_final
from callctl.errors import CallctlError, without_secrets
from callctl.support.urls import is_same_address

# A missing callback is looked into so long after the call was placed, and so long after the step that it reports.
AFTER = timedelta(seconds=10)
DELIVERY_TIME = timedelta(seconds=3)

_DOCTOR = "`callctl doctor` tests the way from Twilio to here"
_SPELLING = "give Twilio that URL by the letter, with the same capitals, dots and slashes, for so it is signed"
_UNLESS_APPLICATION = ", unless it leads to a path of the application of --forward-to"
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
# The events that must have happened to a call that has a status.
_EVENTS_BEFORE: dict[str, frozenset[str]] = {
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


def is_overdue(events: Collection[str], status: str) -> bool:
    """Return whether a call with this status must have sent a callback, if it was placed with these events.

    A queued call sends none yet; one in progress may never have rung.
    """
    happened = frozenset({"completed"}) if is_final(status) else _EVENTS_BEFORE.get(status, frozenset())
    return not happened.isdisjoint(events)


def find_cause(
    api: CallsApi,
    sid: str,
    *,
    callback_url: str,
    is_ours: Callable[[], bool],
    unreachable: Callable[[], str | None],
) -> Cause | None:
    """Return the likeliest cause of a call's missing callbacks; None if nothing can be said.

    Args:
        api: The API, for the call's notifications.
        sid: The call.
        callback_url: Where its callbacks are to go.
        is_ours: Whether that is a watch whose store is at hand. Of other receivers only Twilio's notes say anything.
        unreachable: Returns why the watch can't be reached, if that is known.

    Raises:
        CallctlError: The notifications can't be listed.
    """
    cause = cause_in(api.notifications(sid), callback_url=callback_url)
    if cause is None and is_ours():
        return cause_without_notes(unreachable(), callback_url=callback_url)
    return cause


def cause_in(notes: Iterable[Notification], *, callback_url: str) -> Cause | None:
    """Return the likeliest cause among a call's notifications; None if none of them is about its callbacks."""
    listed = list(notes)
    for code, (text, fix) in _CAUSES.items():
        if note := next((note for note in listed if note.code == code), None):
            return Cause(text, fix, code, note.more_info)
    url = comparable_url(callback_url)
    requested = {comparable_url(note.request_url): note for note in reversed(listed) if note.request_url}
    others = (each for each in requested if is_same_address(each, url))
    where = url if url in requested else min(others, key=lambda each: _is_slashed_otherwise(each, url), default=None)
    if where is None:
        return None
    failed = requested[where]
    message = f": {failed.message}" if failed.message else ""
    spelled = "" if where == url else f", which is not how {url} is spelled"
    fix = _TUNNEL
    if spelled:  # it is refused if it comes through, which it may not
        unless = _UNLESS_APPLICATION if _is_slashed_otherwise(where, url) else ""
        fix = f"{_SPELLING}{unless}; if it fails then too, {_TUNNEL}"
    return Cause(f"Twilio could not deliver to {where}{spelled}{message}", fix, failed.code, failed.more_info)


def _is_slashed_otherwise(url: str, own: str) -> bool:
    """Return whether a URL at the same address has another path, by a slash at the end: it may be an application's."""
    return urlsplit(url).path != urlsplit(own).path


def cause_without_notes(unreachable: str | None, *, callback_url: str) -> Cause:
    """Return the likeliest cause where Twilio noted nothing; ``unreachable``: why callbacks can't arrive, if known."""
    if unreachable is not None:
        return Cause(f"callbacks can't arrive: {unreachable}; Twilio has noted nothing yet", _TUNNEL)
    url = comparable_url(callback_url)
    return Cause(f"Twilio has noted nothing; {url} may lead elsewhere, or the callbacks are late", _DOCTOR)


def comparable_url(url: str) -> str:
    """Return a callback URL as it is compared and shown: without its fragment and its password."""
    return without_secrets(url.partition("#")[0])


@dataclass(frozen=True, slots=True)
class ExpectedCallbacks:
    """What a call was placed with: where its callbacks go, and for which events."""

    call_sid: str
    url: str
    events: Collection[str]


class CallbackCheck:
    """Notices that a placed call sends no callbacks, and reports the cause once."""

    def __init__(
        self,
        expected: ExpectedCallbacks,
        *,
        api: CallsApi,
        reported: Callable[[str], Sequence[str]],
        is_ours: Callable[[], bool],
        unreachable: Callable[[], str | None],
        on_cause: Callable[[Cause], None],
        now: Callable[[], float],
    ) -> None:
        """Begin; the call has just been placed.

        Args:
            expected: The call and its callbacks.
            api: The API.
            reported: Returns the statuses that callbacks reported of a call.
            is_ours: As for ``find_cause``.
            unreachable: As for ``find_cause``.
            on_cause: Called with the likeliest cause.
            now: Seconds on a monotonic clock.
        """
        self._expected, self._api, self._reported = expected, api, reported
        self._is_ours, self._unreachable, self._on_cause, self._now = is_ours, unreachable, on_cause, now
        self._placed = now()
        self._overdue_since: float | None = None
        self._done = False

    def check(self, status: str) -> None:
        """Look for the cause, once, if the call has this status and a callback has been overdue for a while."""
        if self._done or not is_overdue(self._expected.events, status):
            return
        now = self._now()
        self._overdue_since = now if self._overdue_since is None else self._overdue_since
        is_late = now - self._overdue_since >= DELIVERY_TIME.total_seconds()
        if not is_late or now - self._placed < AFTER.total_seconds():
            return
        self._done = True
        if not self._reported(self._expected.call_sid):
            self._report_cause()

    def _report_cause(self) -> None:
        try:
            cause = find_cause(
                self._api,
                self._expected.call_sid,
                callback_url=self._expected.url,
                is_ours=self._is_ours,
                unreachable=self._unreachable,
            )
        except CallctlError:
            return  # an API that can't be reached is reported by the command that waits
        if cause is not None:
            self._on_cause(cause)

"""Carrying a deed out: the requests, and what their answers mean. May raise CallctlError; nothing is repeated here."""

from __future__ import annotations

from collections.abc import Callable

from callctl.actions import DONE, NOT_ENDED
from callctl.calls import Call, CallStatus
from callctl.errors import WrongCallStateError
from callctl.gateway import RedirectRequest
from callctl.operations.acting.needs import Door, Found, too_late
from callctl.policies import Cancel, Deed, Hangup, Limit, Redirect

# REST may show an old status right after a change (sheet section 2): how often to read it back, and the pauses.
READ_BACK = (0.1, 0.2, 0.4, 0.8)  # seconds

Sleep = Callable[[float], None]


def carry_out(door: Door, sid: str, deed: Deed, *, sleep: Sleep) -> Found:
    """Do it, once.

    Raises:
        CallctlError: It was refused, or no answer came.
    """
    match deed:
        case Cancel():
            return _cancel(door, sid, deed, sleep=sleep)
        case Hangup():
            return _told(door.hangup(sid), "hung up")
        case Redirect():
            call = door.redirect(sid, RedirectRequest(url=deed.url, method=deed.method))
            return Found(DONE, f"redirected to {deed.name}", call.status)
        case Limit():
            call = door.limit_time(sid, deed.seconds)
            return Found(DONE, f"Twilio ends it {deed.seconds} s after its answer", call.status)


def _told(call: Call, words: str) -> Found:
    if call.status in (CallStatus.BUSY, CallStatus.NO_ANSWER, CallStatus.FAILED):
        return too_late(call.status)
    return Found(DONE, words, call.status)


def _cancel(door: Door, sid: str, deed: Cancel, *, sleep: Sleep) -> Found:
    try:
        call = door.cancel(sid)
    except WrongCallStateError:
        # It got there first; or it rings inside <Dial>, where Twilio's text has it count as in-progress.
        call = door.fetch(sid)
        if call.is_final or call.status == CallStatus.IN_PROGRESS:
            raise
    for pause in READ_BACK:
        if call.is_final or call.status == CallStatus.IN_PROGRESS:
            break
        sleep(pause)
        call = door.fetch(sid)
    if call.status == CallStatus.CANCELED:
        return Found(DONE, "ended before it was answered", call.status)
    if call.is_final or call.status == CallStatus.IN_PROGRESS:
        return too_late(call.status)
    if not deed.cut_answered:
        return Found(NOT_ENDED, "Twilio did not end it", call.status)
    return _told(door.hangup(sid), "Twilio did not end it, so it was hung up")

"""Carrying a deed out: the requests, and what their answers mean. May raise CallctlError; nothing is repeated here."""

from __future__ import annotations

from callctl.api.client import RedirectRequest
from callctl.api.protocol import CallsApi
from callctl.calls.action import DONE, NOT_ENDED, UNKNOWN
from callctl.operations import hangup
from callctl.operations.hangup import HangupOutcome, ReportedLeg, Result, Sleep
from callctl.rules.outcome import Found, too_late
from callctl.rules.rule import Cancel, Hangup, Limit, Operation, Redirect


def carry_out(api: CallsApi, sid: str, deed: Operation, *, reported: ReportedLeg, sleep: Sleep) -> Found:
    """Do it, once; ``reported`` returns a leg as callbacks reported it.

    Raises:
        CallctlError: It was refused, or no answer came.
    """
    match deed:
        case Cancel():
            return _cancel(api, sid, deed, reported=reported, sleep=sleep)
        case Hangup():
            return _hung_up(hangup.hang_up(api, sid, reported=reported, sleep=sleep), "hung up")
        case Redirect():
            call = api.redirect(sid, RedirectRequest(url=deed.url, method=deed.method))
            return Found(DONE, f"redirected to {deed.name}", call.status or None)
        case Limit():
            call = api.limit_time(sid, deed.seconds)
            return Found(DONE, f"Twilio ends it {deed.seconds} s after its answer", call.status or None)


def _hung_up(ended: HangupOutcome, words: str) -> Found:
    return _late(ended) if ended.result is Result.ALREADY_OVER else Found(DONE, words, ended.call.status or None)


def _late(ended: HangupOutcome) -> Found:
    code = None if ended.refusal is None else ended.refusal.code
    if ended.may_be_by_earlier_try:
        return Found(UNKNOWN, "outcome unknown: it is over, and the first request was not answered", code=code)
    return too_late(ended.call.status, over=ended.result is Result.ALREADY_OVER, code=code)


def _cancel(api: CallsApi, sid: str, deed: Cancel, *, reported: ReportedLeg, sleep: Sleep) -> Found:
    ended = hangup.cancel(api, sid, reported=reported, sleep=sleep)
    match ended.result:
        case Result.ENDED:
            return Found(DONE, "ended before it was answered", ended.call.status)
        case Result.ALREADY_OVER | Result.NOT_ENDED:
            return _late(ended)
        case Result.ACCEPTED:  # Twilio ends it unless it was answered meanwhile, so it must not be hung up
            shown = f", and REST still shows it as {ended.call.status}" if ended.call.status else ""
            return Found(UNKNOWN, f"outcome unknown: Twilio took it{shown}")
    if not deed.cut_answered:
        return Found(NOT_ENDED, "Twilio did not end it", ended.call.status)
    return _hung_up(
        hangup.hang_up(api, sid, reported=reported, sleep=sleep), "Twilio did not end it, so it was hung up"
    )

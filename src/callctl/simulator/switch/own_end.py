"""A call to the account itself: its far end is a second call, which comes in to a number or an application."""

from functools import partial

from callctl.simulator.switch.leg import KEY_SECONDS, LiveLeg

BUSY_HERE, DECLINED, NOT_FOUND = 486, 603, 404
SIP_OF = {"busy": BUSY_HERE, "no-answer": DECLINED}
KEYS = frozenset("0123456789ABCDabcd*#")
PAUSE_SECONDS = {"w": 0.5, "W": 1.0}  # OAS, SendDigits
MAX_DIGITS = 32  # OAS, SendDigits


def connect(calling: LiveLeg, called: LiveLeg, *, send_digits: str) -> None:
    """Let one leg be the far end of another: its answer answers that one, and both end together.

    The leg that is called hears the digits that are sent once it has answered.
    """

    def answered() -> None:
        if not calling.is_answered:
            calling.pick_up()
        at = 0.0
        for digit in send_digits[:MAX_DIGITS]:
            if digit in KEYS:
                called.later(at, partial(called.press, digit))
            at += PAUSE_SECONDS.get(digit, KEY_SECONDS)

    def called_is_over() -> None:
        if calling.is_answered:
            calling.end("completed")
        else:
            status = called.leg.status
            calling.end(status if status in SIP_OF else "failed", sip=SIP_OF.get(status, NOT_FOUND))

    def calling_is_over() -> None:
        called.end("completed" if called.is_answered else "canceled")

    if called.is_ending:  # it could not even come in
        called_is_over()
        return
    called.when_answered.append(answered)
    called.when_over.append(called_is_over)
    calling.when_over.append(calling_is_over)

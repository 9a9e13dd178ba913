"""Answering machine detection: what it finds of a far end, and when. Nothing is heard: the far end says what it is.

Source: docs/twilio.md, "Answering machine detection".
"""

from dataclasses import dataclass

from callctl.simulator.far_end import FarEnd
from callctl.simulator.models import MESSAGE_END, Detection

GREETED_SECONDS = 2.0  # from the answer until a person's greeting is distinguished from a machine's (inferred)
MACHINE_START, BEEP, UNKNOWN = "machine_start", "machine_end_beep", "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who answered, and how many simulated seconds after the answer that is known."""

    answered_by: str
    seconds: float

    def parameters(self) -> dict[str, str]:
        """Return a callback's parameters for it; the duration is in milliseconds (AMD)."""
        return {"AnsweredBy": self.answered_by, "MachineDetectionDuration": str(round(self.seconds * 1000))}


def judge(detection: Detection, far_end: FarEnd) -> Verdict:
    """Return who answers at a far end; unknown, where finding out takes longer than the detection's timeout."""
    who = far_end.answered_by or (MACHINE_START if far_end.voicemail else "human")
    seconds = GREETED_SECONDS
    if who == UNKNOWN:
        seconds = detection.silence_timeout
    elif who.startswith("machine"):
        waits = detection.mode == MESSAGE_END
        if waits:
            seconds = far_end.greeting
        who = MACHINE_START if not waits else BEEP if who == MACHINE_START else who
    if seconds > detection.timeout:
        return Verdict(UNKNOWN, detection.timeout)
    return Verdict(who, seconds)

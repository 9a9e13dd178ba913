"""Where Twilio's behaviour is not settled: the other readings, one of which can be chosen by name."""

from collections.abc import Mapping

CANCEL_SPARES_DIAL_LEGS = "cancel-spares-dial-legs"
CANCEL_REFUSED_IN_PROGRESS = "cancel-refused-in-progress"
HANG_UP_TWICE = "hang-up-twice"
TIME_LIMIT_ALONE = "time-limit-alone"

READINGS: Mapping[str, str] = {
    CANCEL_SPARES_DIAL_LEGS: (
        "Status=canceled has no effect on a leg ringing inside <Dial>, which counts as in-progress (where "
        f"{CANCEL_REFUSED_IN_PROGRESS} is chosen too, it is answered 400 with 21220 there as well); "
        "otherwise it ends that leg as canceled"
    ),
    CANCEL_REFUSED_IN_PROGRESS: (
        "Status=canceled on an in-progress call answers 400 with 21220; otherwise 200, and nothing changes"
    ),
    HANG_UP_TWICE: ("Status=completed on a call that has ended answers 200; otherwise 400 with 21220"),
    TIME_LIMIT_ALONE: "an update with TimeLimit and nothing else sets it; otherwise 400 with 21218",
}

"""How a simulator is set up: everything that the command line and the library can choose."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from callctl.simulator.far_end import FarEnd, check_all
from callctl.simulator.faults import Faults

# Fixed and obviously fake, so that settings for the simulator can be written down and no one takes them for real ones.
ACCOUNT_SID = "AC" + "0" * 32
# 32 hexadecimal digits, as tools that check a token want it; not all alike, since zeros would be a part of the SIDs.
AUTH_TOKEN = "fa4e" * 8
API_KEY = "SK" + "0" * 32
API_SECRET = "simulated-api-secret"  # noqa: S105
KEEP_FINISHED = 10_000
ACTIVE = "active"
ACCOUNT_STATUSES = (ACTIVE, "suspended", "closed")  # OAS, account

# Where Twilio's behaviour is not settled: the other readings of its text, chosen by name.
CANCEL_SPARES_DIAL_LEGS = "cancel-spares-dial-legs"
CANCEL_REFUSED_IN_PROGRESS = "cancel-refused-in-progress"
HANG_UP_TWICE = "hang-up-twice"
TIME_LIMIT_ALONE = "time-limit-alone"
EMPTY_RECORDING_FALLS_THROUGH = "empty-recording-falls-through"

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
    EMPTY_RECORDING_FALLS_THROUGH: (
        "a <Record> in which nobody said a word goes on with the next verb; otherwise its action is requested"
    ),
    TIME_LIMIT_ALONE: "an update with TimeLimit and nothing else sets it; otherwise 400 with 21218",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a service that speaks Twilio's API differs from Twilio (docs/twilio.md, "Compatible services")."""

    uuid_sids: bool = False
    string_codes: bool = False
    refusal_status: int = 400
    ignores_filters: bool = False
    number_fields: bool = False  # duration and price as numbers
    final_callbacks_only: bool = False


DIALECTS: Mapping[str, Dialect] = {
    "twilio": Dialect(),
    "somleng": Dialect(
        uuid_sids=True,
        string_codes=True,
        refusal_status=422,
        ignores_filters=True,
        final_callbacks_only=True,
    ),
    "signalwire": Dialect(uuid_sids=True, number_fields=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One simulator's settings. Durations are simulated seconds, but `latency` is real. Raises ValueError."""

    account_sid: str = ACCOUNT_SID
    auth_token: str = AUTH_TOKEN
    api_key: str = API_KEY
    api_secret: str = API_SECRET
    account_name: str = "Simulated account"
    account_status: str = ACTIVE
    test_credentials: bool = False  # the token is that of the test credentials, which place calls and nothing else
    speed: float = 1.0
    seed: int | None = None
    far_end: Mapping[str, FarEnd] = field(default_factory=dict)
    readings: frozenset[str] = frozenset()
    faults: Faults = field(default_factory=Faults)
    latency: float = 0.0
    cps: float = 0.0
    concurrency: int = 0
    lag: float = 0.0
    keep_finished: int = KEEP_FINISHED
    keep_records: int = KEEP_FINISHED
    allow_remote: bool = False
    base_path: str = ""
    dialect: Dialect = DIALECTS["twilio"]
    cookies: bool = False  # an application's cookies go back with later requests about calls of the same From and To
    strict: bool = False  # a call fails for what of its documents is not imitated

    def __post_init__(self) -> None:
        unknown = sorted(self.readings - set(READINGS))
        if unknown:
            raise ValueError(f"unknown reading {unknown[0]!r}; known are {', '.join(READINGS)}")
        if self.account_status not in ACCOUNT_STATUSES:
            raise ValueError(f"account_status must be one of {', '.join(ACCOUNT_STATUSES)}")
        check_all(self.far_end)
        if not 0 < self.speed < math.inf:
            raise ValueError("speed must be above 0, and a number")
        amounts = (self.latency, self.lag, self.cps, self.concurrency, self.keep_finished, self.keep_records)
        if not all(0 <= amount < math.inf for amount in amounts):
            raise ValueError("latency, lag, cps, concurrency and what is kept must be 0 or more, and numbers")
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", self.base_path):
            raise ValueError("base_path must be such as /api/laml: it begins with / and doesn't end with it")

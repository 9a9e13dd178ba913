"""Connection overrides: the fragment of a URL changes how patient and how stubborn Twilio is with it (CONN).

By default one retry, and only when the connection failed; `#rc=2&rp=5xx` stands for two, and after a 5xx.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Overrides:
    """How patient and how stubborn a request is: seconds, and after what it is repeated (CONN)."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0
    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})

    def repeats(self, failure: str) -> bool:
        """Tell whether a failure (`ct`, `rt`, `4xx`, `5xx`) is one to try again after."""
        return failure in self.policy or "all" in self.policy


_RANGES = {"ct": (100, 10000), "rt": (100, 15000), "tt": (100, 15000), "rc": (0, 5)}
_POLICIES = frozenset({"4xx", "5xx", "ct", "rt", "all"})


def overrides(url: str) -> Overrides:
    """Read a URL's fragment; what is out of range or not understood leaves the default (inferred)."""
    given = dict(parse_qsl(urlsplit(url).fragment))
    values = {key: _within(given.get(key, ""), *limits) for key, limits in _RANGES.items()}
    usual = Overrides()
    policy = frozenset(given.get("rp", "").replace(" ", "").split(",")) & _POLICIES
    return Overrides(
        connect=usual.connect if values["ct"] is None else values["ct"] / 1000,
        read=usual.read if values["rt"] is None else values["rt"] / 1000,
        total=usual.total if values["tt"] is None else values["tt"] / 1000,
        retries=usual.retries if values["rc"] is None else values["rc"],
        policy=policy or usual.policy,
    )


def _within(text: str, low: int, high: int) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        return None
    return int(text) if low <= int(text) <= high else None

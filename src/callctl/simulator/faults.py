"""The faults that can be chosen, and every random choice in the simulator.

A choice depends on the seed, the call's number and the event alone, not on what else happened meanwhile; so the same
calls meet the same faults again, however their requests interleave.
"""

import hashlib
import random
import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong with callbacks: shares from 0 to 1, delays in simulated seconds."""

    shuffle: bool = False
    duplicate: float = 0.0
    drop: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one callback is sent: how often it is sent, how late, and whether the next may overtake it."""

    copies: int
    delay: float
    may_be_overtaken: bool


class Chance:
    """A source of choices that can be made again."""

    def __init__(self, seed: int | None) -> None:
        self._seed = str(seed) if seed is not None else str(random.SystemRandom().getrandbits(128))

    def hexadecimal(self, *key: object) -> str:
        """Return 32 hexadecimal digits for a key."""
        text = ":".join([self._seed, *map(str, key)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def uuid(self, *key: object) -> str:
        """Return the same digits in the form of a UUID."""
        return str(uuid.UUID(self.hexadecimal(*key)))

    def number(self, *key: object) -> float:
        """Return a number from 0 up to 1 for a key."""
        return int(self.hexadecimal(*key), 16) / 16**32

    def delivery(self, faults: Faults, call: str, event: str) -> Delivery:
        """Decide what happens to the callback of one event of one call."""
        if self.number(call, event, "drop") < faults.drop:
            return Delivery(0, 0.0, may_be_overtaken=False)
        copies = 2 if self.number(call, event, "duplicate") < faults.duplicate else 1
        low, high = faults.delay
        delay = low + (high - low) * self.number(call, event, "delay")
        may_be_overtaken = faults.shuffle and self.number(call, event, "shuffle") < 0.5
        return Delivery(copies, delay, may_be_overtaken)

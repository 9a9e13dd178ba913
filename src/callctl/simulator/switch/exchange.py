"""What all legs share, and what a leg needs of the switch that it is part of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from callctl.simulator.callbacks import Callbacks
from callctl.simulator.clock import Clock
from callctl.simulator.models import Subscription
from callctl.simulator.network import Network
from callctl.simulator.switch.register import Register

if TYPE_CHECKING:  # the switch makes lines, and lines ask the switch for more
    from callctl.simulator.switch.leg import Line


class Switchboard(Protocol):
    """What a leg needs of the switch that it is part of."""

    def make_child(self, parent: "Line", *, to: str, caller: str, subscription: Subscription | None) -> "Line":
        """Return a new leg, not yet dialled, that belongs to another."""

    def ended(self, line: "Line") -> None:
        """Learn that a leg has ended."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What all legs share."""

    account_sid: str
    clock: Clock
    wall: Callable[[], datetime]
    network: Network
    callbacks: Callbacks
    register: Register
    switch: Switchboard

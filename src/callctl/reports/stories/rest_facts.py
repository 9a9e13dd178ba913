"""What REST says of a family of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callctl.calls.call import Call
from callctl.calls.masked_numbers import masked_call

if TYPE_CHECKING:
    from callctl.api.resources import Notification


@dataclass(frozen=True, slots=True)
class RestFacts:
    """The calls of a family, and their errors and warnings, by SID."""

    calls: Mapping[str, Call] = field(default_factory=dict)
    notifications: Mapping[str, Sequence[Notification]] = field(default_factory=dict)

    def masked(self) -> RestFacts:
        """Return the same with numbers and names masked."""
        return RestFacts(
            {sid: masked_call(call) for sid, call in self.calls.items()},
            {sid: [note.masked() for note in notes] for sid, notes in self.notifications.items()},
        )

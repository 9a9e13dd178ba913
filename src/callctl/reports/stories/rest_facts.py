"""What REST says of a family of calls, beside what callbacks reported of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callctl.calls.call import Call

if TYPE_CHECKING:
    from callctl.api.resources import Notification


@dataclass(frozen=True, slots=True)
class RestFacts:
    """The calls of a family, and their errors and warnings, by SID."""

    calls: Mapping[str, Call] = field(default_factory=dict)
    notifications: Mapping[str, Sequence[Notification]] = field(default_factory=dict)

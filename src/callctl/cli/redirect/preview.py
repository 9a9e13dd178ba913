"""What a redirect does to the other legs: looked up and said before anything is sent."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from callctl.calls.call import Call
from callctl.cli.io.results import some
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.history import Memory
from callctl.errors import ApiError, NetworkError, NotFoundError
from callctl.operations import redirect
from callctl.operations.bulk import Done, for_each
from callctl.operations.family import CallAndChildren, children_of, fetch_with_children, parent_of

if TYPE_CHECKING:
    from callctl.api.client import ApiClient

PARALLEL = 20


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A call as it is before it is redirected, None if that could not be asked; and what becomes of its other legs."""

    call: Call | None
    others: Sequence[redirect.OtherLeg]

    def to_json(self) -> dict[str, Any]:
        """Return what the JSON objects tell of the other legs."""
        return {
            "other_legs": [
                {"call_sid": other.sid, "relation": other.relation, "effect": other.effect} for other in self.others
            ]
        }


@dataclass
class Foresight:
    """Looks at calls before they are redirected. ``again`` are the options that say to where, for the other leg."""

    runtime: Runtime
    client: ApiClient
    memory: Memory
    again: str
    _relatives: dict[str, CallAndChildren | None] = field(default_factory=dict)

    def others(self, sids: Sequence[str], *, on: str) -> list[str]:
        """Return the other legs of some calls: ``on`` is parent or children.

        Raises:
            UnknownCallError: A call has none.
        """
        found = [(parent_of(self.client, sid),) if on == "parent" else children_of(self.client, sid) for sid in sids]
        return list(dict.fromkeys(chain.from_iterable(found)))

    def tell(self, sid: str, *, of_none: bool = False) -> Foreseen:
        """Say whose phone a call is and what becomes of its other legs; with ``of_none`` also if there are none.

        Raises:
            NotFoundError: There is no such call.
        """
        if sid not in self._relatives:
            self._relatives[sid] = self._look(sid)
        relatives = self._relatives[sid]
        if relatives is None:
            return Foreseen(None, ())
        foreseen = redirect.preview(relatives, redirected_at=self.memory.left_dial)
        if foreseen or of_none:
            self._say(relatives.call, foreseen)
        return Foreseen(relatives.call, foreseen)

    def waves(self, sids: Sequence[str]) -> list[list[str]]:
        """Look at all of them; return the children, then the rest: a parent's redirect ends its Dial."""
        for group in for_each(sids, self._look, parallel=PARALLEL):
            for result in group:
                if isinstance(result, Done):
                    self._relatives[result.sid] = result.value
        parents = {sid: found.parent_sid for sid, found in self._relatives.items() if found is not None}
        children = [sid for sid in sids if parents.get(sid) in sids]
        bridged = [sid for sid in children if self.memory.left_dial(sid) is None]
        if bridged:
            self.runtime.say(
                f"callctl: both legs of a <Dial> are named ({some(bridged)} and its parent): redirecting the first "
                "ends the Dial, and a parent without a next verb hangs up before its turn\n"
                "hint: redirect the child alone, and let the Dial's action bring the parent where it shall go"
            )
        return [children, [sid for sid in sids if sid not in children]]

    def command(self, sid: str) -> str:
        """Return the command that redirects a call to the same."""
        return f"callctl redirect {shlex.quote(sid)} {self.again}"

    def _look(self, sid: str) -> CallAndChildren | None:
        try:
            return fetch_with_children(self.client, sid)
        except NotFoundError:
            raise
        except (ApiError, NetworkError) as error:
            self.runtime.say(f"callctl: can't tell what happens to the other leg of {sid}: {error.message}")
            return None

    def _say(self, call: Call, foreseen: Sequence[redirect.OtherLeg]) -> None:
        lines = [f"callctl: {call.sid} is {redirect.whose_phone(call)}"]
        lines += [f"callctl: its {other.relation} leg {other.sid}: {other.effect}" for other in foreseen]
        lines += [] if foreseen else ["callctl: it has no other leg"]
        lines += [f"hint: for the other leg: {self.command(other.sid)}" for other in foreseen if other.goes_on]
        self.runtime.say("\n".join(lines))

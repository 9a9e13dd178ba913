"""What the demo plays: five calls placed, redirected and ended through the gateway, as a user's commands would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callctl.background import in_daemon_thread
from callctl.calls import EVENT_NAMES, CallStatus
from callctl.errors import CallctlError
from callctl.gateway import Gateway, PlaceRequest, RedirectRequest
from callctl.settings import Settings
from callctl.twiml import dial, say

if TYPE_CHECKING:
    from callctl.board import Leg, Snapshot

# The simulator's far ends, told by number.
ANSWERS, BUSY, NEVER, HANGS_UP = "+12025550100", "+12025550102", "+12025550103", "+12025550105"
# Seconds. A call that rings longer than this is ended; a real one would be given half a minute.
RING_LIMIT = 7.0
LONGEST_WAIT = 30.0
LOOK_AGAIN = 0.1


@dataclass(frozen=True, slots=True)
class Script:
    """The demo's hands: they place calls and, having seen on the board what those do, act on them."""

    gateway: Gateway
    settings: Settings
    callback: str
    board: Callable[[], Snapshot]
    note: Callable[[str], None]

    async def play(self) -> None:
        """Play all scenes, each begun a little after the one before, and wait until every leg has ended."""
        scenes = (
            self.three_legs_of_a_dial,
            self.survey_after_the_conversation,
            self.end_what_rings_too_long,
            self.busy,
            self.hung_up_by_command,
        )
        try:
            async with asyncio.TaskGroup() as group:
                for scene in scenes:
                    group.create_task(scene())
                    await asyncio.sleep(1.0)
        except* CallctlError as failed:
            raise failed.exceptions[0] from None  # the others were stopped by the first
        await self._until(lambda: self.board().live == 0)

    async def three_legs_of_a_dial(self) -> None:
        """Dial a Number, a Sip and a Client leg from one call; the first to answer wins, then all hang up."""
        document = dial([BUSY, "sip:agent@example.com", "client:no-answer"], status_callback=self.callback)
        sid = await self._place(document)
        await self._until(lambda: self._child_in(sid, CallStatus.IN_PROGRESS))
        await asyncio.sleep(8.0)
        await self._hang_up(sid)

    async def survey_after_the_conversation(self) -> None:
        """Send the caller to the survey when the other side has hung up."""
        document = dial([HANGS_UP], status_callback=self.callback)
        sid = await self._place(document.replace("</Response>", '<Pause length="10"/></Response>'))
        await self._until(lambda: self._child_in(sid, CallStatus.COMPLETED))
        self.note(f"$ callctl redirect {sid} --url survey")
        survey = self.settings.named_url("survey")
        await in_daemon_thread(lambda: self.gateway.redirect(sid, RedirectRequest(url=survey.url)))

    async def end_what_rings_too_long(self) -> None:
        """End a call that nobody picks up."""
        sid = await self._place(say("Hello?"), to=NEVER)
        await self._until(lambda: self._in(sid, CallStatus.RINGING))
        await asyncio.sleep(RING_LIMIT)
        await self._hang_up(sid)

    async def busy(self) -> None:
        """Call somebody who is on the phone."""
        await self._place(say("Hello?"), to=BUSY)

    async def hung_up_by_command(self) -> None:
        """End a call in the middle of a sentence."""
        sid = await self._place(say("This sentence is long enough to be cut off in its middle. " * 8))
        await self._until(lambda: self._in(sid, CallStatus.IN_PROGRESS))
        await asyncio.sleep(6.0)
        await self._hang_up(sid)

    async def _place(self, document: str, *, to: str = ANSWERS) -> str:
        request = PlaceRequest(
            to=to,
            from_=self.settings.from_ or "",
            twiml=document,
            status_callback=self.callback,
            status_callback_events=EVENT_NAMES,
        )
        call = await in_daemon_thread(lambda: self.gateway.place(request))
        return call.sid

    async def _hang_up(self, sid: str) -> None:
        self.note(f"$ callctl hangup {sid}")
        await in_daemon_thread(lambda: self.gateway.hangup(sid))

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                while not condition():  # noqa: ASYNC110 - looks at the board as a person would, now and then
                    await asyncio.sleep(LOOK_AGAIN)
        except TimeoutError as error:
            raise CallctlError(
                "the demo came to a standstill", hint="this machine may be busy; try it again"
            ) from error

    def _in(self, sid: str, status: str) -> bool:
        leg = self.board().leg(sid)
        return leg is not None and leg.status == status

    def _child_in(self, sid: str, status: str) -> bool:
        return any(child.status == status for child in self._children(sid))

    def _children(self, sid: str) -> Sequence[Leg]:
        family = next((family for family in self.board().families if family.sid == sid), None)
        return family.children if family else ()

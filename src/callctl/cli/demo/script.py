"""The demo's script: calls placed, redirected and ended, by rules and through the API client, as commands would.

Both ways to a survey are in it: the Dial's ``action``, which is the proper one, and ``--after-dial`` for a call whose
TwiML has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest, RedirectRequest
from callctl.calls.call import EVENT_NAMES, CallStatus
from callctl.calls.twiml import dial, say
from callctl.cli.demo.survey_server import Survey
from callctl.errors import CallctlError, WrongCallStateError
from callctl.rules.rule import Cancel, Redirect, Rule, after_dial_rule, ring_limit_rule
from callctl.settings import Settings
from callctl.support.threads import run_in_thread

if TYPE_CHECKING:
    from callctl.calls.board import Snapshot

# The simulator's far ends, by number.
ANSWERS, BUSY, NEVER, HANGS_UP = "+12025550100", "+12025550102", "+12025550103", "+12025550105"
ALSO_HANGS_UP = "client:hangs-up"
# Seconds. A call that rings longer than this is ended; a real one would be given half a minute.
RING_LIMIT = 5
LONGEST_WAIT = 30.0
POLL_INTERVAL = 0.1
# Seconds that a caption stays at least, to be read. Each fits a line of 80 columns.
CAPTION_SECONDS = 2.0


def rules(settings: Settings) -> list[Rule]:
    """Return the rules of the watch: ``--hangup-ringing-after`` and ``--after-dial``."""
    survey = settings.named_url("survey")
    after_dial = after_dial_rule(Redirect("survey", survey.url, survey.method))
    return [
        ring_limit_rule(timedelta(seconds=RING_LIMIT), cancel=Cancel()),
        # For the one call whose TwiML sends it nowhere: the other caller has its survey from the Dial's action.
        replace(after_dial, when=replace(after_dial.when, to=HANGS_UP)),
    ]


@dataclass(frozen=True, slots=True)
class Script:
    """Places calls and, as the board shows what those do, redirects and ends some, with a caption for each.

    ``caption`` shows a sentence until the next one, ``note`` a line among the events.
    """

    client: ApiClient
    settings: Settings
    callback: str
    survey: Survey
    board: Callable[[], Snapshot]
    note: Callable[[str], None]
    caption: Callable[[str], None]

    async def run(self) -> None:
        """Place all calls, then say of each what becomes of it, until every leg has ended."""
        await self._say("A call dials two legs; `--then survey` has given its Dial an action.")
        with_action = await self._place(self._dial([BUSY, ALSO_HANGS_UP], action=self.survey.url))
        await self._say("A call whose TwiML is not ours: no action; the caller stays after the Dial.")
        without_action = await self._place(
            self._dial([HANGS_UP]).replace("</Response>", '<Pause length="20"/></Response>')
        )
        await self._say(f"Nobody takes this call: the rule --hangup-ringing-after {RING_LIMIT}s will end it.")
        unanswered = await self._place(say("Hello?"), to=NEVER)
        await self._say("One more, who listens to a long text.")
        listener = await self._place(say("This sentence is long enough to be cut off in its middle. " * 8))

        # A person at the table may end any of these calls before: of that one nothing is said then.
        if await self._until(lambda: with_action in self.survey.by_action, or_end_of=with_action):
            await self._say("A callee hung up: Twilio itself requests the survey at the Dial's action.")
        if await self._until(lambda: self._is(unanswered, CallStatus.CANCELED), or_end_of=unanswered):
            await self._say(f"It rang longer than {RING_LIMIT} s: the rule canceled it.")
        if await self._until(lambda: without_action in self.survey.by_redirect, or_end_of=without_action):
            await self._say("A callee hung up: the rule --after-dial redirected the caller to the survey.")
        with suppress(WrongCallStateError):
            await self._change_one(listener)
        await self._until(lambda: self.board().live == 0)

    async def _change_one(self, sid: str) -> None:
        """Redirect a call in the middle of a sentence, and hang it up in the middle of the next.

        Raises:
            WrongCallStateError: Somebody has ended it before.
        """
        text = "We are sorry to interrupt. Somebody will call you back within the hour, and tell you the rest."
        if not await self._until(lambda: self._is(sid, CallStatus.IN_PROGRESS), or_end_of=sid):
            return
        self.note(f"$ callctl redirect {sid} --say …")
        await run_in_thread(lambda: self.client.redirect(sid, RedirectRequest(twiml=say(text))))
        await self._say("By hand: other TwiML for a call, in the middle of a sentence.")
        self.note(f"$ callctl hangup {sid}")
        await run_in_thread(lambda: self.client.hangup(sid))
        await self._say("By hand: the end of that call.")

    async def _say(self, text: str) -> None:
        self.caption(text)
        await asyncio.sleep(CAPTION_SECONDS)

    def _dial(self, destinations: list[str], *, action: str | None = None) -> str:
        return dial(destinations, status_callback=self.callback, action=action)

    async def _place(self, document: str, *, to: str = ANSWERS) -> str:
        request = PlaceRequest(
            to=to,
            from_=self.settings.from_ or "",
            twiml=document,
            status_callback=self.callback,
            status_callback_events=EVENT_NAMES,
        )
        call = await run_in_thread(lambda: self.client.place(request))
        return call.sid

    async def _until(self, condition: Callable[[], bool], *, or_end_of: str | None = None) -> bool:
        """Return True once the condition is fulfilled; False if a call has ended without that."""
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                while not condition():
                    if or_end_of is not None and self._has_ended(or_end_of):
                        return condition()
                    await asyncio.sleep(POLL_INTERVAL)
        except TimeoutError as error:
            raise CallctlError(
                "the demo came to a standstill", hint="this machine may be busy; try it again"
            ) from error
        return True

    def _has_ended(self, sid: str) -> bool:
        leg = self.board().leg(sid)
        return leg is not None and leg.is_final

    def _is(self, sid: str, status: str) -> bool:
        leg = self.board().leg(sid)
        return leg is not None and leg.status == status

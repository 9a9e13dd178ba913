"""Draws docs/watch.svg: what `callctl watch` shows of a few calls of the simulator.

Simulated time stands still between two steps and the SIDs come from a seed, so that the same picture comes out every
time; a test compares it with the file. `python scripts/picture.py` draws it anew.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group
from rich.terminal_theme import MONOKAI
from stage import ANSWERS, BUSY, HANGS_UP, LIMIT, NEVER, NOT_FOUND, Stage, local_time_is_utc, standing_still

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.event import CallEvent
from callctl.settings import load
from callctl.support.clock import Clock, elapsed
from callctl.views.live.frame import draw
from callctl.views.live.intents import ActionOutcome, HangUp, Redirect
from callctl.views.live.keys import Key
from callctl.views.live.screen import LiveView, TableOptions
from callctl.views.view import WatchState
from callctl.watch.options import WatchOptions
from callctl.watch.session import Session

PICTURE = Path(__file__).parent.parent / "docs" / "watch.svg"
COLUMNS, LINES = 104, 26
LOCAL_ADDRESS, PUBLIC = "127.0.0.1:8765", "https://example.ngrok.app/status"


class PictureView(LiveView):
    """The live table, with a public address in its header in place of the free port that drew it."""

    events = actions = 0

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Show an event, and count it."""
        super().event(event, change)
        self.events += 1

    def action(self, action: ActionEvent) -> None:
        """Show an action, and count it."""
        super().action(action)
        self.actions += 1

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Draw the board as it is now."""
        public = replace(header, listening=LOCAL_ADDRESS, callback_url=PUBLIC, api_url=None, round_trip=0.084)
        super().refresh(snapshot, public)

    def press(self, keys: str) -> None:
        """Press some keys."""
        for key in keys:
            self.key(Key(key, elapsed()))
            self.take_news()

    def close(self) -> None:
        """Leave the last frame with its question, and nothing of those before it, in the record."""
        if self._live is not None and self._frame is not None and self._layout is not None:
            self._live.stop()
            self._console.export_text()
            self._console.print(Group(*draw(self._frame, self._layout)))


class Onlooker:
    """Carries out nothing: in the picture a question is open."""

    listens, may_act, urls = True, True, ("survey",)

    def put_question(self, _intent: HangUp | Redirect, *, last_action: int | None) -> None:
        """Note nothing."""

    def effects(self, _intent: HangUp | Redirect, _snapshot: Snapshot) -> str:
        """Say nothing."""
        return ""

    def act(
        self, _intent: HangUp | Redirect, *, question_at: datetime, report: Callable[[ActionOutcome], None]
    ) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def load_page(self, _sid: str, _width: int, _report: Callable[[Sequence[str]], None]) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""

    def interrupt(self) -> None:
        """Do nothing."""

    def suspend(self) -> None:
        """Do nothing."""


class Watched:
    """A stage with a watch that is drawn."""

    def __init__(self, stage: Stage, console: Console) -> None:
        self._stage = stage
        settings = load(stage.environ, cwd=stage.home)
        clock = Clock(wall=stage.now, elapsed=lambda: stage.now().timestamp())
        self._session = Session(settings, WatchOptions("127.0.0.1", 0), clock=clock)
        self._view = PictureView(console, TableOptions(), clock=clock, operator=Onlooker())

    async def play(self) -> None:
        """Play the calls that the picture shows."""
        try:
            await self._session.start_up()
            shown = asyncio.create_task(self._session.run(self._view))
            await self._type(f"place {ANSWERS} --dial sip:agent@example.com --dial {BUSY}")
            await self._type(f"place {NEVER} --say 'Are you there?'")
            await self._later(20)
            await self._type(f"place {HANGS_UP} --say 'Thank you for calling.'")
            await self._type(f"place {NOT_FOUND} --say 'Hello?'")
            await self._later(11)
            ringing = await self._type(f"place {NEVER} --say 'Is anybody there?'")
            await self._later(12)
            await self._type(f"hangup {ringing}")
            await self._until(lambda: self._view.actions == 1)
            self._view.press("gx")
            self._session.stop()
            await shown
        finally:
            await self._session.shut_down()

    async def _type(self, line: str) -> str:
        output = await asyncio.to_thread(self._stage.type, f"SID=$(callctl {line})")
        if self._stage.code:
            raise RuntimeError(output)
        await self._later(0)
        return self._stage.variables["SID"].split("\t")[0]

    async def _later(self, seconds: float) -> None:
        """Let simulated seconds pass, and wait until the watch has shown all that they brought."""
        await asyncio.to_thread(self._stage.simulator.advance, seconds)
        await self._until(lambda: self._view.events == len(self._stage.simulator.callbacks))

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110 - the view has no event to wait for
                await asyncio.sleep(0.01)


def drawn() -> str:
    """Return the picture as SVG. Nothing in it leads anywhere: no font is fetched."""
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", width=COLUMNS, height=LINES, record=True
    )
    with local_time_is_utc(), standing_still(seed=7) as stage:
        watched = Watched(stage, console)
        asyncio.run(watched.play())
    svg = console.export_svg(title="callctl watch", theme=MONOKAI, unique_id="watch")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main() -> None:
    """Draw the picture and write it to its place."""
    PICTURE.write_text(drawn(), encoding="utf-8")


if __name__ == "__main__":
    main()

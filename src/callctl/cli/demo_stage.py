"""The demo's stage: a simulator and a watch on free loopback ports, a scratch folder, and a view in front."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.cli.demo_script import Script
from callctl.cli.runtime import Form, Runtime
from callctl.cli.signals import stop_on_signals
from callctl.cli.simulator_settings import settings_to_use, write_settings
from callctl.session import Plan, Session, View
from callctl.settings import NamedUrl, Settings
from callctl.simulator import Simulator

if TYPE_CHECKING:
    from callctl.board import Snapshot

TITLE = "SIMULATED: no calls are placed"


def perform(runtime: Runtime, *, keep: bool) -> bool:
    """Play the demo and tell whether it came to its end; nothing is left behind."""
    with _scratch() as folder:
        return asyncio.run(_perform(runtime, folder, keep=keep))


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="callctl-demo-") as folder:
        yield Path(folder)


async def _perform(runtime: Runtime, folder: Path, *, keep: bool) -> bool:
    """Play the demo and tell whether it came to its end. Simulator and listener are on free loopback ports."""
    async with Simulator(port=0) as simulator, _survey() as survey_url:
        settings = _settings(simulator, folder, survey_url=survey_url)
        session = Session(settings, Plan("127.0.0.1", 0, title=TITLE), now=runtime.now)
        try:
            ready = await session.start_up()
            foot = _keep_guide(folder, simulator, survey_url=survey_url) if keep else []
            view = _open_view(runtime, foot=foot)
            with stop_on_signals(session.stop):
                script = Script(runtime.gateway(settings), settings, ready.callback_url, session.snapshot, session.note)
                finished = await _play_beside(session, view, script, keep=keep)
        finally:
            await session.shut_down()
    _summarise(runtime, session.snapshot(), accepted=session.header().accepted)
    return finished


def _settings(simulator: Simulator, folder: Path, *, survey_url: str) -> Settings:
    """Return settings made here: neither the environment nor a .env has a say in a demo."""
    return Settings(
        account_sid=simulator.account_sid,
        auth_token=simulator.auth_token,
        api_url=simulator.url,
        from_="+15005550006",
        state_dir=folder / "callctl",
        store=folder / "callctl" / "events.db",
        urls={"survey": NamedUrl(survey_url)},
    )


async def _play_beside(session: Session, view: View, script: Script, *, keep: bool) -> bool:
    """Run the watch and the script side by side; True when the script came to its end."""
    watching = asyncio.create_task(session.run(view))
    playing = asyncio.create_task(script.play())
    await asyncio.wait({watching, playing}, return_when=asyncio.FIRST_COMPLETED)
    if not playing.done():
        playing.cancel()
        await watching
        return False
    if keep and playing.exception() is None:
        session.note("The script is over; simulator and listener stay until Ctrl-C.")
    else:
        session.stop()
    await watching
    playing.result()
    return True


def _open_view(runtime: Runtime, *, foot: Sequence[str]) -> View:
    if runtime.form is Form.PLAIN:
        from callctl.views.lines import LineView

        for line in (TITLE, *foot):
            runtime.say(line)
        return LineView(runtime.stdout, say=runtime.say)
    from callctl.views.live import LiveView

    return LiveView(runtime.console(), idle=["The first call is being placed."], foot=foot, now=runtime.now)


def _keep_guide(folder: Path, simulator: Simulator, *, survey_url: str) -> list[str]:
    """Leave the settings in the scratch folder and return what makes other commands use this demo."""
    env_file = folder / "env"
    write_settings(env_file, {**settings_to_use(simulator), "CALLCTL_URL_SURVEY": survey_url}, force=False)
    return [
        "In another terminal, for the other commands to use this demo:",
        f"  export CALLCTL_ENV_FILE={env_file}",
        f"  export XDG_STATE_HOME={folder}",
        "  callctl list; callctl redirect CAxxx --url survey; callctl hangup CAxxx",
    ]


@asynccontextmanager
async def _survey() -> AsyncIterator[str]:
    """Serve the survey's TwiML on a free loopback port: what a user's own application would do."""
    from aiohttp import web

    from callctl.accepting import Door
    from callctl.twiml import say

    async def document(_request: web.Request) -> web.Response:
        text = say("Thank you for your call. How satisfied were you, from one to five?")
        return web.Response(text=text, content_type="text/xml")

    application = web.Application()
    application.router.add_post("/survey", document)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    door = await Door.open(runner, host="127.0.0.1", port=0)
    try:
        yield f"http://127.0.0.1:{door.port}/survey"
    finally:
        await door.close()


def _summarise(runtime: Runtime, snapshot: Snapshot, *, accepted: int) -> None:
    """Say what the demo showed and where to go from here."""
    legs = [leg for family in snapshot.families for leg in family.legs]
    children = sum(1 for leg in legs if leg.parent_call_sid)
    runtime.say("")
    if legs:
        counts = sorted(Counter(leg.status for leg in legs).items())
        told = ", ".join(f"{count} {status}" for status, count in counts)
        runtime.say(
            f"Simulated: {_count(len(legs) - children, 'call')} and {_count(children, 'child leg')}, "
            f"{_count(accepted, 'signed status callback')}:"
        )
        runtime.say(f"  {told}.")
    runtime.say("Next: `callctl simulator --help` to run your own TwiML,")
    runtime.say("  `callctl demo --keep` to try the commands, the README for a real account.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

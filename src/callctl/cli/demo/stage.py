"""The demo's stage: a simulator and a watch on free loopback ports, a scratch folder, and a view in front."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.cli.demo.script import RING_LIMIT, Script, rules
from callctl.cli.demo.survey import Survey, serving
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.io.signals import stop_on_signals
from callctl.cli.simulator.env_file import settings_to_use, write_settings
from callctl.cli.watch.rules import RuleOptions, open_runner_of
from callctl.settings import NamedUrl, Settings
from callctl.simulator import Simulator
from callctl.views.view import View
from callctl.watch.plan import Plan
from callctl.watch.session import Session

if TYPE_CHECKING:
    from callctl.calls.board import Snapshot

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
    async with Simulator(port=0) as simulator, serving() as survey:
        settings = _settings(simulator, folder, survey_url=survey.url)
        clock = runtime.clock()
        with open_runner_of(runtime, settings, rules(settings), options=RuleOptions(), clock=clock) as acting:
            session = Session(settings, Plan("127.0.0.1", 0, title=TITLE), clock=clock, rules=acting)
            survey.note = session.note
            try:
                ready = await session.start_up()
                guide = _keep_guide(folder, simulator, survey_url=survey.url) if keep else []
                scene = _open_scene(runtime, note=session.note, guide=guide)
                script = Script(
                    runtime.client(settings),
                    settings,
                    ready.callback_url,
                    survey,
                    session.snapshot,
                    session.note,
                    caption=lambda text: scene.put_below([text]),
                )
                with stop_on_signals(session.stop):
                    finished = await _play_beside(session, scene, script)
            finally:
                await session.shut_down()
    _summarise(runtime, session.snapshot(), survey, accepted=session.header().accepted)
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


@dataclass(frozen=True, slots=True)
class _Scene:
    """The view, how to put lines below it, and those that stay there once the script is over."""

    view: View
    put_below: Callable[[Sequence[str]], None]
    guide: Sequence[str]


async def _play_beside(session: Session, scene: _Scene, script: Script) -> bool:
    """Run the watch and the script side by side; True when the script came to its end."""
    watching = asyncio.create_task(session.run(scene.view))
    playing = asyncio.create_task(script.play())
    await asyncio.wait({watching, playing}, return_when=asyncio.FIRST_COMPLETED)
    if not playing.done():
        playing.cancel()
        await watching
        return False
    if scene.guide and playing.exception() is None:
        scene.put_below(scene.guide)
        session.note(
            f"The script is over; simulator, listener and rules stay until Ctrl-C; rings end after {RING_LIMIT} s."
        )
    else:
        session.stop()
    await watching
    playing.result()
    return True


def _open_scene(runtime: Runtime, *, note: Callable[[str], None], guide: Sequence[str]) -> _Scene:
    if runtime.form is Form.PLAIN:
        from callctl.views.lines import LineView

        runtime.say(TITLE)
        return _Scene(LineView(runtime.stdout, say=runtime.say), lambda lines: note("\n".join(lines)), guide)
    from callctl.views.live.screen import LiveView

    view = LiveView(runtime.console(), idle=["The first call is being placed."], clock=runtime.clock())
    return _Scene(view, view.put_below, guide)


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


def _summarise(runtime: Runtime, snapshot: Snapshot, survey: Survey, *, accepted: int) -> None:
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
    for sid in survey.by_action:
        runtime.say(f"The survey, as a Dial's action:  {sid}")
    for sid in survey.by_redirect:
        runtime.say(f"The survey, after a redirect:    {sid}")
    runtime.say("Next: `callctl simulator --help` to run your own TwiML,")
    runtime.say("  `callctl demo --keep` to try the commands, the README for a real account.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

"""Run the demo: a simulator and a watch on free loopback ports, a temporary folder, a view, and the script."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.cli.demo.script import RING_LIMIT, Script, rules
from callctl.cli.demo.survey_server import Survey, serving
from callctl.cli.io.event_loop import run_loop
from callctl.cli.io.results import counted
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.io.signals import stop_on_signals
from callctl.cli.simulator.env_file import settings_to_use, write_settings
from callctl.cli.watch.rules import RuleOptions, make_runner
from callctl.settings import NamedUrl, Settings
from callctl.simulator import Simulator
from callctl.support.clock import Clock
from callctl.views.view import View
from callctl.watch.options import WatchOptions
from callctl.watch.session import Session

if TYPE_CHECKING:
    from callctl.calls.board import Snapshot

TITLE = "SIMULATED: no calls are placed"


def run_demo(runtime: Runtime, *, keep: bool) -> bool:
    """Run the demo and return whether it came to its end, or was left with a key; nothing is left behind."""
    with _temporary_folder() as folder:
        return run_loop(runtime, _run(runtime, folder, keep=keep))


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="callctl-demo-") as folder:
        yield Path(folder)


async def _run(runtime: Runtime, folder: Path, *, keep: bool) -> bool:
    """Run the demo and return whether it came to its end, or was left with a key."""
    async with Simulator(port=0) as simulator, serving() as survey:
        settings = _settings(simulator, folder, survey_url=survey.url)
        clock = runtime.clock()
        client = runtime.client(settings)
        session = Session(
            settings,
            WatchOptions("127.0.0.1", 0, title=TITLE),
            clock=clock,
            make_rules=lambda store: make_runner(client, store, rules(settings), options=RuleOptions(), clock=clock),
        )
        survey.note = session.note
        try:
            ready = await session.start_up()
            guide = _write_guide(folder, simulator, survey_url=survey.url) if keep else []
            display = _open_display(runtime, settings, session, clock=clock, guide=guide)
            script = Script(
                client,
                settings,
                ready.callback_url,
                survey,
                session.snapshot,
                session.note,
                caption=lambda text: display.put_below([text]),
            )
            with stop_on_signals(session.stop) as stopped, display.running:
                finished = await _run_script(session, display, script)
        finally:
            await session.shut_down()
    _summarise(runtime, session.snapshot(), survey, accepted=session.header().accepted)
    return finished or stopped.number is None  # left with a key


def _settings(simulator: Simulator, folder: Path, *, survey_url: str) -> Settings:
    """Return settings made here: neither the environment nor a .env counts in a demo."""
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
class _Display:
    """The view, how to put lines below it, and those that stay there once the script is over.

    ``running`` is the context in which it is shown.
    """

    view: View
    put_below: Callable[[Sequence[str]], None]
    running: AbstractContextManager[None]
    guide: Sequence[str]


async def _run_script(session: Session, display: _Display, script: Script) -> bool:
    """Run the watch and the script side by side; True when the script came to its end."""
    watching = asyncio.create_task(session.run(display.view))
    running = asyncio.create_task(script.run())
    await asyncio.wait({watching, running}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        running.cancel()
        await watching
        return False
    if display.guide and running.exception() is None:
        display.put_below(display.guide)
        session.note(
            f"The script is over; simulator, listener and rules stay until Ctrl-C; rings end after {RING_LIMIT} s."
        )
    else:
        session.stop()
    await watching
    running.result()
    return True


def _open_display(
    runtime: Runtime, settings: Settings, session: Session, *, clock: Clock, guide: Sequence[str]
) -> _Display:
    if runtime.form is Form.PLAIN:
        from callctl.views.lines import LineView

        runtime.say(TITLE)
        view = LineView(runtime.stdout, say=runtime.say)
        return _Display(view, lambda lines: session.note("\n".join(lines)), nullcontext(), guide)
    from callctl.cli.watch.table import open_table
    from callctl.views.live.screen import TableOptions

    options = TableOptions(idle=["The first call is being placed."])
    # Nobody loses a call when the demo ends, so leaving it needs no confirmation.
    opened = open_table(runtime, lambda: settings, options, clock=clock, listens=False, stop=session.stop)
    return _Display(opened.view, opened.table.put_below, opened.suspendable(), guide)


def _write_guide(folder: Path, simulator: Simulator, *, survey_url: str) -> list[str]:
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
        statuses = ", ".join(f"{count} {status}" for status, count in counts)
        runtime.say(
            f"Simulated: {counted(len(legs) - children, 'call')} and {counted(children, 'child leg')}, "
            f"{counted(accepted, 'signed status callback')}:"
        )
        runtime.say(f"  {statuses}.")
    for sid in survey.by_action:
        runtime.say(f"The survey, as a Dial's action:  {sid}")
    for sid in survey.by_redirect:
        runtime.say(f"The survey, after a redirect:    {sid}")
    runtime.say("Next: `callctl simulator --help` to run your own TwiML,")
    runtime.say("  `callctl demo --keep` to try the commands, the README for a real account.")

"""Plays the command lines of README.md and the pages in docs/ and compares what they print with what stands there.

A block that begins with ```console is a terminal: lines after `$ ` are typed, all others are what came of them. A
comment `<!-- scene: NAME -->` before a block sets a stage of its own (see SCENES); a block without one goes on where
the block before it ended. `<!-- last N lines -->`, or `<!-- scene: NAME, last N lines -->`, leaves out what is printed
before these. A TOML block below `<!-- file: NAME -->` lies in the working directory of all terminals after it.
`python scripts/readme.py --write` puts the real output in, on all pages or on those that are named.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from stage import (
    ANSWERS,
    BUSY,
    HANGS_UP,
    NEVER,
    NOT_FOUND,
    Stage,
    in_a_hurry,
    local_time_is_utc,
    standing_still,
    wait_until,
)

from callctl.watch.registry.health import ask_health, health_url_at

ROOT = Path(__file__).parent.parent
MINE, VOICE = "+12025550142", "https://app.example.com/voice"
DONE = "https://app.example.com/done"
README, DOCS = ROOT / "README.md", ROOT / "docs"
BLOCK = re.compile(
    r"(?:<!-- (?:scene: (?P<scene>[^>,]+?))?(?:, )?(?:last (?P<last>\d+) lines)? -->\n+ *)?"
    r"```console\n(?P<lines>.*?)```",
    re.DOTALL,
)
FILE = re.compile(r"<!-- file: (?P<name>\S+) -->\n+```toml\n(?P<text>.*?)```", re.DOTALL)


@contextmanager
def a_conversation() -> Iterator[Stage]:
    """A call whose two phones talk to each other, beside a running watch."""
    with standing_still() as stage, watching(stage):
        stage.type(f"callctl place {ANSWERS} --dial sip:agent@example.com")
        stage.simulator.advance(40)
        yield stage


@contextmanager
def a_conversation_with_more_to_come() -> Iterator[Stage]:
    """A call whose two phones talk to each other, and which goes on with a survey, beside a running watch."""
    with standing_still() as stage, watching(stage):
        stage.type(f"callctl place {ANSWERS} --dial sip:agent@example.com --then survey")
        stage.simulator.advance(40)
        yield stage


@contextmanager
def beside_a_watch() -> Iterator[Stage]:
    """Real time, since the clock is looked at, and a running watch."""
    with in_a_hurry() as stage, watching(stage):
        yield stage


@contextmanager
def beside_a_watch_with_a_number() -> Iterator[Stage]:
    """As beside a watch, and a number of the account that an application answers."""
    with beside_a_watch() as stage:
        add_number(stage)
        yield stage


def add_number(stage: Stage, **fields: str) -> None:
    """Give the account a number that an application answers."""
    stage.simulator.client.incoming_phone_numbers.create(phone_number=MINE, voice_url=VOICE, **fields)


@contextmanager
def beside_a_watch_that_forwards_with_a_number() -> Iterator[Stage]:
    """A watch that passes requests on to the application that answers a number of the account."""
    with in_a_hurry() as stage, watching(stage, "--forward-to", VOICE):
        add_number(stage, status_callback=DONE)
        yield stage


@contextmanager
def calls_that_ring() -> Iterator[Stage]:
    """Two calls that are not answered."""
    with standing_still() as stage:
        for _ in range(2):
            stage.type(f"callctl place {NEVER} --say Hello --status-callback none")
            stage.simulator.advance(3)
        yield stage


@contextmanager
def calls_that_have_rung_for_long() -> Iterator[Stage]:
    """Two calls that have rung for more than two minutes and one that has not, beside a running watch."""
    with standing_still() as stage, watching(stage):
        for seconds in (5, 125, 5):
            stage.type(f"callctl place {NEVER} --say Hello --ring-timeout 5m")
            stage.simulator.advance(seconds)
        yield stage


@contextmanager
def callbacks_to_a_wrong_path() -> Iterator[Stage]:
    """A running watch, and an application that had its callbacks sent to another path than the watch's."""
    with beside_a_watch() as stage:
        stage.type(f"callctl place {BUSY} --say Hello --status-callback http://127.0.0.1:{stage.port}/calls")
        lost = {"count": 3, "path": "/calls"}
        wait_until(lambda: (ask_health(health_url_at(stage.port)) or {}).get("misdirected") == lost)
        yield stage


@contextmanager
def a_story(story: Callable[[Stage, io.StringIO], None]) -> Iterator[Stage]:
    """Nothing yet, but something is to happen when a watch runs."""
    with standing_still() as stage:
        stage.story = story
        yield stage


def hung_up_by_command(stage: Stage, screen: io.StringIO) -> None:
    """Somebody ends a call while its second phone still rings."""
    stage.type(f"callctl place {ANSWERS} --dial sip:agent@example.com")
    stage.simulator.advance(3)
    wait_until(lambda: "sip:agent" in screen.getvalue())
    stage.simulator.advance(9)
    wait_until(lambda: "● in-progress  sip:agent" in screen.getvalue())
    stage.type("callctl hangup @last")
    wait_until(lambda: "▸" in screen.getvalue() and "completed ended" in screen.getvalue())


def a_conversation_that_ends(stage: Stage, screen: io.StringIO) -> None:
    """Two people talk, one of them hangs up, and the other stays on the line."""
    document = f"<Response><Dial><Number>{HANGS_UP}</Number></Dial><Pause length='60'/></Response>"
    stage.type(f'callctl place {ANSWERS} --twiml "{document}" --add-callbacks')
    stage.simulator.advance(4)
    wait_until(lambda: HANGS_UP in screen.getvalue())
    stage.simulator.advance(6)
    wait_until(lambda: "completed ended" in screen.getvalue())
    stage.simulator.advance(2)
    wait_until(lambda: "▸" in screen.getvalue())


def a_call_that_rings_too_long(stage: Stage, screen: io.StringIO) -> None:
    """A call that is not answered."""
    stage.type(f"callctl place {NEVER} --say Hello")
    stage.simulator.advance(5)
    wait_until(lambda: NEVER in screen.getvalue())
    stage.simulator.advance(27)
    wait_until(lambda: "▸" in screen.getvalue() and "canceled ended" in screen.getvalue())


def a_call_that_lasts_too_long(stage: Stage, screen: io.StringIO) -> None:
    """Somebody talks and talks, and Twilio takes no TimeLimit for a call that lasts."""
    stage.type(f'callctl place {ANSWERS} --say "{"This is a very long text. " * 99}"')
    stage.simulator.advance(4)
    wait_until(lambda: "● in-progress" in screen.getvalue())
    stage.simulator.advance(32)
    wait_until(lambda: "▸ limit" in screen.getvalue())
    stage.simulator.advance(35)
    wait_until(lambda: "▸ hangup" in screen.getvalue() and "completed ! ended" in screen.getvalue())


def a_second_phone_that_rings_too_long(stage: Stage, screen: io.StringIO) -> None:
    """Somebody is connected to somebody who does not come."""
    stage.type(f"callctl place {ANSWERS} --dial client:no-answer")
    stage.simulator.advance(4)
    wait_until(lambda: "◔ ringing  client:no-answer" in screen.getvalue())
    stage.simulator.advance(21)
    wait_until(lambda: "▸" in screen.getvalue() and "canceled ended" in screen.getvalue())


def a_busy_hour(stage: Stage, _screen: io.StringIO) -> None:
    """Calls that end in each way, and one that lasts; two are ended by hand."""
    for number in (ANSWERS, BUSY, HANGS_UP, NEVER, NOT_FOUND, HANGS_UP, NEVER, BUSY, HANGS_UP):
        stage.type(f"callctl place {number} --twiml '<Response><Pause length=\"600\"/></Response>'")
        stage.simulator.advance(45)
        if number == NEVER:
            stage.type("callctl hangup @last")
    stage.type(f"callctl place {ANSWERS} --say Hello")
    stage.simulator.advance(20)
    stage.type(f"callctl place {ANSWERS} --dial {HANGS_UP} --then survey")
    stage.simulator.advance(20)


@contextmanager
def after_a_busy_hour() -> Iterator[Stage]:
    """A watch that is over, and many calls in its store."""
    with a_story(a_busy_hour) as stage:
        stage.type("callctl watch --no-poll")
        yield stage


@contextmanager
def a_watch_that_does_not_start() -> Iterator[Stage]:
    """Nothing yet, and the command for a watch is wrong."""
    with standing_still() as stage:
        stage.is_watch_wrong = True
        yield stage


@contextmanager
def watching(stage: Stage, *options: str) -> Iterator[None]:
    """Run a watch in a process of its own."""
    command = [sys.executable, "-m", "callctl", "watch", "--no-poll", "--json", *options]
    with subprocess.Popen(
        command, env=stage.environ, cwd=stage.home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as watch:
        if watch.stdout is None or not watch.stdout.readline():  # the first line says that it is ready
            raise RuntimeError("the watch did not start")
        try:
            yield
        finally:
            watch.terminate()
            watch.stdout.read()


SCENES: dict[str, Callable[[], AbstractContextManager[Stage]]] = {
    "nothing yet": standing_still,
    "in a hurry": in_a_hurry,
    "beside a watch": beside_a_watch,
    "a number beside a watch": beside_a_watch_with_a_number,
    "a number beside a watch that forwards": beside_a_watch_that_forwards_with_a_number,
    "a conversation": a_conversation,
    "a conversation with more to come": a_conversation_with_more_to_come,
    "calls that ring": calls_that_ring,
    "calls that have rung for long": calls_that_have_rung_for_long,
    "callbacks to a wrong path": callbacks_to_a_wrong_path,
    "a call that is hung up by command": partial(a_story, hung_up_by_command),
    "a conversation that ends": partial(a_story, a_conversation_that_ends),
    "a call that rings too long": partial(a_story, a_call_that_rings_too_long),
    "a call that lasts too long": partial(a_story, a_call_that_lasts_too_long),
    "a second phone that rings too long": partial(a_story, a_second_phone_that_rings_too_long),
    "after a busy hour": after_a_busy_hour,
    "a watch that does not start": a_watch_that_does_not_start,
}


def played(text: str) -> str:
    """Return a page in which each terminal shows what its command lines really print."""
    with local_time_is_utc(), ExitStack() as stages:
        stage = stages.enter_context(standing_still())

        def play(block: re.Match[str]) -> str:
            nonlocal stage
            if block["scene"]:
                stages.close()
                stage = stages.enter_context(SCENES[block["scene"]]())
            for file in FILE.finditer(text, 0, block.start()):
                (stage.home / file["name"]).write_text(file["text"], encoding="utf-8")
            margin, most = " " * (len(block["lines"]) - len(block["lines"].lstrip(" "))), int(block["last"] or 0)
            typed = [line.strip() for line in block["lines"].splitlines() if line.lstrip().startswith("$ ")]
            shown = [row for line in typed for row in (line, *_last(stage.type(line[2:]).splitlines(), most))]
            return block[0].replace(block["lines"], "".join(f"{margin}{row}".rstrip() + "\n" for row in shown) + margin)

        return BLOCK.sub(play, text)


def _last(lines: list[str], most: int) -> list[str]:
    # Whether a watch asks REST of a call before its first callback comes differs from run to run.
    return ["…", *[line for line in lines if "queued  polled" not in line][-most:]] if most else lines


def alike(text: str) -> str:
    """Return a text without what differs from run to run.

    SIDs are numbered. Calls that are ended together end in any order, so their lines are sorted and have no SIDs. Times
    of day, milliseconds and process numbers are gone, and where a call in real time was when somebody asked on the way.
    """
    known: dict[str, str] = {}
    text = re.sub(r"(?m)^ended: CA[0-9a-f]{32}", "ended: CA", text)
    text = re.sub(r"(?m)(^ended: .*\n)+", lambda ended: "".join(sorted(ended[0].splitlines(keepends=True))), text)
    text = re.sub(r"\bCA[0-9a-f]{32}\b", lambda sid: known.setdefault(sid[0], f"CA#{len(known)}"), text)
    text = re.sub(r"(?m)^callctl: CA#\d+ is (queued|ringing|in-progress)\n", "", text)
    text = re.sub(r"\(process \d+\)|\b\d+ ms\b", "some", text)
    text = re.sub(
        r"(?m)^\d\d:\d\d:\d\dZ(?=  CA#.* in some$)", "12:00:00Z", text
    )  # when a callback came to a real watch
    return re.sub(r"\b(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\b", "12:00:00", text)


def pages() -> list[Path]:
    """Return the pages that show terminals."""
    return [page for page in (README, *sorted(DOCS.glob("*.md"))) if BLOCK.search(page.read_text(encoding="utf-8"))]


def main(*arguments: str) -> int:
    """Compare the pages that are named, or all; with ``--write`` write those that differ; return the exit code."""
    named = [Path(name).resolve() for name in arguments if name != "--write"]
    code = 0
    for page in named or pages():
        text = page.read_text(encoding="utf-8")
        real = played(text)
        if alike(real) == alike(text):
            continue
        if "--write" in arguments:
            page.write_text(real, encoding="utf-8")
        else:
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

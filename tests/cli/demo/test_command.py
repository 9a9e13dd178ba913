"""``callctl demo``: the whole of it, on a pipe and on a terminal."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from processes import OnTerminal, environment
from running import run
from switchboard import LiveTerminal


def scratch(home: Path) -> Path:
    """Return a folder for what the demo keeps while it runs."""
    folder = home / "scratch"
    folder.mkdir()
    return folder


def shows(text: str, rows: list[str]) -> bool:
    return any(text in row for row in rows)


CAPTIONS = [
    "A call dials two legs; `--then survey` has given its Dial an action.",
    "A call whose TwiML is not ours: no action; the caller stays after the Dial.",
    "Nobody takes this call: the rule --hangup-ringing-after 5s will end it.",
    "One more, who listens to a long text.",
    "A callee hung up: Twilio itself requests the survey at the Dial's action.",
    "It rang longer than 5 s: the rule canceled it.",
    "A callee hung up: the rule --after-dial redirected the caller to the survey.",
    "By hand: other TwiML for a call, in the middle of a sentence.",
    "By hand: the end of that call.",
]


# What does not look at the pace runs the same script with shorter pauses, and calls at twice their speed.
HURRIED = """
import sys
from collections.abc import Callable
from functools import partial
from callctl.__main__ import main
from callctl.cli.demo import run, script
script.CAPTION_SECONDS = 0.1
run.Simulator = partial(run.Simulator, speed=2)
main()
"""
HURRIED_CALLCTL = (sys.executable, "-c", HURRIED)


def test_on_a_terminal_all_of_it_fits_80_columns_and_24_lines_and_it_ends_by_itself(home: Path) -> None:
    folder = scratch(home)
    # Settings of a real account, which a demo must not touch.
    env = {"TWILIO_ACCOUNT_SID": "AC" + "9" * 32, "TWILIO_AUTH_TOKEN": "9" * 32, "CALLCTL_API_URL": "https://x.invalid"}
    env["TMPDIR"] = str(folder)
    (home / ".env").write_text("TWILIO_ACCOUNT_SID=ACfromfile\n")
    screens: list[list[str]] = []

    def shown(text: str) -> Callable[[list[str]], bool]:
        def condition(rows: list[str]) -> bool:
            screens.append(rows)
            return shows(text, rows)

        return condition

    with OnTerminal("demo", home=home, env=env, columns=80, lines=24) as demo:
        assert "SIMULATED: no calls are placed" in demo.until(shown("SIMULATED: no calls are placed"))[0]
        rows = demo.until(shown(" of CA"))
        child = next(row for row in rows if " of CA" in row)
        sid, _, parent = child.strip().partition(" of ")
        assert len(sid) == len(parent) == 34
        assert any(row.strip() == parent for row in rows)
        demo.until(shown("→ client:hangs-up"))
        demo.until(shown("→ +12025550102"))
        demo.until(shown(f" {CAPTIONS[-1]}"))
        assert demo.ended() == 0
    seen = {row.strip() for rows in screens for row in rows}
    assert [caption for caption in CAPTIONS if caption not in seen] == []
    assert any(row.endswith("▸ cancel: ended before it was") for row in seen)
    assert "answered, by rule hangup-ringing-after" in seen
    assert [row for row in seen if "make the window higher" in row] == []
    assert [row for row in seen if row.endswith("…") and not row.endswith("--say …")] == []
    raw = demo.raw.decode()
    assert "$ callctl redirect" in raw
    assert "$ callctl hangup" in raw
    assert "4 calls and 3 child legs" in raw
    assert not list(folder.iterdir())
    assert not (home / ".local").exists()


def test_on_a_pipe_it_prints_lines(home: Path) -> None:
    done = subprocess.run(
        [*HURRIED_CALLCTL, "demo"],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(len(row) == 8 for row in rows)
    assert {row[4] for row in rows} >= {"initiated", "ringing", "in-progress", "completed", "busy", "canceled"}
    assert any(row[2] != "-" for row in rows)
    assert "SIMULATED" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert max(len(line) for line in done.stderr.splitlines() if "▸" not in line) < 80
    by_action, by_rule = both_surveys(done.stderr)
    parents = {row[2]: row[6] for row in rows if row[2] != "-" and row[4] == "completed"}
    assert parents == {by_action: "client:hangs-up", by_rule: "+12025550105"}


def both_surveys(talk: str) -> tuple[str, str]:
    """Return the call whose survey the Dial's action fetched and the one of the rule: each once, and reported."""
    requests = re.findall(r"^(CA\w{32})  POST /survey(.*)$", talk, re.MULTILINE)
    (by_action,) = [sid for sid, how in requests if how == " (Dial: completed)"]
    (by_rule,) = [sid for sid, how in requests if how == ""]
    assert len(requests) == 2
    assert f"The survey, as a Dial's action:  {by_action}\n" in talk
    assert f"The survey, after a redirect:    {by_rule}\n" in talk
    actions = re.findall(r"(CA\w{32})  ▸ (.*)", talk)
    assert [what for sid, what in actions if sid == by_rule] == ["redirect: redirected to survey, by rule after-dial"]
    assert "cancel: ended before it was answered, by rule hangup-ringing-after" in [what for _, what in actions]
    assert by_action not in dict(actions)
    return by_action, by_rule


def test_keep_leaves_it_running_for_the_other_commands(home: Path) -> None:
    with OnTerminal("demo", "--keep", home=home, program=HURRIED_CALLCTL) as demo:
        rows = demo.until(lambda rows: any("XDG_STATE_HOME=" in row for row in rows))
        exports = dict(row.split()[1].split("=", 1) for row in rows if row.strip().startswith("export "))
        env_file = Path(exports["CALLCTL_ENV_FILE"])
        assert env_file.stat().st_mode & 0o777 == 0o600
        outcome = run("place", "+12025550100", "--say", "Hello", home=home, env=exports)
        assert outcome.code == 0, outcome.err
        assert "running watch" in outcome.err
        demo.type("\x03")
        assert demo.ended() == 0
    assert not env_file.exists()


def test_ctrl_c_stops_it_in_the_middle(home: Path) -> None:
    folder = scratch(home)
    with OnTerminal("demo", home=home, env={"TMPDIR": str(folder)}) as demo:
        demo.until(partial(shows, "ringing"))
        demo.type("\x03")
        assert demo.ended() == 130
    assert not list(folder.iterdir())


# Somebody operates the table, and ends each call as soon as it is placed.
ENDED_BY_HAND = HURRIED.replace(
    "main()",
    """
from callctl.support.threads import run_in_thread
place = script.Script._place
async def place_and_end(self, *args, **more):
    sid = await place(self, *args, **more)
    await run_in_thread(lambda: self.client.hangup(sid))
    return sid
script.Script._place = place_and_end
main()
""",
)


def test_it_is_a_stage_to_practise_on_whatever_calls_are_ended(home: Path) -> None:
    program = (sys.executable, "-c", ENDED_BY_HAND)
    with LiveTerminal("demo", "--keep", home=home, program=program, columns=120, lines=40) as demo:
        demo.shows("The script is over")
        raw = demo.raw.decode()
        assert [caption for caption in (CAPTIONS[4], *CAPTIONS[6:]) if caption in raw] == []
        exports = dict(row.split()[1].split("=", 1) for row in demo.rows if row.strip().startswith("export "))
        sid = run("place", "+12025550100", "--say", "Hello. " * 90, home=home, env=exports).out.strip()
        demo.shows("1 in-progress")
        demo.select(sid)
        demo.type("x")
        demo.shows("hang up +12025550100 ● in-progress", "y: yes")
        demo.confirm()
        demo.shows(f"ended: {sid} is completed")
        demo.type("q")
        assert demo.ended() == 0


def test_q_leaves_it_in_the_middle(home: Path) -> None:
    with LiveTerminal("demo", home=home) as demo:
        demo.until(partial(shows, "ringing"))
        demo.type("q")
        assert demo.ended() == 0

"""``callctl doctor`` to the letter: on a terminal, on a pipe, without colour, and as JSON."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from running import Callctl, Outcome, env_for

from callctl.simulator import Simulator

FORM = re.compile("\x1b\\[[0-9;]*m")
WIDE = """\
✓ CALLCTL_API_URL     {url}  from the environment
✓ CALLCTL_FROM        +15005550006  in {home}/.env
✓ CALLCTL_PORT        0  from an option
✓ CALLCTL_STORE       {home}/events.db  from the environment
✓ TWILIO_ACCOUNT_SID  AC00000000000000000000000000000000  from the environment
! TWILIO_AUTH_TOKEN   ***  from the environment; it is in quote marks
                      → copy it again from the console (https://console.twilio.com), and write nothing else beside it
✓ settings file       {home}/.env holds no secret
✓ api                 {url} answers (not Twilio)
✗ credentials         not accepted: TWILIO_AUTH_TOKEN (from the environment) is in quote marks (20003, {docs}/20003)
                      → correct it: https://console.twilio.com has a button that copies it
- account             not checked: the credentials open nothing
- key                 not checked: the credentials open nothing
✓ clock               agrees with the API's
- signing             callbacks would be verified with TWILIO_AUTH_TOKEN (from the environment); not checked
✓ store               {home}/events.db is not there yet; a watch makes it, for you alone
✓ port                any that is free
✓ listener            no watch and no listener of this account runs; `callctl watch` takes callbacks in
✓ public URL          none is needed: the API runs on this machine
✓ round trip          a request came back in 0 ms; of signatures it says nothing, see credentials above
"""
PIPE = """\
ok\tCALLCTL_API_URL\t{url}  from the environment\t
ok\tCALLCTL_FROM\t+15005550006  in {home}/.env\t
ok\tCALLCTL_PORT\t0  from an option\t
ok\tCALLCTL_STORE\t{home}/events.db  from the environment\t
ok\tTWILIO_ACCOUNT_SID\tAC00000000000000000000000000000000  from the environment\t
warning\tTWILIO_AUTH_TOKEN\t***  from the environment; it is in quote marks\t\
copy it again from the console (https://console.twilio.com), and write nothing else beside it
ok\tsettings file\t{home}/.env holds no secret\t
ok\tapi\t{url} answers (not Twilio)\t
error\tcredentials\tnot accepted: TWILIO_AUTH_TOKEN (from the environment) is in quote marks (20003, {docs}/20003)\t\
correct it: https://console.twilio.com has a button that copies it
skipped\taccount\tnot checked: the credentials open nothing\t
skipped\tkey\tnot checked: the credentials open nothing\t
ok\tclock\tagrees with the API's\t
skipped\tsigning\tcallbacks would be verified with TWILIO_AUTH_TOKEN (from the environment); not checked\t
ok\tstore\t{home}/events.db is not there yet; a watch makes it, for you alone\t
ok\tport\tany that is free\t
ok\tlistener\tno watch and no listener of this account runs; `callctl watch` takes callbacks in\t
ok\tpublic URL\tnone is needed: the API runs on this machine\t
ok\tround trip\ta request came back in 0 ms; of signatures it says nothing, see credentials above\t
"""
TALK = "callctl: the API is {url}, not Twilio's\ncallctl: 1 problem, 1 warning\n"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a reply that a busy machine holds up tell nothing of the clock."""
    monkeypatch.setattr("callctl.doctor.account.EXACT", timedelta(seconds=14))


def examined(callctl: Callctl, simulator: Simulator, home: Path, *args: str, **form: object) -> tuple[int, str, str]:
    """Return the exit code and what was written and said, without what is another with each run."""
    (home / ".env").write_text("CALLCTL_FROM=+15005550006\n")
    env = env_for(simulator) | {
        "TWILIO_AUTH_TOKEN": f"'{simulator.auth_token}'",
        "CALLCTL_STORE": str(home / "events.db"),
    }
    del env["CALLCTL_FROM"]
    extra = form.pop("env", {})
    assert isinstance(extra, dict)
    outcome: Outcome = callctl("doctor", "--port", "0", *args, env=env | extra, **form)  # type: ignore[arg-type]
    return outcome.code, _plain(outcome.out, simulator, home), _plain(outcome.err, simulator, home)


def _plain(text: str, simulator: Simulator, home: Path) -> str:
    text = text.replace(str(home), "{home}").replace(simulator.url, "{url}")
    text = text.replace("https://www.twilio.com/docs/errors", "{docs}")
    return re.sub(r"in \d+ ms", "in 0 ms", text)


def test_on_a_terminal(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    code, out, err = examined(callctl, simulator, home, terminal=True, columns=400)
    assert (code, FORM.sub("", out), err) == (4, WIDE, TALK)
    assert "\x1b[32m✓ " in out
    assert "\x1b[1;31m✗ " in out


def test_without_colour(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    code, out, err = examined(callctl, simulator, home, terminal=True, columns=400, env={"NO_COLOR": "1"})
    assert (code, FORM.sub("", out), err) == (4, WIDE, TALK)
    assert re.search("\x1b\\[(?![012]?m)", out) is None


def test_on_a_pipe(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    assert examined(callctl, simulator, home) == (4, PIPE, TALK)


def test_as_json(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    code, out, err = examined(callctl, simulator, home, "--json")
    assert (code, err) == (4, TALK)
    report = json.loads(out)
    assert (report["v"], report["type"], report["passed"]) == (1, "doctor", False)
    lines = [
        "\t".join((one["level"], one["name"], one["text"], one["fix"] or "")) + "\n"
        for one in (*report["settings"], *report["checks"])
    ]
    assert "".join(lines) == PIPE.replace(" (20003, {docs}/20003)", "")
    assert report["settings"][-1] == {
        "name": "TWILIO_AUTH_TOKEN",
        "level": "warning",
        "text": "***  from the environment; it is in quote marks",
        "fix": "copy it again from the console (https://console.twilio.com), and write nothing else beside it",
        "value": None,
        "source": "environment",
    }
    refused = next(one for one in report["checks"] if one["name"] == "credentials")
    assert (refused["status"], refused["code"]) == (401, "20003")
    assert next(one for one in report["checks"] if one["name"] == "clock")["seconds"] <= 14

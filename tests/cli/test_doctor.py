"""``callctl doctor`` as a whole: all is well, and nothing is changed."""

from __future__ import annotations

import re
from pathlib import Path

from doctor_runs import ACCOUNT, doctor
from running import Callctl, env_for

from callctl.simulator import Simulator


def test_all_is_well(callctl: Callctl, simulator: Simulator) -> None:
    code, findings = doctor(callctl, env_for(simulator))
    assert code == 0
    assert {one["level"] for one in findings.values()} == {"ok"}
    assert [name for name in findings if name.islower()] == [
        "settings file", "api", "credentials", "account", "key", "clock", "signing", "store", "port", "listener",
        "round trip",
    ]  # fmt: skip
    assert findings["account"]["text"] == "“Simulated account”, active (Full)"
    assert findings["key"]["text"] == "the account's auth token"
    assert findings["signing"]["text"].endswith("TWILIO_AUTH_TOKEN (from the environment), the account's primary token")
    assert re.fullmatch(r"a signed request came back in \d+ ms", findings["round trip"]["text"])
    assert findings["public URL"]["text"].startswith("none is needed")


def test_nothing_is_changed_and_no_call_is_placed(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    doctor(callctl, env_for(simulator))
    assert {(one.method, one.path) for one in simulator.requests} == {("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json")}
    assert list(home.iterdir()) == []

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.frozen import Frozen
from cli.local_store import store_of
from cli.many_calls import ANSWERED, BUSY, fill_store
from running import env_for

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent


def figures(frozen: Frozen, *args: str) -> dict[str, object]:
    outcome = frozen("stats", "--json", *args, now=lambda: frozen.calendar.now)
    assert (outcome.code, outcome.err.splitlines()[1:]) == (0, [])
    found: dict[str, object] = json.loads(outcome.out)
    return found


def test_only_calls_that_match_count(frozen: Frozen, home: Path) -> None:
    fill_store(home, frozen.simulator)
    assert figures(frozen)["legs"] == 14
    assert figures(frozen, "--to", BUSY)["legs"] == 2
    assert figures(frozen, "--status", "busy,failed")["legs"] == 3
    assert figures(frozen, "--since", "2026-01-05T12:30Z", "--until", "2026-01-05T13:00Z")["legs"] == 1
    alone = figures(frozen, "--to", ANSWERED)
    assert alone["actions"] == [
        {"rule": None, "by": None, "action": "cancel", "result": "too-late", "count": 1},
        {"rule": "after-dial", "by": None, "action": "redirect", "result": "done", "count": 1},
    ]


def test_without_a_store_it_says_what_makes_one(frozen: Frozen) -> None:
    outcome = frozen("stats")
    assert (outcome.code, outcome.out) == (0, "")
    assert "there is no event store yet: `callctl watch` and `callctl listen` keep what callbacks report" in outcome.err
    assert json.loads(frozen("stats", "--json").out)["legs"] == 0
    assert len(frozen("stats", "--csv").out.splitlines()) == 2


def test_none_of_its_calls_match(frozen: Frozen, home: Path) -> None:
    fill_store(home, frozen.simulator)
    outcome = frozen("stats", "--to", "+12025550177")
    assert (outcome.code, outcome.out) == (0, "")
    assert "no calls in the store match" in outcome.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--by", "statsu"), "did you mean status?"),
        (("--by", "colour"), "--by is to, from, hour or status, not colour"),
        (("--csv", "--json"), "--csv and --json exclude each other"),
        (("--top", "0"), "--top"),
        (("--since", "1h", "--until", "2h"), "no call can match"),
    ],
)
def test_what_makes_no_sense(frozen: Frozen, args: tuple[str, ...], said: str) -> None:
    outcome = frozen("stats", *args)
    assert outcome.code == 2
    assert said in outcome.err


def test_a_store_that_cant_be_read_is_an_error(frozen: Frozen, home: Path) -> None:
    with store_of(home, frozen.simulator) as store:
        path = Path(store._path)
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    path.write_bytes(b"no database at all, and long enough to be told apart from an empty one" * 20)
    outcome = frozen("stats")
    assert outcome.code == 1
    assert "the event store" in outcome.err


def test_what_callers_write_paints_nothing(frozen: Frozen, home: Path) -> None:
    with store_of(home, frozen.simulator) as store:
        form = {"CallSid": "CA" + "1" * 32, "CallStatus": "busy", "From": "x\x1b[2J\u202e", "To": '=1+1\t","'}
        store.append(CallEvent.from_form(form.items(), received_at=frozen.calendar.now, world="w", verified=False))
    for more in ((), ("--csv",), ("--json",)):
        for by in ("to", "from"):
            out = frozen("stats", "--by", by, *more, terminal=not more, columns=80).out
            assert "\x1b[2J" not in out
            assert "\u202e" not in out
    assert "'=1+1" in frozen("stats", "--by", "to", "--csv").out


@pytest.mark.parametrize("columns", [8, 20, 40, 79, 300])
@pytest.mark.parametrize("by", [(), ("--by", "to"), ("--by", "hour")])
def test_no_line_is_wider_than_the_terminal(frozen: Frozen, home: Path, columns: int, by: tuple[str, ...]) -> None:
    fill_store(home, frozen.simulator)
    outcome = frozen("stats", *by, terminal=True, columns=columns, env={"NO_COLOR": "1", "TERM": "dumb"})
    assert outcome.code == 0
    assert 0 < max(map(len, outcome.out.splitlines())) <= max(columns, 20)


def test_failures_have_room_at_80_columns_and_stand_once_by_status(frozen: Frozen, home: Path) -> None:
    fill_store(home, frozen.simulator)

    def columns(by: str) -> list[str]:
        out = frozen("stats", "--by", by, terminal=True, columns=80, env={"NO_COLOR": "1", "TERM": "dumb"}).out
        return next(line for line in out.splitlines() if " ANSWERED " in line).split()

    assert columns("to")[:6] == ["TO", "LEGS", "ANSWERED", "FAILED", "BUSY", "NO-ANSWER"]
    assert not {"FAILED", "BUSY", "NO-ANSWER", "CANCELED", "LIVE"} & set(columns("status"))


def test_what_was_done_to_calls_without_events_is_told(frozen: Frozen, home: Path) -> None:
    done = ActionEvent(frozen.calendar.now, "CA" + "1" * 32, "hangup", (), "ended", by="ann@desk")
    with store_of(home, frozen.simulator) as store:
        store.record_actions([done])
    for terminal in (True, False):
        out = frozen("stats", terminal=terminal, columns=80).out
        assert all(word in out for word in ("ann@desk", "hangup", "done"))


def test_a_large_store_is_read_by_several_processes_with_the_same_outcome(frozen: Frozen, home: Path) -> None:
    fill_store(home, frozen.simulator)
    script = """
import sys
from callctl.cli.stats import command
from callctl.cli.stats import processes
command._MANY, processes.processors = int(sys.argv.pop(1)), lambda: 3
from callctl.__main__ import main
sys.exit(main())
"""
    environ = {"HOME": str(home), **env_for(frozen.simulator)}
    whole, shared = (
        subprocess.run(
            [sys.executable, "-c", script, many, "stats", "--json", "--by", "to"],
            env=environ,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for many in ("1000000", "1")
    )
    assert shared == whole
    assert json.loads(whole)["legs"] == 14

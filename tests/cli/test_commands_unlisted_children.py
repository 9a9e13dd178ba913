"""A child leg that callbacks reported and that REST does not list yet counts for each command about a family."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from api.scripted import ReceivedRequest, Server, Turn, call, reply
from cli.setup import CliSetup, messages
from processes import LIMIT

from callctl.calls.event import CallEvent
from callctl.errors import StoreError
from callctl.store.sqlite.store import SqliteStore

PARENT, CHILD = "CA" + "1" * 32, "CA" + "2" * 32
SURVEY = ("--url", "survey")
ROOM = ("--family", "--conference", "room")
DROPS = f"callctl: its child leg {CHILD}: talking to client:ann: drops, and the Dial's action, if it has one, is requ"


class Behind(Server):
    """Has a parent that talks to its child, which it lists nowhere, and shows in a fetch if it ``is_shown``."""

    def __init__(self, *, is_shown: bool = True) -> None:
        super().__init__(reply(404))
        self._is_shown = is_shown

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        parent = call(PARENT, status="in-progress", direction="inbound")
        child = call(CHILD, status="ringing", direction="outbound-dial", to="client:ann", parent_call_sid=PARENT)
        named = request.path.rpartition("/")[2].removesuffix(".json")
        if named == "Calls":
            is_of_parent = "ParentCallSid" in parse_qs(urlsplit(request.target).query)
            return reply(200, {"calls": [] if is_of_parent else [parent], "next_page_uri": None})
        if "/Calls/" in request.path and named in (PARENT, CHILD) and (self._is_shown or named == PARENT):
            over = {"status": "completed"} if ("Status", "completed") in request.form else {}
            return reply(200, (parent if named == PARENT else child) | over)
        if named == "Notifications":
            return reply(200, {"notifications": [], "next_page_uri": None})
        return reply(404, {"code": 20404, "message": "not found", "status": 404})

    @property
    def changed(self) -> list[str]:
        """The calls for which a request came that changes them, in their order."""
        return [one.path.rpartition("/")[2].removesuffix(".json") for one in self.received if one.method == "POST"]


@contextmanager
def behind(setup: CliSetup, **options: bool) -> Iterator[tuple[Behind, dict[str, str]]]:
    """Run the server; yield it and the environment, with a store in which callbacks reported both legs."""
    with Behind(**options) as server:
        env = {"CALLCTL_API_URL": server.url}
        for sid, parent in ((PARENT, None), (CHILD, PARENT)):
            setup.add_callback(sid, "in-progress", at=datetime.now(UTC), env=env, parent=parent, to="client:ann")
        yield server, env


def test_redirect_says_that_it_drops_before_anything_is_sent(setup: CliSetup) -> None:
    with behind(setup) as (server, env):
        dry = setup.callctl("redirect", PARENT, *SURVEY, "--dry-run", env=env)
        assert (dry.code, server.changed) == (0, [])
        outcome = setup.callctl("redirect", PARENT, *SURVEY, env=env)
        assert (outcome.code, server.changed) == (0, [PARENT])
    for one in (dry, outcome):
        assert DROPS in one.err
        assert "it has no other leg" not in one.err


def test_on_children_acts_on_it(setup: CliSetup) -> None:
    with behind(setup) as (server, env):
        assert setup.callctl("redirect", PARENT, *SURVEY, "--on", "children", "--dry-run", env=env).code == 0
        assert setup.callctl("redirect", PARENT, *SURVEY, "--on", "children", env=env).code == 0
        assert server.changed == [CHILD]


@pytest.mark.parametrize("named", [PARENT, CHILD])
def test_with_its_parent_it_becomes_a_conference(setup: CliSetup, named: str) -> None:
    with behind(setup) as (server, env):
        dry = setup.callctl("redirect", named, *ROOM, "--dry-run", env=env)
        assert (dry.code, server.changed) == (0, [])
        outcome = setup.callctl("redirect", named, *ROOM, env=env)
        assert (outcome.code, server.changed) == (0, [CHILD, PARENT])
    assert f"{CHILD} goes into the conference room first, then {PARENT}" in dry.err
    assert messages(dry) == messages(outcome) + "callctl: dry run: nothing was sent\n"


@pytest.mark.parametrize("named", [PARENT, CHILD])
def test_hangup_of_the_family_ends_it(setup: CliSetup, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.cli.options.history._PATIENCE", LIMIT)
    with behind(setup) as (server, env):
        dry = setup.callctl("hangup", named, "--family", "--dry-run", env=env)
        assert [line.split("\t")[0] for line in dry.out.splitlines()] == [PARENT, CHILD]
        assert setup.callctl("hangup", named, "--family", env=env).code == 0
        assert server.changed == [PARENT, CHILD]


def test_show_has_it_among_the_legs(setup: CliSetup) -> None:
    with behind(setup) as (_, env):
        (leg,) = json.loads(setup.callctl("show", PARENT, "--json", env=env).out)["children"]
        assert (leg["sid"], leg["status"]) == (CHILD, "in-progress")


def test_one_that_rest_does_not_know_either_is_said_to_drop_and_is_not_passed_over(
    setup: CliSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.cli.options.history._PATIENCE", LIMIT)
    unknown = f"callctl: warning: callbacks report 1 call as live that the API does not show: {CHILD}\n"
    with behind(setup, is_shown=False) as (server, env):
        effects = setup.callctl("redirect", PARENT, *SURVEY, "--dry-run", env=env)
        assert effects.code == 0
        assert DROPS in effects.err
        family = setup.callctl("redirect", PARENT, *ROOM, env=env)
        assert (family.code, server.changed) == (8, [CHILD])
        assert f"{PARENT} was left alone" in family.err
        on_children = setup.callctl("redirect", PARENT, *SURVEY, "--on", "children", env=env)
        assert (on_children.code, server.changed) == (3, [CHILD])
        hangup = setup.callctl("hangup", PARENT, "--family", env=env)
        assert (hangup.code, server.changed) == (8, [CHILD, PARENT, CHILD])
    for outcome in (effects, family, on_children, hangup):
        assert unknown in outcome.err
        assert "no <Dial> is under way" not in outcome.err


def test_a_hangup_waits_once_for_a_store_that_does_not_answer(setup: CliSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    over, asked = threading.Event(), list[str]()

    def hang(_store: SqliteStore, sid: str) -> Iterator[CallEvent]:
        asked.append(sid)
        over.wait(LIMIT)
        return iter(())

    monkeypatch.setattr("callctl.cli.options.history._PATIENCE", 0.05)
    with behind(setup) as (server, env):
        monkeypatch.setattr(SqliteStore, "family", hang)
        monkeypatch.setattr(SqliteStore, "call", lambda _store, _sid: None)
        outcome = setup.callctl("hangup", PARENT, CHILD, "--family", env=env)
        over.set()
        assert (outcome.code, server.changed, asked) == (0, [PARENT, CHILD], [PARENT])
    assert (
        outcome.err.count("callctl: warning: the event store has not answered within 0.05 s: what callbacks rep") == 1
    )


def test_where_the_store_can_not_be_read_rests_list_counts(setup: CliSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_store: SqliteStore, _sid: str) -> None:
        raise StoreError("can't read the event store")

    with behind(setup) as (server, env):
        monkeypatch.setattr(SqliteStore, "family", fail)
        for command in (("redirect", *SURVEY), ("hangup", "--family")):
            outcome = setup.callctl(command[0], PARENT, *command[1:], env=env)
            assert outcome.code == 0
            assert outcome.err.count("can't read the event store") == 1
        assert server.changed == [PARENT, PARENT]

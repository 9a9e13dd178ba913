"""CALL on the command line: whole SIDs, starts of them, ``@last`` and ``-``."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api.scripted import Server, call, reply
from cli.frozen import Frozen, frozen_simulator
from running import Callctl, env_for

from callctl.calls.event import CallEvent
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.calls import calls_to_change, one_call
from callctl.errors import UnknownCallError, UsageError
from callctl.settings import load
from callctl.store.sqlite.store import SqliteStore

BUSY, RINGS = "+12025550102", "+12025550103"
UUID = "1f0c2a9e-1b2c-4d3e-8f90-123456789abc"


class Chooser:
    """Chooses calls with streams of its own, in the world of one server."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.environ = {"HOME": str(home), **env}
        self.home = home
        self.settings = load(self.environ, cwd=home)

    def runtime(self, stdin: str = "") -> Runtime:
        self.err = io.StringIO()
        return Runtime(self.environ, self.home, io.StringIO(stdin), io.StringIO(), self.err)

    def one(self, text: str) -> str:
        runtime = self.runtime()
        return one_call(runtime, self.settings, runtime.client(self.settings), text)

    def change(self, *texts: str, stdin: str = "") -> Sequence[str]:
        runtime = self.runtime(stdin)
        return calls_to_change(runtime, self.settings, runtime.client(self.settings), texts)

    def store(self) -> SqliteStore:
        return SqliteStore.open_for_watch(self.settings.store, world=self.settings.world)

    def add_callback(self, sid: str, status: str) -> None:
        form = [("CallSid", sid), ("CallStatus", status), ("SequenceNumber", "0")]
        store = self.store()
        now = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
        store.append(CallEvent.from_form(form, received_at=now, world="w", verified=True))
        store.close()


@pytest.fixture
def frozen(callctl: Callctl) -> Iterator[Frozen]:
    with frozen_simulator(callctl) as frozen:
        yield frozen


@pytest.fixture
def choose(frozen: Frozen, home: Path) -> Chooser:
    return Chooser(home, env_for(frozen.simulator))


def test_whole_sids_cost_no_request_and_no_word(frozen: Frozen, choose: Chooser) -> None:
    sids = ["CA" + "1" * 32, UUID, "v3:" + "a1" * 20]
    assert list(choose.change(*sids)) == sids
    assert [choose.one(sid) for sid in sids] == sids
    assert choose.err.getvalue() == ""
    assert frozen.simulator.requests == ()


def test_named_twice_is_once_and_the_order_is_kept(choose: Chooser) -> None:
    first, second = "CA" + "2" * 32, "CA" + "1" * 32
    assert list(choose.change(first, second, first)) == [first, second]


def test_sids_come_from_stdin_also_from_what_list_prints(choose: Chooser) -> None:
    first, second, third = ("CA" + digit * 32 for digit in "123")
    row = (first, "ringing", "outbound-api", "+15005550006", "client:agent-0123456789", "2026-01-05T12:00:00Z", "", "")
    lines = "\t".join(row) + f"\n\n  {second}\n{first}\n"
    assert list(choose.change(third, "-", stdin=lines)) == [third, first, second]


CHILD, PARENT, VICTIM = ("CA" + digit * 32 for digit in "123")
CHILD_ROW = (CHILD, "ringing", "outbound-dial", "+15005550006", BUSY, "", "", PARENT)


@pytest.fixture
def family(home: Path) -> Iterator[Chooser]:
    """Choose where an answered call rings another, and a third one is answered."""
    legs = [
        call(CHILD, status="ringing", direction="outbound-dial", to=BUSY, parent_call_sid=PARENT),
        call(PARENT, status="in-progress", direction="outbound-api"),
        call(VICTIM, status="in-progress", direction="outbound-api"),
    ]
    with Server(reply(200, {"calls": legs})) as server:
        yield Chooser(
            home,
            {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url},
        )


def test_a_row_of_list_names_its_own_call_and_not_the_parent(family: Chooser) -> None:
    assert list(family.change("-", stdin="\t".join(CHILD_ROW))) == [CHILD]


def test_what_list_writes_on_a_pipe_is_taken(frozen: Frozen, choose: Chooser) -> None:
    parent = frozen("place", RINGS, "--dial", BUSY).out.strip()
    frozen.simulator.advance(30)
    listed = frozen("list", "--all").out
    sids = [line.split("\t")[0] for line in listed.splitlines()]
    assert parent in sids
    assert choose.change("-", stdin=listed) == sids


@pytest.mark.parametrize(
    "fields",
    [
        (CHILD, PARENT),
        (VICTIM, BUSY),  # --columns caller_name,to
        ("", PARENT),
        ("", "ringing"),
        ("CA1111111", "ringing"),
        ("Ann", "ringing"),
        *((*CHILD_ROW[:at], "Ann", *CHILD_ROW[at + 1 :]) for at in (0, 1, 5, 6)),
        (*CHILD_ROW, ""),
    ],
)
def test_other_columns_of_which_the_first_may_be_another_calls_are_refused(
    choose: Chooser, fields: tuple[str, ...]
) -> None:
    """As by ``list --columns parent_call_sid,sid``, or with a name that a caller chose."""
    for before in ("", f"CA{'3' * 32}\n"):
        with pytest.raises(UsageError, match="neither a SID alone nor a row as list writes it") as refused:
            list(choose.change("-", stdin=before + "\t".join(fields)))
        assert refused.value.hint == "`callctl list -q` writes SIDs alone"


@pytest.mark.parametrize(
    "row",
    [
        *((first, *CHILD_ROW[1:7], CHILD) for first in (PARENT, VICTIM)),
        *((first, *CHILD_ROW[1:7], "") for first in (CHILD, PARENT, VICTIM)),  # the last one may be of a price
        (VICTIM, *CHILD_ROW[1:]),
        (CHILD, *CHILD_ROW[1:7], VICTIM),
        *((*CHILD_ROW[:at], "Ann", *CHILD_ROW[at + 1 :]) for at in (2, 3, 4, 7)),
    ],
)
def test_columns_in_the_form_of_a_row_of_list_are_compared_with_the_call_of_the_first(
    family: Chooser, row: tuple[str, ...]
) -> None:
    """As by ``list --columns parent_call_sid,status,direction,from,to,start_time,duration,price``."""
    lines = ["\t".join(CHILD_ROW), "\t".join(row)]
    with pytest.raises(UsageError, match=f"is not what list writes of {row[0]}, its first field: {row[0]}") as refused:
        family.change("-", stdin="\n".join(lines))
    assert refused.value.hint == "`callctl list -q` writes SIDs alone"


def test_no_choice_of_columns_makes_a_row_of_another_call(frozen: Frozen, choose: Chooser) -> None:
    """Whether the calls go on or have ended: ``hangup --family`` ends the live legs of a call that is over."""
    parent = frozen("place", "+12025550100", "--dial", RINGS).out.strip()
    frozen.simulator.advance(20)
    for seconds in (0, 3600):
        frozen.simulator.advance(seconds)
        for last in ("price", "sid", "caller_name"):
            columns = f"parent_call_sid,status,direction,from,to,start_time,duration,{last}"
            child = frozen("list", "--parent", parent, "--columns", columns).out
            assert child.startswith(f"{parent}\t")
            with pytest.raises(UsageError, match=f"is not what list writes of {parent}"):
                choose.change("-", stdin=child)


def test_a_row_of_list_whose_numbers_are_masked_is_taken(frozen: Frozen, choose: Chooser) -> None:
    sid = frozen.place(RINGS)
    listed = frozen("list", "--mask-numbers").out
    assert RINGS not in listed
    frozen.simulator.advance(1)  # its status and its start are others by now
    assert choose.change("-", stdin=listed) == [sid]


def test_an_empty_stdin_names_no_call_and_is_no_error(choose: Chooser) -> None:
    assert list(choose.change("-", stdin="\n")) == []
    assert choose.err.getvalue() == "callctl: no calls on stdin: nothing to do\n"


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("", "(nothing)", "a start of at least 8 characters will do"),
        ("CAxxx", "its character 3, 'x', is no hexadecimal digit", "put a SID in its place: `callctl list`"),
        ("CA12345", "it has 7 characters, a start of one at least 8", "will do, or @last"),
        ("CA" + "1" * 33, "it has 35 characters, a call SID has 34", "CA and 32 hexadecimal digits"),
        ("CA" + "1" * 31 + "O", "its character 34, 'O', is no hexadecimal digit", "CA and 32 hexadecimal digits"),
        ("ca" + "1" * 32, "it begins with CA in capitals, and here it does not", "CA and 32 hexadecimal digits"),
        ("0a" * 16, f"it lacks the CA before its 32 digits: CA{'0a' * 16}", "CA and 32 hexadecimal digits"),
        ("SM" + "1" * 32, "it is the SID of a message", "CA and 32 hexadecimal digits"),
        ("AC" + "1" * 32, "it is the SID of an account", "CA and 32 hexadecimal digits"),
        (f"CA{'1' * 16} {'1' * 16}", "it has a blank in it", "CA and 32 hexadecimal digits"),
        ("CA" + "1A" * 16, f"its letters are small in Twilio's: CA{'1a' * 16}", "CA and 32 hexadecimal digits"),
        ("12025550100", "it is a phone number", "`callctl list --live --to +12025550100`"),
        ("+12025550100", "not a call SID: +12025550100", "`callctl list --live --to +12025550100`"),
    ],
)
def test_what_is_wrong_with_a_sid_is_reported(
    frozen: Frozen, choose: Chooser, text: str, reason: str, hint: str
) -> None:
    for attempt in (choose.one, choose.change):
        with pytest.raises(UsageError) as caught:
            attempt(text)
        assert reason in caught.value.message
        assert hint in (caught.value.hint or "")
    assert frozen.simulator.requests == ()


@pytest.mark.parametrize("text", ["CA12345", "CAxxxxxxxx", "CA" + "1" * 33, "+12025550100", "@first", "", "1f0c2a9"])
def test_what_is_no_start_of_a_sid_is_refused_before_anything_is_asked(
    frozen: Frozen, choose: Chooser, text: str
) -> None:
    for attempt in (choose.one, choose.change):
        with pytest.raises(UsageError, match="not a call SID"):
            attempt(text)
    assert frozen.simulator.requests == ()


def test_a_start_of_one_live_call_will_do_and_is_spelled_out_first(frozen: Frozen, choose: Chooser) -> None:
    sid = frozen.place(RINGS)
    frozen.simulator.advance(1)
    assert choose.change(sid[:8]) == [sid]
    assert choose.err.getvalue() == f"callctl: {sid[:8]} is {sid}, +15005550006 → {RINGS}, ringing\n"
    assert choose.one(sid[:8]) == sid


def test_a_start_of_a_call_that_has_ended_stands_for_it_where_no_live_one_begins_so(
    frozen: Frozen, choose: Chooser
) -> None:
    sid = frozen.place(BUSY)
    frozen.simulator.advance(5)
    assert choose.one(sid[:10]) == sid
    assert choose.change(sid[:10]) == [sid]
    assert choose.err.getvalue() == f"callctl: {sid[:10]} is {sid}, +15005550006 → {BUSY}, busy\n"
    with pytest.raises(UnknownCallError, match="no live call begins with CA00000000"):
        choose.change("CA00000000")


@pytest.mark.usefixtures("frozen")
def test_a_start_of_an_ended_call_that_only_the_store_knows_stands_for_it(choose: Chooser) -> None:
    sid = "CA" + "7" * 32
    choose.add_callback(sid, "completed")
    assert choose.change(sid[:10]) == [sid]
    assert choose.err.getvalue() == f"callctl: {sid[:10]} is {sid}, completed\n"


def test_a_start_of_several_ended_calls_is_refused_and_they_are_named(home: Path) -> None:
    twins = [call("CA" + "1" * 31 + digit, status="busy") for digit in "12"]
    with Server(reply(200, {"calls": twins})) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        with pytest.raises(UsageError, match="several calls begin with CA11111111"):
            Chooser(home, env).change("CA11111111")


def test_hangup_and_redirect_of_such_a_start_come_out_as_of_the_whole_sid(frozen: Frozen) -> None:
    sid = frozen.place(BUSY)
    frozen.simulator.advance(5)
    for call_ in (sid, sid[:10]):
        hung_up = frozen("hangup", call_)
        assert (hung_up.code, hung_up.out) == (0, f"{sid}\tbusy\talready-over\n")
        redirected = frozen("redirect", call_, "--say", "x")
        assert (redirected.code, f"{sid} can't be redirected: it is busy" in redirected.err) == (5, True)


def test_a_start_of_several_live_calls_is_refused_and_they_are_named(home: Path) -> None:
    twins = [call("CA" + "1" * 31 + digit, status="ringing") for digit in "12"]
    with Server(reply(200, {"calls": twins})) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        choose = Chooser(home, env)
        for attempt in (choose.one, choose.change):
            with pytest.raises(UsageError) as refused:
                attempt("CA11111111")
            assert all(str(twin["sid"]) in refused.value.message for twin in twins)


def test_of_a_live_and_an_ended_call_the_live_one_is_changed(home: Path) -> None:
    live, ended = (call("CA" + "1" * 31 + digit, status=status) for digit, status in (("1", "ringing"), ("2", "busy")))
    with Server(reply(200, {"calls": [live, ended]})) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        assert Chooser(home, env).change("CA11111111") == [live["sid"]]


def test_a_live_call_that_only_the_store_knows_counts(frozen: Frozen, choose: Chooser) -> None:
    """REST's list may lag behind callbacks; the call is then asked for by its whole SID."""
    sid = frozen.place(RINGS)
    frozen.simulator.advance(1)
    stranger = sid[:12] + "0" * 22
    choose.add_callback(stranger, "ringing")  # REST knows nothing of it: it is not there
    assert choose.change(sid[:10]) == [sid]
    choose.add_callback(sid, "ringing")
    assert choose.change(sid[:10]) == [sid]


def test_a_call_that_the_store_takes_for_live_but_has_ended_is_said_to_be_over(frozen: Frozen, choose: Chooser) -> None:
    sid = frozen.place(BUSY)
    frozen.simulator.advance(5)
    choose.add_callback(sid, "ringing")
    assert choose.change(sid[:10]) == [sid]
    assert choose.err.getvalue().endswith(f"{BUSY}, busy\n")


def test_the_store_is_enough_for_reading(frozen: Frozen, choose: Chooser) -> None:
    choose.add_callback("CA" + "7" * 32, "ringing")
    assert choose.one("CA777777") == "CA" + "7" * 32
    assert frozen.simulator.requests == ()


def test_starts_of_uuids_are_starts(callctl: Callctl, home: Path) -> None:
    with frozen_simulator(callctl, dialect="somleng") as frozen:
        sid = frozen.place(RINGS)
        frozen.simulator.advance(1)
        choose = Chooser(home, env_for(frozen.simulator))
        for length in (8, 9, 20, 35):
            assert choose.change(sid[:length]) == [sid]
            assert choose.one(sid[:length]) == sid


def test_last_says_what_keeps_the_store_from_being_read(choose: Chooser) -> None:
    store = choose.store()
    store.remember_placed("CA" + "5" * 32, at=datetime(2026, 1, 5, tzinfo=UTC))
    store._writing.connection.executescript(
        "DROP TABLE undelivered; DROP TABLE listeners; DROP TABLE store_id; PRAGMA user_version = 8"
    )
    store.close()
    for attempt in (choose.one, choose.change):
        with pytest.raises(UnknownCallError, match="has version 8") as raised:
            attempt("@last")
        assert raised.value.hint == "`callctl watch` brings it up to date"


def test_last_is_the_call_placed_last_in_this_world(frozen: Frozen, choose: Chooser) -> None:
    for attempt in (choose.one, choose.change):
        with pytest.raises(UnknownCallError, match="@last stands for no call"):
            attempt("@last")
    store = choose.store()
    store.remember_placed("CA" + "5" * 32, at=datetime(2026, 1, 5, tzinfo=UTC))
    store.close()
    assert choose.one("@last") == "CA" + "5" * 32
    assert choose.change("@last") == ["CA" + "5" * 32]
    assert choose.err.getvalue() == f"callctl: @last is CA{'5' * 32}\n"
    other = Chooser(choose.home, {**env_for(frozen.simulator), "TWILIO_ACCOUNT_SID": "AC" + "1" * 32})
    with pytest.raises(UnknownCallError):
        other.one("@last")


def test_a_store_that_cannot_be_read_is_reported(frozen: Frozen, home: Path) -> None:
    sid = frozen.place(RINGS)
    frozen.simulator.advance(1)
    broken = home / "broken.db"
    broken.write_text("no database " * 1000)
    choose = Chooser(home, {**env_for(frozen.simulator), "CALLCTL_STORE": str(broken)})
    assert choose.change(sid[:10]) == [sid]
    assert "event store" in choose.err.getvalue()


def test_an_unknown_start_exits_3(frozen: Frozen) -> None:
    outcome = frozen("show", "CA00000000")
    assert (outcome.code, outcome.out) == (3, "")
    assert "no call begins with CA00000000" in outcome.err


@pytest.mark.parametrize(
    ("part", "mode", "message"),
    [
        ("", None, r"the state folder .* is another user's \(\d+\)"),
        ("events.db", None, r"the event store .* is another user's \(\d+\)"),
        ("", 0o777, r"others may write to the state folder .* \(mode 777\), and so say which call @last is"),
    ],
)
def test_a_store_that_another_user_could_write_decides_on_no_call(
    frozen: Frozen, choose: Chooser, monkeypatch: pytest.MonkeyPatch, part: str, mode: int | None, message: str
) -> None:
    sid = frozen.place(RINGS)
    frozen.simulator.advance(1)
    forged = f"{sid[:-1]}{'0' if sid[-1] != '0' else '1'}"
    store = choose.store()
    store.remember_placed(forged, at=datetime(2026, 1, 5, tzinfo=UTC))
    store.close()
    choose.add_callback(forged, "completed")
    path = choose.settings.state_dir / part
    if mode is not None:
        path.chmod(mode)
    elif os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    elif part:
        pytest.skip("only root can give a file away")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    for attempt in (choose.one, choose.change):
        with pytest.raises(UnknownCallError, match=f"@last stands for no call: {message}") as raised:
            attempt("@last")
        assert raised.value.hint is not None
        assert raised.value.hint.startswith("chmod go-w " if mode else ("move it" if part else "set XDG_STATE_HOME"))
    assert choose.change(sid[:30]) == [sid]
    assert re.search(message, choose.err.getvalue())
    placed = frozen("place", RINGS, "--say", "Hello", "--status-callback", "none")
    assert placed.code == 0
    assert re.search(f"placed, but @last will not stand for it: {message}", placed.err)

"""Files, folders and ports that are not what they should be: the error is one sentence, with what to do about it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.setup import ANSWERS, CliSetup
from processes import CALLCTL, LIMIT, environment
from running import Callctl, env_for

PLACE = ("place", ANSWERS, "--say", "Hello", "--status-callback", "none")
KEYS = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": "http://127.0.0.1:9"}
HINT = "hint: name another file with CALLCTL_STORE, or another folder for callctl's state with XDG_STATE_HOME\n"


def blocked_state(home: Path) -> dict[str, str]:
    (home / "state").write_text("a file")
    return {"XDG_STATE_HOME": str(home / "state")}


def a_device(_home: Path) -> dict[str, str]:
    return {"CALLCTL_STORE": "/dev/null"}


def a_folder(home: Path) -> dict[str, str]:
    return {"CALLCTL_STORE": str(home)}


def below_a_file(home: Path) -> dict[str, str]:
    (home / "file").write_text("a file")
    return {"CALLCTL_STORE": str(home / "file" / "deep" / "events.db")}


WRONG: list[tuple[Callable[[Path], dict[str, str]], str]] = [
    (blocked_state, "{home}/state/callctl/events.db: {home}/state is no folder"),
    (a_device, "/dev/null: it is no regular file"),
    (a_folder, "{home}: it is a folder"),
    (below_a_file, "{home}/file/deep/events.db: {home}/file is no folder"),
]


@pytest.mark.parametrize(("made", "message"), WRONG)
def test_no_store_there_is_reported_and_does_not_keep_calls_from_being_placed_and_ended(
    setup: CliSetup, home: Path, made: Callable[[Path], dict[str, str]], message: str
) -> None:
    env = made(home)
    sentence = f"there can be no event store {message.format(home=home)}\n{HINT}"
    placed = setup.callctl(*PLACE, env=env)
    assert placed.code == 0
    assert f"callctl: placed, but @last will not stand for it: {sentence}" in placed.err
    sid = placed.out.strip()
    ended = setup.callctl("hangup", sid, env=env)
    assert (ended.code, ended.out) == (0, f"{sid}\tcanceled\tended\n")
    assert f"callctl: {sentence}" in ended.err
    assert "callctl: done, but not written down: there can be no event store" in ended.err
    shown = setup.callctl("show", sid, env=env)
    assert (shown.code, shown.err.count(sentence)) == (0, 1)
    last = setup.callctl("wait", "@last", "--for", "ended", env=env)
    assert (last.code, last.err.count(sentence)) == (3, 1)
    assert "@last stands for no call" in last.err


@pytest.mark.parametrize(("made", "message"), WRONG)
@pytest.mark.parametrize("args", [("watch", "--port", "0", "--no-poll"), (*PLACE[:4], "--watch")])
def test_what_can_do_nothing_without_a_store_says_so(
    setup: CliSetup, home: Path, made: Callable[[Path], dict[str, str]], message: str, args: tuple[str, ...]
) -> None:
    outcome = setup.callctl(*args, env=made(home))
    assert outcome.code == 1
    assert outcome.err.endswith(f"callctl: error: there can be no event store {message.format(home=home)}\n{HINT}")
    assert setup.simulator.requests == ()


def test_what_is_no_database_is_reported_with_a_hint(setup: CliSetup, home: Path) -> None:
    (home / "notes").write_text("no database " * 100)
    outcome = setup.callctl("watch", "--port", "0", "--no-poll", env={"CALLCTL_STORE": str(home / "notes")})
    assert outcome.code == 1
    assert f"can't open the event store {home / 'notes'}: file is not a database\nhint: the file is no" in outcome.err


def too_long(home: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(home / ("x" * 300))}


def open_to_others(home: Path) -> dict[str, str]:
    (home / "state" / "callctl").mkdir(parents=True)
    (home / "state" / "callctl").chmod(0o777)
    return {"XDG_STATE_HOME": str(home / "state")}


@pytest.mark.parametrize(
    ("made", "message"),
    [(too_long, "can't look at the state folder"), (open_to_others, "others may write to the state")],
)
def test_a_state_folder_without_trust_is_reported_and_calls_are_placed_and_ended_all_the_same(
    setup: CliSetup, home: Path, made: Callable[[Path], dict[str, str]], message: str
) -> None:
    env = made(home)
    placed = setup.callctl("place", ANSWERS, "--say", "Hello", env=env)
    assert placed.code == 0
    assert f"callctl: watches and listeners can't be looked for: {message}" in placed.err
    assert "no status callbacks: it is not known whether a watch or listener runs" in placed.err
    ended = setup.callctl("hangup", placed.out.strip(), env=env)
    assert (ended.code, ended.out) == (0, f"{placed.out.strip()}\tcanceled\tended\n")
    watched = setup.callctl("watch", "--port", "0", "--no-poll", env=env)
    assert watched.code == 1
    assert f"callctl: error: {message}" in watched.err
    assert "unexpected" not in f"{placed.err}{ended.err}{watched.err}"


def test_another_users_folders_are_reported_in_a_sentence(setup: CliSetup) -> None:
    """The working folder, its .env and the state folder; root runs the command as a user without rights to them."""
    as_other_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if subprocess.run([*as_other_user, *CALLCTL, "--version"], check=False, cwd="/", capture_output=True).returncode:
        pytest.skip("nobody else can run callctl here")
    with tempfile.TemporaryDirectory() as name:
        closed = Path(name) / "closed"
        folder = closed / "folder"
        folder.mkdir(parents=True)
        (folder / ".env").write_text("CALLCTL_PORT=none\n")
        Path(name).chmod(0o755)
        closed.chmod(0o000)
        env = environment(closed, {**env_for(setup.simulator), "SSL_CERT_FILE": str(folder / "certificates")})
        try:
            for args, code in ((("list",), 0), ((*PLACE[:4],), 0), (("doctor",), 1), (("watch", "--no-poll"), 1)):
                ran = subprocess.run(
                    [*as_other_user, *CALLCTL, *args],
                    cwd=folder if as_other_user else name,
                    env=env,
                    capture_output=True,
                    text=True,
                    timeout=LIMIT,
                    check=False,
                )
                assert (ran.returncode, "unexpected" in ran.stderr) == (code, False), ran.stderr
                if args[0] != "list":
                    assert "can't look at the state folder" in f"{ran.stdout}{ran.stderr}"
        finally:
            closed.chmod(0o700)


def test_ports_and_hosts_that_cannot_be_listened_at(callctl: Callctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        outcome = callctl("simulator", "--port", address.rpartition(":")[2])
    assert outcome.code == 1
    assert outcome.err.startswith(
        f"callctl: error: can't listen on {address}: the port is taken\nhint: another simulator"
    )
    for command, word in (("simulator", "on"), ("watch", "at")):
        outcome = callctl(command, "--host", "192.0.2.1", "--port", "9", env=KEYS)
        assert outcome.code == 1
        assert (
            f"error: can't listen {word} 192.0.2.1:9: Cannot assign requested address\nhint: --host says" in outcome.err
        )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"CALLCTL_FROM=\xff\n", "can't read the settings file {home}/.env: not a text file"),
        (b"CALLCTL_PORT=http\n", "CALLCTL_PORT is not a port number: http"),
    ],
)
def test_a_found_settings_file_that_can_not_be_used_keeps_no_call_from_being_ended(
    setup: CliSetup, home: Path, content: bytes, why: str
) -> None:
    sids = [setup.place() for _ in range(3)]
    (home / ".env").write_bytes(content)
    said = f"callctl: nothing in {home}/.env is used: {why.format(home=home)}\nhint: "
    last = setup.callctl("hangup", "@last")  # which store says it is not known
    assert (last.code, setup.sent()) == (3, [])
    assert said in last.err
    assert "@last stands for no call: which store holds it is not known" in last.err
    ended = setup.callctl("hangup", sids[0])
    assert (ended.code, ended.out) == (0, f"{sids[0]}\tcanceled\tended\n")
    assert ended.err.startswith(said)
    assert setup.callctl("hangup", sids[1][:20]).code == 0
    listed = setup.callctl("list", "--live", "-q")
    assert (listed.code, listed.out.split()) == (0, [sids[2]])
    assert listed.err.startswith(said)
    assert setup.callctl("show", sids[0]).code == setup.callctl("wait", sids[0], "--for", "ended").code == 0
    setup.simulator.advance(5)
    redirected = setup.callctl("redirect", sids[2], "--url", setup.survey)
    assert (redirected.code, redirected.err.startswith(said)) == (0, True)

    for args in (PLACE, ("watch", "--port", "0"), ("listen", "--port", "0")):
        outcome = setup.callctl(*args)
        assert (outcome.code, outcome.out) == (2, "")
        assert f"callctl: error: {why.format(home=home)}" in outcome.err
    named = setup.callctl("hangup", sids[2], "--env-file", ".env")
    assert named.code == 2
    assert f"callctl: error: {why.format(home=home)}" in named.err
    assert setup.callctl("list", "--live", "-q").out.split() == [sids[2]]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("list", "--env-file", "."), "can't read the settings file {home}: Is a directory\nhint: --env-file"),
        (("simulator", "--far-end", "x"), "can't read {home}/x: No such file or directory\nhint: docs/simulator.md"),
        (
            ("simulator", "--port", "0", "--write-env", "no/env"),
            "can't write {home}/no/env: No such file or directory\nhint: --write-env names a file",
        ),
        (
            ("watch", "--serve", "x=~nobody-of-that-name/x"),
            "can't read ~nobody-of-that-name/x (--serve x): nobody here",
        ),
        (("place", ANSWERS, "--twiml", "@."), "can't read . (--twiml): Is a directory\nhint: @ is followed by"),
    ],
)
def test_other_files_that_cannot_be_read_or_written(
    callctl: Callctl, home: Path, args: tuple[str, ...], message: str
) -> None:
    outcome = callctl(*args, env={**KEYS, "CALLCTL_FROM": "+15005550006"})
    assert outcome.code in (1, 2)
    assert f"callctl: error: {message.format(home=home)}" in outcome.err


def test_a_working_directory_that_is_gone_does_not_keep_calls_from_being_ended(setup: CliSetup, home: Path) -> None:
    sid = setup.place(after=4)
    gone = home / "gone"
    gone.mkdir()
    code = "import os; os.rmdir(os.getcwd()); from callctl.__main__ import main; main()"
    hangup = subprocess.run(
        [sys.executable, "-P", "-c", code, "hangup", sid],  # -P: as installed, the working directory is not on the path
        cwd=gone,
        env=environment(home, env_for(setup.simulator)),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (hangup.returncode, hangup.stdout) == (0, f"{sid}\tcompleted\tended\n")


def test_what_is_not_text_is_refused(setup: CliSetup) -> None:
    for option, name in (("--to", "To"), ("--from", "From")):
        outcome = setup.callctl("list", option, "sip:\udcff@example.com")
        assert (outcome.code, outcome.out) == (2, "")
        assert f"{name} can't be sent, since it is not text" in outcome.err
        assert "hint: it holds bytes that are no UTF-8" in outcome.err


@pytest.mark.parametrize("command", ["watch", "simulator"])
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("", "(nothing)"),
        (" ", "(nothing)"),
        ("a..b", "a..b"),
        ("a\x1b[2J", "a�[2J"),
        *((host, host) for host in ("127.0.0.1:8765", "localhost:8765", "[::1]", "http://0.0.0.0", "0:0:0", "/x")),
    ],
)
def test_a_host_that_is_none_is_not_listened_at(callctl: Callctl, command: str, host: str, shown: str) -> None:
    outcome = callctl(command, "--host", host, env=KEYS)
    assert outcome.code == 2
    assert f"error: --host is no address: {shown}\n" in outcome.err

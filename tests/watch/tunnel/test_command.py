"""A tunnel's command: how it is run, read and ended, and what is wrong with one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from watches import tunnel_program

from callctl.errors import CallctlError, UsageError
from callctl.watch.tunnel.command import Tunnel

PORT = 8765


@pytest.fixture(autouse=True)
def short_settle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.tunnel.command.SETTLE", 0.01)


async def is_fine(_url: str) -> str | None:
    return None


async def test_the_command_is_given_the_port_and_read_on_both_streams(tmp_path: Path) -> None:
    output = "print('for https://t-%s.example.com/' % sys.argv[1], file=sys.{}); time.sleep(600)"
    for stream in ("stdout", "stderr"):
        command = tunnel_program(tmp_path, output.format(stream))
        tunnel, url = await Tunnel.start_and_find(command, port=PORT, check_address=is_fine)
        await tunnel.stop()
        assert url == f"https://t-{PORT}.example.com"


async def test_an_address_without_a_line_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.tunnel.command.SILENCE", 0.01)
    monkeypatch.setattr("callctl.watch.tunnel.command.PRINT_LIMIT", 20)
    go_on = tmp_path / "go-on"
    output = (
        "import os; print('at https://one.example.com', end='', flush=True)\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n"
        "print(' it is\\nthe end', end='', flush=True)"
    )
    tunnel, url = await Tunnel.start_and_find(tunnel_program(tmp_path, output), port=PORT, check_address=is_fine)
    assert url == "https://one.example.com"
    go_on.touch()
    assert await tunnel.ended() == 0
    assert list(tunnel._output) == ["at https://one.example.com it is", "the end"]
    await tunnel.stop()


async def test_the_command_sees_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "TWILIO_AUTH_TOKEN": "s3cret",
        "TWILIO_API_KEY": "s3cret",
        "TWILIO_API_SECRET": "s3cret",
        "CALLCTL_SIGNING_TOKEN": "s3cret",
        "CALLCTL_PUBLIC_URL": "https://ann:s3cret@hooks.example.com",
        "CALLCTL_URL_SURVEY": "GET https://ann:s3cret@example.com/survey.xml?key=s3cret",
        "CALLCTL_STORE": "postgresql://ann:s3cret@db.example.com/callctl",
        "PGPASSWORD": "s3cret",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NGROK_AUTHTOKEN", "its-own")
    output = (
        "import os, pathlib; guards = pathlib.Path(f'/proc/{os.getppid()}/environ')\n"
        "seen = [name for name, value in os.environ.items() if 's3cret' in value or value == 'its-own']\n"
        "seen += ['guard'] if guards.exists() and b's3cret' in guards.read_bytes() else []\n"
        "print(f'https://{\"-\".join(sorted(seen))}.example.com'); time.sleep(600)"
    )
    tunnel, url = await Tunnel.start_and_find(tunnel_program(tmp_path, output), port=PORT, check_address=is_fine)
    await tunnel.stop()
    assert url == "https://NGROK_AUTHTOKEN.example.com"


async def test_a_tunnel_that_talks_much_is_read_to_the_end(tmp_path: Path) -> None:
    output = "print('https://one.example.com')\nfor _ in range(20000): print('x' * 100)\nprint('the end')"
    tunnel, _ = await Tunnel.start_and_find(tunnel_program(tmp_path, output), port=PORT, check_address=is_fine)
    assert await tunnel.ended() == 0
    assert tunnel.last_line == "the end"
    await tunnel.stop()


async def test_a_tunnel_that_ends_before_it_prints_an_address_is_an_error_with_its_words(tmp_path: Path) -> None:
    command = tunnel_program(tmp_path, "print('no such account', file=sys.stderr); sys.exit(3)")
    with pytest.raises(CallctlError, match="ended with code 3: no such account"):
        await Tunnel.start_and_find(command, port=PORT, check_address=is_fine)


async def test_a_tunnel_that_prints_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.tunnel.command.PRINT_LIMIT", 2)
    path = tmp_path / "pid"
    command = tunnel_program(tmp_path, f"import os; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    with pytest.raises(CallctlError, match="printed no address within 2 s"):
        await Tunnel.start_and_find(command, port=PORT, check_address=is_fine)
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


async def test_it_can_be_given_up_at_any_moment_of_its_start() -> None:
    for turns in range(12):  # of the event loop, in which the guard is started and its pipes are connected
        starting = asyncio.create_task(Tunnel.start_and_find("sleep 600", port=PORT, check_address=is_fine))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await starting


@pytest.mark.parametrize(
    ("command", "error", "what"),
    [
        ("no-such-program-here {port}", CallctlError, "can't run the tunnel no-such-program-here"),
        ("'unclosed", UsageError, "is no command"),
        ("  ", UsageError, "names no command"),
    ],
)
async def test_a_command_that_can_not_be_run(command: str, error: type[CallctlError], what: str) -> None:
    with pytest.raises(error, match=what) as caught:
        await Tunnel.start_and_find(command, port=PORT, check_address=is_fine)
    assert "--tunnel" in (caught.value.hint or "")

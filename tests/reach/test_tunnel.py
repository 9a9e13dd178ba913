from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from reaching import Application, settings_in, watching

from callctl.errors import CallctlError, UsageError
from callctl.session import Plan
from callctl.tunnel import AddressFinder, Tunnel, find_agent

RECORDED = Path(__file__).parent / "recorded"
PORT = 8765


def found(program: str, text: str) -> tuple[str | None, str | None]:
    finder = AddressFinder(program, port=PORT)
    for line in text.splitlines():
        finder.read(line)
    return finder.https, finder.http


@pytest.mark.parametrize(
    ("program", "recording", "address"),
    [
        ("cloudflared", "cloudflared.txt", "https://seasonal-example-words-here.trycloudflare.com"),
        ("/usr/local/bin/cloudflared", "cloudflared.txt", "https://seasonal-example-words-here.trycloudflare.com"),
        ("ngrok", "ngrok.txt", "https://zookeeper-example.ngrok-free.dev"),
        ("ngrok", "ngrok-terminal.txt", "https://zookeeper-example.ngrok-free.dev"),
        ("tailscale", "tailscale.txt", "https://mybox.tailnet-name.ts.net"),
        ("lt", "localtunnel.txt", "https://four-example-words.loca.lt"),
        ("ssh", "localhost-run.txt", "https://0123456789abcd.lhr.life"),
    ],
)
def test_recorded_output_tells_the_address(program: str, recording: str, address: str) -> None:
    assert found(program, (RECORDED / recording).read_text(encoding="utf-8"))[0] == address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see http://127.0.0.1:9000 or https://one.example.com, https://two.example.com", "https://one.example.com"),
        ("\x1b[32mhttps://one.example.com/\x1b[0m", "https://one.example.com"),
        ("public=https://one.example.com:8443/hooks/status.", "https://one.example.com:8443/hooks/status"),
        ("https://", None),
        ("http://tunnel.example.com", None),
    ],
)
def test_the_first_https_address_counts(text: str, expected: str | None) -> None:
    assert found("any", text)[0] == expected


def test_an_http_address_counts_on_loopback_only_and_not_that_of_our_own_port() -> None:
    text = f"from http://example.com and http://127.0.0.1:{PORT} to http://localhost:9000/"
    assert found("any", text) == (None, "http://localhost:9000")


def script(folder: Path, text: str) -> str:
    path = folder / "tunnel.py"
    path.write_text(f"import sys, time\n{text}\n")
    return f"{sys.executable} -u {path} {{port}}"


async def test_the_command_is_given_the_port_and_read_on_both_streams(tmp_path: Path) -> None:
    told = "print('for https://t-%s.example.com/' % sys.argv[1], file=sys.{}); time.sleep(600)"
    for stream in ("stdout", "stderr"):
        tunnel, url = await Tunnel.start_and_find(script(tmp_path, told.format(stream)), port=PORT)
        await tunnel.stop()
        assert url == f"https://t-{PORT}.example.com"


async def test_the_command_sees_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TWILIO_AUTH_TOKEN", "TWILIO_API_SECRET", "CALLCTL_SIGNING_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("NGROK_AUTHTOKEN", "its-own")
    told = (
        "import os; seen = '-'.join(sorted(name for name in os.environ if 'TOKEN' in name or 'SECRET' in name)); "
        "print(f'https://{seen}.example.com'); time.sleep(600)"
    )
    tunnel, url = await Tunnel.start_and_find(script(tmp_path, told), port=PORT)
    await tunnel.stop()
    assert url == "https://NGROK_AUTHTOKEN.example.com"


async def test_an_https_address_goes_before_an_earlier_http_one(tmp_path: Path) -> None:
    told = "print('http://127.0.0.1:9000'); print('https://one.example.com'); time.sleep(600)"
    tunnel, url = await Tunnel.start_and_find(script(tmp_path, told), port=PORT)
    await tunnel.stop()
    assert url == "https://one.example.com"


async def test_without_https_an_http_address_on_loopback_will_do(tmp_path: Path) -> None:
    told = "print('http://127.0.0.1:9000'); time.sleep(600)"
    tunnel, url = await Tunnel.start_and_find(script(tmp_path, told), port=PORT, patience=0.01)
    await tunnel.stop()
    assert url == "http://127.0.0.1:9000"


async def test_a_tunnel_that_talks_much_is_read_to_the_end(tmp_path: Path) -> None:
    told = "print('https://one.example.com')\nfor _ in range(20000): print('x' * 100)\nprint('the end')"
    tunnel, _ = await Tunnel.start_and_find(script(tmp_path, told), port=PORT)
    assert await tunnel.ended() == 0
    assert tunnel.last_words == "the end"
    await tunnel.stop()


async def test_a_tunnel_that_ends_before_it_tells_is_an_error_with_its_words(tmp_path: Path) -> None:
    command = script(tmp_path, "print('no such account', file=sys.stderr); sys.exit(3)")
    with pytest.raises(CallctlError, match="ended with code 3: no such account"):
        await Tunnel.start_and_find(command, port=PORT)


async def test_a_tunnel_that_tells_nothing_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    command = script(tmp_path, f"import os; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    with pytest.raises(CallctlError, match="told no address"):
        await Tunnel.start_and_find(command, port=PORT, limit=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


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
        await Tunnel.start_and_find(command, port=PORT)
    assert "--tunnel" in (caught.value.hint or "")


async def test_the_watch_takes_the_tunnels_address_and_tells_when_it_dies(
    tmp_path: Path, application: Application
) -> None:
    told = f"print('{application.url}'); print('giving up', file=sys.stderr)"
    plan = Plan("127.0.0.1", 0, tunnel=script(tmp_path, told))
    async with watching(settings_in(tmp_path), plan) as watch:
        assert watch.ready.callback_url == f"{application.url}/status"
        note = await watch.view.until_noted("has ended")
        assert "code 0: giving up" in note
        assert watch.view.header is not None
        assert watch.view.header.deaf == "the tunnel has ended (code 0)"


async def test_with_a_public_url_the_tunnels_output_is_not_read(tmp_path: Path) -> None:
    public = "http://127.0.0.1:9/hooks"
    plan = Plan("127.0.0.1", 0, public_url=public, tunnel=script(tmp_path, "print('https://other.example.com')"))
    async with watching(settings_in(tmp_path), plan) as watch:
        assert watch.ready.callback_url == public
        assert "has ended with code 0" in await watch.view.until_noted("has ended")
        assert not any("other.example.com" in note for note in watch.view.notes)


AGENT = (RECORDED / "ngrok-agent.json").read_text(encoding="utf-8")


async def test_an_ngrok_agent_counts_only_if_it_leads_to_our_port(application: Application) -> None:
    application.text, application.content_type = AGENT, "application/json"
    assert await find_agent(PORT, agent=application.url) == "https://zookeeper-example.ngrok-free.dev"
    assert await find_agent(3000, agent=application.url) == "https://other-example.ngrok-free.dev"
    assert await find_agent(22, agent=application.url) is None
    assert await find_agent(5000, agent=application.url) is None
    assert application.sent[0].target == "/api/tunnels"


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"tunnels": 1}', '{"tunnels": [1, {}, {"config": []}]}', "<html>"])
async def test_whatever_else_answers_is_no_agent(application: Application, answer: str) -> None:
    application.text = answer
    assert await find_agent(PORT, agent=application.url) is None
    assert await find_agent(PORT, agent="http://127.0.0.1:9") is None


async def test_a_watch_finds_the_agent_that_leads_to_it(tmp_path: Path, application: Application) -> None:
    settings = settings_in(tmp_path, api_url="https://api.example.com")
    async with watching(settings, Plan("127.0.0.1", 0, agent=application.url)) as first:
        port = first.ready.port
        assert not first.ready.is_reachable
        assert first.session.header().deaf == "Twilio can't reach a loopback address"
    application.text = AGENT.replace(str(PORT), str(port))
    async with watching(settings, Plan("127.0.0.1", port, agent=application.url)) as second:
        assert second.ready.callback_url == "https://zookeeper-example.ngrok-free.dev/status"
        assert second.ready.is_reachable
    plan = Plan("127.0.0.1", port, agent=application.url, unverified=True)
    with pytest.raises(UsageError, match="ngrok agent leads from"):
        async with watching(settings, plan):
            pass

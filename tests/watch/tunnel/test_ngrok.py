"""The addresses that an ngrok agent on this machine serves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from watches import Application

from callctl.watch.tunnel.ngrok import OthersAgentError, find_agent

RECORDED = Path(__file__).parent / "recorded"
PORT = 8765
AGENT = (RECORDED / "ngrok-agent.json").read_text(encoding="utf-8")


async def test_an_ngrok_agent_counts_only_if_it_leads_to_our_port(application: Application) -> None:
    application.text, application.content_type = AGENT, "application/json"
    name = "zookeeper-example.ngrok-free.dev"
    assert await find_agent(PORT, agent=application.url) == [f"https://{name}"]
    assert await find_agent(3000, agent=application.url) == ["https://other-example.ngrok-free.dev"]
    assert await find_agent(22, agent=application.url) == []
    assert await find_agent(5000, agent=application.url) == []
    assert application.sent[0].target == "/api/tunnels"


async def test_no_address_of_an_agent_counts_to_which_all_goes_unencrypted(application: Application) -> None:
    urls = [
        "http://127.0.0.1:9100", "http://192.0.2.9:9400", "HTTP://192.0.2.9:9400", "http://example.com",
        "http://localhost.example.com", "http://127.0.0.1@example.com", "http://localhost:9100", "https://example.com",
    ]  # fmt: skip
    tunnels = [{"public_url": url, "config": {"addr": PORT}} for url in urls]
    application.text = json.dumps({"tunnels": tunnels})
    expected = ["https://example.com", "http://127.0.0.1:9100", "http://localhost:9100"]
    assert await find_agent(PORT, agent=application.url) == expected


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"tunnels": 1}', '{"tunnels": [1, {}, {"config": []}]}', "<html>"])
async def test_whatever_else_answers_is_no_agent(application: Application, answer: str) -> None:
    application.text = answer
    assert await find_agent(PORT, agent=application.url) == []
    assert await find_agent(PORT, agent="http://127.0.0.1:9") == []


@pytest.mark.parametrize("users", [set(), {65534}, {65534, os.geteuid()}])
async def test_an_agent_that_may_be_another_users_is_not_believed(
    application: Application, monkeypatch: pytest.MonkeyPatch, users: set[int]
) -> None:
    """He could have callbacks go through a server of his own, which passes them on."""

    async def listening(port: int) -> set[int]:
        assert application.url.endswith(f":{port}")
        return users

    application.text = AGENT
    monkeypatch.setattr("callctl.watch.tunnel.ngrok.listening_users", listening)
    with pytest.raises(OthersAgentError, match=r"not known to be yours, and is not used"):
        await find_agent(PORT, agent=application.url)
    assert await find_agent(22, agent=application.url) == []  # it has nothing that could be believed
    users.clear()
    users.add(0)
    assert await find_agent(PORT, agent=application.url) != []


async def test_a_reply_without_end_is_not_read_to_the_end(application: Application) -> None:
    application.text = AGENT + " " * 1_000_000
    assert await find_agent(3000, agent=application.url) != []
    application.text = AGENT + " " * 2**20
    assert await find_agent(3000, agent=application.url) == []


@pytest.mark.parametrize("odd", ["http://[::1", "[", "9" * 5000, "//[::1:80", 10**400, [[]], {}, None, "\ud800", True])
async def test_an_odd_address_of_an_agent_is_passed_over(application: Application, odd: object) -> None:
    tunnels = [
        {"public_url": odd, "config": {"addr": str(PORT)}},
        {"public_url": "https://odd.example.com", "config": {"addr": odd}},
        {"public_url": "https://a.example.com", "config": {"addr": PORT}},
    ]
    application.text = json.dumps({"tunnels": tunnels})
    assert await find_agent(PORT, agent=application.url) == ["https://a.example.com"]

"""The public address in what a tunnel prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from callctl.watch.tunnel.address import AddressFinder, may_follow

RECORDED = Path(__file__).parent / "recorded"
PORT = 8765
LOCAL = "http://127.0.0.1:9"


def addresses(program: str, text: str) -> list[str]:
    finder = AddressFinder(program, port=PORT)
    for line in text.splitlines():
        finder.read(line)
    return finder.candidates


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
def test_recorded_output_has_the_address(program: str, recording: str, address: str) -> None:
    assert addresses(program, (RECORDED / recording).read_text(encoding="utf-8")) == [address]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "http://127.0.0.1:9 https://one.test, https://two.test",
            ["https://one.test", "https://two.test", LOCAL],
        ),
        ("\x1b[32mhttps://one.example.com/\x1b[0m https://one.example.com", ["https://one.example.com"]),
        ("public=https://one.example.com:8443/hooks/status.", ["https://one.example.com:8443/hooks/status"]),
        ("https://docs.test/http of https://one.test", ["https://one.test", "https://docs.test/http"]),
        ("register at https://console.test/keys?add=SHA256%3Aabc", []),
        (f"from http://example.com and http://127.0.0.1:{PORT} to http://127.0.0.1:9/", [LOCAL]),
        ("https://", []),
        ("http://tunnel.example.com", []),
    ],
)
def test_what_may_be_the_tunnels_is_a_candidate_the_likeliest_first(text: str, expected: list[str]) -> None:
    assert addresses("any", text) == expected


def test_the_urls_of_requests_displace_no_other_hosts_address() -> None:
    log = "\n".join(f"took https://one.example.com/status/{number}" for number in range(1000))
    found = addresses("any", f"https://one.example.com\n{log}\nhttps://two.example.com\n{log}")
    assert found[:2] == ["https://one.example.com", "https://two.example.com"]
    assert len(found) == 6


@pytest.mark.parametrize("program", ["ngrok", "any"])
def test_what_can_not_be_an_address_is_passed_over(program: str) -> None:
    text = "url=https://[::1 url=https://[ url=https://:0 url=https://one.example.com"
    assert addresses(program, text) == ["https://one.example.com"]


def test_a_tunnel_that_prints_addresses_without_end_fills_no_memory() -> None:
    assert len(addresses("any", "\n".join(f"https://{number}.example.com" for number in range(1000)))) == 50


@pytest.mark.parametrize(
    "line",
    [
        "Tue Sep 1 10:00:00 2026 GET /https://his.example.com",
        "10:00:00 /https://his.example.com",
        "FOO /x/url=https://his.example.com",
        "FOO one.example.com/?to=https://his.example.com",
        "FOO one.example.com/?to=1&url=https://his.example.com",
        '192.0.2.1 - - "GET / HTTP/1.1" 200 12 "https://his.example.com" "curl"',
        "DELETE https://his.example.com",
        "/ 404 Not Found, sent from https://his.example.com",
        "/ 200 OK url=https://his.example.com",
        "FOO https://his.example.com HTTP/1.1",
    ],
)
@pytest.mark.parametrize("program", ["ngrok", "any"])
def test_a_url_in_a_request_that_a_tunnel_prints_is_no_address_of_it(program: str, line: str) -> None:
    assert addresses(program, f"url=https://one.example.com\n{line}") == ["https://one.example.com"]


@pytest.mark.parametrize(
    ("first", "later", "is_followed"),
    [
        ("https://one.loca.lt", "https://two.loca.lt", True),
        ("https://one.loca.lt", "https://ONE.loca.lt:8443/hooks", True),
        ("https://one.a.free.pinggy.link", "https://two.a.free.pinggy.link", True),
        ("http://127.0.0.1:1001", "http://127.0.0.1:1002", True),
        ("https://bore.pub:1001", "https://bore.pub:1002", True),
        ("https://one.loca.lt", "https://his.example.com", False),
        ("https://one.loca.lt", "https://loca.lt", False),
        ("https://one.loca.lt", "https://two.one.loca.lt", False),
        ("https://one.loca.lt", "https://two.loca.lt.example.com", False),
        ("https://one.loca.lt", "http://one.loca.lt", False),
        ("https://one.a.loca.lt", "https://one.b.loca.lt", False),
        ("https://one.com", "https://two.com", False),
        ("https://one.co.uk", "https://two.co.uk", False),
        ("https://192.0.2.1", "https://198.0.2.1", False),
        ("http://127.0.0.1:1001", "http://localhost:1002", False),
    ],
)
def test_a_tunnel_is_followed_to_addresses_of_its_provider(first: str, later: str, is_followed: bool) -> None:
    assert may_follow(first, later) is is_followed
    finder = AddressFinder("any", port=PORT)
    finder.read(first)
    finder.prove(first)
    finder.read(later)
    assert (later.rstrip("/") in finder.candidates) is is_followed
    # What is http on another machine is no address at all.
    assert finder.other_provider == (None if is_followed or later.startswith("http://one") else later)


def test_an_address_that_is_printed_again_is_the_newest() -> None:
    finder = AddressFinder("any", port=PORT)
    for name in ("one", "two", "three", "one"):
        finder.read(f"https://{name}.loca.lt")
    assert finder.newest() == ["https://one.loca.lt", "https://three.loca.lt", "https://two.loca.lt"]
    assert finder.newest(since=3) == ["https://one.loca.lt"]
    assert finder.newest(since=finder.count) == []


def test_what_was_printed_before_the_proven_address_and_is_of_another_provider_is_forgotten() -> None:
    finder = AddressFinder("any", port=PORT)
    finder.read("see https://console.example.com, then https://one.loca.lt or https://two.loca.lt")
    finder.prove("https://one.loca.lt")
    assert sorted(finder.newest()) == ["https://one.loca.lt", "https://two.loca.lt"]

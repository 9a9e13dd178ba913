"""The public address in what a tunnel prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from callctl.watch.tunnel.address import AddressFinder

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
    log = "\n".join(f"POST https://one.example.com/status/{number}" for number in range(1000))
    found = addresses("any", f"https://one.example.com\n{log}\nhttps://two.example.com\n{log}")
    assert found[:2] == ["https://one.example.com", "https://two.example.com"]
    assert len(found) == 6


@pytest.mark.parametrize("program", ["ngrok", "any"])
def test_what_can_not_be_an_address_is_passed_over(program: str) -> None:
    text = "url=https://[::1 url=https://[ url=https://:0 url=https://one.example.com"
    assert addresses(program, text) == ["https://one.example.com"]


def test_a_tunnel_that_prints_addresses_without_end_fills_no_memory() -> None:
    assert len(addresses("any", "\n".join(f"https://{number}.example.com" for number in range(1000)))) == 50

"""What can be said of a URL without asking anybody."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from callctl.support.urls import (
    is_http_url,
    is_loopback_host,
    is_loopback_url,
    is_same_address,
    joined_queries,
    scheme_hint,
    why_unreachable,
    with_fragment,
    without_user_and_fragment,
)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "127.8.9.10", "::1", "[::1]"]
)
def test_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "128.0.0.1", "::2", "224.0.0.1"],
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8765/status", True),
        ("http://[::1]:8765", True),
        ("https://user@localhost/x", True),
        ("https://localhost@example.com/", False),
        ("https://example.com/localhost", False),
        ("http://[::1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_urls_to_this_machine(url: str, loopback: bool) -> None:
    assert is_loopback_url(url) is loopback


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com:8080/a?b=c#d",
        "HTTPS://EXAMPLE.com/",
        "http://[::1]:1/",
        "https://u:p@h",
    ],
)
def test_http_urls(url: str) -> None:
    assert is_http_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://a b",
        "https://a\n",
        "https://h:x",
        "https://h:0",
        "https://h:99999",
        "https://[::1",
        "javascript:alert(1)",
        "https://a\x7f",
        "/path",
        " https://example.com",
        "https://example.com\\.twilio.com",  # what sends the request goes to example.com
        "http://example.com\\.localhost",
        "http://[::1]5000/",  # the colon is forgotten
        "http://[::1]x:5000/",
        "http://u[::1]@h/",
        "http://%41.example.com/",
        "http://\uff0e/",  # a dot to IDNA
    ],
)
def test_what_is_no_http_url(url: str) -> None:
    assert not is_http_url(url)


_PARTS = (
    "[",
    "]",
    "::1",
    "@",
    ":",
    "5000",
    "/",
    "?",
    "a",
    ".",
    "%",
    "%41",
    "%eth0",
    "\xb2",
    "\uff0e",
    "\xdf",
    "-",
)


@given(st.lists(st.sampled_from(_PARTS), max_size=8).map(lambda parts: "http://" + "".join(parts)))
@example("http://[::1]5000/")
@example("http://%41@\xb2")
def test_what_sends_a_request_takes_every_http_url(url: str) -> None:
    if is_http_url(url):
        assert URL(url).host


@given(st.text() | st.text().map(lambda rest: f"https://{rest}"))
def test_any_text_can_be_asked_about(text: str) -> None:
    if is_http_url(text):
        is_loopback_url(text)
        why_unreachable(text)
        assert "#" not in without_user_and_fragment(text)
    else:
        assert is_loopback_url(text) in (True, False)


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("https://example.com/status", True),
        ("https://u:p@example.com/status#rc=5", True),
        ("HTTPS://Example.com.:443/status/", True),
        ("http://example.com/status", False),
        ("https://example.com/Status", False),
        ("https://example.com/status?a=b", False),
        ("https://example.com:8443/status", False),
        ("", False),
        ("/status", False),
        ("https://[/status", False),
    ],
)
def test_what_leads_to_the_same_address(url: str, *, is_same: bool) -> None:
    assert is_same_address(url, "https://example.com/status") is is_same


@pytest.mark.parametrize(
    "url", ["https://example.com/status", "https://8.8.8.8/x", "https://example.com.:8443/", "https://[2606:4700::1]/"]
)
def test_what_twilio_may_reach(url: str) -> None:
    assert why_unreachable(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost:8765/", "loopback"),
        ("http://127.0.0.1/", "loopback"),
        ("http://[::1]/", "loopback"),
        ("https://my_host.example.com/", "underscore"),
        ("http://10.1.2.3/", "private"),
        ("http://192.168.1.1/", "private"),
        ("http://169.254.1.1/", "private"),
        ("http://[fe80::1]/", "private"),
        ("http://0.0.0.0/", "private"),
        ("http://127.1/", "unusual spelling"),
        ("http://0x7f.1/", "unusual spelling"),
        ("http://2130706433/", "unusual spelling"),
        ("http://intranet/", "no domain"),
    ],
)
def test_why_twilio_can_not(url: str, reason: str) -> None:
    assert reason in (why_unreachable(url) or "")


@pytest.mark.parametrize(
    ("url", "wire"),
    [
        ("https://example.com/s?a=1#rc=3&rp=all", "https://example.com/s?a=1"),
        ("https://user:password@example.com:8443/s", "https://example.com:8443/s"),
        ("https://u@[::1]:80/", "https://[::1]:80/"),
        ("https://example.com/@here", "https://example.com/@here"),
    ],
)
def test_as_it_goes_over_the_wire(url: str, wire: str) -> None:
    assert without_user_and_fragment(url) == wire


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("https://example.com/status", "https://example.com/status#rc=5"),
        ("https://example.com/status#rp=all", "https://example.com/status#rp=all"),
    ],
)
def test_a_fragment_is_added_where_there_is_none(url: str, whole: str) -> None:
    assert with_fragment(url, "rc=5") == whole


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("example.com/x.xml", "https:// is missing: https://example.com/x.xml"),
        ("//example.com/x", "https:// is missing: https://example.com/x"),
        ("https:/example.com/x", "https:// is missing: https://example.com/x"),
        ("example.com:8080", "https:// is missing: https://example.com:8080"),
        ("localhost:8000/x", "http:// is missing: http://localhost:8000/x"),
        ("127.0.0.1:8000", "http:// is missing: http://127.0.0.1:8000"),
        ("https//example.com/x", "https:// is missing: https://example.com/x"),
        ("https//ann:fake-word@example.com/x", "https:// is missing: https://ann:***@example.com/x"),
        ("ann:fake-word@example.com", "https:// is missing: https://ann:***@example.com"),
        ("HTTP//key@example.com", "https:// is missing: https://***@example.com"),
        ("htps//ann:fake-word@example.com/x", "else"),
        ("https//ann:fake/word@example.com/x", "else"),
        ("https//ann:fake#word@example.com/x", "else"),
        ("https.example.com/x", "https:// is missing: https://https.example.com/x"),
        ("survey", "else"),
        ("", "else"),
        ("ftp://example.com/", "else"),
        ("https://exa mple.com/", "else"),
        ("exa mple.com/", "else"),
        ("http://[::1", "else"),
        ("[::1", "else"),
    ],
)
def test_a_missing_scheme_is_named(text: str, hint: str) -> None:
    assert scheme_hint(text, otherwise="else") == hint


@pytest.mark.parametrize(
    ("own", "query", "joined"),
    [
        ("", "", ""),
        ("a=1", "", "a=1"),
        ("", "b=2", "b=2"),
        ("a=1", "b=2", "a=1&b=2"),
        ("a=1", "a=1", "a=1"),
        ("a=1&c=3", "b=2&a=2", "c=3&b=2&a=2"),
        ("a=1&a=2&b", "a=3&a=4", "b&a=3&a=4"),
        ("%61+b=1&&c", "a%20b=2", "c&a%20b=2"),
        ("a=1", "b=%C3%A9&c=x+y%2B", "a=1&b=%C3%A9&c=x+y%2B"),  # as they are written
    ],
)
def test_of_two_queries_the_second_one_counts_for_a_name_that_both_have(own: str, query: str, joined: str) -> None:
    assert joined_queries(own, query) == joined

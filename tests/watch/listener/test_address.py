"""Where a listener is, and over which URLs a request may be signed."""

from __future__ import annotations

import pytest

from callctl.watch.listener.address import Address


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765"),
        ("0.0.0.0", "http://127.0.0.1:8765"),  # noqa: S104 - nothing is bound
        ("::", "http://[::1]:8765"),
        ("", "http://127.0.0.1:8765"),
    ],
)
def test_the_address_on_this_machine_can_be_connected_to(host: str, url: str) -> None:
    assert Address(host, 8765, "/status", None).url == url


def test_twilio_is_given_the_public_url_and_else_the_local_one() -> None:
    assert Address("127.0.0.1", 1, "/status", None).callback_url == "http://127.0.0.1:1/status"
    public = Address("127.0.0.1", 1, "/status", "https://ann:secret@example.com/hooks/status")
    assert public.callback_url == "https://ann:secret@example.com/hooks/status"
    assert public.shown_url == "https://ann:***@example.com/hooks/status"


@pytest.mark.parametrize(
    ("public_url", "document"),
    [
        ("https://example.com/status", "https://example.com/twiml/survey"),
        ("https://example.com/hooks/status?x=1", "https://example.com/hooks/twiml/survey"),
        ("https://example.com/elsewhere", "https://example.com/twiml/survey"),
    ],
)
def test_a_document_lies_beside_the_callbacks(public_url: str, document: str) -> None:
    assert Address("127.0.0.1", 1, "/status", public_url, ("survey",)).document_url("survey") == document


def test_a_request_may_be_signed_over_the_public_url_and_over_each_local_one() -> None:
    address = Address("127.0.0.1", 1, "/status", "https://example.com/hooks/status", ("survey",))
    local = ["http://127.0.0.1:1", "http://localhost:1"]
    assert address.signed_urls == {
        "/status": ["https://example.com/hooks/status", *(f"{url}/status" for url in local)],
        "/twiml/survey": ["https://example.com/hooks/twiml/survey", *(f"{url}/twiml/survey" for url in local)],
    }
    assert address.paths == {
        "/hooks/status": "/status",
        "/status": "/status",
        "/hooks/twiml/survey": "/twiml/survey",
        "/twiml/survey": "/twiml/survey",
    }

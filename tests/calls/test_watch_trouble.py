"""What went wrong with a watch, for people and for programs."""

from __future__ import annotations

from callctl.calls.watch_trouble import Cause, Trouble


def test_it_is_a_sentence_and_shows_no_password() -> None:
    trouble = Trouble("can't reach https://ann:secret@example.com", Cause.API, url="https://ann:secret@example.com")
    assert trouble == "can't reach https://ann:***@example.com"
    assert trouble.url == "https://ann:***@example.com"


def test_a_record_says_whether_it_is_over() -> None:
    trouble = Trouble("it fails", Cause.STORE, status=500, call_sid="CA1")
    assert trouble.to_json() == {
        "v": 1,
        "type": "trouble",
        "cause": Cause.STORE.value,
        "text": "it fails",
        "url": None,
        "status": 500,
        "call_sid": "CA1",
    }
    assert Trouble("it works", Cause.STORE, is_over=True).to_json()["type"] == "resolved"

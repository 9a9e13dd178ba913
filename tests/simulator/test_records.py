"""How much of what happened is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.simulator import Received, Reply, Sent, records
from callctl.simulator.records import MAX_BODY, Records


def received(body: bytes = b"") -> Received:
    return Received("GET", "/", {}, {}, {}, Reply(200, body))


def sent(url: str = "http://127.0.0.1:9/", body: bytes = b"", **params: str) -> Sent:
    return Sent("POST", url, "CA1", "ringing", Reply(200, body), params=params)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 8), st.integers(0, 30))
def test_the_newest_of_each_direction_are_kept_and_numbered_together(kinds: list[bool], keep: int, after: int) -> None:
    seen = list[object]()
    kept = Records(keep=keep, on_traffic=seen.append)
    for is_received in kinds:
        if is_received:
            kept.received(received())
        else:
            kept.sent(sent())
    numbers = {True: list[int](), False: list[int]()}
    for number, is_received in enumerate(kinds, 1):
        numbers[is_received].append(number)
    expected = sorted(number for each in numbers.values() for number in each[len(each) - min(keep, len(each)) :])
    assert [each.number for each in kept.after(after)] == [number for number in expected if number > after]
    assert (kept.last, len(seen)) == (len(kinds), len(kinds))


def test_a_body_is_kept_up_to_a_limit() -> None:
    kept = Records()
    kept.received(received(b"a" * MAX_BODY + b"b"))
    kept.sent(sent(body=b"a" * MAX_BODY + b"b"))
    for record in kept.after():
        assert record.reply is not None
        assert record.reply.body == b"a" * MAX_BODY


def test_many_long_bodies_push_each_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BODIES", 100)
    kept = Records()
    for size in (60, 30, 10, 5):
        kept.received(received(b"a" * size))
    assert [record.number for record in kept.after()] == [2, 3, 4]


@pytest.mark.parametrize(
    ("given_text", "kept_text"),
    [
        ("http://ann:secret@127.0.0.1/a", "http://127.0.0.1/a"),
        ("<Play>https://ann@127.0.0.1/a@b</Play>", "<Play>https://127.0.0.1/a@b</Play>"),
        ("http://127.0.0.1/?to=ann@example.com", "http://127.0.0.1/?to=ann@example.com"),
        ("sip:ann@example.com", "sip:ann@example.com"),
        ("é http://é:é@127.0.0.1/ é", "é http://127.0.0.1/ é"),
    ],
)
def test_user_and_password_of_a_url_are_left_out(given_text: str, kept_text: str) -> None:
    kept = Records()
    kept.sent(sent(body=given_text.encode(), Url=given_text))
    (record,) = kept.all_sent()
    assert record.reply is not None
    assert (record.params["Url"], record.reply.text) == (kept_text, kept_text)

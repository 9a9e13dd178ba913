"""What is shown of a simulator where a test fails."""

from callctl.simulator import Reply, Sent
from callctl.simulator.summary import MOST_TEXT, Summary


def sent(reply: Reply | None, kind: str = "document") -> Sent:
    return Sent("POST", "http://127.0.0.1:5000/voice", "CA1", "ringing", reply, kind, {"Digits": "1", "To": "x"})


def lines(*requests: Sent) -> list[str]:
    return Summary(2.5, (), (), requests).text().splitlines()


def test_a_document_stands_below_its_request_and_an_answer_to_a_callback_only_where_it_was_refused() -> None:
    assert lines(sent(Reply(200, b"<Response>\n  <Say>Hello</Say>\n</Response>"))) == [
        "at 2.5 s: 0 calls, 0 requests received, 1 made",
        "    0.0 -> 200 POST http://127.0.0.1:5000/voice document ringing Digits=1 CA1",
        "           <Response> <Say>Hello</Say> </Response>",
    ]
    assert len(lines(sent(Reply(204, b"fine"), "callback"))) == 2
    assert lines(sent(Reply(500, b"KeyError: 'From'"), "callback"))[2].strip() == "KeyError: 'From'"


def test_what_a_fault_dropped_and_what_failed() -> None:
    assert lines(sent(None, "callback"))[1].split()[:3] == ["0.0", "->", "dropped"]
    assert lines(sent(Reply(None, error="no reply within 15 s")))[2].strip() == "no reply within 15 s"


def test_what_others_have_sent_does_nothing_to_a_terminal_and_is_not_endless() -> None:
    shown = lines(sent(Reply(200, b"\x1b[2J\r\x07" + b"x" * 10_000)))[2]
    assert shown.isprintable()
    assert len(shown.strip()) == MOST_TEXT + 1

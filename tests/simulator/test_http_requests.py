"""Requests to the application as data."""

import pytest

from callctl.simulator.http_requests import BEFORE, OutgoingRequest, Reply, Sent


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (302, False), (404, False), (None, False)])
def test_which_replies_are_good(status: int | None, ok: bool) -> None:
    assert Reply(status).ok is ok


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"CallStatus": "ringing"}, "ringing"),
        ({"RecordingStatus": "completed"}, "completed"),
        ({"StatusCallbackEvent": "participant-join"}, "participant-join"),
        ({"AnsweredBy": "human"}, "human"),
        ({"UnstableSpeechResult": "I"}, ""),
    ],
)
def test_what_the_record_of_a_request_says(params: dict[str, str], status: str) -> None:
    request = OutgoingRequest("http://127.0.0.1:9/status#rc=2", "POST", {"CallSid": "CA1"} | params)
    sent = Sent.of(request, None, BEFORE)
    assert (sent.url, sent.call, sent.about) == ("http://127.0.0.1:9/status", "CA1", status)

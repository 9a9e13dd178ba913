"""Refusals of every shape become errors of ours: right kind, one clean sentence, every fact the reply has."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from api.conftest import ACCOUNT, TOKEN, StartApi
from api.scripted import reply
from events import samples

from callctl.calls.filter import CallFilter
from callctl.errors import (
    ApiError,
    AuthenticationError,
    NetworkError,
    NotFoundError,
    RateLimitedError,
    WrongCallStateError,
)

SID = "CA" + "1" * 32


def published() -> list[Any]:
    bodies = [entry for entry in samples("errors.json") if entry["body"]]
    return [pytest.param(entry, id=f"{entry['code']}-{number}") for number, entry in enumerate(bodies)]


KINDS = {20003: AuthenticationError, 20404: NotFoundError, 20429: RateLimitedError, 21220: WrongCallStateError}


@pytest.mark.parametrize("sample", published())
def test_every_known_body_is_reported_whole(start_api: StartApi, sample: dict[str, Any]) -> None:
    status = sample["http_status"] or 400
    api = start_api(reply(status, sample["body"], Twilio_Request_Id="RQ123"))
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    error = caught.value
    assert type(error) is KINDS.get(sample["code"], ApiError)
    assert error.message.startswith(sample["body"]["message"].rstrip("."))
    assert error.status == status
    assert error.code == str(sample["code"])
    assert error.more_info == sample["body"].get("more_info", f"https://www.twilio.com/docs/errors/{sample['code']}")
    assert error.request_id == "RQ123"


SHAPES: list[tuple[str, int, object, type[ApiError], str, str | None]] = [
    ("text code", 422, {"code": "21210", "message": "Bad caller"}, ApiError, "Bad caller", "21210"),
    ("word code", 422, {"code": "invalid_to", "message": "Bad"}, ApiError, "Bad", "invalid_to"),
    ("text code of a state", 422, {"code": "21220", "message": "Over"}, WrongCallStateError, "Over", "21220"),
    ("no code", 404, {"message": "gone"}, NotFoundError, "gone", None),
    ("true as code", 400, {"code": True, "message": "odd"}, ApiError, "odd", None),
    (
        "with detail",
        401,
        {"code": 20003, "message": "No.", "detail": "Bad pair"},
        AuthenticationError,
        "No: Bad pair",
        "20003",
    ),
    ("forbidden", 403, {"code": 20403, "message": "Suspended"}, AuthenticationError, "Suspended", "20403"),
    ("restricted key", 401, {"code": 70051, "message": "Not allowed"}, AuthenticationError, "Not allowed", "70051"),
    (
        "problem+json",
        400,
        {
            "type": "https://www.twilio.com/docs/errors/20001",
            "title": "Invalid parameter",
            "status": 400,
            "code": 20001,
            "detail": "To is odd",
            "errors": [{"detail": "must be E.164", "pointer": "#/To"}, "nonsense"],
        },
        ApiError,
        "Invalid parameter: To is odd; must be E.164 (#/To)",
        "20001",
    ),
    (
        "problem without detail",
        404,
        {"type": "about:blank", "title": "Not Found", "status": 404},
        NotFoundError,
        "Not Found",
        None,
    ),
    ("other words", 400, {"error_message": "bad thing"}, ApiError, "bad thing", None),
    ("msg", 401, {"msg": "who are you"}, AuthenticationError, "who are you", None),
    ("error", 400, {"error": "invalid_request", "error_description": "No To"}, ApiError, "No To", None),
    ("one deeper", 400, {"error": {"code": 7, "message": "bad"}}, ApiError, "bad", "7"),
    ("a list of texts", 422, {"errors": ["To is odd", "From too"]}, ApiError, "To is odd; From too", None),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words", "code"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES]
)
def test_other_shapes(
    start_api: StartApi, status: int, body: object, kind: type[ApiError], words: str, code: str | None
) -> None:
    api = start_api(reply(status, body))
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    assert type(caught.value) is kind
    assert caught.value.message == words
    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_problems_type_is_its_documentation(start_api: StartApi) -> None:
    api = start_api(reply(400, {"type": "https://example.com/problems/7", "title": "Seven"}))
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    assert caught.value.more_info == "https://example.com/problems/7"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFoundError),
        (502, ApiError),
        (599, ApiError),
    ],
)
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b"", "an empty body"),
        (b"<html><title>Bad</title></html>", "a page or XML instead of JSON"),
        (b"[1, 2]", "JSON of another shape"),
        (b"{}", "JSON of another shape"),
        (b"nope", "no JSON"),
        (b"[" * 100_000, "JSON of another shape"),
    ],
)
def test_bodies_without_an_explanation_still_give_a_sentence(
    start_api: StartApi, status: int, kind: type[ApiError], body: bytes, shape: str
) -> None:
    api = start_api(reply(status, body))
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    assert type(caught.value) is kind
    assert f"answered HTTP {status}" in caught.value.message
    assert shape in caught.value.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"upstream connect error, reset before headers", "(no JSON): upstream connect error, reset before headers"),
        (
            b"<html><head><title>502 Bad\n Gateway</title></head><body>x</body></html>",
            "instead of JSON): 502 Bad Gateway",
        ),
        (b"<p>Caf&eacute; <b>closed</b><script>var x</script></p>", "instead of JSON): Caf\u00e9 closed"),
        (b'{"oops": "bad"}', '(JSON of another shape): {"oops": "bad"}'),
        (b"bad \x1b[2Jtoken " + TOKEN.encode(), "(no JSON): bad token ***"),
        (b"x" * 9000, "(no JSON): xxx"),
    ],
)
def test_the_words_of_any_body_are_reported(start_api: StartApi, body: bytes, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        start_api(reply(503, body)).client.fetch(SID)
    assert words in caught.value.message
    assert len(caught.value.message) < 600
    assert caught.value.message.isprintable()


def test_the_2010_apis_own_xml_is_read(start_api: StartApi) -> None:
    body = (
        b"<?xml version='1.0'?><TwilioResponse><RestException><Code>20404</Code><Message>A &amp; B not found</Message>"
        b"<MoreInfo>https://www.twilio.com/docs/errors/20404</MoreInfo><Status>404</Status></RestException></TwilioResponse>"
    )
    with pytest.raises(NotFoundError) as caught:
        start_api(reply(404, body)).client.fetch(SID)
    assert (caught.value.message, caught.value.code) == ("A & B not found", "20404")
    assert caught.value.more_info == "https://www.twilio.com/docs/errors/20404"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirections_are_not_followed(start_api: StartApi, status: int) -> None:
    elsewhere = start_api(reply(200, {"sid": SID, "status": "completed"}))
    api = start_api(reply(status, b"", Location=elsewhere.server.url))
    for act in (api.client.fetch, api.client.hangup):
        with pytest.raises(ApiError, match=f"HTTP {status} .* points elsewhere") as caught:
            act(SID)
        assert "CALLCTL_API_URL" in (caught.value.hint or "")
    assert elsewhere.server.received == []


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b"[]", b"null", b'{"status": "completed"}', b"{"])
def test_a_success_that_is_no_call_is_no_usable_answer(start_api: StartApi, body: bytes) -> None:
    api = start_api(reply(200, body))
    for act in (api.client.fetch, api.client.hangup):
        with pytest.raises(NetworkError, match=r"answered.*but not") as caught:
            act(SID)
        assert "CALLCTL_API_URL" in (caught.value.hint or "")


def test_errors_of_lists_have_their_code_too(start_api: StartApi) -> None:
    api = start_api(reply(401, {"code": 20003, "message": "Authenticate"}))
    with pytest.raises(AuthenticationError) as caught:
        list(api.client.list(CallFilter(), limit=None))
    assert caught.value.code == "20003"
    for cause in ("Region", "deleted", "test credentials", "blank", "active"):
        assert cause in (caught.value.hint or "")


def test_foreign_words_become_one_harmless_line(start_api: StartApi) -> None:
    words = "a\x1b[31mred\x1b[0m\r\nline\x00\x9b2J \u2028 end"
    api = start_api(
        reply(
            400, {"code": "\x1b[1m7", "message": words, "more_info": "https://x/\x1b]0;t\x07"}, Twilio_Request_Id="RQ"
        )
    )
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    text = f"{caught.value.message}{caught.value.code}{caught.value.more_info}"
    assert text.isprintable()
    assert caught.value.message == "ared line end"


def test_words_of_control_characters_alone_count_as_none(start_api: StartApi) -> None:
    api = start_api(reply(400, {"message": "\x1b[2J\x07"}))
    with pytest.raises(ApiError, match="answered HTTP 400 Bad Request"):
        api.client.fetch(SID)


def test_a_long_message_is_cut(start_api: StartApi) -> None:
    api = start_api(reply(400, {"message": "x" * 10_000}))
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    assert len(caught.value.message) == 400


def test_a_server_that_echoes_secrets_does_not_get_them_printed(start_api: StartApi) -> None:
    api = start_api(
        reply(
            400, {"code": TOKEN, "message": f"bad token {TOKEN} signed fake-signing", "more_info": f"https://x/{TOKEN}"}
        ),
        signing_token="fake-signing",
    )
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    assert caught.value.message == "bad token *** signed ***"
    assert TOKEN not in f"{caught.value.code}{caught.value.more_info}{caught.value!r}"


@pytest.mark.parametrize(
    "settings",
    [
        {"signing_token": "fake-signing,fake-former"},
        {"api_key": "SK" + "2" * 32, "api_secret": "fake-secret?>", "signing_token": "fake-former, fake-signing"},
    ],
)
def test_a_server_that_echoes_the_request_does_not_get_secrets_printed(
    start_api: StartApi, settings: dict[str, str]
) -> None:
    user, secret = settings.get("api_key", ACCOUNT), settings.get("api_secret", TOKEN)
    basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
    words = f"field too long: Authorization: Basic {basic}; {secret} {TOKEN} fake-signing fake-former"
    api = start_api(reply(400, {"message": words}), **settings)
    with pytest.raises(ApiError) as caught:
        api.client.fetch(SID)
    assert caught.value.message == "field too long: Authorization: Basic ***; *** *** *** ***"

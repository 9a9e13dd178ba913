"""Lists: followed to their end, each row once, and never for ever."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import count, islice
from typing import Any
from urllib.parse import urlencode

import pytest
from api.conftest import ACCOUNT, StartApi
from api.scripted import Turn, call, reply
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.api.pages import on_base, rows
from callctl.api.resources import Notification
from callctl.calls.filter import CallFilter
from callctl.errors import NetworkError, NotFoundError, NoThreadError

PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
ALL = CallFilter()


def sid(number: int) -> str:
    return f"CA{number:032x}"


def page(*numbers: int, next_uri: object = None, **fields: object) -> Turn:
    return reply(200, {"calls": [call(sid(number), **fields) for number in numbers], "next_page_uri": next_uri})


def sids(listed: Iterator[Any]) -> list[str]:
    return [one.sid for one in listed]


TWO_PAGES = [f"{PATH}?PageSize=2", f"{PATH}?PageSize=2&Page=1&PageToken=PACA2"]


def test_pages_are_followed_and_with_a_limit_asked_for_only_when_needed(start_api: StartApi) -> None:
    api = start_api(page(1, 2, next_uri=TWO_PAGES[1]), page(3))
    listed = api.client.list(ALL, page_size=2, limit=4)
    assert api.server.received == []
    assert sids(islice(listed, 2)) == [sid(1), sid(2)]
    assert len(api.server.received) == 1
    assert sids(listed) == [sid(3)]
    assert [request.target for request in api.server.received] == TWO_PAGES


@pytest.fixture
def slow_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.api.pages._SLOW", -1.0)


def test_of_a_quick_api_no_page_is_asked_for_before_it_is_needed(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.api.pages._SLOW", 60.0)
    monkeypatch.setattr("callctl.api.pages.start_in_thread", lambda _work: pytest.fail("a page was read ahead"))
    api = start_api(page(1, 2, next_uri=TWO_PAGES[1]), page(3))
    assert sids(api.client.list(ALL, page_size=2, limit=None)) == [sid(1), sid(2), sid(3)]


@pytest.mark.usefixtures("slow_api")
def test_without_a_limit_the_next_page_is_asked_for_while_one_is_read(start_api: StartApi) -> None:
    api = start_api(page(1, 2, next_uri=TWO_PAGES[1]), page(3))
    listed = api.client.list(ALL, page_size=2, limit=None)
    assert api.server.received == []
    assert next(listed).sid == sid(1)
    api.server.wait_for(2)
    assert [request.target for request in api.server.received] == TWO_PAGES
    assert sids(listed) == [sid(2), sid(3)]
    assert len(api.server.received) == 2


@pytest.mark.usefixtures("slow_api")
def test_a_page_that_is_refused_is_an_error_after_the_rows_before_it(start_api: StartApi) -> None:
    api = start_api(page(1, 2, next_uri=TWO_PAGES[1]), reply(404, {"code": 20404, "status": 404, "message": "x"}))
    listed = api.client.list(ALL, page_size=2, limit=None)
    assert sids(islice(listed, 2)) == [sid(1), sid(2)]
    with pytest.raises(NotFoundError):
        next(listed)


@pytest.mark.usefixtures("slow_api")
def test_without_a_thread_left_a_page_is_asked_for_once_it_is_needed(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_work: object) -> None:
        raise NoThreadError

    monkeypatch.setattr("callctl.api.pages.start_in_thread", refuse)
    api = start_api(page(1, 2, next_uri=TWO_PAGES[1]), page(3))
    assert sids(api.client.list(ALL, page_size=2, limit=None)) == [sid(1), sid(2), sid(3)]
    assert [request.target for request in api.server.received] == TWO_PAGES


@pytest.mark.parametrize(
    ("limit", "query", "size"),
    [
        (None, ALL, "1000"),
        (3, ALL, "3"),
        (5000, ALL, "1000"),
        (3, CallFilter(statuses=("ringing",)), "50"),
        (200, CallFilter(statuses=("ringing",)), "200"),
    ],
)
def test_no_more_is_asked_for_than_is_needed(
    start_api: StartApi, limit: int | None, query: CallFilter, size: str
) -> None:
    api = start_api(page())
    assert sids(api.client.list(query, limit=limit)) == []
    assert dict(api.server.received[0].query)["PageSize"] == size


def test_the_limit_ends_it(start_api: StartApi) -> None:
    api = start_api(page(1, 2, 3, next_uri=f"{PATH}?Page=1"))
    assert sids(api.client.list(ALL, limit=2)) == [sid(1), sid(2)]
    assert sids(api.client.list(ALL, limit=0)) == []
    assert len(api.server.received) == 1


def test_a_row_pushed_onto_the_next_page_is_shown_once(start_api: StartApi) -> None:
    api = start_api(page(1, 2, 3, next_uri=f"{PATH}?Page=1"), page(2, 3, 4, next_uri=f"{PATH}?Page=2"), page(4, 5))
    assert sids(api.client.list(ALL, limit=None)) == [sid(number) for number in (1, 2, 3, 4, 5)]


def test_a_server_that_ignores_filters_is_checked(start_api: StartApi) -> None:
    first = reply(
        200, {"calls": [call(sid(1), status="ringing"), call(sid(2), status="busy")], "next_page_uri": f"{PATH}?Page=1"}
    )
    api = start_api(first, page(3, status="ringing"))
    assert sids(api.client.list(CallFilter(statuses=("ringing",)), limit=2)) == [sid(1), sid(3)]


@pytest.mark.parametrize("uri", [f"{PATH}?PageSize=1000", f"{PATH}?Page=1"])
def test_the_same_page_for_ever_is_noticed(start_api: StartApi, uri: str) -> None:
    api = start_api(page(1, 2, next_uri=uri))
    listed = api.client.list(ALL, limit=None)
    assert sids(islice(listed, 2)) == [sid(1), sid(2)]
    with pytest.raises(NetworkError, match="does not end"):
        next(listed)
    assert len(api.server.received) == (1 if uri.endswith("1000") else 2)


def endless(cycle: int) -> Iterator[dict[str, Any]]:
    for number in count():
        yield {"calls": [call(sid(number % cycle))], "next_page_uri": f"{PATH}?Page={number + 1}"}


def test_so_is_one_that_counts_on_with_the_same_rows() -> None:
    pages = endless(1)
    requested = []

    def fetch(url: str) -> dict[str, Any]:
        requested.append(url)
        return next(pages)

    with pytest.raises(NetworkError, match="does not end"):
        list(rows(fetch, PATH, key="calls", base="https://api.twilio.com", warn=pytest.fail))
    assert len(requested) == 4


@settings(deadline=None)
@given(before=st.integers(0, 20), around=st.integers(1, 20))
def test_a_circle_of_any_length_is_noticed_even_if_its_rows_are_new(before: int, around: int) -> None:
    numbers = count()
    fetches = count()

    def fetch(url: str) -> dict[str, Any]:
        page = int(url.rpartition("=")[2])
        following = page + 1 if page + 1 < before + around else before
        assert next(fetches) < 200
        return {"calls": [call(sid(next(numbers)))], "next_page_uri": f"{PATH}?Page={following}"}

    with pytest.raises(NetworkError, match="does not end"):
        list(
            rows(
                fetch,
                f"https://api.twilio.com{PATH}?Page=0",
                key="calls",
                base="https://api.twilio.com",
                warn=pytest.fail,
            )
        )


def test_memory_does_not_grow_with_the_account() -> None:
    def peak(pages: int) -> int:
        def fetch(url: str) -> dict[str, Any]:
            number = int(url.rpartition("=")[2])
            following = f"/x?Page={number + 1}" if number + 1 < pages else None
            return {
                "calls": [{"sid": f"CA{number * 1000 + row:032x}"} for row in range(1000)],
                "next_page_uri": following,
            }

        tracemalloc.start()
        try:
            total = sum(1 for _ in rows(fetch, "https://h/x?Page=0", key="calls", base="https://h", warn=pytest.fail))
            assert total == pages * 1000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40) < 1.3 * peak(10)  # by then as many SIDs are remembered as ever are


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"calls": None}, "holds no calls"),
        ({}, "holds no calls"),
        ({"calls": {"1": 2}}, "holds no calls"),
        ([], "but not as the API does"),
    ],
)
def test_a_page_that_is_none(start_api: StartApi, body: object, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        list(start_api(reply(200, body)).client.list(ALL, limit=None))


def test_rows_that_are_none_are_left_out(start_api: StartApi) -> None:
    api = start_api(reply(200, {"calls": [7, None, {}, {"sid": 5}, {"sid": ""}, call(sid(1))]}))
    assert sids(api.client.list(ALL, limit=None)) == [sid(1)]


@pytest.mark.parametrize("ending", [None, "", 0, False])
def test_every_way_to_say_that_there_is_no_next_page(start_api: StartApi, ending: object) -> None:
    assert sids(start_api(page(1, next_uri=ending)).client.list(ALL, limit=None)) == [sid(1)]


@pytest.mark.parametrize(
    "uri",
    [
        "/2010-04-01/Accounts/AC1/Calls.json?Page=1",
        "/api/laml/2010-04-01/Accounts/AC1/Calls.json?Page=1",
        "https://inner.example.com/api/laml/2010-04-01/Accounts/AC1/Calls.json?Page=1",
        "http://inner.example.com:8080/2010-04-01/Accounts/AC1/Calls.json?Page=1#top",
        "//evil.example.com/2010-04-01/Accounts/AC1/Calls.json?Page=1",
        "?Page=1",
        "Calls.json?Page=1",
    ],
)
def test_the_next_page_is_on_the_api_address_whatever_the_server_writes(uri: str) -> None:
    base = "https://space.example.com/api/laml"
    current = f"{base}/2010-04-01/Accounts/AC1/Calls.json?PageSize=50"
    assert on_base(uri, current=current, base=base) == f"{base}/2010-04-01/Accounts/AC1/Calls.json?Page=1"


@pytest.mark.parametrize("prefix", ["", "/api/laml"])
def test_a_base_address_with_a_path_is_paged_through(start_api: StartApi, prefix: str) -> None:
    api = start_api(page(1, next_uri=f"{prefix}{PATH}?Page=1"), page(2), path="/api/laml")
    assert sids(api.client.list(ALL, limit=None)) == [sid(1), sid(2)]
    assert [request.path for request in api.server.received] == [f"/api/laml{PATH}"] * 2


def test_notifications_are_read_whole(start_api: StartApi) -> None:
    one = {
        "sid": "NO" + "1" * 32,
        "log": "0",
        "error_code": "11200",
        "message_text": "ErrorCode=11200&LogLevel=ERROR&Msg=HTTP+retrieval+failure&EmailNotification=false",
        "message_date": "Mon, 05 Jan 2026 10:00:00 +0000",
        "more_info": "https://www.twilio.com/docs/errors/11200",
        "request_url": "https://example.com/twiml",
    }
    other = {
        "sid": "NO" + "2" * 32,
        "log": 1,
        "error_code": 21626,
        "message_text": "plain words = here",
        "message_date": None,
    }
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{sid(1)}/Notifications.json"
    api = start_api(
        reply(200, {"notifications": [one], "next_page_uri": f"{path}?Page=1"}),
        reply(200, {"notifications": [other], "next_page_uri": None}),
    )
    first, second = api.client.notifications(sid(1))
    assert (first.code, first.level, first.message) == ("11200", "error", "HTTP retrieval failure")
    assert first.date is not None
    assert first.date.isoformat() == "2026-01-05T10:00:00+00:00"
    assert (first.more_info, first.request_url) == (one["more_info"], one["request_url"])
    assert (second.code, second.level, second.message, second.date) == ("21626", "warning", "plain words = here", None)
    assert [request.path for request in api.server.received] == [path, path]


def test_the_password_of_an_address_in_a_notification_is_masked() -> None:
    url, shown = "https://ann:fake-word@example.com/status", "https://ann:***@example.com/status"
    plain = {"request_url": url, "message_text": f"no answer from {url}"}
    form = {"request_url": url, "message_text": urlencode({"Msg": f"no answer from {url}"})}
    for resource in (plain, form):
        note = Notification.from_resource({"sid": "NO" + "1" * 32, **resource})
        assert (note.request_url, note.message) == (shown, f"no answer from {shown}")


@pytest.mark.parametrize("words", [{"Msg": ""}, {}])
def test_a_notification_without_words_shows_no_other_field_of_its_form(words: dict[str, str]) -> None:
    form = {"ErrorCode": "11200", "url": "https://ann:fake-word@example.com/?From=+12025550142", **words}
    note = Notification.from_resource({"sid": "NO" + "1" * 32, "message_text": urlencode(form)})
    assert note.message == "no message"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/apiary/Calls.json", "/api/apiary/Calls.json"),
        ("/api/Calls.json", "/api/Calls.json"),
        ("/api", "/api/api"),
    ],
)
def test_a_path_that_only_begins_like_that_of_the_api_address_is_another(uri: str, path: str) -> None:
    base = "https://space.example.com/api"
    assert on_base(f"{uri}?Page=1", current=f"{base}/x.json", base=base) == f"https://space.example.com{path}?Page=1"


def test_pages_without_a_new_row_count_only_in_a_row() -> None:
    """In an account that moves on fast."""
    numbers = (1, 1, 1, 2, 2, 2, 3, 3, 3, 4)

    def fetch(url: str) -> dict[str, Any]:
        page = int(url.rpartition("=")[2])
        following = f"{PATH}?Page={page + 1}" if page + 1 < len(numbers) else None
        return {"calls": [call(sid(numbers[page]))], "next_page_uri": following}

    base = "https://api.twilio.com"
    listed = rows(fetch, f"{base}{PATH}?Page=0", key="calls", base=base, warn=pytest.fail)
    assert [row["sid"] for row in listed] == [sid(number) for number in (1, 2, 3, 4)]

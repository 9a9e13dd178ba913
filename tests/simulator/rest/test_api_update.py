"""Update in every status and under each reading (docs/twilio.md, "REST: updating a call")."""

from collections.abc import AsyncIterator

import pytest
from simulator.world import ANSWERS, BUSY, EVENTS_ATTRIBUTE, FAILS, FROM, NEVER, Json, World, a_world

REDIRECT = {"Twiml": "<Response><Say>Elsewhere</Say></Response>"}
PAUSE = "<Response><Pause length='600'/></Response>"

# How a call comes into each status: whom it calls, how many seconds later, and how it is changed then.
INTO: dict[str, tuple[str, float, dict[str, str]]] = {
    "queued": (ANSWERS, 0.0, {}),
    "ringing": (NEVER, 1.0, {}),
    "in-progress": (ANSWERS, 5.0, {}),
    "completed": (ANSWERS, 5.0, {"Status": "completed"}),
    "busy": (BUSY, 5.0, {}),
    "failed": (FAILS, 5.0, {}),
    "no-answer": (NEVER, 65.0, {}),
    "canceled": (NEVER, 5.0, {"Status": "canceled"}),
}
ENDED = ("completed", "busy", "failed", "no-answer", "canceled")
REFUSED = (400, 21220)


async def a_call(world: World, status: str) -> Json:
    to, seconds, params = INTO[status]
    call = await world.place(to, Twiml=PAUSE)
    await world.advance(seconds)
    if params:
        await world.update(call["sid"], **params)
    shown = await world.fetch(call["sid"])
    assert shown["status"] == status
    return shown


@pytest.fixture(params=[(), ("cancel-refused-in-progress",), ("hang-up-twice",), ("cancel-spares-dial-legs",)], ids=str)
async def reading(request: pytest.FixtureRequest) -> AsyncIterator[tuple[World, tuple[str, ...]]]:
    async with a_world(readings=request.param) as world:
        yield world, request.param


def expected(row: str, status: str, chosen: tuple[str, ...]) -> tuple[int, int | None, str]:
    """HTTP status, error code and the status a moment later, by the table."""
    if status in ENDED:
        if row == "completed" and "hang-up-twice" in chosen:
            return 200, None, status
        return *REFUSED, status
    match row, status:
        case "canceled", "in-progress":
            refused = "cancel-refused-in-progress" in chosen
            return (*REFUSED, status) if refused else (200, None, status)
        case ("canceled", _) | ("completed", "queued" | "ringing"):
            return 200, None, "canceled"
        case "completed", _:
            return 200, None, "completed"
        case (("Url" | "Twiml"), "in-progress"):
            return 200, None, status
    return *REFUSED, status


@pytest.mark.parametrize("status", list(INTO))
@pytest.mark.parametrize("row", ["canceled", "completed", "Url", "Twiml"])
async def test_matrix(reading: tuple[World, tuple[str, ...]], row: str, status: str) -> None:
    world, chosen = reading
    world.listener.documents["/elsewhere"] = "<Response><Pause length='30'/></Response>"
    call = await a_call(world, status)
    given = {
        "Url": {"Url": f"{world.listener.url}/elsewhere"},
        "Twiml": {"Twiml": "<Response><Pause length='30'/></Response>"},
    }.get(row, {"Status": row})

    answered, body = await world.update(call["sid"], **given)
    await world.advance(0.01)

    after = await world.fetch(call["sid"])
    assert (answered, body.get("code"), after["status"]) == expected(row, status, chosen)
    if answered == 200 and row in ("Url", "Twiml"):
        await world.advance(31)
        assert (await world.fetch(call["sid"]))["status"] == "completed"
        assert len(world.listener.at("/elsewhere")) == (1 if row == "Url" else 0)


async def test_an_ended_call_reports_its_status_once(world: World) -> None:
    call = await a_call(world, "completed")
    await world.update(call["sid"], Status="completed")
    await world.advance(1)
    assert world.statuses(call["sid"]) == ["initiated", "ringing", "in-progress", "completed"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"Url": "http://127.0.0.1:9/", **REDIRECT},
        {"Status": "completed", **REDIRECT},
        {"Status": "completed", "Url": "http://127.0.0.1:9/"},
        {"TimeLimit": "5"},
        {"Method": "GET"},
    ],
)
async def test_one_of_url_twiml_and_status(world: World, params: dict[str, str]) -> None:
    call = await a_call(world, "in-progress")
    status, body = await world.update(call["sid"], **params)
    assert (status, body["code"]) == (400, 21218)
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Status": "busy"}, 20001),
        ({"Url": "survey"}, 21205),
        ({"Twiml": "<Response>"}, 12100),
        ({"Twiml": f"<Response><Say>{'x' * 4000}</Say></Response>"}, 12100),
        ({"Url": "http://127.0.0.1/", "StatusCallback": "http://my_host/"}, 21609),
        ({"Url": "http://127.0.0.1/", "Method": "PUT"}, 21200),
        ({"Status": "completed", "TimeLimit": "soon"}, 20001),
    ],
)
async def test_what_is_malformed_leaves_the_call_alone(world: World, params: dict[str, str], code: int) -> None:
    call = await a_call(world, "in-progress")
    status, body = await world.update(call["sid"], **params)
    assert (status, body["code"]) == (400, code)
    await world.advance(1)
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


async def test_a_status_callback_alone_changes_nothing(world: World) -> None:
    call = await a_call(world, "in-progress")
    status, _ = await world.update(call["sid"], StatusCallback=f"{world.listener.url}/status/other")
    assert status == 200
    await world.update(call["sid"], Status="completed")
    await world.advance(1)
    assert world.statuses(call["sid"])[-1] == "completed"
    assert world.listener.at("/status/other") == []


async def test_a_status_callback_with_url_is_where_the_rest_is_reported(world: World) -> None:
    world.listener.documents["/next"] = "<Response><Say>Hi</Say></Response>"
    call = await a_call(world, "in-progress")
    await world.update(
        call["sid"], Url=f"{world.listener.url}/next", StatusCallback=f"{world.listener.url}/status/other"
    )
    await world.advance(5)
    assert [arrived.form["CallStatus"] for arrived in world.listener.at("/status/other")] == ["completed"]
    assert "completed" not in world.statuses(call["sid"])


async def test_a_status_callback_with_twiml_changes_nothing(world: World) -> None:
    call = await a_call(world, "in-progress")
    other = f"{world.listener.url}/status/other"
    assert (await world.update(call["sid"], StatusCallback=other, **REDIRECT))[0] == 200
    await world.advance(5)
    assert (world.statuses(call["sid"])[-1], world.listener.at("/status/other")) == ("completed", [])


@pytest.mark.parametrize("status", list(INTO))
async def test_a_status_callback_alone_is_taken_until_the_call_has_ended(world: World, status: str) -> None:
    call = await a_call(world, status)
    answered, body = await world.update(call["sid"], StatusCallback=world.status)
    assert (answered, body.get("code")) == (REFUSED if status in ENDED else (200, None))


@pytest.mark.parametrize("requested", ["canceled", "completed"])
@pytest.mark.parametrize(("status", "reported"), [("queued", []), ("ringing", ["initiated", "ringing"])])
async def test_a_call_that_was_not_answered_is_reported_as_canceled(
    world: World, requested: str, status: str, reported: list[str]
) -> None:
    call = await a_call(world, status)
    await world.update(call["sid"], Status=requested)
    await world.advance(70)
    assert world.statuses(call["sid"]) == [*reported, "canceled"]


async def test_a_time_limit_may_come_with_it(world: World) -> None:
    call = await a_call(world, "in-progress")
    await world.update(call["sid"], Twiml=PAUSE, TimeLimit="10")
    await world.advance(20)
    assert (await world.fetch(call["sid"]))["duration"] == "10"


@pytest.mark.parametrize("later", ["20", "7"])
async def test_a_time_limit_takes_the_place_of_the_one_before(world: World, later: str) -> None:
    call = await world.place(ANSWERS, Twiml=PAUSE, TimeLimit="10")
    await world.advance(5)
    await world.update(call["sid"], Twiml=PAUSE, TimeLimit=later)
    await world.advance(30)
    assert world.last(call["sid"])["CallDuration"] == later  # counted from the answer, not from the update


async def test_a_time_limit_alone_is_taken_by_the_other_reading() -> None:
    async with a_world(readings=["time-limit-alone"]) as world:
        call = await a_call(world, "in-progress")
        status, _ = await world.update(call["sid"], TimeLimit="10")
        assert status == 200
        await world.advance(20)
        assert (await world.fetch(call["sid"]))["duration"] == "10"
        assert (await world.update(call["sid"], TimeLimit="10"))[0] == 400  # it has ended


async def dialling(world: World, to: str = NEVER) -> tuple[str, str]:
    """A call whose Dial rings someone; return both SIDs."""
    noun = f'<Number statusCallback="{world.status}" {EVENTS_ATTRIBUTE}>{to}</Number>'
    call = await world.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial><Pause length='60'/></Response>")
    await world.advance(4)
    return call["sid"], (await world.children(call["sid"]))[0]["sid"]


async def test_a_parent_in_dial_is_in_progress_and_only_completed_ends_it(world: World) -> None:
    parent, child = await dialling(world)
    await world.update(parent, Status="canceled")
    assert (await world.fetch(parent))["status"] == "in-progress"
    await world.update(parent, Status="completed")
    await world.advance(0.1)
    assert (world.statuses(parent)[-1], world.statuses(child)[-1]) == ("completed", "canceled")


async def test_canceled_ends_a_leg_ringing_in_dial(world: World) -> None:
    parent, child = await dialling(world)
    assert (await world.update(child, Status="canceled"))[0] == 200
    await world.advance(0.1)
    assert world.statuses(child) == ["initiated", "ringing", "canceled"]
    assert (await world.fetch(parent))["status"] == "in-progress"  # its next verb runs


async def test_canceled_spares_a_leg_ringing_in_dial_by_the_other_reading() -> None:
    async with a_world(readings=["cancel-spares-dial-legs"]) as world:
        _, child = await dialling(world)
        assert (await world.update(child, Status="canceled"))[0] == 200
        await world.advance(0.1)
        assert world.statuses(child) == ["initiated", "ringing"]


async def test_canceled_is_refused_on_a_leg_ringing_in_dial_by_both_readings() -> None:
    async with a_world(readings=["cancel-spares-dial-legs", "cancel-refused-in-progress"]) as world:
        _, child = await dialling(world)
        status, body = await world.update(child, Status="canceled")
        assert (status, body["code"]) == REFUSED
        await world.advance(0.1)
        assert world.statuses(child) == ["initiated", "ringing"]


async def test_completed_ends_a_leg_ringing_in_dial(world: World) -> None:
    _, child = await dialling(world)
    await world.update(child, Status="completed")
    await world.advance(0.1)
    assert world.statuses(child)[-1] == "canceled"


async def test_a_leg_ringing_in_dial_is_not_redirected(world: World) -> None:
    _, child = await dialling(world)
    status, body = await world.update(child, **REDIRECT)
    assert (status, body["code"], body["message"]) == (400, 21220, "Call is not in-progress. Cannot redirect.")


async def test_the_answer_is_the_current_state_and_the_document_runs_afterwards(world: World) -> None:
    world.listener.documents["/next"] = "<Response><Pause length='9'/></Response>"
    call = await a_call(world, "in-progress")
    _, body = await world.update(call["sid"], Url=f"{world.listener.url}/next")
    assert (body["status"], world.listener.at("/next")) == ("in-progress", [])
    await world.advance(0)
    request = world.listener.at("/next")[0]
    assert (request.method, request.form["CallStatus"], request.form["From"]) == ("POST", "in-progress", FROM)


async def test_redirect_by_get_and_fallback(world: World) -> None:
    world.listener.documents["/spare"] = "<Response><Pause length='9'/></Response>"
    call = await a_call(world, "in-progress")
    url = world.listener.url
    await world.update(call["sid"], Url=f"{url}/gone", Method="GET", FallbackUrl=f"{url}/spare", FallbackMethod="GET")
    await world.advance(1)
    assert [arrived.method for arrived in (*world.listener.at("/gone"), *world.listener.at("/spare"))] == ["GET", "GET"]
    assert await world.notes(call["sid"]) == [("11200", "0")]
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


async def test_redirect_during_gather_drops_its_action(world: World) -> None:
    url = world.listener.url
    world.listener.documents |= {
        "/menu": '<Response><Gather timeout="30" action="/choice"/></Response>',
        "/next": "<Response><Pause length='50'/></Response>",
    }
    call = await world.place(ANSWERS, Url=f"{url}/menu")
    await world.advance(5)
    await world.by_hand(call["sid"], "digits", Digits="12")
    await world.update(call["sid"], Url=f"{url}/next")
    await world.advance(40)
    assert (len(world.listener.at("/next")), world.listener.at("/choice")) == (1, [])

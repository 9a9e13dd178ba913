"""Update in every status and under each reading (docs/twilio.md, "REST: updating a call")."""

from collections.abc import AsyncIterator

import pytest
from simulator.setup import ANSWERS, BUSY, EVENTS_ATTRIBUTE, FAILS, FROM, NEVER, Json, SimulatorSetup, simulator_setup

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


async def a_call(setup: SimulatorSetup, status: str) -> Json:
    to, seconds, params = INTO[status]
    call = await setup.place(to, Twiml=PAUSE)
    await setup.advance(seconds)
    if params:
        await setup.update(call["sid"], **params)
    shown = await setup.fetch(call["sid"])
    assert shown["status"] == status
    return shown


@pytest.fixture(params=[(), ("cancel-refused-in-progress",), ("hang-up-twice",), ("cancel-spares-dial-legs",)], ids=str)
async def reading(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SimulatorSetup, tuple[str, ...]]]:
    async with simulator_setup(readings=request.param) as setup:
        yield setup, request.param


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
async def test_matrix(reading: tuple[SimulatorSetup, tuple[str, ...]], row: str, status: str) -> None:
    setup, chosen = reading
    setup.listener.documents["/elsewhere"] = "<Response><Pause length='30'/></Response>"
    call = await a_call(setup, status)
    given = {
        "Url": {"Url": f"{setup.listener.url}/elsewhere"},
        "Twiml": {"Twiml": "<Response><Pause length='30'/></Response>"},
    }.get(row, {"Status": row})

    answered, body = await setup.update(call["sid"], **given)
    await setup.advance(0.01)

    after = await setup.fetch(call["sid"])
    assert (answered, body.get("code"), after["status"]) == expected(row, status, chosen)
    if answered == 200 and row in ("Url", "Twiml"):
        await setup.advance(31)
        assert (await setup.fetch(call["sid"]))["status"] == "completed"
        assert len(setup.listener.at("/elsewhere")) == (1 if row == "Url" else 0)


async def test_an_ended_call_reports_its_status_once(setup: SimulatorSetup) -> None:
    call = await a_call(setup, "completed")
    await setup.update(call["sid"], Status="completed")
    await setup.advance(1)
    assert setup.statuses(call["sid"]) == ["initiated", "ringing", "in-progress", "completed"]


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
async def test_one_of_url_twiml_and_status(setup: SimulatorSetup, params: dict[str, str]) -> None:
    call = await a_call(setup, "in-progress")
    status, body = await setup.update(call["sid"], **params)
    assert (status, body["code"]) == (400, 21218)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


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
async def test_what_is_malformed_leaves_the_call_alone(
    setup: SimulatorSetup, params: dict[str, str], code: int
) -> None:
    call = await a_call(setup, "in-progress")
    status, body = await setup.update(call["sid"], **params)
    assert (status, body["code"]) == (400, code)
    await setup.advance(1)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_a_status_callback_alone_changes_nothing(setup: SimulatorSetup) -> None:
    call = await a_call(setup, "in-progress")
    status, _ = await setup.update(call["sid"], StatusCallback=f"{setup.listener.url}/status/other")
    assert status == 200
    await setup.update(call["sid"], Status="completed")
    await setup.advance(1)
    assert setup.statuses(call["sid"])[-1] == "completed"
    assert setup.listener.at("/status/other") == []


async def test_a_status_callback_with_url_is_where_the_rest_is_reported(setup: SimulatorSetup) -> None:
    setup.listener.documents["/next"] = "<Response><Say>Hi</Say></Response>"
    call = await a_call(setup, "in-progress")
    await setup.update(
        call["sid"], Url=f"{setup.listener.url}/next", StatusCallback=f"{setup.listener.url}/status/other"
    )
    await setup.advance(5)
    assert [arrived.form["CallStatus"] for arrived in setup.listener.at("/status/other")] == ["completed"]
    assert "completed" not in setup.statuses(call["sid"])


async def test_a_status_callback_with_twiml_changes_nothing(setup: SimulatorSetup) -> None:
    call = await a_call(setup, "in-progress")
    other = f"{setup.listener.url}/status/other"
    assert (await setup.update(call["sid"], StatusCallback=other, **REDIRECT))[0] == 200
    await setup.advance(5)
    assert (setup.statuses(call["sid"])[-1], setup.listener.at("/status/other")) == ("completed", [])


@pytest.mark.parametrize("status", list(INTO))
async def test_a_status_callback_alone_is_taken_until_the_call_has_ended(setup: SimulatorSetup, status: str) -> None:
    call = await a_call(setup, status)
    answered, body = await setup.update(call["sid"], StatusCallback=setup.status)
    assert (answered, body.get("code")) == (REFUSED if status in ENDED else (200, None))


@pytest.mark.parametrize("requested", ["canceled", "completed"])
@pytest.mark.parametrize(("status", "reported"), [("queued", []), ("ringing", ["initiated", "ringing"])])
async def test_a_call_that_was_not_answered_is_reported_as_canceled(
    setup: SimulatorSetup, requested: str, status: str, reported: list[str]
) -> None:
    call = await a_call(setup, status)
    await setup.update(call["sid"], Status=requested)
    await setup.advance(70)
    assert setup.statuses(call["sid"]) == [*reported, "canceled"]


async def test_a_time_limit_may_come_with_it(setup: SimulatorSetup) -> None:
    call = await a_call(setup, "in-progress")
    await setup.update(call["sid"], Twiml=PAUSE, TimeLimit="10")
    await setup.advance(20)
    assert (await setup.fetch(call["sid"]))["duration"] == "10"


@pytest.mark.parametrize("later", ["20", "7"])
async def test_a_time_limit_takes_the_place_of_the_one_before(setup: SimulatorSetup, later: str) -> None:
    call = await setup.place(ANSWERS, Twiml=PAUSE, TimeLimit="10")
    await setup.advance(5)
    await setup.update(call["sid"], Twiml=PAUSE, TimeLimit=later)
    await setup.advance(30)
    assert setup.last(call["sid"])["CallDuration"] == later  # counted from the answer, not from the update


async def test_a_time_limit_alone_is_taken_by_the_other_reading() -> None:
    async with simulator_setup(readings=["time-limit-alone"]) as setup:
        call = await a_call(setup, "in-progress")
        status, _ = await setup.update(call["sid"], TimeLimit="10")
        assert status == 200
        await setup.advance(20)
        assert (await setup.fetch(call["sid"]))["duration"] == "10"
        assert (await setup.update(call["sid"], TimeLimit="10"))[0] == 400  # it has ended


async def dialling(setup: SimulatorSetup, to: str = NEVER) -> tuple[str, str]:
    """A call whose Dial rings someone; return both SIDs."""
    noun = f'<Number statusCallback="{setup.status}" {EVENTS_ATTRIBUTE}>{to}</Number>'
    call = await setup.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial><Pause length='60'/></Response>")
    await setup.advance(4)
    return call["sid"], (await setup.children(call["sid"]))[0]["sid"]


async def test_a_parent_in_dial_is_in_progress_and_only_completed_ends_it(setup: SimulatorSetup) -> None:
    parent, child = await dialling(setup)
    await setup.update(parent, Status="canceled")
    assert (await setup.fetch(parent))["status"] == "in-progress"
    await setup.update(parent, Status="completed")
    await setup.advance(0.1)
    assert (setup.statuses(parent)[-1], setup.statuses(child)[-1]) == ("completed", "canceled")


async def test_canceled_ends_a_leg_ringing_in_dial(setup: SimulatorSetup) -> None:
    parent, child = await dialling(setup)
    assert (await setup.update(child, Status="canceled"))[0] == 200
    await setup.advance(0.1)
    assert setup.statuses(child) == ["initiated", "ringing", "canceled"]
    assert (await setup.fetch(parent))["status"] == "in-progress"  # its next verb runs


async def test_canceled_spares_a_leg_ringing_in_dial_by_the_other_reading() -> None:
    async with simulator_setup(readings=["cancel-spares-dial-legs"]) as setup:
        _, child = await dialling(setup)
        assert (await setup.update(child, Status="canceled"))[0] == 200
        await setup.advance(0.1)
        assert setup.statuses(child) == ["initiated", "ringing"]


async def test_canceled_is_refused_on_a_leg_ringing_in_dial_by_both_readings() -> None:
    async with simulator_setup(readings=["cancel-spares-dial-legs", "cancel-refused-in-progress"]) as setup:
        _, child = await dialling(setup)
        status, body = await setup.update(child, Status="canceled")
        assert (status, body["code"]) == REFUSED
        await setup.advance(0.1)
        assert setup.statuses(child) == ["initiated", "ringing"]


async def test_completed_ends_a_leg_ringing_in_dial(setup: SimulatorSetup) -> None:
    _, child = await dialling(setup)
    await setup.update(child, Status="completed")
    await setup.advance(0.1)
    assert setup.statuses(child)[-1] == "canceled"


async def test_a_leg_ringing_in_dial_is_not_redirected(setup: SimulatorSetup) -> None:
    _, child = await dialling(setup)
    status, body = await setup.update(child, **REDIRECT)
    assert (status, body["code"], body["message"]) == (400, 21220, "Call is not in-progress. Cannot redirect.")


async def test_the_answer_is_the_current_state_and_the_document_runs_afterwards(setup: SimulatorSetup) -> None:
    setup.listener.documents["/next"] = "<Response><Pause length='9'/></Response>"
    call = await a_call(setup, "in-progress")
    _, body = await setup.update(call["sid"], Url=f"{setup.listener.url}/next")
    assert (body["status"], setup.listener.at("/next")) == ("in-progress", [])
    await setup.advance(0)
    request = setup.listener.at("/next")[0]
    assert (request.method, request.form["CallStatus"], request.form["From"]) == ("POST", "in-progress", FROM)


async def test_redirect_by_get_and_fallback(setup: SimulatorSetup) -> None:
    setup.listener.documents["/spare"] = "<Response><Pause length='9'/></Response>"
    call = await a_call(setup, "in-progress")
    url = setup.listener.url
    await setup.update(call["sid"], Url=f"{url}/gone", Method="GET", FallbackUrl=f"{url}/spare", FallbackMethod="GET")
    await setup.advance(1)
    assert [arrived.method for arrived in (*setup.listener.at("/gone"), *setup.listener.at("/spare"))] == ["GET", "GET"]
    assert await setup.notes(call["sid"]) == [("11200", "0")]
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_redirect_during_gather_drops_its_action(setup: SimulatorSetup) -> None:
    url = setup.listener.url
    setup.listener.documents |= {
        "/menu": '<Response><Gather timeout="30" action="/choice"/></Response>',
        "/next": "<Response><Pause length='50'/></Response>",
    }
    call = await setup.place(ANSWERS, Url=f"{url}/menu")
    await setup.advance(5)
    await setup.by_hand(call["sid"], "press", digits="12")
    await setup.update(call["sid"], Url=f"{url}/next")
    await setup.advance(40)
    assert (len(setup.listener.at("/next")), setup.listener.at("/choice")) == (1, [])

"""Notifications of a call over REST: listed by kind and date, and fetched."""

from simulator.setup import SimulatorSetup


async def test_a_call_has_none(setup: SimulatorSetup) -> None:
    call = await setup.place()
    status, body = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}/Notifications.json")
    assert (status, body["notifications"], body["next_page_uri"]) == (200, [], None)


async def test_a_call_has_one(setup: SimulatorSetup) -> None:
    url = f"{setup.listener.url}/nothing"
    call = await setup.place(Url=url)
    await setup.advance(5)
    _, body = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}/Notifications.json")
    (note,) = body["notifications"]
    assert (note["call_sid"], note["error_code"], note["request_url"]) == (call["sid"], "11200", url)
    assert "answered 404" in note["message_text"]


async def test_many_come_in_pages(setup: SimulatorSetup) -> None:
    call = await setup.place(Twiml=f"<Response>{'<Dial>nobody</Dial>' * 60}</Response>")
    await setup.advance(5)
    _, page = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}/Notifications.json")
    _, rest = await setup.request("GET", page["next_page_uri"])
    sids = [note["sid"] for each in (page, rest) for note in each["notifications"]]
    assert (len(page["notifications"]), len(set(sids)), rest["next_page_uri"]) == (50, 60, None)


async def test_no_document_notes_without_end(setup: SimulatorSetup) -> None:
    setup.listener.documents["/loop"] = f"<Response>{'<Dial>nobody</Dial>' * 60}<Redirect/></Response>"
    call = await setup.place(Url=f"{setup.listener.url}/loop", TimeLimit=5)
    await setup.advance(10)
    path = f"{setup.account}/Calls/{call['sid']}/Notifications.json"
    _, body = await setup.request("GET", path, {"PageSize": "1000"})
    assert len(setup.listener.at("/loop")) * 60 > 1000
    assert (len(body["notifications"]), body["next_page_uri"]) == (1000, None)


async def test_of_an_unknown_call(setup: SimulatorSetup) -> None:
    status, body = await setup.request("GET", f"{setup.account}/Calls/CA0/Notifications.json")
    assert (status, body["code"]) == (404, 20404)


async def test_they_are_listed_by_kind_and_date(setup: SimulatorSetup) -> None:
    twiml = "<Response><Dial>nobody</Dial><Redirect>http://127.0.0.1:9/</Redirect></Response>"
    path = f"{setup.account}/Calls/{(await setup.place(Twiml=twiml))['sid']}/Notifications.json"
    await setup.advance(5)

    async def listed(**query: str) -> list[tuple[str, str]]:
        status, body = await setup.request("GET", path, query)
        assert status == 200, body
        return [(note["error_code"], note["log"]) for note in body["notifications"]]

    both = await listed()
    assert {log for _, log in both} == {"0", "1"}
    for log in ("0", "1"):
        assert await listed(Log=log) == [each for each in both if each[1] == log]
    assert await listed(**{"MessageDate>": "2020-01-01"}) == both
    assert await listed(**{"MessageDate<": "2020-01-01"}) == await listed(MessageDate="2020-01-01") == []
    assert (await setup.request("GET", path, {"MessageDate": "soon"}))[1]["code"] == 20001


async def test_one_is_fetched(setup: SimulatorSetup) -> None:
    call, other = [await setup.place(Twiml="<Response><Dial>nobody</Dial></Response>") for _ in range(2)]
    await setup.advance(5)
    path = f"{setup.account}/Calls/{call['sid']}/Notifications"
    _, body = await setup.request("GET", f"{path}.json")
    (note,) = body["notifications"]
    status, fetched = await setup.request("GET", f"{path}/{note['sid']}.json")
    assert status == 200
    assert {name: fetched[name] for name in note} == note
    elsewhere = f"{setup.account}/Calls/{other['sid']}/Notifications/{note['sid']}.json"
    for unknown in (f"{path}/NO{'0' * 32}.json", elsewhere):
        status, body = await setup.request("GET", unknown)
        assert (status, body["code"]) == (404, 20404)

"""Queues and their members over REST."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from simulator.setup import Json, SimulatorSetup, simulator_setup
from simulator.switch.test_queue import STAY, agent, enqueued

MISSING = "QU" + "0" * 32


class Queues:
    """The queues of a simulator over REST."""

    def __init__(self, setup: SimulatorSetup) -> None:
        self.setup = setup
        self.path = f"{setup.account}/Queues"

    async def create(self, name: str = "support", **form: Any) -> tuple[int, Json]:
        return await self.setup.request("POST", f"{self.path}.json", {"FriendlyName": name} | form)

    async def names(self, **query: Any) -> list[str]:
        status, body = await self.setup.request("GET", f"{self.path}.json", query)
        assert status == 200, body
        return [queue["friendly_name"] for queue in body["queues"]]

    async def one(self) -> Json:
        _, body = await self.setup.request("GET", f"{self.path}.json")
        (queue,) = body["queues"]
        return dict(queue)

    async def at(self, sid: str, method: str = "GET", **form: Any) -> tuple[int, Json]:
        return await self.setup.request(method, f"{self.path}/{sid}.json", form)

    async def members(self, sid: str, **query: Any) -> list[Json]:
        status, body = await self.setup.request("GET", f"{self.path}/{sid}/Members.json", query)
        assert status == 200, body
        members: list[Json] = body["queue_members"]
        return members

    async def member(self, sid: str, who: str, method: str = "GET", **form: Any) -> tuple[int, Json]:
        return await self.setup.request(method, f"{self.path}/{sid}/Members/{who}.json", form)


@pytest.fixture
def queues(setup: SimulatorSetup) -> Queues:
    return Queues(setup)


class TestQueues:
    async def test_one_from_its_making_to_its_end(self, queues: Queues) -> None:
        status, made = await queues.create()
        assert status == 201
        assert (made["friendly_name"], made["max_size"], made["current_size"]) == ("support", 1000, 0)
        assert made["sid"].startswith("QU")
        assert await queues.at(made["sid"]) == (200, made)
        status, changed = await queues.at(made["sid"], "POST", FriendlyName="sales", MaxSize="5000")
        assert (status, changed["friendly_name"], changed["max_size"]) == (200, "sales", 5000)
        assert (await queues.at(made["sid"], "POST"))[1] == changed
        assert (await queues.create("support"))[0] == 201
        assert await queues.names() == ["support", "sales"]
        assert await queues.names(PageSize="1") == ["support"]
        assert (await queues.at(made["sid"], "DELETE"))[0] == 204
        assert await queues.names() == ["support"]
        for method in ("GET", "POST", "DELETE"):
            status, body = await queues.at(made["sid"], method)
            assert (status, body["code"]) == (404, 20404)

    @pytest.mark.parametrize(
        "form",
        [{"FriendlyName": ""}, {"FriendlyName": "x" * 65}, {"MaxSize": "0"}, {"MaxSize": "5001"}, {"MaxSize": "many"}],
    )
    async def test_what_is_refused(self, queues: Queues, form: dict[str, str]) -> None:
        status, body = await queues.create(form.get("FriendlyName", "support"), **form)
        assert (status, body["code"]) == (400, 20001)
        assert await queues.names() == []

    async def test_a_name_that_another_has(self, queues: Queues) -> None:
        await queues.create("support")
        status, body = await queues.create("support")
        assert (status, body["code"]) == (400, 22003)
        assert body["message"] == "A queue with the name support already exists"
        _, other = await queues.create("sales")
        assert (await queues.at(other["sid"], "POST", FriendlyName="support"))[1]["code"] == 22003
        assert (await queues.at(other["sid"], "POST", FriendlyName="sales"))[0] == 200

    async def test_only_an_empty_one_is_deleted(self, setup: SimulatorSetup, queues: Queues) -> None:
        sid = await enqueued(setup)
        queue = (await queues.one())["sid"]
        assert (await queues.at(queue, "DELETE"))[1]["code"] == 20009
        await setup.update(sid, Status="completed")
        assert (await queues.at(queue, "DELETE"))[0] == 204

    async def test_one_with_a_new_name_is_found_by_it(self, setup: SimulatorSetup, queues: Queues) -> None:
        sid = await enqueued(setup, "old")
        await queues.at((await queues.one())["sid"], "POST", FriendlyName="new")
        await agent(setup, of="old")
        assert (await queues.one())["current_size"] == 1
        await agent(setup, of="new")
        assert (await queues.one())["current_size"] == 0
        assert (await setup.fetch(sid))["status"] == "in-progress"


class TestMembers:
    async def test_those_who_wait_the_next_first(self) -> None:
        now = datetime(2026, 1, 8, 20, 40, tzinfo=UTC)
        async with simulator_setup(wall=lambda: now) as setup:
            queues = Queues(setup)
            sids = []
            for _ in range(3):
                sids.append(await enqueued(setup))
                now += timedelta(minutes=1)
            queue = await queues.one()
            assert (queue["current_size"], queue["average_wait_time"]) == (3, 4)
            members = await queues.members(queue["sid"])
            assert [member["call_sid"] for member in members] == sids
            assert [member["position"] for member in members] == [1, 2, 3]
            assert members[1]["date_enqueued"] == "Thu, 08 Jan 2026 20:41:00 +0000"
            assert [member["wait_time"] for member in members] == [7, 4, 1]
            assert await queues.member(queue["sid"], sids[1]) == (200, members[1])
            assert await queues.member(queue["sid"], "Front") == (200, members[0])
            _, page = await setup.request("GET", f"{queues.path}/{queue['sid']}/Members.json", {"PageSize": "2"})
            await setup.update(sids[0], Status="completed")
            _, following = await setup.request("GET", page["next_page_uri"])
            assert [member["call_sid"] for member in following["queue_members"]] == sids[2:]

    @pytest.mark.parametrize("who", ["Front", "front", "CA" + "0" * 32])
    async def test_nobody(self, queues: Queues, who: str) -> None:
        _, queue = await queues.create()
        for sid in (queue["sid"], MISSING):
            for method, form in (("GET", {}), ("POST", {"Url": "http://127.0.0.1:9/"})):
                status, body = await queues.member(sid, who, method, **form)
                assert (status, body["code"]) == (404, 20404)
        status, body = await queues.setup.request("GET", f"{queues.path}/{MISSING}/Members.json")
        assert (status, body["code"]) == (404, 20404)

    @pytest.mark.parametrize("front", [True, False])
    async def test_one_is_taken_out(self, setup: SimulatorSetup, queues: Queues, *, front: bool) -> None:
        first = await enqueued(setup)
        second = await enqueued(setup)
        queue = (await queues.one())["sid"]
        setup.listener.documents["/next"] = f"<Response>{STAY}</Response>"
        url, goes = f"{setup.listener.url}/next", first if front else second
        status, body = await queues.member(queue, "Front" if front else second, "POST", Url=url, Method="GET")
        assert (status, body["call_sid"], body["position"]) == (200, goes, 1 if front else 2)  # as it was
        await setup.advance(1)
        (asked,) = setup.listener.at("/next")
        assert (asked.method, asked.form["CallSid"]) == ("GET", goes)
        (callback,) = setup.listener.at("/result")
        assert (callback.form["CallSid"], callback.form["QueueResult"]) == (goes, "redirected")
        assert [member["call_sid"] for member in await queues.members(queue)] == [second if front else first]
        assert (await queues.member(queue, goes))[0] == 404
        await setup.check_goes_on(goes)

    async def test_an_update_without_a_url_is_refused(self, setup: SimulatorSetup, queues: Queues) -> None:
        await enqueued(setup)
        queue = (await queues.one())["sid"]
        for form in ({}, {"Url": "x"}):
            status, body = await queues.member(queue, "Front", "POST", **form)
            assert (status, body["code"]) == (400, 20001)
        assert (await queues.one())["current_size"] == 1

"""Beside Twilio's API, under `/simulator`: calls that come in, and what a far end does."""

from dataclasses import asdict

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.rest import requests
from callctl.simulator.rest.routing import Endpoint, Routes


class FarEnds:
    """What a person at the other end would do."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = f"{self._endpoint.settings.base_path}/simulator"
        return (
            web.post(f"{path}/calls", self._incoming),
            web.post(f"{path}/calls/{{sid}}/{{action}}", self._act),
            web.post(f"{path}/far-ends", self._set),
        )

    async def _incoming(self, request: web.Request) -> web.Response:
        form, switch = await self._endpoint.form(request), self._endpoint.switch
        own = {name: values[-1] for name, values in form.items() if name not in requests.INCOMING}
        call = requests.read_incoming(form, switch.possessions, parameters=own)
        leg = self._endpoint.about(request, switch.receive(call))
        return web.json_response(self._endpoint.shown(leg), status=201)

    async def _act(self, request: web.Request) -> web.Response:
        leg, switch = self._endpoint.leg(request), self._endpoint.switch
        match request.match_info["action"]:
            case "answer":
                switch.far_end_answers(leg)
            case "hangup":
                switch.far_end_hangs_up(leg)
            case "digits":
                switch.far_end_presses(leg, requests.read_digits(await self._endpoint.form(request)))
            case "say":
                switch.far_end_says(leg, requests.read_words(await self._endpoint.form(request)))
            case "answers":
                switch.far_end_answers_gathers(leg, requests.read_answers(await self._endpoint.form(request)))
            case _:
                raise ApiError(20404, request.path)
        return web.json_response(self._endpoint.shown(leg))

    async def _set(self, request: web.Request) -> web.Response:
        address, far_end = requests.read_far_end(await self._endpoint.form(request))
        known = self._endpoint.switch.set_far_end(address, far_end)
        return web.json_response({"address": known} | asdict(far_end))

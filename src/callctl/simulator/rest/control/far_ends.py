"""What addresses do when they are called, as it was set at the start or since."""

from dataclasses import fields

from aiohttp import web

from callctl.simulator.errors import ControlError
from callctl.simulator.far_end import FarEnd, FarEndError, as_table, parse
from callctl.simulator.rest.control import body
from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.routing import Endpoint, Routes, get

KEYS = tuple(field.name for field in fields(FarEnd))


def routes(_endpoint: Endpoint, control: Control, path: str) -> Routes:
    """Return what is answered here."""

    async def list_(_request: web.Request) -> web.Response:
        tables = {address: as_table(far_end) for address, far_end in control.far_ends().items()}
        return web.json_response({"far_ends": tables})

    async def set_(request: web.Request) -> web.Response:
        given = await body.read(request, "address", *KEYS)
        address = given.text("address", None)
        try:
            far_end = parse({address: {key: given.value(key) for key in KEYS if key in given}}, as_json=True)[address]
        except FarEndError as error:
            raise ControlError(20001, str(error)) from error
        return web.json_response({"address": control.set_far_end(address, far_end)} | as_table(far_end))

    return (get(f"{path}/far-ends", list_), web.post(f"{path}/far-ends", set_))

"""A document to send calls to before one has written any: it asks one question, and takes one digit."""

from aiohttp import web

from callctl.simulator.rest.routing import Endpoint, Routes

PATH = "/simulator/survey"
QUESTION = (
    '<Response><Gather numDigits="1"><Say>How satisfied were you, from one to five?</Say></Gather>'
    "<Say>Thank you. Goodbye.</Say></Response>"
)
THANKS = "<Response><Say>Thank you. Goodbye.</Say></Response>"


class Survey:
    """An application that answers as one's own would; it needs no credentials."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.path = f"{endpoint.settings.base_path}{PATH}"

    def routes(self) -> Routes:
        """Return what is answered here."""
        return (web.route("*", self.path, self._answer),)

    async def _answer(self, request: web.Request) -> web.Response:
        """Answer a Gather's digits with thanks."""
        form = await self._endpoint.form(request)
        has_digits = "Digits" in form or "Digits" in request.query
        return web.Response(text=THANKS if has_digits else QUESTION, content_type="text/xml")

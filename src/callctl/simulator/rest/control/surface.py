"""Everything below /simulator but the survey: who is let in, which errors are answered and what is routed there."""

from collections.abc import Callable

from aiohttp import web

from callctl.simulator.errors import ApiError, ControlError
from callctl.simulator.rest import access
from callctl.simulator.rest.control import calls, far_ends, page, records, service
from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.requests import MAX_BODY, Handler
from callctl.simulator.rest.routing import Endpoint, Routes

PATH = "/simulator"
OPEN = "/health"  # to everybody

Make = Callable[[Endpoint, Control, str], Routes]  # the routes of a file, below a path
PARTS: tuple[Make, ...] = (service.routes, calls.routes, far_ends.routes, records.routes, page.routes)


class ControlSurface:
    """The control surface over HTTP: JSON in and out, described by openapi.json. Nothing of it is recorded."""

    def __init__(self, endpoint: Endpoint, control: Control) -> None:
        self._endpoint = endpoint
        self._control = control
        self._path = f"{endpoint.settings.base_path}{PATH}"

    def routes(self) -> Routes:
        """Return what is answered here."""
        return tuple(route for make in PARTS for route in make(self._endpoint, self._control, self._path))

    def is_for(self, request: web.Request) -> bool:
        """Return whether a request is for the control surface."""
        path = request.path
        return f"{path}/".startswith(f"{self._path}/") and path != f"{self._path}/survey"

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check and answer a request."""
        try:
            if page.is_for(self._path, request):
                access.admit_reader(request, self._endpoint.settings)
            elif request.path != self._path + OPEN:
                access.admit_to_control(request, self._endpoint.settings)
            return await handler(request)
        except ApiError as error:
            response = _refusal(error)
            if error.status == 408:
                response.force_close()  # the rest of the body may still come, and is no request
            return response
        except web.HTTPRequestEntityTooLarge:
            return _refusal(ControlError(20001, f"the body is longer than {MAX_BODY // 1024} KiB", status=413))
        except web.RequestPayloadError:
            response = _refusal(ControlError(20001, "the body is not encoded as its headers say"))
            response.force_close()  # what follows on this connection can't be read either
            return response
        except web.HTTPMethodNotAllowed as error:
            allowed = ",".join(sorted(error.allowed_methods))
            sentence = f"{request.method} is not answered at {request.path}, but {allowed}"
            response = _refusal(ControlError(20004, sentence))
            response.headers["Allow"] = allowed
            return response
        except web.HTTPNotFound:
            return _refusal(ControlError(20404, f"nothing is at {request.path}"))


def _refusal(error: ApiError) -> web.Response:
    response = web.json_response(
        {"code": error.code, "message": error.message, "status": error.status}, status=error.status
    )
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return response

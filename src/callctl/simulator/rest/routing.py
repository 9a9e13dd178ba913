"""What the files of the resources share: the account's settings, a request's form, and how a leg is found and shown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.models import API_VERSION, Leg
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.requests import Form
from callctl.simulator.settings import Settings
from callctl.simulator.switch.switch import Switch
from callctl.simulator.switch.world import World


@dataclass(slots=True)
class Exchange:
    """What is known of a request under way: its form, Twilio's code where it is refused, and the call it is about."""

    form: Form = field(default_factory=dict)
    code: int | None = None
    call: str = ""


T = TypeVar("T")
Routes: TypeAlias = Iterable[web.RouteDef]


@dataclass(slots=True)
class Endpoint:
    """What the API's resources work on; `exchanges` are the requests under way, by the request's id."""

    settings: Settings
    make_world: Callable[[], World]
    prepare: Callable[[], None] = lambda: None  # what is done to each new world
    origin: str = ""  # the address that it listens at, without a path
    world: World = field(init=False)
    exchanges: dict[int, Exchange] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = self.make_world()

    def listens_at(self, origin: str) -> None:
        """Remember where it listens, which some replies say."""
        self.origin = origin
        self.switch.recordings.origin = origin

    async def begin_again(self) -> None:
        """Drop everything without a callback, and begin as at the start."""
        old, self.world = self.world, self.make_world()
        self.listens_at(self.origin)
        self.prepare()
        await old.close()

    @property
    def switch(self) -> Switch:
        """What all calls are in, since the start or the last reset."""
        return self.world.switch

    def exchange(self, request: web.Request) -> Exchange:
        """Return what is known of a request."""
        return self.exchanges.setdefault(id(request), Exchange())

    def account_path(self, rest: str = "") -> str:
        """Return the path of the account, or of what is below it, as it is routed."""
        return f"{self.settings.base_path}/{API_VERSION}/Accounts/{{account}}{rest}"

    async def form(self, request: web.Request) -> Form:
        """Read a request's form; raise ApiError where it has none."""
        form = await requests.read_form(request)
        self.exchange(request).form = form
        return form

    def leg(self, request: web.Request, part: str = "sid") -> Leg:
        """Return the leg that a request's path names.

        Raises:
            ApiError: There is none.
        """
        return self.about(request, named(request, self.switch.register.find, part))

    def about(self, request: web.Request, leg: Leg) -> Leg:
        """Remember which leg a request is about, and return it."""
        self.exchange(request).call = leg.sid
        return leg

    def shown(self, leg: Leg) -> serializers.Json:
        """Show a leg as a request sees it now."""
        return serializers.call(leg, self.switch.register.visible_facts(leg), self.settings)


def named(request: web.Request, find: Callable[[str], T | None], part: str = "sid") -> T:
    """Return what a request's path names in one of its parts, which `find` looks up.

    Raises:
        ApiError: There is none.
    """
    found = find(request.match_info[part])
    if found is None:
        raise ApiError(20404, request.path)
    return found


def as_page(request: web.Request, key: str, page: listing.Page[listing.T], shown: Sequence[object]) -> web.Response:
    """Answer with a page of a list, whose items are under a key."""
    body = page.envelope(request.path, uri=request.path_qs)
    body[key] = list(shown)
    return web.json_response(body)


def get(path: str, handler: requests.Handler) -> web.RouteDef:
    """Route GET; Twilio's API knows no HEAD."""
    return web.get(path, handler, allow_head=False)


def routes_of(
    path: str,
    *,
    create: requests.Handler,
    list_: requests.Handler,
    fetch: requests.Handler,
    update: requests.Handler,
    delete: requests.Handler,
) -> Routes:
    """Route all five operations of a resource, whose list is at this path."""
    return (
        web.post(f"{path}.json", create),
        get(f"{path}.json", list_),
        get(f"{path}/{{sid}}.json", fetch),
        web.post(f"{path}/{{sid}}.json", update),
        web.delete(f"{path}/{{sid}}.json", delete),
    )

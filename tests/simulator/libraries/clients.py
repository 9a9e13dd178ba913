"""Twilio's libraries for Python and for Node, unchanged, whose requests go to a simulator."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from callctl.simulator import Simulator

TWILIO = "https://api.twilio.com"
# The folder `node_modules` in which the package `twilio` is. Where it is set nothing is skipped.
NODE_MODULES = os.environ.get("CALLCTL_TEST_NODE_MODULES")

Json = dict[str, Any]
Path_ = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the simulator answered to one request."""

    method: str
    path: str
    status: int
    body: Json


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call of a library: the requests that it made, and what it read out of the replies."""

    replies: list[Reply]
    things: list[Json]  # by the names of their fields in the replies; times are datetimes
    error: Json | None  # code, status and message


class Library(Protocol):
    """One of Twilio's libraries."""

    def call(self, path: Path_, params: Json) -> Result:
        """Call a method, such as [("calls", "CA…"), ("fetch", None)], with parameters as twilio-python spells them."""


class _ToSimulator:
    """An HTTP client for twilio-python that sends what is for Twilio to a simulator."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = TwilioHttpClient()
        self.replies: list[Reply] = []

    def request(self, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        assert url.startswith(TWILIO), url
        response = self._client.request(method, self._address + url.removeprefix(TWILIO), *arguments, **options)
        body = json.loads(response.text) if response.text else {}
        self.replies.append(Reply(method.upper(), urlsplit(url).path, response.status_code, body))
        return response


class PythonLibrary:
    """twilio-python."""

    def __init__(self, sim: Simulator) -> None:
        self._http = _ToSimulator(sim.url)
        self._client = Client(sim.account_sid, sim.auth_token, http_client=self._http)

    def call(self, path: Path_, params: Json) -> Result:
        self._http.replies = []
        resource: Any = self._client
        for name, sid in path[:-1]:
            resource = getattr(resource, name)
            resource = resource if sid is None else resource(sid)
        try:
            parsed = getattr(resource, path[-1][0])(**params)
        except TwilioRestException as error:
            refused = {"code": error.code, "status": error.status, "message": error.msg}
            return Result(self._http.replies, [], refused)
        made = parsed if isinstance(parsed, list) else [parsed]
        return Result(self._http.replies, [_fields(each) for each in made if each is not True], None)


def _fields(instance: Any) -> Json:
    fields = {name: value for name, value in vars(instance).items() if not name.startswith("_")}
    return fields | ({"from": instance._from} if hasattr(instance, "_from") else {})


class NodeLibrary:
    """twilio-node, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self, path: Path_, params: Json) -> Result:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"path": path, "params": params}) + "\n")
        self._process.stdin.flush()
        answer = self.read()
        replies = [Reply(**reply | {"body": _body(reply["body"])}) for reply in answer["replies"]]
        return Result(replies, [_read_node(each) for each in answer["things"]], answer["error"])

    def read(self) -> Json:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "twilio-node ended: its error is on stderr"
        answer: Json = json.loads(line)
        return answer


def _body(body: Any) -> Json:
    """Return the body of a reply, which twilio-node has parsed or not."""
    parsed: Json = json.loads(body or "{}") if isinstance(body, str) else body
    return parsed


def _read_node(thing: Json) -> Json:
    """Name fields as replies do; times, which JSON has as text, have milliseconds there and nowhere else."""
    return {re.sub(r"[A-Z]", lambda upper: f"_{upper[0].lower()}", name): _time(each) for name, each in thing.items()}


def _time(value: Any) -> Any:
    is_time = isinstance(value, str) and re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}Z", value)
    return datetime.fromisoformat(value).astimezone(UTC) if is_time else value


@contextmanager
def python_library(sim: Simulator) -> Iterator[Library]:
    yield PythonLibrary(sim)


@contextmanager
def node_library(sim: Simulator) -> Iterator[Library]:
    """Run twilio-node; skip the test where there is none."""
    script = Path(__file__).with_name("steps.js")
    node, modules = node_with("twilio")
    environment = {"PATH": os.environ.get("PATH", ""), "NODE_PATH": modules}  # no proxy, no Twilio region
    command = [node, str(script), sim.url, sim.account_sid, sim.auth_token]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=script.parent, stdin=pipe, stdout=pipe, text=True) as process:
        library = NodeLibrary(process)
        assert library.read() == {"ready": True}
        yield library


def node_with(*packages: str) -> tuple[str, str]:
    """Return Node and the folder of these packages; skip the test where one of them is missing."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        _skip("there is no Node")
    for package in packages:
        if not NODE_MODULES or not (Path(NODE_MODULES) / package).is_dir():
            _skip(f"there is no package {package}: CALLCTL_TEST_NODE_MODULES names the node_modules that have it")
    return str(node), str(Path(NODE_MODULES or "").absolute())


def _skip(reason: str) -> NoReturn:
    if NODE_MODULES:
        pytest.fail(reason)
    pytest.skip(reason)

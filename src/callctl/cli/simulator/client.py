"""The client of a running simulator for the commands that control it: where it is, one request, what can go wrong.

Its paths are its own and not Twilio's, so they don't go through the API client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

import typer

from callctl.cli.io.runtime import Runtime
from callctl.cli.simulator.env_file import DEFAULT_PORT
from callctl.errors import (
    ApiError,
    AuthenticationError,
    NetworkError,
    NotFoundError,
    OutcomeUnknownError,
    SettingsError,
    UsageError,
    without_user_info,
)
from callctl.settings import Settings
from callctl.settings.values import api_url as read_api_url
from callctl.support.parsing import read_json
from callctl.support.threads import start_in_thread

Url: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=f"Where it is; else CALLCTL_API_URL, else port {DEFAULT_PORT}."),
]
LOCAL = ("127.0.0.1", "::1", "localhost")
Json = dict[str, Any]
# What to do about a refusal, by its code.
_HINTS = {
    "21205": "give --voice-url NAME|URL, where the TwiML is; or create the number at the simulator, with a VoiceUrl; "
    "--url names another simulator",
}


class _Answer(Json):
    """What a simulator answered; where a part of it is missing, another program did."""

    def __init__(self, body: Json, *, url: str) -> None:
        super().__init__(body)
        self._url = url

    def __missing__(self, name: str) -> Any:
        raise NetworkError(f"what answers at {self._url} is no simulator", hint="--url says where the simulator is")


@dataclass(frozen=True, slots=True)
class SimulatorClient:
    """A client of one simulator, with the credentials that the settings have for it: a local one needs none."""

    url: str
    credentials: tuple[str, str] | None
    timeout: float

    @classmethod
    def find(cls, runtime: Runtime, *, url: str | None, env_file: Path | None) -> SimulatorClient:
        """Find the simulator by its address, else that of the settings, else at the default port.

        Raises:
            SettingsError: The settings can't be read.
            UsageError: The address is none.
        """
        settings = runtime.settings(env_file=env_file)
        address = settings.api_url
        if url is not None:
            address = _address(url)
        elif settings.is_twilio:
            address = f"http://127.0.0.1:{DEFAULT_PORT}"
        if address != settings.api_url:
            runtime.api_url = address
            runtime.say_once(f"callctl: the simulator is {address}")
        return cls(address.rstrip("/"), _credentials(settings, address), runtime.request_timeout)

    def get(self, path: str, query: Mapping[str, str | bytes] | None = None) -> Json:
        """Return what the simulator answers; raise NetworkError where none answers, ApiError where it refuses."""
        return self._ask("GET", path, changes="", params=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, changes: str) -> Json:
        """Have the simulator do something; `changes` says what may have been done where its answer does not come.

        Raises:
            ApiError: It refuses.
            NetworkError: None answers there, and nothing was done.
            OutcomeUnknownError: It may have been done.
        """
        return self._ask("POST", path, changes=changes, json=body or {})

    def _ask(self, method: str, path: str, *, changes: str, **given: Any) -> Json:
        import requests

        with requests.Session() as session:
            session.trust_env = False  # a proxy has no business between here and loopback
            try:
                # In a thread, for the limit is on the whole answer, and the library's is on each wait within it.
                future = start_in_thread(
                    lambda: session.request(
                        method, f"{self.url}/simulator{path}", auth=self.credentials, timeout=self.timeout, **given
                    )
                )
                reply = future.result(self.timeout)
            except (requests.RequestException, TimeoutError) as error:
                if changes and _is_sent(error):
                    late = isinstance(error, requests.Timeout | TimeoutError)
                    what = (
                        f"did not answer within {self.timeout:g} s"
                        if late
                        else "broke off before its whole answer came"
                    )
                    raise self._unknown(what, changes) from error
                raise self._no_simulator() from error
        try:
            body = read_json(reply.content.decode("utf-8", "replace"))
        except ValueError as error:
            if reply.ok and changes:
                raise self._unknown("sent an answer that can't be read", changes) from error
            raise self._no_simulator() from error
        if reply.ok and isinstance(body, dict) and body:
            return _Answer(body, url=self.url)
        raise _refusal(reply.status_code, body)

    def _no_simulator(self) -> NetworkError:
        return NetworkError(f"no simulator answers at {self.url}", hint="is `callctl simulator` running?")

    def _unknown(self, what: str, changes: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"the simulator at {self.url} {what}: {changes}",
            hint="`callctl simulator calls` shows what is so; --request-timeout waits longer",
        )


def _credentials(settings: Settings, address: str) -> tuple[str, str] | None:
    """Return those of the settings, where they are for this address; for another machine else the simulator's default.

    They go to no other address: they may be those of a service that real calls are made with.
    """
    if address == settings.api_url and not settings.is_twilio and settings.account_sid is not None:
        own = settings.credentials()
        return own.username, own.secret
    if (urlsplit(address).hostname or "") in LOCAL:
        return None
    from callctl.simulator.settings import ACCOUNT_SID, AUTH_TOKEN

    return ACCOUNT_SID, AUTH_TOKEN


def _address(url: str) -> str:
    try:
        return read_api_url(url, region=None, edge=None)
    except SettingsError as error:
        raise UsageError(
            f"--url is not the address of a simulator: {without_user_info(url)}",
            hint=f"such as http://127.0.0.1:{DEFAULT_PORT}; where the TwiML is, --voice-url says",
        ) from error


def _is_sent(error: Exception) -> bool:
    """Return whether a request that failed may have been sent."""
    import requests
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    before = requests.ConnectTimeout | requests.exceptions.SSLError | ValueError  # malformed addresses are ValueErrors
    return not (isinstance(error, before) or isinstance(reason, NewConnectionError))


def _refusal(status: int, body: object) -> ApiError:
    facts = body if isinstance(body, dict) else {}
    kind = {401: AuthenticationError, 404: NotFoundError}.get(status, ApiError)
    code = str(facts["code"]) if "code" in facts else None
    return kind(
        str(facts.get("message", "what answers there is no simulator")),
        status=status,
        code=code,
        more_info=facts.get("more_info"),
        hint=_HINTS.get(code or ""),
    )

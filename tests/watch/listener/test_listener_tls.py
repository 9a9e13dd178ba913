"""A public URL with TLS: what Twilio signs is the https address that a proxy ends, not the one at the listener."""

from __future__ import annotations

import asyncio
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from events import form, sid
from listeners import sign
from paths import TESTS
from processes import Piped
from running import env_for

from callctl.simulator import Simulator

KEYS = TESTS / "api"
CERTIFICATE = KEYS / "certificate.pem"


class TlsProxy:
    """Ends TLS on a free port of ``localhost`` and passes on to a port that may be set later."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._target: asyncio.Future[int] = self._loop.create_future()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _serve(self) -> asyncio.Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEYS / "key.pem")
        return await asyncio.start_server(self._join, "127.0.0.1", 0, ssl=context)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", await asyncio.shield(self._target))
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    def leads_to(self, port: int) -> None:
        self._loop.call_soon_threadsafe(self._target.set_result, port)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.fixture
def proxy() -> Iterator[TlsProxy]:
    with closing(TlsProxy()) as proxy:
        yield proxy


def post(port: int, fields: dict[str, str], *, signed_over: str, token: str, path: str = "/status") -> int:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    request = urllib.request.Request(
        f"https://localhost:{port}{path}",
        data=urlencode(fields).encode(),
        headers=sign(signed_over, fields, token=token),
    )
    try:
        with urllib.request.urlopen(request, timeout=120, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def watch(home: Path, proxy: TlsProxy, simulator: Simulator, *args: str, **env: str) -> Piped:
    url = f"https://localhost:{proxy.port}/status"
    options = ("--port", "0", "--no-poll", "--json", "--public-url", url, *args)
    return Piped("watch", *options, home=home, env={**env_for(simulator), **env})


def test_callbacks_are_signed_over_the_https_url_with_and_without_its_port(
    home: Path, proxy: TlsProxy, simulator: Simulator
) -> None:
    token, host = simulator.auth_token, f"localhost:{proxy.port}"
    (home / "survey.xml").write_text("<Response/>")
    with watch(home, proxy, simulator, "--serve", "survey=survey.xml", SSL_CERT_FILE=str(CERTIFICATE)) as running:
        ready = running.record()
        assert ready["callback_url"] == f"https://{host}/status"
        assert ready["documents"] == {"survey": f"https://{host}/twiml/survey"}
        proxy.leads_to(ready["port"])
        health = running.until_health(str(ready["health_url"]), lambda health: "reachable" in health)
        assert health["reachable"] is True
        for call, signed_over in ((1, f"https://{host}/status"), (2, "https://localhost/status")):
            assert post(proxy.port, form(call, "ringing"), signed_over=signed_over, token=token) == 204
            event: dict[str, Any] = running.record()
            assert (event["call_sid"], event["verified"]) == (sid(call), True)
        for wrong in (
            f"http://{host}/status",
            f"https://127.0.0.1:{proxy.port}/status",
            "https://localhost:444/status",
        ):
            assert post(proxy.port, form(3, "ringing"), signed_over=wrong, token=token) == 403
        request = form(4, "ringing") | {"ApiVersion": "2010-04-01"}
        del request["CallbackSource"]
        place = "/twiml/survey"
        assert post(proxy.port, request, signed_over=f"https://{host}{place}", token=token, path=place) == 200
        record = running.record()
        while record["type"] == "trouble":
            assert "refused a request" in record["text"]
            record = running.record()
        assert (record["event"], record["call_sid"]) == ("twiml-request", sid(4))


def test_a_certificate_that_nobody_vouches_for_is_reported(home: Path, proxy: TlsProxy, simulator: Simulator) -> None:
    with watch(home, proxy, simulator) as running:
        ready = running.record()
        proxy.leads_to(ready["port"])
        health = running.until_health(str(ready["health_url"]), lambda health: "reachable" in health)
        assert health["reachable"] is False
        trouble = running.record()
        assert trouble["type"] == "trouble"
        assert "its certificate is not accepted (self" in trouble["text"]
        assert "; callbacks would not arrive either" in trouble["text"]

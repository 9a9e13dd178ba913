"""``callctl doctor``: the port, the public URL, and the signed request that must come back."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import aiohttp
import pytest
from api.scripted import Server, reply
from doctor_runs import (
    FREE,
    OTHER,
    TOKEN,
    TWILIO,
    checks,
    doctor,
    level,
    twilio_unreachable,
)
from events import form
from listeners import sign
from paths import TESTS
from processes import Piped
from running import Callctl, env_for
from web_site import free_port

from callctl.doctor import callback_route as callback_route
from callctl.simulator import Simulator
from callctl.watch.selftest import SelftestResult
from callctl.watch.tunnel.ngrok import OthersAgentError


class TestRoute:
    def test_a_port_that_is_taken(self, callctl: Callctl, simulator: Simulator) -> None:
        with Server(reply(404)) as server:
            code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_PORT": str(server.server_port)})
        assert (code, findings["port"]["text"]) == (1, f"{server.server_port} is taken by another program")
        assert level(findings, "round trip") == "skipped"

    def test_the_listener_of_a_place_at_the_port_is_known(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        port = str(free_port())
        env = env_for(simulator) | {"CALLCTL_PORT": port, "CALLCTL_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        with Piped("place", "+12025550103", "--say", "Hello", "--watch", "--json", home=home, env=env) as place:
            assert place.record()["type"] == "placed"
            code, findings = doctor(callctl, env)
            assert (code, level(findings, "port"), level(findings, "round trip")) == (0, "warning", "skipped")
            assert findings["port"]["text"] == f"`callctl place --watch` listens at {port} until its call is over"
            with Simulator(port=0, auth_token=TOKEN) as other:
                code, findings = doctor(callctl, env_for(other) | {"CALLCTL_PORT": port})
                assert (code, level(findings, "port")) == (1, "error")
                assert "a watch of another account, API address, user or state folder" in findings["port"]["text"]
            place.kill()

    def test_a_watch_at_the_port_takes_the_test(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        env = env_for(simulator)
        with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
            ready = watch.record()
            port = str(ready["port"])
            code, findings = doctor(callctl, env | {"CALLCTL_PORT": port})
            assert (code, level(findings, "port"), level(findings, "round trip")) == (0, "ok", "ok")
            assert findings["port"]["text"].startswith(f"a watch of this account listens at {port} (process ")
            assert findings["public URL"]["text"].startswith(f"{ready['callback_url']} (of the running watch)")
            code, findings = doctor(callctl, env | {"CALLCTL_PORT": "1"})
            assert f"a watch of this account listens at {port}, not at 1" in findings["port"]["text"]
            with Simulator(port=0, auth_token=TOKEN) as other:
                code, findings = doctor(callctl, env_for(other) | {"CALLCTL_PORT": port})
                assert (code, level(findings, "port")) == (1, "error")
                assert "a watch of another account, API address, user or state folder" in findings["port"]["text"]
            wrong = env | {"CALLCTL_SIGNING_TOKEN": OTHER}
            code, findings = doctor(callctl, wrong)
            assert (code, level(findings, "signing"), level(findings, "round trip")) == (1, "error", "skipped")
            assert "see signing above" in findings["round trip"]["text"]
            code, findings = doctor(callctl, env | {"TWILIO_AUTH_TOKEN": OTHER})
            assert (level(findings, "credentials"), level(findings, "round trip")) == ("error", "skipped")

    def test_a_public_url_that_is_not_the_watchs_is_not_said_to_be_tested(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        env = env_for(simulator)
        with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
            own = watch.record()["callback_url"]
            elsewhere = "https://calls.example.com/status"
            slashed = f"{own}/"  # what is signed over it is refused
            why = {
                elsewhere: f"{elsewhere} is not tested: the running watch has another one",
                slashed: (
                    f"{slashed} is not tested: the running watch has another one, for this is spelled with a slash at "
                    "the end, unlike the listener's"
                ),
            }
            for given, expected in ((elsewhere, ["skipped", "ok"]), (own, ["ok"]), (slashed, ["skipped", "ok"])):
                out = callctl("doctor", "--json", "--public-url", given, env=FREE | env).out
                found = [one for one in json.loads(out)["checks"] if one["name"] == "public URL"]
                assert [one["level"] for one in found] == expected
                if given in why:
                    assert found[0]["text"] == why[given]
                assert found[-1]["text"].startswith(f"{own} (of the running watch)")

    def test_a_watch_that_verifies_nothing_is_not_said_to(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        env = env_for(simulator)
        unverified = "callbacks without verifying them (--unverified): anybody who gets there can send some"
        with Piped("watch", "--port", "0", "--no-poll", "--json", "--unverified", home=home, env=env) as watch:
            port = watch.record()["port"]
            for more in ({}, {"CALLCTL_SIGNING_TOKEN": OTHER}):
                code, findings = doctor(callctl, env | more)
                assert (code, level(findings, "signing")) == (0, "warning")
                assert findings["signing"]["text"] == f"the running watch takes {unverified}"
                assert findings["signing"]["fix"] == "start it without --unverified"
                assert findings["round trip"]["text"].startswith("a request came back in ")
                assert findings["round trip"]["text"].endswith("of signatures it says nothing, see signing above")
            with Piped("listen", "--port", "0", home=home, env=env) as listener:
                listener.until_said("statusCallbackMethod")
                out = callctl("doctor", "--json", env=env | {"CALLCTL_PORT": str(port)}).out
        signing = [one for one in json.loads(out)["checks"] if one["name"] == "signing"]
        assert [one["level"] for one in signing] == ["ok", "warning"]  # of the listener, and of the watch
        assert re.fullmatch(rf"the watch at {port} \(process \d+\) takes {re.escape(unverified)}", signing[1]["text"])

    def test_a_watch_tells_of_requests_that_came_to_another_path(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        env = env_for(simulator)
        with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
            url = f"http://127.0.0.1:{watch.record()['port']}/voice"
            assert "callback path" not in doctor(callctl, env)[1]
            fields = form(1, "ringing")
            headers = sign(url, fields, token=simulator.auth_token)
            request = Request(url, urlencode(fields).encode(), headers)
            with pytest.raises(HTTPError, match="404"):
                urlopen(request)
            assert watch.record()["text"].startswith("signed requests come to /voice, this watch listens at /status: ")
            code, findings = doctor(callctl, env)
            assert (code, level(findings, "callback path")) == (0, "warning")
            assert findings["callback path"]["text"] == "1 signed request came to /voice and found nothing there"
            assert "/status instead" in findings["callback path"]["fix"]
            with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as other:
                beside = doctor(callctl, env | {"CALLCTL_PORT": str(other.record()["port"])})[1]
            assert beside["callback path"] == findings["callback path"]

    def test_the_public_url_is_gone_through(self, callctl: Callctl, simulator: Simulator) -> None:
        port = free_port()
        env = env_for(simulator) | {"CALLCTL_PUBLIC_URL": f"http://localhost:{port}", "CALLCTL_PORT": str(port)}
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "public URL"), level(findings, "round trip")) == (0, "ok", "ok")
        assert findings["public URL"]["text"].startswith(f"http://localhost:{port}/status (of CALLCTL_PUBLIC_URL)")

    def test_a_public_url_that_leads_elsewhere(self, callctl: Callctl, simulator: Simulator) -> None:
        with Server(reply(502)) as server:
            code, findings = doctor(
                callctl, env_for(simulator), "--public-url", f"http://127.0.0.1:{server.server_port}"
            )
        assert (code, level(findings, "round trip")) == (6, "error")
        assert findings["round trip"]["text"].endswith("did not come back: something else answers there (HTTP 502)")
        assert "tunnel or proxy" in findings["round trip"]["fix"]

    def test_a_public_url_whose_password_is_missing_or_wrong(self, callctl: Callctl, simulator: Simulator) -> None:
        with Server(reply(401, **{"WWW-Authenticate": "Basic realm=front"})) as server:
            for user_info, why in (("", "it asks for a user and a password"), ("ann:fake-word@", "it does not take")):
                url = f"http://{user_info}127.0.0.1:{server.server_port}"
                code, findings = doctor(callctl, env_for(simulator), "--public-url", url)
                assert (code, level(findings, "round trip")) == (6, "error")
                assert why in findings["round trip"]["text"]
                assert "@ before the host" in findings["round trip"]["fix"]
                assert "fake-word" not in str(findings)

    def test_a_certificate_of_the_public_url_that_nobody_vouches_for(
        self, callctl: Callctl, simulator: Simulator
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TESTS / "api" / "certificate.pem", TESTS / "api" / "key.pem")
        with Server(reply(204), context=context) as server:
            url = f"https://localhost:{server.server_port}"
            code, findings = doctor(callctl, env_for(simulator), "--public-url", url)
        assert (code, level(findings, "round trip")) == (6, "error")
        assert "its certificate is not accepted (self" in findings["round trip"]["text"]
        assert findings["round trip"]["fix"].startswith("Twilio refuses it too, unless only this machine")
        assert "SSL_CERT_FILE" in findings["round trip"]["fix"]

    def test_an_underscore_in_the_host(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_PUBLIC_URL": "https://my_host.example.com"})
        assert (code, level(findings, "public URL"), level(findings, "round trip")) == (1, "error", "skipped")
        assert "contains an underscore, which Twilio refuses" in findings["public URL"]["text"]

    @pytest.mark.parametrize(
        ("url", "expected", "text"),
        [
            (None, "warning", "there is none"),
            ("http://127.0.0.1:8765", "error", "it is a loopback address"),
            ("https://192.168.0.4/status", "error", "it is a private address"),
            ("https://my_host.example.com", "error", "underscore"),
        ],
    )
    def test_what_twilio_could_not_reach(
        self,
        callctl: Callctl,
        monkeypatch: pytest.MonkeyPatch,
        url: str | None,
        expected: str,
        text: str,
    ) -> None:
        with twilio_unreachable(monkeypatch):
            env = FREE | TWILIO | ({"CALLCTL_PUBLIC_URL": url} if url else {})
            outcome = callctl("doctor", "--json", env=env, back_off=lambda _seconds: None)
        findings = checks(outcome)
        assert (level(findings, "public URL"), level(findings, "round trip")) == (expected, "skipped")
        assert text in findings["public URL"]["text"]
        assert findings["public URL"]["fix"]

    def test_a_public_url_of_ones_own_may_be_plain_http(
        self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def answered(*_args: object, **_kept: object) -> SelftestResult:
            return SelftestResult(round_trip=0.084)

        monkeypatch.setattr(callback_route, "selftest", answered)
        env = FREE | TWILIO | {"CALLCTL_PUBLIC_URL": "http://nowhere.example.com"}
        with twilio_unreachable(monkeypatch):
            findings = checks(callctl("doctor", "--json", env=env, back_off=lambda _seconds: None))
        assert (level(findings, "public URL"), findings["public URL"]["text"][-13:]) == ("warning", "is plain http")

    def test_an_agent_that_runs_is_found(self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
        async def agent(_port: int, **_kept: str) -> list[str]:
            return ["https://nowhere.example.com"]

        async def answered(*_args: object, **_kept: object) -> SelftestResult:
            return SelftestResult(round_trip=0.084)

        async def is_ours(*_args: object, **_kept: object) -> None:
            pass

        monkeypatch.setattr(callback_route, "find_agent", agent)
        monkeypatch.setattr(callback_route, "why_not_ours", is_ours)
        monkeypatch.setattr(callback_route, "selftest", answered)
        with twilio_unreachable(monkeypatch):
            findings = checks(callctl("doctor", "--json", env=FREE | TWILIO, back_off=lambda _seconds: None))
        assert (
            "https://nowhere.example.com/status (of the ngrok agent that runs here)" in findings["public URL"]["text"]
        )
        assert level(findings, "public URL") == "ok"
        assert findings["round trip"]["text"] == "a signed request came back in 84 ms"

    def test_an_agent_of_another_user_is_sent_nothing(self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
        async def agent(_port: int, **_kept: str) -> list[str]:
            raise OthersAgentError("http://127.0.0.1:4040", ["https://elsewhere.example.com"])

        monkeypatch.setattr(callback_route, "find_agent", agent)
        with twilio_unreachable(monkeypatch):
            findings = checks(callctl("doctor", "--json", env=FREE | TWILIO, back_off=lambda _seconds: None))
        assert (level(findings, "public URL"), level(findings, "round trip")) == ("error", "skipped")
        assert "not known to be yours" in findings["public URL"]["text"]

    def test_an_agent_that_leads_elsewhere_is_sent_nothing_that_is_signed(
        self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def agent(_port: int, **_kept: str) -> list[str]:
            return ["http://elsewhere.example.com"]

        monkeypatch.setattr(callback_route, "find_agent", agent)
        with twilio_unreachable(monkeypatch), Server(reply(200, {})) as elsewhere:
            monkeypatch.setenv("http_proxy", elsewhere.url)
            findings = checks(callctl("doctor", "--json", env=FREE | TWILIO, back_off=lambda _seconds: None))
            assert [(one.method, "X-Twilio-Signature" in one.headers) for one in elsewhere.received] == [("GET", False)]
        assert level(findings, "round trip") == "error"
        assert "elsewhere.example.com/status does not lead here: something else" in findings["round trip"]["text"]

    def test_a_callback_that_comes_meanwhile_is_not_acknowledged(
        self, callctl: Callctl, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = []

        async def callback(url: str, **_kept: object) -> SelftestResult:
            fields = form(1, "ringing", number=0, at=1)
            async with aiohttp.ClientSession() as http:
                headers = sign(url, fields, token=simulator.auth_token)
                async with http.post(url, data=fields, headers=headers) as answer:
                    answers.append(answer.status)
            return SelftestResult(round_trip=0.001)

        monkeypatch.setattr(callback_route, "selftest", callback)
        assert callctl("doctor", env=FREE | env_for(simulator)).code == 0
        assert answers == [500]  # Twilio tries again, when a watch may be there

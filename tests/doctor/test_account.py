"""``callctl doctor``: from a mistyped token to its cause; whose keys, and what lies between here and the API."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from api.scripted import Handler, Server, reply
from doctor_runs import (
    ACCOUNT,
    FREE,
    KEY,
    OTHER,
    TOKEN,
    TWILIO,
    account,
    at,
    checks,
    direct,
    doctor,
    level,
    with_key,
)
from paths import TESTS
from running import Callctl, env_for
from web_site import closed_port

from callctl.simulator import Simulator
from callctl.simulator.settings import AUTH_TOKEN


class TestCredentials:
    def test_a_mistyped_token(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, env_for(simulator) | {"TWILIO_AUTH_TOKEN": AUTH_TOKEN[:-1] + "f"})
        assert (code, level(findings, "credentials")) == (4, "error")
        assert (
            "account SID and TWILIO_AUTH_TOKEN (from the environment) do not belong together"
            in (findings["credentials"]["text"])
        )
        assert "one of them is mistyped" in findings["credentials"]["fix"]
        assert findings["credentials"]["code"] == "20003"
        assert findings["credentials"]["more_info"] == "https://www.twilio.com/docs/errors/20003"
        assert [level(findings, name) for name in ("api", "account", "key", "signing", "clock")] == [
            "ok", "skipped", "skipped", "skipped", "ok"
        ]  # fmt: skip

    def test_a_mistyped_sid(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, env_for(simulator) | {"TWILIO_ACCOUNT_SID": "AC" + "1" * 32})
        assert (code, "do not belong together" in findings["credentials"]["text"]) == (4, True)

    def test_an_account_that_is_not_there(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, env_for(simulator), "--account-sid", "AC" + "1" * 32)
        assert (code, level(findings, "credentials")) == (3, "error")
        assert "knows no such account" in findings["credentials"]["text"]

    @pytest.mark.parametrize(("prefix", "kind"), [("SK", "an API key"), ("CA", "a call"), ("ZZ", "something else")])
    def test_the_sid_of_another_kind(self, callctl: Callctl, simulator: Simulator, prefix: str, kind: str) -> None:
        code, findings = doctor(callctl, env_for(simulator) | {"TWILIO_ACCOUNT_SID": prefix + "0" * 32})
        assert (code, level(findings, "credentials"), level(findings, "TWILIO_ACCOUNT_SID")) == (2, "error", "warning")
        text = f"is the SID of {kind} ({prefix}…), not of an account (AC…)"
        assert text in findings["credentials"]["text"]
        assert simulator.requests == ()

    def test_a_sid_in_the_place_of_the_token(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, env_for(simulator) | {"TWILIO_AUTH_TOKEN": KEY})
        assert (code, "is the SID of an API key (SK…), no token" in findings["credentials"]["text"]) == (2, True)

    @pytest.mark.parametrize(
        ("token", "trouble"),
        [
            (f'"{AUTH_TOKEN}"', "is in quote marks"),
            (f"{AUTH_TOKEN} ", "begins or ends with a blank"),
            ("simulated auth-token", "has a blank in it"),
            ("   ", "is blank"),
        ],
    )
    def test_what_came_along_with_a_token(
        self, callctl: Callctl, simulator: Simulator, token: str, trouble: str
    ) -> None:
        env = env_for(simulator)
        outcome = callctl("doctor", "--json", env=FREE | env | {"TWILIO_AUTH_TOKEN": token})
        findings = checks(outcome)
        assert outcome.code == 4
        assert findings["TWILIO_AUTH_TOKEN"]["text"].endswith(f"; it {trouble}")
        assert findings["credentials"]["text"] == f"not accepted: TWILIO_AUTH_TOKEN (from the environment) {trouble}"

    def test_a_character_that_no_header_can_hold(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, env_for(simulator) | {"TWILIO_AUTH_TOKEN": "simulated\u2013token"})
        assert (code, level(findings, "credentials")) == (2, "error")
        assert "characters that no token has" in findings["credentials"]["text"]

    @pytest.mark.parametrize("name", ["TWILIO_AUTH_TOKEN", "CALLCTL_SIGNING_TOKEN"])
    @pytest.mark.parametrize("token", [f"\u201c{AUTH_TOKEN}\u201d", "simulated\udcff"])
    def test_a_token_that_can_sign_nothing(self, callctl: Callctl, simulator: Simulator, name: str, token: str) -> None:
        env = env_for(simulator) | {name: token}
        _, findings = doctor(callctl, env)
        named = f"{name} (from the environment) holds characters that no token has"
        assert findings["signing"]["text"] == f"{named}, so that no callback can be verified with it"
        watch = callctl("watch", env=FREE | env)
        assert (watch.code, named in watch.err) == (2, True)

    def test_test_credentials(self, callctl: Callctl) -> None:
        with Simulator(port=0, test_credentials=True) as simulator:
            code, findings = doctor(callctl, env_for(simulator))
        assert (code, findings["credentials"]["text"]) == (4, "these are test credentials")
        assert findings["credentials"]["code"] == "20008"
        assert "never ring" in findings["credentials"]["fix"]

    @pytest.mark.parametrize("status", ["suspended", "closed"])
    def test_a_suspended_account_that_can_be_read(self, callctl: Callctl, status: str) -> None:
        with Simulator(port=0, account_status=status) as simulator:
            code, findings = doctor(callctl, env_for(simulator))
        assert (code, level(findings, "credentials"), level(findings, "account")) == (1, "ok", "error")
        assert findings["account"]["text"] == f"“Simulated account”, {status} (Full)"
        assert "no call can be placed" in findings["account"]["fix"]

    def test_a_suspended_account_that_refuses_its_key(self, callctl: Callctl) -> None:
        with Simulator(port=0, account_status="suspended") as simulator:
            code, findings = doctor(callctl, with_key(simulator, TWILIO_AUTH_TOKEN=""))
        assert (code, findings["credentials"]["code"]) == (4, "20403")
        assert "suspended" in findings["credentials"]["text"]

    def test_a_trial_account_is_reported(self, callctl: Callctl) -> None:
        with Server(account(type="Trial")) as server:
            code, findings = doctor(callctl, at(server))
        assert (code, level(findings, "account"), findings["account"]["text"]) == (
            0,
            "warning",
            "“Example Ltd”, active (Trial)",
        )

    def test_the_name_of_an_account_is_data(self, callctl: Callctl) -> None:
        with Server(account(friendly_name="[red]\x1b[31mBad")) as server:
            outcome = callctl("doctor", env=FREE | at(server), terminal=True, columns=80)
        assert "“[red]�[31mBad”" in outcome.out


class TestKeys:
    def test_a_standard_key_lists_one_call_instead(self, callctl: Callctl, simulator: Simulator) -> None:
        env = with_key(simulator)
        _, findings = doctor(callctl, env)
        assert findings["account"]["text"].endswith("its calls can: there are none yet")
        sid = callctl("place", "+12025550103", "--say", "x", "--status-callback", "none", env=env).out.strip()
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "account")) == (0, "ok")
        assert findings["account"]["text"].endswith(f"newest {sid}")
        assert "standard or restricted" in findings["key"]["text"]
        assert findings["signing"]["text"].endswith("the account's primary token")
        assert [one.query["PageSize"] for one in simulator.requests if one.query] == [("1",)] * 6

    def test_a_main_key(self, callctl: Callctl) -> None:
        with Server(account()) as server:
            env = at(server) | {"TWILIO_API_KEY": KEY, "TWILIO_API_SECRET": "fake-secret"}
            code, findings = doctor(callctl, env)
        assert (code, findings["key"]["text"]) == (0, "a main API key: it may read the account, and signs no callbacks")

    def test_the_sid_of_another_kind_in_its_place(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, with_key(simulator, TWILIO_API_KEY=ACCOUNT))
        assert (code, level(findings, "TWILIO_API_KEY")) == (2, "warning")
        text = "TWILIO_API_KEY (from the environment) is the SID of an account (AC…), not of an API key (SK…)"
        assert findings["credentials"]["text"] == text
        assert simulator.requests == ()

    def test_a_wrong_secret(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, with_key(simulator, TWILIO_API_SECRET="another-secret"))
        assert (code, "do not belong together, or not to this account" in findings["credentials"]["text"]) == (4, True)
        assert "make a new key" in findings["credentials"]["fix"]

    def test_a_key_alone_verifies_no_callback(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, with_key(simulator, TWILIO_AUTH_TOKEN=""))
        assert (code, level(findings, "signing")) == (0, "warning")
        assert "without which no callback can be verified" in findings["signing"]["text"]
        assert "never with an API key" in findings["signing"]["fix"]
        assert findings["round trip"]["text"].endswith("; of signatures it says nothing, see signing above")

    def test_a_token_beside_the_key_that_is_not_the_accounts(self, callctl: Callctl, simulator: Simulator) -> None:
        code, findings = doctor(callctl, with_key(simulator, TWILIO_AUTH_TOKEN=OTHER))
        assert (code, level(findings, "credentials"), level(findings, "signing")) == (1, "ok", "error")
        assert "which the account does not accept: each will be refused" in findings["signing"]["text"]

    def test_a_secondary_token_signs_nothing(self, callctl: Callctl) -> None:
        with Server(account(auth_token=OTHER)) as server:
            code, findings = doctor(callctl, at(server))
        assert (code, level(findings, "signing")) == (1, "error")
        assert "is not the account's primary token" in findings["signing"]["text"]

    def test_a_subaccount_with_the_main_accounts_token(self, callctl: Callctl) -> None:
        sub = "AC" + "2" * 32
        with Server(account(sid=sub, owner_account_sid=ACCOUNT)) as server:
            code, findings = doctor(callctl, at(server), "--account-sid", sub)
            assert (code, findings["key"]["text"]) == (0, f"the auth token of the main account {ACCOUNT}")
            assert findings["account"]["text"].endswith(f"a subaccount of {ACCOUNT}")
            assert (level(findings, "signing"), sub in findings["signing"]["text"]) == ("warning", True)
            env = at(server) | {"CALLCTL_SIGNING_TOKEN": TOKEN}
            code, findings = doctor(callctl, env, "--account-sid", sub)
        assert (code, level(findings, "signing")) == (0, "ok")
        assert "CALLCTL_SIGNING_TOKEN" in findings["signing"]["text"]


class TestNetwork:
    def test_nothing_answers(self, callctl: Callctl) -> None:
        with closed_port() as port:
            code, findings = doctor(callctl, at(f"http://127.0.0.1:{port}"))
        assert (code, level(findings, "api")) == (6, "error")
        assert "the connection was refused" in findings["api"]["text"]
        assert "callctl simulator" in findings["api"]["fix"]
        assert [level(findings, name) for name in ("credentials", "account", "key", "clock")] == ["skipped"] * 4
        assert level(findings, "round trip") == "ok"

    def test_a_name_that_is_not_known(self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_args: object, **_kept: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        direct(monkeypatch)
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        outcome = callctl("doctor", "--json", env=at("https://api.example.com"), back_off=lambda _seconds: None)
        findings = checks(outcome)
        assert (outcome.code, "the name of api.example.com could not be resolved" in findings["api"]["text"]) == (
            6,
            True,
        )

    def test_a_proxy_that_refuses(self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
        direct(monkeypatch)
        with Server(reply(403)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://ann:fake-password@127.0.0.1:{proxy.server_port}")
            outcome = callctl("doctor", "--json", env=FREE | TWILIO, back_off=lambda _seconds: None)
        findings = checks(outcome)
        assert (outcome.code, findings["api"]["text"]) == (
            6,
            "the proxy did not let the connection to api.twilio.com through",
        )
        assert "HTTPS_PROXY" in findings["api"]["fix"]
        assert "fake-password" not in outcome.out + outcome.err

    def test_a_certificate_that_is_not_accepted(self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
        direct(monkeypatch)
        folder = TESTS / "api"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        with Server(account(), context=context) as server:
            code, findings = doctor(callctl, at(f"https://127.0.0.1:{server.server_port}"))
        assert (code, level(findings, "api")) == (6, "error")
        assert "was not accepted" in findings["api"]["text"]
        assert "SSL_CERT_FILE" in findings["api"]["fix"]

    def test_trouble_at_the_service(self, callctl: Callctl) -> None:
        with Server(reply(503)) as server:
            code, findings = doctor(callctl, at(server))
        assert (code, level(findings, "api"), level(findings, "credentials")) == (1, "error", "skipped")

    def test_something_else_that_answers(self, callctl: Callctl) -> None:
        with Server(reply(200, b"<html>")) as server:
            code, findings = doctor(callctl, at(server))
        assert (code, "not as the API does" in findings["api"]["text"]) == (6, True)

    def test_a_service_without_accounts(self, callctl: Callctl) -> None:
        def turn(handler: Handler) -> None:
            reply(*((200, {"calls": []}) if "Calls.json" in handler.path else (404, b"")))(handler)

        with Server(turn) as server:
            code, findings = doctor(callctl, at(server))
        assert (code, level(findings, "credentials"), level(findings, "account")) == (0, "ok", "ok")


class TestClock:
    @pytest.mark.parametrize(
        ("ahead", "expected", "text"),
        [
            (0, "ok", "the API's"),
            (8, "ok", "s ahead of the API's"),
            (-8, "ok", "s behind the API's"),
            (60, "warning", "s ahead of the API's: stored times are wrong, and rules query REST before each action"),
            (-60, "warning", "s behind the API's: stored times are wrong"),
        ],
    )
    def test_a_skew(self, callctl: Callctl, simulator: Simulator, ahead: int, expected: str, text: str) -> None:
        code, findings = doctor(callctl, env_for(simulator), now=lambda: datetime.now(UTC) + timedelta(seconds=ahead))
        assert (code, level(findings, "clock")) == (0, expected)
        assert findings["clock"]["text"].endswith(text)
        assert abs(findings["clock"]["seconds"] - ahead) <= 5
        assert (findings["clock"]["fix"] is None) == (expected == "ok")

"""Settings: credentials, the world they belong to, named URLs, and what no text of them shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from callctl.errors import SettingsError, UsageError
from callctl.settings import (
    SECRETS,
    TWILIO_API_URL,
    Credentials,
    Settings,
    load,
)

ACCOUNT = "AC" + "0" * 32
KEY = "SK" + "0" * 32


def from_env(cwd: Path, **values: str) -> Settings:
    return load({"HOME": str(cwd), **values}, cwd=cwd)


@pytest.mark.parametrize("host", ["twilio.com.example.com", "eviltwilio.com", "example.com"])
def test_only_twilio_is_twilio(host: str) -> None:
    assert not Settings(api_url=f"https://{host}").is_twilio


def test_worlds_are_told_apart_by_account_and_address() -> None:
    worlds = {
        Settings(account_sid=account, api_url=url).world
        for account in (ACCOUNT, "AC" + "1" * 32, None)
        for url in (TWILIO_API_URL, "http://127.0.0.1:9000", "http://127.0.0.1:9001")
    }
    assert len(worlds) == 9
    same = {Settings(account_sid=ACCOUNT, auth_token=token).world for token in ("a", "b")}
    assert len(same) == 1


def test_a_subaccount_is_opened_with_the_main_accounts_token_which_does_not_sign_for_it(tmp_path: Path) -> None:
    sub = "AC" + "1" * 32
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "fake-token"}
    settings = load(env, cwd=tmp_path, overrides={"TWILIO_ACCOUNT_SID": sub})
    assert settings.credentials() == Credentials(sub, ACCOUNT, "fake-token")
    assert settings.signing_keys == ()
    signing = load({**env, "CALLCTL_SIGNING_TOKEN": "fake-sub"}, cwd=tmp_path, overrides={"TWILIO_ACCOUNT_SID": sub})
    assert signing.signing_keys == ("fake-sub",)
    same = load(env, cwd=tmp_path, overrides={"TWILIO_ACCOUNT_SID": ACCOUNT})
    assert (same.credentials(), same.signing_keys) == (Credentials(ACCOUNT, ACCOUNT, "fake-token"), ("fake-token",))
    bare = load({"TWILIO_AUTH_TOKEN": "fake-token"}, cwd=tmp_path, overrides={"TWILIO_ACCOUNT_SID": sub})
    assert bare.credentials() == Credentials(sub, sub, "fake-token")


@pytest.mark.parametrize("text", ["new,old", "new old", " new , old "])
def test_two_tokens_may_sign_while_one_takes_the_others_place(tmp_path: Path, text: str) -> None:
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "fake-token", "CALLCTL_SIGNING_TOKEN": text}
    assert load(env, cwd=tmp_path).signing_keys == ("new", "old")


def test_a_key_is_preferred_to_the_token_and_the_token_signs() -> None:
    settings = Settings(account_sid=ACCOUNT, auth_token="fake-token", api_key=KEY, api_secret="fake-secret")
    assert settings.credentials() == Credentials(ACCOUNT, KEY, "fake-secret")
    assert settings.signing_keys == ("fake-token",)
    assert Settings(account_sid=ACCOUNT, api_key=KEY, api_secret="fake-secret").signing_keys == ()
    assert Settings(auth_token="fake-token", signing_token="fake-signing").signing_keys == ("fake-signing",)
    assert Settings(account_sid=ACCOUNT, auth_token="t").credentials() == Credentials(ACCOUNT, ACCOUNT, "t")


@pytest.mark.parametrize("account", [None, ACCOUNT])
@pytest.mark.parametrize("token", [None, "fake-token"])
@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("secret", [None, "fake-secret"])
def test_credentials_are_whole_or_say_what_is_missing(
    account: str | None, token: str | None, key: str | None, secret: str | None
) -> None:
    settings = Settings(account_sid=account, auth_token=token, api_key=key, api_secret=secret)
    if account and ((key and secret) or (token and not key)):
        assert settings.credentials().account_sid == account
        return
    with pytest.raises(SettingsError) as caught:
        settings.credentials()
    missing = {
        "TWILIO_ACCOUNT_SID": not account,
        "TWILIO_API_SECRET": bool(key and not secret),
    }
    for name, is_missing in missing.items():
        assert (name in caught.value.message.replace("TWILIO_API_KEY and TWILIO_API_SECRET", "")) is is_missing
    assert "callctl demo" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"account_sid": KEY}, "TWILIO_ACCOUNT_SID .* is the SID of an API key \\(SK…\\), not of an account"),
        ({"account_sid": "ZZ" + "0" * 32}, "is the SID of something else"),
        ({"auth_token": KEY}, "TWILIO_AUTH_TOKEN .* is the SID of an API key"),
        ({"api_key": "PN" + "0" * 32, "api_secret": "fake"}, "TWILIO_API_KEY .* is the SID of a phone number"),
        ({"api_key": KEY, "api_secret": KEY}, "TWILIO_API_SECRET .* is the SID of an API key"),
    ],
)
def test_the_sid_of_something_else_is_no_credential(changed: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        replace(Settings(account_sid=ACCOUNT, auth_token="fake-token"), **changed).credentials()  # type: ignore[arg-type]
    assert "TWILIO_API_KEY" in (refused.value.hint or "")


def test_what_may_be_a_credential_elsewhere_or_stand_for_one_is_taken() -> None:
    other = Settings(account_sid="ZZ" + "0" * 32, auth_token="fake", api_url="https://example.com")
    assert other.credentials().account_sid == "ZZ" + "0" * 32
    by_token = Settings(account_sid=ACCOUNT, api_key=ACCOUNT, api_secret="fake-token")
    assert by_token.credentials() == Credentials(ACCOUNT, ACCOUNT, "fake-token")
    unused = Settings(account_sid=ACCOUNT, auth_token=KEY, api_key=KEY, api_secret="fake-secret")
    assert unused.credentials().username == KEY


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    values = {key: f"fake-secret-of-{number}" for number, key in enumerate(sorted(SECRETS))}
    settings = from_env(tmp_path, TWILIO_ACCOUNT_SID=ACCOUNT, **values)
    for text in (repr(settings), str(settings), repr(settings.credentials())):
        assert ACCOUNT in text
        assert not [value for key, value in values.items() if value in text and key != "TWILIO_API_KEY"]
    assert values["TWILIO_API_KEY"] not in repr(settings)


def test_an_unknown_name_lists_the_known_ones_and_the_nearest(tmp_path: Path) -> None:
    settings = from_env(tmp_path, CALLCTL_URL_SURVEY="https://example.com/s", CALLCTL_URL_HOLD="https://example.com/h")
    with pytest.raises(UsageError) as caught:
        settings.named_url("survy")
    assert "hold, survey" in caught.value.message
    assert "did you mean survey?" in (caught.value.hint or "")
    assert "CALLCTL_URL_SURVY=" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="none are set"):
        Settings().named_url("survey")


@pytest.mark.parametrize("text", ["ftp://example.com", "https://", "://", "https://a b"])
def test_what_looks_like_a_url_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="not an absolute http or https URL"):
        Settings().named_url(text)


@pytest.mark.parametrize("text", ["example.com/x.xml", "example.com", "example.com:8443"])
def test_an_address_without_a_scheme_is_no_name_either(text: str) -> None:
    with pytest.raises(UsageError, match="not an absolute http or https URL") as caught:
        Settings().named_url(text)
    assert caught.value.hint == f"https:// is missing: https://{text}"

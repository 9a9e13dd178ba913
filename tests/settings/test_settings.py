"""Where settings come from, which of them stand or fall together, and what malformed ones get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from callctl.errors import SettingsError, UsageError
from callctl.settings import (
    IDENTITY,
    PLAIN,
    SECRETS,
    TWILIO_API_URL,
    Credentials,
    NamedUrl,
    Settings,
    load,
)

ACCOUNT = "AC" + "0" * 32
KEY = "SK" + "0" * 32
ENV = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "fake-token"}


def write(path: Path, values: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}='{value}'\n" for key, value in values.items()), encoding="utf-8")
    return path


def from_env(cwd: Path, **values: str) -> Settings:
    return load({"HOME": str(cwd), **values}, cwd=cwd)


# --- the order of sources


def test_nothing_set(tmp_path: Path) -> None:
    settings = load({"HOME": "/home/ann"}, cwd=tmp_path)
    assert settings.account_sid is None
    assert settings.api_url == TWILIO_API_URL
    assert settings.port == 8765
    assert settings.state_dir == Path("/home/ann/.local/state/callctl")
    assert settings.store == settings.state_dir / "events.db"
    assert settings.is_twilio
    assert not settings.is_loopback
    assert not settings.urls


VALUES = {
    "TWILIO_ACCOUNT_SID": [f"AC{number:032d}" for number in range(3)],
    "TWILIO_AUTH_TOKEN": [f"token-{number}" for number in range(3)],
    "TWILIO_API_KEY": [f"SK{number:032d}" for number in range(3)],
    "TWILIO_API_SECRET": [f"secret-{number}" for number in range(3)],
    "TWILIO_REGION": ["ie1", "au1", "us1"],  # which need no edge
    "TWILIO_EDGE": [f"edge{number}" for number in range(3)],
    "CALLCTL_API_URL": [f"https://api{number}.example.com" for number in range(3)],
    "CALLCTL_SIGNING_TOKEN": [f"signing-{number}" for number in range(3)],
    "CALLCTL_FROM": [f"+1500555000{number}" for number in range(3)],
    "CALLCTL_PUBLIC_URL": [f"https://public{number}.example.com" for number in range(3)],
    "CALLCTL_PORT": ["8001", "8002", "8003"],
    "CALLCTL_STORE": ["/data/store0.db", "/data/store1.db", "store2.db"],
    "CALLCTL_URL_SURVEY": [f"https://example.com/survey{number}" for number in range(3)],
}
FIELDS = {
    "TWILIO_ACCOUNT_SID": "account_sid",
    "TWILIO_AUTH_TOKEN": "auth_token",
    "TWILIO_API_KEY": "api_key",
    "TWILIO_API_SECRET": "api_secret",
    "TWILIO_REGION": "region",
    "TWILIO_EDGE": "edge",
    "CALLCTL_SIGNING_TOKEN": "signing_token",
    "CALLCTL_FROM": "from_",
    "CALLCTL_PUBLIC_URL": "public_url",
}


def subsets() -> st.SearchStrategy[frozenset[str]]:
    """Return subsets of the variables that make sense together."""
    chosen = st.frozensets(st.sampled_from(sorted(VALUES)))
    return chosen.filter(lambda keys: not ("CALLCTL_API_URL" in keys and keys & {"TWILIO_REGION", "TWILIO_EDGE"}))


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sources=st.tuples(subsets(), subsets(), subsets()))
def test_identity_comes_whole_from_the_first_source_that_has_any_of_it(
    tmp_path: Path, sources: tuple[frozenset[str], ...]
) -> None:
    layers = [{key: VALUES[key][number] for key in keys} for number, keys in enumerate(sources)]
    named = write(tmp_path / "named.env", layers[0])
    write(tmp_path / ".env", layers[2])
    settings = load({"HOME": "/home/ann", **layers[1]}, cwd=tmp_path, env_file=named)

    identity = next((layer for layer in layers if any(key in layer for key in IDENTITY)), {})
    for key, field in FIELDS.items():
        expected = identity.get(key) if key in IDENTITY else next((la[key] for la in layers if key in la), None)
        assert getattr(settings, field) == expected
    if "CALLCTL_API_URL" in identity:
        assert settings.api_url == identity["CALLCTL_API_URL"]
    else:
        assert settings.is_twilio
    known = {"CALLCTL_PORT", "CALLCTL_STORE", "CALLCTL_URL_SURVEY"} & frozenset().union(*sources)
    first = {key: next(layer[key] for layer in layers if key in layer) for key in known}
    assert str(settings.port) == first.get("CALLCTL_PORT", "8765")
    assert str(settings.store) == first.get("CALLCTL_STORE", "/home/ann/.local/state/callctl/events.db")
    assert [named.url for named in settings.urls.values()] == [
        first[key] for key in first if key == "CALLCTL_URL_SURVEY"
    ]
    assert set(settings.sources.values()) <= {str(named), "environment", str(tmp_path / ".env")}


def test_every_setting_is_covered_by_that_test() -> None:
    assert set(VALUES) == {*IDENTITY, *PLAIN, "CALLCTL_URL_SURVEY"}


def test_a_repositorys_env_file_can_not_draw_an_exported_token_to_its_server(tmp_path: Path) -> None:
    write(tmp_path / ".env", {"CALLCTL_API_URL": "https://evil.example.com", "CALLCTL_SIGNING_TOKEN": "theirs"})
    settings = from_env(tmp_path, **ENV)
    assert settings.api_url == TWILIO_API_URL
    assert settings.signing_keys == ("fake-token",)


def test_who_names_the_simulators_file_gets_the_simulator_and_none_of_the_real_account(tmp_path: Path) -> None:
    named = write(
        tmp_path / ".env.simulator", {"CALLCTL_API_URL": "http://127.0.0.1:9000", "TWILIO_ACCOUNT_SID": ACCOUNT}
    )
    for settings in (
        load({**ENV, "TWILIO_REGION": "ie1"}, cwd=tmp_path, env_file=named),
        load({**ENV, "TWILIO_REGION": "ie1", "CALLCTL_ENV_FILE": str(named)}, cwd=tmp_path),
    ):
        assert settings.api_url == "http://127.0.0.1:9000"
        assert (settings.auth_token, settings.region) == (None, None)
        with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN"):
            settings.credentials()


def test_the_flag_names_the_file_before_the_variable_does(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"CALLCTL_FROM": "+15005550001"})
    two = write(tmp_path / "two", {"CALLCTL_FROM": "+15005550002"})
    assert load({"CALLCTL_ENV_FILE": str(two)}, cwd=tmp_path, env_file=one).from_ == "+15005550001"


def test_flags_come_first(tmp_path: Path) -> None:
    settings = load(ENV, cwd=tmp_path, overrides={"CALLCTL_PORT": "9999"})
    assert settings.port == 9999
    assert settings.sources["CALLCTL_PORT"] == "flag"
    assert settings.sources["TWILIO_AUTH_TOKEN"] == "environment"


def test_an_env_file_above_is_used_and_named(tmp_path: Path) -> None:
    write(tmp_path / ".env", ENV)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert from_env(below).account_sid == ACCOUNT
    assert from_env(below).env_file_above == tmp_path / ".env"
    assert from_env(tmp_path).env_file_above is None
    assert from_env(below, **ENV).env_file_above is None  # nothing of it is used
    nearer = write(tmp_path / "a" / ".env", {"CALLCTL_FROM": "+15005550006"})
    assert from_env(below).env_file_above == nearer
    assert from_env(below).account_sid is None


def test_a_file_that_was_found_keeps_events_below_the_working_and_the_state_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    working, state = tmp_path / "repository" / "part", tmp_path / ".state" / "callctl"
    working.mkdir(parents=True)
    (working / "link").symlink_to(tmp_path)
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(state.parent)}
    for inside in (
        "events.db",
        "deep/events.db",
        str(working / "events.db"),
        f"{state}/other.db",
        "~/.state/callctl/x.db",
    ):
        write(working.parent / ".env", {"CALLCTL_STORE": inside})
        assert load(env, cwd=working).store == Path(inside).expanduser()
    outside = ["../events.db", "~/events.db", "/etc/passwd", "link/events.db", f"{state}/../x.db", "~"]
    for text in outside:
        file = write(working.parent / ".env", {"CALLCTL_STORE": text})
        with pytest.raises(SettingsError, match="neither below the working folder") as refused:
            load(env, cwd=working)
        assert "CALLCTL_STORE" in refused.value.message
        named = load(env, cwd=working, env_file=file)
        assert load({**env, "CALLCTL_STORE": text}, cwd=working).store == named.store == Path(text).expanduser()


@pytest.mark.parametrize("text", ["postgresql://ann:fake-password@example.com/calls", "file:///tmp/x", "x://"])
def test_no_address_is_a_store(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / ".env", {"CALLCTL_STORE": text})
    for env in ({}, {"CALLCTL_STORE": text}, {"CALLCTL_ENV_FILE": str(file)}):
        with pytest.raises(SettingsError, match="CALLCTL_STORE is an address") as refused:
            load(env, cwd=tmp_path)
        assert "fake-password" not in refused.value.message


@pytest.mark.parametrize(
    "env", [{"CALLCTL_STORE": "~nobody-of-that-name/x"}, {"CALLCTL_ENV_FILE": "~nobody-of-that-name/x"}]
)
def test_the_home_folder_of_nobody(tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="nobody here has the home folder ~nobody-of-that-name"):
        load(env, cwd=tmp_path)


def test_a_nul_is_in_no_path(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CALLCTL_STORE=events\0.db\n")
    with pytest.raises(SettingsError, match="CALLCTL_STORE is no path"):
        load({}, cwd=tmp_path)


def test_nothing_is_interpolated_into_a_file(tmp_path: Path) -> None:
    write(tmp_path / ".env", {"CALLCTL_URL_SURVEY": "https://evil.example.com/${TWILIO_AUTH_TOKEN}"})
    settings = from_env(tmp_path, **ENV)
    assert settings.urls["survey"].url == "https://evil.example.com/${TWILIO_AUTH_TOKEN}"


def test_quotes_comments_and_empty_values_of_files(tmp_path: Path) -> None:
    text = (
        '# a comment\nexport CALLCTL_FROM="+15005550006" # ours\nCALLCTL_PORT=\nTWILIO_ACCOUNT_SID\n\nnonsense line\n'
    )
    (tmp_path / ".env").write_text(text)
    settings = from_env(tmp_path)
    assert (settings.from_, settings.port, settings.account_sid) == ("+15005550006", 8765, None)


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    write(tmp_path / ".env", ENV)
    assert from_env(tmp_path, TWILIO_ACCOUNT_SID="", CALLCTL_API_URL="").account_sid == ACCOUNT


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_named_file_that_can_not_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "named.env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="can't read the settings file"):
        load({}, cwd=tmp_path, env_file=path)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_file_too_long_for_settings_is_not_read(tmp_path: Path, is_named: bool) -> None:
    path = tmp_path / ".env"
    path.write_text("A=b\n" * 65536)
    assert from_env(tmp_path).account_sid is None
    path.write_text("A=b\n" * 65536 + "\n")
    with pytest.raises(SettingsError, match=r"can't read the settings file .*: longer than 256 kB"):
        load({}, cwd=tmp_path, env_file=path if is_named else None)


def test_of_a_named_device_no_more_is_read_than_can_be_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't read the settings file /dev/zero: longer than 256 kB"):
        load({}, cwd=tmp_path, env_file=Path("/dev/zero"))


# --- values


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TWILIO_ACCOUNT_SID", "AC/../x"),
        ("TWILIO_ACCOUNT_SID", "AC 1"),
        ("TWILIO_ACCOUNT_SID", "A"),
        ("TWILIO_REGION", "ie1.evil.example.com/"),
        ("TWILIO_REGION", "IE1"),
        ("TWILIO_EDGE", "-dublin"),
        ("TWILIO_EDGE", "a.b"),
        ("CALLCTL_PORT", "http"),
        ("CALLCTL_PORT", "65536"),
        ("CALLCTL_PORT", "-1"),
        ("CALLCTL_PUBLIC_URL", "example.com"),
        ("CALLCTL_PUBLIC_URL", "ftp://example.com"),
        ("CALLCTL_PUBLIC_URL", "https://example\udcff.com"),
        ("CALLCTL_PUBLIC_URL", "https://example.com/\udcff"),
        ("CALLCTL_PUBLIC_URL", "https://example.com/\x9b"),
        ("CALLCTL_API_URL", "https://example.com/\udcff"),
        ("CALLCTL_URL_SURVEY", "https://example.com/\udcff"),
        ("CALLCTL_URL_SURVEY", "example.com/survey"),
        ("CALLCTL_URL_SURVEY", "PUT https://example.com"),
        ("CALLCTL_URL_SURVEY", "GET "),
        ("CALLCTL_API_URL", "example.com"),
        ("CALLCTL_API_URL", "https://"),
        ("CALLCTL_API_URL", "https://example.com/?x=1"),
        ("CALLCTL_API_URL", "https://example.com/#x"),
        ("CALLCTL_API_URL", "https://user:fake-password@example.com"),
        ("CALLCTL_API_URL", "http://example.com"),
        ("CALLCTL_API_URL", "http://10.0.0.1"),
        ("CALLCTL_API_URL", "http://127.0.0.1.example.com"),
    ],
)
def test_malformed_values_are_named_and_never_guessed_at(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key) as caught:
        from_env(tmp_path, **{key: value})
    assert "fake-password" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://localhost:9000/", "http://localhost:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("https://example.signalwire.com/api/laml/", "https://example.signalwire.com/api/laml"),
        ("https://example.signalwire.com/api/laml/2010-04-01", "https://example.signalwire.com/api/laml"),
        ("https://example.signalwire.com/api/laml/2010-04-01/", "https://example.signalwire.com/api/laml"),
        ("http://127.0.0.1:9000/2010-04-01/Accounts/ACx/Calls.json", "http://127.0.0.1:9000"),
        ("http://127.0.0.1:9000/2010-04-01-beta", "http://127.0.0.1:9000/2010-04-01-beta"),
    ],
)
def test_api_addresses(tmp_path: Path, value: str, url: str) -> None:
    settings = from_env(tmp_path, CALLCTL_API_URL=value)
    assert settings.api_url == url
    assert not settings.is_twilio
    assert settings.is_loopback is ("signalwire" not in url)


@pytest.mark.parametrize(
    ("region", "edge", "host"),
    [
        (None, None, "api.twilio.com"),
        ("us1", None, "api.us1.twilio.com"),
        ("ie1", None, "api.dublin.ie1.twilio.com"),
        ("au1", None, "api.sydney.au1.twilio.com"),
        ("ie1", "frankfurt", "api.frankfurt.ie1.twilio.com"),
        ("jp1", "tokyo", "api.tokyo.jp1.twilio.com"),
        (None, "dublin", "api.dublin.us1.twilio.com"),
        ("au1", "sydney", "api.sydney.au1.twilio.com"),
    ],
)
def test_region_and_edge_choose_twilios_host(tmp_path: Path, region: str | None, edge: str | None, host: str) -> None:
    chosen = {"TWILIO_REGION": region, "TWILIO_EDGE": edge}
    settings = from_env(tmp_path, **{key: value for key, value in chosen.items() if value})
    assert settings.api_url == f"https://{host}"
    assert settings.is_twilio
    assert (settings.implied_edge is not None) == (region in ("ie1", "au1") and edge is None)


@pytest.mark.parametrize(
    ("region", "edge"),
    [
        ("br1", "sao-paulo"),
        ("de1", "frankfurt"),
        ("jp1", "tokyo"),
        ("sg1", "singapore"),
        ("us2", "umatilla"),
        ("xx1", "…"),
        ("dublin", "…"),
    ],
)
def test_another_region_without_an_edge_is_refused(tmp_path: Path, region: str, edge: str) -> None:
    with pytest.raises(SettingsError, match=f"TWILIO_REGION is {region}, and TWILIO_EDGE is not set") as refused:
        from_env(tmp_path, TWILIO_REGION=region)
    assert f"set TWILIO_EDGE={edge} beside it" in (refused.value.hint or "")
    assert "unset TWILIO_REGION" in (refused.value.hint or "")


@pytest.mark.parametrize("region", ["ie1", "au1", "br1", "de1", "jp1", "sg1", "us2"])
def test_a_host_that_is_switched_off_is_refused(tmp_path: Path, region: str) -> None:
    with pytest.raises(SettingsError, match="which Twilio has switched off"):
        from_env(tmp_path, CALLCTL_API_URL=f"https://api.{region}.twilio.com/")
    for host in ("api.us1.twilio.com", "api.twilio.com", f"api.dublin.{region}.twilio.com", f"{region}.example.com"):
        assert from_env(tmp_path, CALLCTL_API_URL=f"https://{host}").api_url == f"https://{host}"


@pytest.mark.parametrize("key", ["TWILIO_REGION", "TWILIO_EDGE"])
def test_region_and_another_api_address_can_not_be_combined(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match="can't be combined"):
        from_env(tmp_path, CALLCTL_API_URL="https://example.com", **{key: "ie1"})


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


def test_the_state_directory_follows_xdg(tmp_path: Path) -> None:
    assert from_env(tmp_path, XDG_STATE_HOME="/var/state").state_dir == Path("/var/state/callctl")
    assert from_env(tmp_path, XDG_STATE_HOME="relative").state_dir == tmp_path / ".local/state/callctl"
    assert from_env(tmp_path, CALLCTL_STORE="/data/e.db").store == Path("/data/e.db")


# --- credentials


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


@pytest.mark.parametrize("text", ["one,two,three", ",", " , "])
def test_other_numbers_of_signing_tokens_are_refused(tmp_path: Path, text: str) -> None:
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "CALLCTL_SIGNING_TOKEN": text}
    with pytest.raises(SettingsError, match="takes one token, or two") as refused:
        load(env, cwd=tmp_path)
    assert "three" not in str(refused.value)


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


# --- named URLs


def test_names_are_lower_case_with_hyphens_and_may_carry_a_method(tmp_path: Path) -> None:
    settings = from_env(
        tmp_path,
        CALLCTL_URL_SURVEY="https://example.com/survey",
        CALLCTL_URL_AFTER_HOURS="GET https://static.example.com/closed.xml",
        CALLCTL_URL_="https://example.com/nameless",
    )
    assert dict(settings.urls) == {
        "survey": NamedUrl("https://example.com/survey"),
        "after-hours": NamedUrl("https://static.example.com/closed.xml", "GET"),
    }
    for name in ("after-hours", "AFTER_HOURS", "After-Hours"):
        assert settings.named_url(name).method == "GET"
    assert settings.named_url("https://example.com/x") == NamedUrl("https://example.com/x")


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


@pytest.mark.parametrize("name", ["CALLCTL_API_URL", "CALLCTL_PUBLIC_URL", "CALLCTL_URL_SURVEY"])
def test_a_setting_without_a_scheme_is_explained(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_env(tmp_path, **{name: "api.example.com/x"})
    assert caught.value.hint == "https:// is missing: https://api.example.com/x"

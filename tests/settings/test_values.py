"""The values of settings: what each may be, and what malformed ones get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from callctl.errors import SettingsError
from callctl.settings import (
    NamedUrl,
    Settings,
    load,
)

ACCOUNT = "AC" + "0" * 32


def from_env(cwd: Path, **values: str) -> Settings:
    return load({"HOME": str(cwd), **values}, cwd=cwd)


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
        ("CALLCTL_PORT", "9" * 5000),
        ("CALLCTL_API_URL", "https://example.com\\.twilio.com"),
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
        ("CALLCTL_API_URL", "http://127.0.0.1:9#"),
        ("CALLCTL_API_URL", "https://example.com?"),
        ("CALLCTL_API_URL", "https://example.com../"),
        ("CALLCTL_API_URL", "https://example..com"),
        ("CALLCTL_PUBLIC_URL", "https://.example.com"),
        ("CALLCTL_API_URL", "https://user:fake-password@example.com"),
        ("CALLCTL_API_URL", "https//user:fake-password@example.com"),
        ("CALLCTL_PUBLIC_URL", "https//user:fake-password@example.com"),
        ("CALLCTL_PUBLIC_URL", "htps//user:fake-password@example.com"),
        ("CALLCTL_URL_SURVEY", "GET https//user:fake-password@example.com"),
        ("CALLCTL_API_URL", "http://example.com"),
        ("CALLCTL_API_URL", "http://10.0.0.1"),
        ("CALLCTL_API_URL", "http://127.0.0.1.example.com"),
    ],
)
def test_malformed_values_are_named_and_never_guessed_at(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key) as caught:
        from_env(tmp_path, **{key: value})
    assert "fake-password" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("key", ["TWILIO_REGION", "TWILIO_EDGE"])
@pytest.mark.parametrize("token", ["0123456789abcdef" * 2, "SK" + "0" * 32, "Fake/Token"])
def test_a_token_in_the_place_of_a_region_is_not_shown(tmp_path: Path, key: str, token: str) -> None:
    other = {"TWILIO_REGION": "ie1", "TWILIO_EDGE": "dublin"}
    for values in ({key: token}, {**other, key: token}):
        with pytest.raises(SettingsError, match=f"{key} is malformed") as caught:
            from_env(tmp_path, **values)
        assert token not in f"{caught.value.message}{caught.value.hint}"


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
    ],
)
def test_another_region_without_an_edge_is_refused(tmp_path: Path, region: str, edge: str) -> None:
    with pytest.raises(SettingsError, match=f"TWILIO_REGION is {region}, and TWILIO_EDGE is not set") as refused:
        from_env(tmp_path, TWILIO_REGION=region)
    assert f"set TWILIO_EDGE={edge} beside it" in (refused.value.hint or "")
    assert "unset TWILIO_REGION" in (refused.value.hint or "")


@pytest.mark.parametrize("region", [None, "ie1"])
@pytest.mark.parametrize(
    ("edge", "meant"), [("us1", "ashburn"), ("ie1", "dublin"), ("au1", "sydney"), ("jp1", "tokyo")]
)
def test_a_region_is_no_edge(tmp_path: Path, region: str | None, edge: str, meant: str) -> None:
    chosen = {"TWILIO_EDGE": edge} | ({"TWILIO_REGION": region} if region else {})
    with pytest.raises(SettingsError, match=f"TWILIO_EDGE is {edge}, which is a region, not an edge") as refused:
        from_env(tmp_path, **chosen)
    assert refused.value.hint == f"set TWILIO_EDGE={meant}, or unset it"
    with pytest.raises(SettingsError) as refused:
        from_env(tmp_path, TWILIO_REGION=meant, TWILIO_EDGE=edge)
    assert refused.value.hint == f"they are exchanged: set TWILIO_REGION={edge} and TWILIO_EDGE={meant}"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.twilio.com.", "https://api.twilio.com"),
        ("https://example.com.:8443/api.", "https://example.com:8443/api."),
        ("http://localhost./", "http://localhost"),
    ],
)
def test_a_dot_at_the_end_of_a_host_changes_nothing(tmp_path: Path, given: str, url: str) -> None:
    assert from_env(tmp_path, CALLCTL_API_URL=given).api_url == url
    with pytest.raises(SettingsError, match="which Twilio has switched off"):
        from_env(tmp_path, CALLCTL_API_URL="https://API.ie1.twilio.com./")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://API.Twilio.com:443", "https://api.twilio.com"),
        ("HTTPS://api.twilio.com.:0443/2010-04-01", "https://api.twilio.com"),
        ("https://Example.com:/API/Laml/", "https://example.com/API/Laml"),
        ("https://example.com:80", "https://example.com:80"),
        ("http://LocalHost:80/", "http://localhost"),
        ("http://[::1]:443", "http://[::1]:443"),
    ],
)
def test_an_address_has_one_spelling_so_that_it_is_one_world(tmp_path: Path, given: str, url: str) -> None:
    settings, plain = from_env(tmp_path, CALLCTL_API_URL=given), from_env(tmp_path, CALLCTL_API_URL=url)
    assert settings.api_url == plain.api_url == url
    assert settings.world == plain.world
    assert plain.former_worlds == ()
    if given == url:
        assert settings.former_worlds == ()
    elif "2010" not in given:  # with that no request of 0.1.0 went through
        assert settings.former_worlds == (replace(plain, api_url=given.rstrip("/")).world,)
        assert settings.former_worlds != (plain.world,)
    assert replace(settings, api_url="http://127.0.0.1:9").former_worlds == ()


@pytest.mark.parametrize(
    ("plain", "others"),
    [
        (
            {},
            [
                {"TWILIO_EDGE": "ashburn"},
                {"TWILIO_REGION": "us1"},
                {"TWILIO_REGION": "us1", "TWILIO_EDGE": "ashburn"},
                {"TWILIO_EDGE": "dublin"},
                {"CALLCTL_API_URL": "https://API.ashburn.us1.twilio.com"},
            ],
        ),
        (
            {"TWILIO_REGION": "ie1"},
            [{"TWILIO_REGION": "ie1", "TWILIO_EDGE": "dublin"}, {"TWILIO_REGION": "ie1", "TWILIO_EDGE": "frankfurt"}],
        ),
    ],
)
def test_a_region_is_one_world_through_whichever_edge_it_is_reached(
    tmp_path: Path, plain: dict[str, str], others: list[dict[str, str]]
) -> None:
    usual = from_env(tmp_path, **plain)
    assert usual.former_worlds == ()  # stores of before are as they were
    for other in (from_env(tmp_path, **each) for each in others):
        assert other.world == usual.world
        assert (other.former_worlds == ()) == (other.api_url == usual.api_url)
        assert usual.world not in other.former_worlds


def test_regions_are_worlds_of_their_own(tmp_path: Path) -> None:
    regions = [from_env(tmp_path, **each).world for each in ({}, {"TWILIO_REGION": "ie1"}, {"TWILIO_REGION": "au1"})]
    assert len(set(regions)) == 3


@pytest.mark.parametrize(
    ("edge", "hint"),
    [
        (
            "dublin",
            "unset it, and set TWILIO_EDGE=dublin, and TWILIO_REGION=ie1 if the account's keys are of that region",
        ),
        ("ashburn", "unset it, and set TWILIO_EDGE=ashburn"),
    ],
)
def test_a_host_with_an_edge_and_no_region_is_refused(tmp_path: Path, edge: str, hint: str) -> None:
    with pytest.raises(SettingsError, match="an edge without a region") as refused:
        from_env(tmp_path, CALLCTL_API_URL=f"https://api.{edge}.twilio.com/")
    assert refused.value.hint == hint


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


@pytest.mark.parametrize("text", ["one,two,three", ",", " , "])
def test_other_numbers_of_signing_tokens_are_refused(tmp_path: Path, text: str) -> None:
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "CALLCTL_SIGNING_TOKEN": text}
    with pytest.raises(SettingsError, match="takes one token, or two") as refused:
        load(env, cwd=tmp_path)
    assert "three" not in str(refused.value)


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


@pytest.mark.parametrize("name", ["CALLCTL_API_URL", "CALLCTL_PUBLIC_URL", "CALLCTL_URL_SURVEY"])
def test_a_setting_without_a_scheme_is_explained(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_env(tmp_path, **{name: "api.example.com/x"})
    assert caught.value.hint == "https:// is missing: https://api.example.com/x"


@pytest.mark.parametrize(
    ("region", "edge", "hint"),
    [
        ("dublin", "", "set TWILIO_REGION=ie1 and TWILIO_EDGE=dublin"),
        ("dublin", "dublin", "set TWILIO_REGION=ie1"),
        ("sydney", "singapore", "set TWILIO_REGION=au1"),
        ("ashburn", "", "set TWILIO_REGION=us1 and TWILIO_EDGE=ashburn"),
        ("frankfurt", "", "unset it, and set TWILIO_EDGE=frankfurt: the region is us1 then"),
        ("tokyo-ix", "tokyo", "unset it, and set TWILIO_EDGE=tokyo-ix: the region is us1 then"),
    ],
)
def test_an_edge_is_no_region(tmp_path: Path, region: str, edge: str, hint: str) -> None:
    message = f"TWILIO_REGION is {region}, which is an edge, not a region"
    with pytest.raises(SettingsError, match=message) as refused:
        from_env(tmp_path, TWILIO_REGION=region, TWILIO_EDGE=edge)
    assert refused.value.hint == hint

"""Where settings come from: flags, a named file, the environment, a file that is found; which of them go together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from callctl.errors import SettingsError, StoreError
from callctl.settings import (
    IDENTITY,
    PLAIN,
    TWILIO_API_URL,
    Settings,
    load,
)
from callctl.store.sqlite.location import store_exists

ACCOUNT = "AC" + "0" * 32
ENV = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "fake-token"}


def write(path: Path, values: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}='{value}'\n" for key, value in values.items()), encoding="utf-8")
    return path


def from_env(cwd: Path, **values: str) -> Settings:
    return load({"HOME": str(cwd), **values}, cwd=cwd)


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
    store = tmp_path / first.get("CALLCTL_STORE", "/home/ann/.local/state/callctl/events.db")
    assert settings.store == store
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


def test_a_file_that_was_found_keeps_events_below_its_own_and_the_state_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    working, state = tmp_path / "repository" / "part", tmp_path / ".state" / "callctl"
    working.mkdir(parents=True)
    (working.parent / "link").symlink_to(tmp_path)
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(state.parent)}
    for inside in (
        "events.db",
        "deep/events.db",
        str(working / "events.db"),
        str(working.parent / "events.db"),
        f"{state}/other.db",
        "~/.state/callctl/x.db",
    ):
        write(working.parent / ".env", {"CALLCTL_STORE": inside})
        assert load(env, cwd=working).store == working.parent / Path(inside).expanduser()
    outside = ["../events.db", "~/events.db", "/etc/passwd", "link/events.db", f"{state}/../x.db", "~"]
    for text in outside:
        file = write(working.parent / ".env", {"CALLCTL_STORE": text})
        with pytest.raises(SettingsError, match="neither below that folder") as refused:
            load(env, cwd=working)
        assert "CALLCTL_STORE" in refused.value.message
        assert load(env, cwd=working, env_file=file).store == file.parent / Path(text).expanduser()
        assert load({**env, "CALLCTL_STORE": text}, cwd=working).store == working / Path(text).expanduser()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "",
        "watch",
        "Watch",
        "watch/x.db",
        "events.db/x",
        "events.db-wal",
        "events.db-wal/x",
        "events.db.x/y/z.db",
        "last-placed-x",
        "last-not-known-x",
    ],
)
def test_no_store_is_where_callctl_keeps_other_files(tmp_path: Path, name: str, is_there: bool) -> None:
    working, state = tmp_path / "repository", tmp_path / "state" / "callctl"
    working.mkdir()
    if is_there:
        (state / "watch").mkdir(parents=True)
    (working / "link").symlink_to(state)
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(state.parent)}
    for folder in (str(state), "link"):
        text = f"{folder}/{name}".rstrip("/")
        file = write(working / ".env", {"CALLCTL_STORE": text})
        with pytest.raises(SettingsError, match="would be in its way") as refused:
            load(env, cwd=working)
        assert str(state / "calls.db") in (refused.value.hint or "")
        with pytest.raises(SettingsError, match="would be in its way"):
            load(env, cwd=working, env_file=file)
        with pytest.raises(SettingsError, match="would be in its way"):
            load({**env, "CALLCTL_STORE": text}, cwd=working)
        assert load({**env, **ENV}, cwd=working, requires_dotenv=False).left_out is not None


@pytest.mark.parametrize("name", ["events.db", "events.db2", "watch.db", "deep/watch", "deep/events.db/x"])
def test_other_names_in_the_state_folder_are_those_of_stores(tmp_path: Path, name: str) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path), "CALLCTL_STORE": f"{tmp_path}/callctl/{name}"}
    assert load(env, cwd=tmp_path).store == tmp_path / "callctl" / name


@pytest.mark.parametrize("text", [".local", ".local/state", ".local/state/callctl"])
def test_a_file_that_was_found_at_home_puts_no_store_where_the_state_folder_will_be(tmp_path: Path, text: str) -> None:
    write(tmp_path / ".env", {"CALLCTL_STORE": text})
    with pytest.raises(SettingsError, match="would be in its way"):
        load({"HOME": str(tmp_path)}, cwd=tmp_path)


def test_a_relative_store_lies_where_the_file_that_names_it_does(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "part").mkdir(parents=True)
    elsewhere.mkdir()
    file = write(project / ".env", {"CALLCTL_STORE": "calls.db"})
    home = {"HOME": str(tmp_path)}
    of_project = [
        load(home, cwd=project),
        load(home, cwd=project / "part"),
        load(home, cwd=elsewhere, env_file=file),
        load(home, cwd=elsewhere, env_file=Path("../project/.env")),
        load({**home, "CALLCTL_ENV_FILE": "../.env"}, cwd=project / "part"),
    ]
    assert {settings.store for settings in of_project} == {project / "calls.db"}
    assert load({**home, "CALLCTL_STORE": "calls.db"}, cwd=project / "part").store == project / "part" / "calls.db"
    with file.open() as stream:
        passed_on = Path(f"/dev/fd/{stream.fileno()}")
        assert load(home, cwd=elsewhere, env_file=passed_on).store == elsewhere / "calls.db"


@pytest.mark.parametrize("text", ["mysql://ann:fake-password@example.com/calls", "file:///tmp/x", "x://"])
def test_no_other_address_is_a_store(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / ".env", {"CALLCTL_STORE": text})
    for env in ({}, {"CALLCTL_STORE": text}, {"CALLCTL_ENV_FILE": str(file)}):
        with pytest.raises(SettingsError, match="CALLCTL_STORE is an address of an unknown kind") as refused:
            load(env, cwd=tmp_path)
        assert "fake-password" not in refused.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host=db.example.com user=ann password=fake-password", "is a list of parameters"),
        ("application_name=x password = 'fake-password'", "is a list of parameters"),
        ("dbname=calls", "is a list of parameters"),
        ("postgresql//ann:fake-password@db.example.com/calls", "is neither a path nor a URL"),
        ("postgresql:/ann:fake-password@db.example.com/calls", "is neither a path nor a URL"),
        ("ann:fake-password@db.example.com/calls", "is neither a path nor a URL"),
    ],
)
def test_a_database_that_is_named_otherwise_becomes_no_file(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / ".env", {"CALLCTL_STORE": text.replace("'", "")})
    for env in ({}, {"CALLCTL_STORE": text}, {"CALLCTL_ENV_FILE": str(file)}):
        with pytest.raises(SettingsError, match=message) as refused:
            load(env, cwd=tmp_path)
        assert "fake-password" not in refused.value.message
        assert "postgresql://" in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["/data/host=db1/events.db", "postgresql.db", "./a:b@c.db", "postgres/events.db"])
def test_a_path_that_only_looks_like_a_database_is_one(tmp_path: Path, text: str) -> None:
    assert load({"CALLCTL_STORE": text}, cwd=tmp_path).store == tmp_path / text


SHARED = "postgresql://ann:fake-password@db.example.com/calls"


def test_a_database_may_be_a_store_and_its_password_is_shown_nowhere(tmp_path: Path) -> None:
    settings = load({"CALLCTL_STORE": f"{SHARED}?sslmode=require&password=fake-password"}, cwd=tmp_path)
    assert settings.store_url == f"{SHARED}?sslmode=require&password=fake-password"
    assert settings.store_name == "postgresql://ann@db.example.com/calls"
    assert "fake-password" not in repr(settings)
    assert load({"CALLCTL_STORE": "events.db"}, cwd=tmp_path).store_url is None


@pytest.mark.parametrize(
    "rest",
    [
        "ann:fake/password@db.example.com/calls",
        "ann:fake?password@db.example.com/calls",
        "ann:fake?a=password@db.example.com/calls",
        "ann:fake@password@db.example.com/calls",
        "ann:fake#password@db.example.com/calls",
        "ann:1234/password@db.example.com/calls",
        "ann:1234?password@db.example.com/calls",
        "ann:1234?password",
        "ann@corp:1234/password@db.example.com/calls",
        "ann:fake:password/x@db.example.com/calls",
        "ann:fake-password",
    ],
)
def test_a_password_that_is_not_escaped_is_refused_and_not_shown(tmp_path: Path, rest: str) -> None:
    for scheme in ("postgresql", "postgres"):
        with pytest.raises(SettingsError, match="a character in it that ends a part of a URL") as refused:
            load({"CALLCTL_STORE": f"{scheme}://{rest}"}, cwd=tmp_path)
        assert not re.search("fake|word|1234", refused.value.message)
        assert "%2F for a /" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql:///calls?host=@calls", "postgresql://@calls/calls"),
        ("postgresql://ann:fake%2Fpass%40word%3F%23@127.0.0.1:5432,[::1]:5433,localhost/c", None),
        ("postgresql://ann:fake:password@localhost/calls", "postgresql://ann@localhost/calls"),
        ("postgresql://localhost:/calls?user=ann@ops&password=fake@password", "postgresql://localhost:/calls"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_what_a_url_may_have(tmp_path: Path, url: str, shown: str | None) -> None:
    settings = load({"CALLCTL_STORE": url}, cwd=tmp_path)
    assert settings.store_url == url
    assert settings.store_name == (shown or "postgresql://ann@127.0.0.1:5432,[::1]:5433,localhost/c")


def test_a_settings_file_that_was_found_and_not_named_may_name_no_database(tmp_path: Path) -> None:
    file = write(tmp_path / ".env", {"CALLCTL_STORE": "postgresql:///calls"})
    with pytest.raises(SettingsError, match="leads to a database"):
        load({}, cwd=tmp_path)
    assert load({}, cwd=tmp_path, env_file=file).store_url == "postgresql:///calls"
    assert load({"CALLCTL_STORE": "events.db"}, cwd=tmp_path).store_url is None


@pytest.mark.parametrize(
    ("url", "environ", "added"),
    [
        ("postgresql://ann@db.example.com/calls", {}, "?sslmode=verify-full"),
        ("postgres://db.example.com/calls?application_name=x", {}, "&sslmode=verify-full"),
        ("postgresql://localhost,db.example.com/calls", {}, "?sslmode=verify-full"),
        ("postgresql:///calls?host=db.example.com", {}, "&sslmode=verify-full"),
        ("postgresql:///calls?hostaddr=192.0.2.1", {}, "&sslmode=verify-full"),
        ("postgresql:///calls?service=calls", {}, "&sslmode=verify-full"),
        ("postgresql:///calls", {"PGHOST": "db.example.com"}, "?sslmode=verify-full"),
        ("postgresql:///calls", {"PGHOSTADDR": "192.0.2.1"}, "?sslmode=verify-full"),
        ("postgresql://ann@localhost/calls", {"PGHOSTADDR": "192.0.2.1"}, "?sslmode=verify-full"),
        ("postgresql://ann@localhost/calls", {"PGHOSTADDR": "127.0.0.1,192.0.2.1"}, "?sslmode=verify-full"),
        ("postgresql:///calls?host=/run/postgresql", {"PGHOSTADDR": "192.0.2.1"}, "&sslmode=verify-full"),
        ("postgresql://localhost/calls?hostaddr=127.0.0.1", {"PGHOSTADDR": "192.0.2.1"}, ""),
        ("postgresql://ann@localhost/calls", {"PGHOST": "db.example.com"}, ""),
        ("postgresql://ann@localhost/calls", {"PGSERVICE": "calls"}, "?sslmode=verify-full"),
        ("postgresql://db.example.com/calls?sslmode=require", {}, ""),
        ("postgresql:///calls", {}, ""),
        ("postgresql:///calls?host=/run/postgresql", {}, ""),
        ("postgresql://ann@localhost:5433/calls", {}, ""),
        ("postgresql://127.0.0.1,[::1]:5433/calls?sslmode=disable", {}, ""),
    ],
)
def test_off_this_machine_a_database_is_reached_by_verified_tls_unless_another_mode_is_named(
    tmp_path: Path, url: str, environ: dict[str, str], added: str
) -> None:
    assert load({**environ, "CALLCTL_STORE": url}, cwd=tmp_path).store_url == url + added


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", ""])
def test_modes_that_may_send_all_unencrypted_are_refused_off_this_machine(tmp_path: Path, mode: str) -> None:
    with pytest.raises(SettingsError, match="that may be unencrypted") as refused:
        load({"CALLCTL_STORE": f"{SHARED}?sslmode={mode}"}, cwd=tmp_path)
    assert "fake-password" not in refused.value.message
    with pytest.raises(SettingsError, match="a character in it that ends a part of a URL"):
        load({"CALLCTL_STORE": "postgresql://ann:p#w@localhost/calls"}, cwd=tmp_path)


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
def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_a_name(tmp_path: Path, is_named: bool) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfCALLCTL_FROM=+15005550006\r\nCALLCTL_PORT=1234\r\n")
    settings = load({}, cwd=tmp_path, env_file=path if is_named else None)
    assert (settings.from_, settings.port) == ("+15005550006", 1234)


UNUSABLE: list[tuple[bytes, str]] = [
    (b"CALLCTL_FROM=\xff\xfe\n", "can't read the settings file .*: not a text file"),
    (b"A=b\n" * 65537, "can't read the settings file .*: longer than 256 kB"),
    (b"CALLCTL_PORT=http\n", "CALLCTL_PORT is not a port number"),
    (b"CALLCTL_URL_SURVEY=survey.xml\n", "CALLCTL_URL_SURVEY is not an http or https address"),
    (b"CALLCTL_STORE=/elsewhere/events.db\n", "CALLCTL_STORE in .* leads to /elsewhere/events.db"),
    (b"CALLCTL_STORE=postgresql://localhost/calls\n", "CALLCTL_STORE in .* leads to a database"),
]


@pytest.mark.parametrize(("content", "why"), UNUSABLE)
def test_a_found_file_that_can_not_be_used_is_left_out_only_where_nothing_needs_it(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / ".env"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=why):
        load(ENV, cwd=tmp_path)
    settings = load(ENV, cwd=tmp_path, requires_dotenv=False)
    assert settings.left_out is not None
    assert settings.left_out.path == path
    assert re.search(why, settings.left_out.error.message)
    without = load(ENV, cwd=tmp_path.parent)
    assert replace(settings, left_out=None) == without
    assert (settings.is_store_in_doubt, without.is_store_in_doubt) == (True, False)
    elsewhere = {**ENV, "CALLCTL_STORE": "events.db"}
    assert not load(elsewhere, cwd=tmp_path, requires_dotenv=False).is_store_in_doubt

    for environ in ({}, {"TWILIO_ACCOUNT_SID": ACCOUNT}, {**ENV, "TWILIO_API_KEY": "SK" + "0" * 32}):
        with pytest.raises(SettingsError, match=why):
            load(environ, cwd=tmp_path, requires_dotenv=False)
    for name in ("named", ".env"):
        (tmp_path / name).write_bytes(b"\xff")
        with pytest.raises(SettingsError, match=f"can't read the settings file .*{name}: not a text file"):
            load(ENV, cwd=tmp_path, env_file=Path(name), requires_dotenv=False)
        with pytest.raises(SettingsError, match=f"can't read the settings file .*{name}: not a text file"):
            load({**ENV, "CALLCTL_ENV_FILE": name}, cwd=tmp_path, requires_dotenv=False)


def test_a_value_of_the_environment_is_still_an_error_beside_a_found_file_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="can't read the settings file"):
        load({**ENV, "CALLCTL_PORT": "http"}, cwd=tmp_path, requires_dotenv=False)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_file_too_long_for_settings_is_not_read(tmp_path: Path, is_named: bool) -> None:
    path = tmp_path / ".env"
    account = "".join(f"\n{name}={value}" for name, value in ENV.items())
    longest = f"#{'x' * (256 * 1024 - len(account) - 1)}{account}"
    path.write_text(longest)
    assert from_env(tmp_path).account_sid == ENV["TWILIO_ACCOUNT_SID"]
    path.write_text(f"{longest}\n")
    with pytest.raises(SettingsError, match=r"can't read the settings file .*: longer than 256 kB"):
        load({}, cwd=tmp_path, env_file=path if is_named else None)


def test_of_a_named_device_no_more_is_read_than_can_be_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't read the settings file /dev/zero: longer than 256 kB"):
        load({}, cwd=tmp_path, env_file=Path("/dev/zero"))


def test_the_state_directory_follows_xdg(tmp_path: Path) -> None:
    assert from_env(tmp_path, XDG_STATE_HOME="/var/state").state_dir == Path("/var/state/callctl")
    assert from_env(tmp_path, XDG_STATE_HOME="relative").state_dir == tmp_path / ".local/state/callctl"


def test_a_user_whose_home_folder_nobody_knows_has_settings_and_no_place_for_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    settings = load(ENV, cwd=tmp_path)
    assert settings.credentials().account_sid == ACCOUNT
    with pytest.raises(StoreError, match="there can be no event store") as raised:
        store_exists(settings.store)
    assert "XDG_STATE_HOME" in (raised.value.hint or "")
    monkeypatch.undo()
    assert load({**ENV, "XDG_STATE_HOME": str(tmp_path)}, cwd=tmp_path).state_dir == tmp_path / "callctl"
    assert from_env(tmp_path, CALLCTL_STORE="/data/e.db").store == Path("/data/e.db")


def make_anothers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    else:  # all of this user's are another's
        monkeypatch.setattr(os, "geteuid", lambda: path.lstat().st_uid + 1)


@pytest.mark.parametrize("requires_dotenv", [True, False])
def test_a_found_file_of_another_user_is_left_out_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requires_dotenv: bool
) -> None:
    cwd, path = tmp_path / "project", tmp_path / ".env"
    cwd.mkdir()
    write(path, {"CALLCTL_FROM": "+15005550006", "CALLCTL_URL_SURVEY": "https://example.com/", "CALLCTL_PORT": "http"})
    make_anothers(path, monkeypatch)
    settings = load(ENV, cwd=cwd, requires_dotenv=requires_dotenv)
    assert settings.left_out is not None
    assert (settings.left_out.path, settings.from_, dict(settings.urls)) == (path, None, {})
    assert settings.left_out.error.message == "it is another user's, who could say where calls and callbacks go"
    assert (settings.env_file_above, settings.files, settings.is_store_in_doubt) == (None, {}, False)
    write(path, {"CALLCTL_FROM": "+15005550006"})
    for named in (path, Path("../.env")):
        settings = load(ENV, cwd=cwd, env_file=named, requires_dotenv=requires_dotenv)
        assert (settings.from_, settings.left_out) == ("+15005550006", None)


def test_a_link_of_another_user_to_a_file_of_ones_own_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "other.env", {"CALLCTL_FROM": "+15005550006"})
    (tmp_path / ".env").symlink_to("other.env")
    assert load({}, cwd=tmp_path).from_ == "+15005550006"
    make_anothers(tmp_path / ".env", monkeypatch)
    settings = load({}, cwd=tmp_path)
    assert (settings.from_, settings.left_out is not None) == (None, True)

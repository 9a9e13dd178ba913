"""Cookies: which go back where and when, and that none do unless that was chosen."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from simulator.setup import ANSWERS, FROM, LATE, SimulatorSetup, simulator_setup

from callctl.simulator.outgoing import cookies
from callctl.simulator.outgoing.cookies import CookieJars

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SITE = "http://127.0.0.1:5000/voice/menu"


class Time:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def jars(time: Time) -> CookieJars:
    return CookieJars(now=time, wall=lambda: NOW + timedelta(seconds=time.seconds))


class TestJars:
    def test_a_cookie_goes_back_to_its_pair(self, jars: CookieJars) -> None:
        jars.keep("a b", SITE, ["session=abc; HttpOnly; Secure; SameSite=Lax", 'note="x y"'])
        assert jars.header("a b", SITE) == 'session=abc; note="x y"'
        assert jars.header("b a", SITE) == ""

    @pytest.mark.parametrize(
        ("url", "sent"),
        [
            ("http://127.0.0.1:5000/voice", True),
            ("http://127.0.0.1:5001/voice/other", True),  # a port is no border to cookies
            ("http://127.0.0.1:5000/voices", False),
            ("http://127.0.0.1:5000/", False),
            ("http://localhost:5000/voice", False),
        ],
    )
    def test_host_and_path_decide(self, jars: CookieJars, url: str, *, sent: bool) -> None:
        jars.keep("p", SITE, ["a=1; Domain=example.com"])
        assert bool(jars.header("p", url)) == sent

    def test_a_path_may_be_named(self, jars: CookieJars) -> None:
        jars.keep("p", SITE, ["a=1; Path=/", "b=2; Path=/voice/menu"])
        assert jars.header("p", SITE) == "b=2; a=1"
        assert jars.header("p", "http://127.0.0.1:5000") == "a=1"

    def test_the_newest_value_counts(self, jars: CookieJars) -> None:
        for value in "123":
            jars.keep("p", SITE, [f"a={value}"])
        assert jars.header("p", SITE) == "a=3"

    @pytest.mark.parametrize(
        ("attributes", "seconds"),
        [
            ("", 4 * 3600),
            ("; Max-Age=60", 60),
            ("; Max-Age=999999", 4 * 3600),
            (f"; Expires={format_datetime(NOW + timedelta(seconds=90), usegmt=True)}", 90),
            (f"; Max-Age=60; Expires={format_datetime(NOW, usegmt=True)}", 60),
            ("; Max-Age=soon", 4 * 3600),
        ],
    )
    def test_it_is_kept_four_hours_or_as_long_as_it_says(
        self, jars: CookieJars, time: Time, attributes: str, seconds: float
    ) -> None:
        jars.keep("p", SITE, [f"a=1{attributes}"])
        time.seconds = seconds - 1
        assert jars.header("p", SITE) == "a=1"
        time.seconds = seconds
        assert jars.header("p", SITE) == ""

    @pytest.mark.parametrize("gone", ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"])
    def test_one_may_be_taken_back(self, jars: CookieJars, gone: str) -> None:
        jars.keep("p", SITE, ["a=1", "b=2"])
        jars.keep("p", SITE, [f"a=; {gone}"])
        assert jars.header("p", SITE) == "b=2"

    @pytest.mark.parametrize("header", ["", "=", "novalue", "a b=1", 'a="\u00e4"', "a=" + "x" * 5000, "a=1\x00"])
    def test_what_is_none_is_left_out(self, jars: CookieJars, header: str) -> None:
        jars.keep("p", SITE, [header])
        sent = jars.header("p", SITE)
        assert sent in ("", "a=1", "b=1")
        assert sent.isprintable()

    def test_there_is_an_end_to_them(self, jars: CookieJars, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cookies, "MAX_JARS", 2)
        monkeypatch.setattr(cookies, "MAX_COOKIES", 2)
        for pair in "pqr":
            jars.keep(pair, SITE, ["a=1", "b=2", "c=3"])
        assert [jars.header(pair, SITE) for pair in "pqr"] == ["", "b=2; c=3", "b=2; c=3"]


def counted(setup: SimulatorSetup) -> None:
    """Serve /doc, which counts in a cookie how often it was asked, and asks itself again."""

    def answer(_: dict[str, str]) -> web.Response:
        given = setup.listener.arrived[-1].headers.get("Cookie", "count=0")
        response = web.Response(text="<Response><Pause/><Redirect/></Response>", content_type="text/xml")
        response.set_cookie("count", str(int(given.removeprefix("count=")) + 1))
        return response

    setup.listener.documents["/doc"] = answer


def given(setup: SimulatorSetup, path: str = "/doc") -> list[str | None]:
    return [arrived.headers.get("Cookie") for arrived in setup.listener.at(path)]


async def test_they_are_off_unless_chosen(setup: SimulatorSetup) -> None:
    counted(setup)
    await setup.place(Url=f"{setup.listener.url}/doc")
    await setup.advance(6)
    assert set(given(setup)) == {None}
    assert len(given(setup)) > 2


async def test_each_request_about_calls_of_the_pair_has_them() -> None:
    async with simulator_setup(cookies=True) as setup:
        counted(setup)
        url = f"{setup.listener.url}/doc"
        first = await setup.place(ANSWERS, Url=url)
        await setup.advance(4)
        assert given(setup) == [None, "count=1"]
        await setup.update(first["sid"], Status="completed")
        await setup.advance(0)
        assert [cookie for cookie in given(setup, "/status") if cookie] == ["count=2"]  # its last callback
        await setup.place(LATE, Url=url)
        await setup.place(ANSWERS, Url=url)
        await setup.incoming(url, caller=ANSWERS)
        await setup.advance(24)
        first_of_pair: dict[tuple[str, str], str | None] = {}
        for arrived in setup.listener.at("/doc")[2:]:
            pair = (arrived.form["From"], arrived.form["To"])
            first_of_pair.setdefault(pair, arrived.headers.get("Cookie"))
        # A later call of the same pair goes on with them; who calls back is another pair.
        assert first_of_pair == {(FROM, ANSWERS): "count=2", (FROM, LATE): None, (ANSWERS, FROM): None}


async def test_a_redirect_over_http_may_set_them() -> None:
    async with simulator_setup(cookies=True) as setup:

        def moved(_: dict[str, str]) -> web.Response:
            response = web.Response(status=302, headers={"Location": "/doc"})
            response.set_cookie("session", "abc")
            return response

        setup.listener.documents |= {"/moved": moved, "/doc": "<Response><Pause length='9'/></Response>"}
        await setup.place(Url=f"{setup.listener.url}/moved", From=FROM)
        await setup.advance(4)
        assert given(setup) == ["session=abc"]

"""``callctl doctor``: the account's numbers whose calls are not reported here, and the request that would set them."""

from __future__ import annotations

import json
import random
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from api.scripted import Server, reply
from doctor_runs import ACCOUNT, OTHER, TOKEN, account, at, doctor, with_key
from processes import Piped
from running import Callctl, env_for
from twilio.rest import Client
from web_site import closed_port, free_port

from callctl.api.client import ApiClient
from callctl.api.resources import PhoneNumber
from callctl.doctor.numbers import Listeners, number_findings
from callctl.settings import Settings
from callctl.simulator import Simulator
from callctl.views.doctor_finding import Finding
from callctl.watch.listener.signature import SignatureCheck, SignedRequest, signature_of

OURS = "https://calls.example.com/status"
PASTED = f"{OURS}#rc=5&rp=5xx,ct,rt"
THEIRS = "https://app.example.com/voice"
HERE = Listeners([OURS], PASTED, forwards=False)
FORWARDING = Listeners([OURS], PASTED, forwards=True)


@pytest.fixture
def client(simulator: Simulator) -> Client:
    client = Client(simulator.account_sid, simulator.auth_token)
    client.api.base_url = simulator.url
    return client


def settings_of(simulator: Simulator) -> Settings:
    return Settings(account_sid=simulator.account_sid, auth_token=simulator.auth_token, api_url=simulator.url)


def found(simulator: Simulator, listeners: Listeners = HERE) -> list[Finding]:
    def open_client(settings: Settings) -> ApiClient:
        return ApiClient(settings, sleep=time.sleep, random=random.random)

    settings = settings_of(simulator)
    numbers = open_client(settings).phone_numbers()
    return list(number_findings(settings, open_client, numbers=numbers, listeners=listeners))


def typed(command: str, env: dict[str, str]) -> None:
    """Do what curl does with such a command line."""
    curl, option, user, url, *rest = shlex.split(command)
    assert (curl, option, set(rest[::2])) == ("curl", "-u", {"--data-urlencode"})
    for name, value in env.items():
        user = user.replace(f"${{{name}:?}}", value)
    sid, _, secret = user.partition(":")
    done = requests.post(url, data=dict(pair.split("=", 1) for pair in rest[1::2]), auth=(sid, secret), timeout=10)
    assert done.status_code == 200, done.text


def test_a_number_that_tells_nothing_here_and_the_request_that_mends_it(simulator: Simulator, client: Client) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=THEIRS)
    (finding,) = found(simulator)
    assert (finding.name, finding.level) == ("number", "warning")
    assert finding.text == (
        "+12025550142: the end of calls is not reported here: its status callback is not set; "
        f"that they ring is not seen: its voice URL goes to {THEIRS}"
    )
    assert finding.fix == "this sets it"
    typed(str(finding.facts["command"]), env_for(simulator))
    assert client.incoming_phone_numbers(number.sid).fetch().status_callback == PASTED
    (finding,) = found(simulator)
    assert (finding.name, finding.level) == ("numbers", "ok")
    assert finding.text.startswith("of 1 number the end of calls is reported here; that they ring is seen only with")


def test_a_callback_that_goes_elsewhere_is_named(simulator: Simulator, client: Client) -> None:
    elsewhere = "https://u:secret@app.example.com/done"
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=OURS, status_callback=elsewhere)
    (finding,) = found(simulator)
    assert "its status callback goes to https://" in finding.text
    assert "secret" not in finding.text
    assert finding.fix == (
        "this sets it; Twilio then no longer requests https://u:***@app.example.com/done; with `--forward-to` and that "
        "URL the listener passes callbacks on"
    )


def test_where_requests_are_passed_on_the_voice_url_can_come_here_too(simulator: Simulator, client: Client) -> None:
    number = client.incoming_phone_numbers.create(
        phone_number="+12025550142", voice_url=THEIRS, voice_method="GET", status_callback=OURS
    )
    (finding,) = found(simulator, FORWARDING)
    assert finding.text == f"+12025550142: that they ring is not seen: its voice URL goes to {THEIRS}"
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    assert (set_now.voice_url, set_now.voice_method, set_now.status_callback) == (PASTED, "GET", OURS)
    (finding,) = found(simulator, FORWARDING)
    assert finding.text == "of 1 number the end of calls is reported here"


ANSWERED = (
    "its calls are then answered by what --forward-to names, "
    f"in place of {THEIRS}, so that must be the same document; where the listener is gone, or any document of a "
    "call fails, Twilio requests the application itself anew (VoiceFallbackUrl)"
)


def test_each_url_that_the_request_replaces_is_named(simulator: Simulator, client: Client) -> None:
    done = "https://app.example.com/done"
    number = client.incoming_phone_numbers.create(
        phone_number="+12025550142",
        voice_url=THEIRS,
        voice_method="GET",
        status_callback=done,
        status_callback_method="GET",
    )
    (finding,) = found(simulator, FORWARDING)
    assert finding.fix == (
        f"this sets both; {ANSWERED}; Twilio then no longer requests {done}: the callbacks go to what --forward-to "
        "names; a further `--forward-to` with that URL gets them too, and every other request; callbacks come by POST "
        "then, not by GET"
    )
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    assert (set_now.voice_url, set_now.voice_method) == (PASTED, "GET")
    assert (set_now.status_callback, set_now.status_callback_method) == (PASTED, "POST")


def test_of_a_url_that_stays_the_method_stays_too(simulator: Simulator, client: Client) -> None:
    app = client.applications.create(voice_url=THEIRS, status_callback=OURS, status_callback_method="GET").sid
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_application_sid=app)
    (finding,) = found(simulator, FORWARDING)
    assert finding.fix == f"this sets it; {ANSWERED}"
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = client.applications(app).fetch()
    assert (set_now.voice_url, set_now.voice_method) == (PASTED, "POST")
    assert (set_now.status_callback, set_now.status_callback_method) == (OURS, "GET")


def test_where_the_listener_is_gone_twilio_requests_the_application(simulator: Simulator, client: Client) -> None:
    """A watch ends with its terminal; the number's callers must not hear of it."""
    numbers = client.incoming_phone_numbers
    plain = numbers.create(phone_number="+12025550142", voice_url=THEIRS, voice_method="GET", status_callback=OURS).sid
    other = "https://app.example.com/sorry"
    with_own = numbers.create(
        phone_number="+12025550143", voice_url=THEIRS, voice_fallback_url=other, status_callback=OURS
    ).sid
    secret = "https://u:fake-Word@app.example.com/voice"
    with_password = numbers.create(phone_number="+12025550144", voice_url=secret, status_callback=OURS).sid
    tunnel = "https://old.example.net/status#rc=5&rp=5xx,ct,rt"  # a watch's, of yesterday
    of_a_watch = numbers.create(phone_number="+12025550145", voice_url=tunnel, status_callback=OURS).sid
    for finding in found(simulator, FORWARDING):
        assert "fake-Word" not in str(finding.facts["command"]) + str(finding.fix)
        signs_in = "; the URL of --forward-to needs that one's user and password too" in str(finding.fix)
        assert signs_in is (finding.facts["numbers"] == ["+12025550144"])
        typed(str(finding.facts["command"]), env_for(simulator))
    set_now = {sid: numbers(sid).fetch() for sid in (plain, with_own, with_password, of_a_watch)}
    assert {number.voice_url for number in set_now.values()} == {PASTED}
    fallbacks = [(number.voice_fallback_url or "", number.voice_fallback_method) for number in set_now.values()]
    assert fallbacks == [(THEIRS, "GET"), (other, "POST"), ("", "POST"), ("", "POST")]


@pytest.mark.parametrize("listeners", [HERE, FORWARDING])
def test_the_url_of_an_earlier_watch_is_called_no_application(
    simulator: Simulator, client: Client, listeners: Listeners
) -> None:
    tunnel = "https://old.example.net/status#rc=5&rp=5xx,ct,rt"
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=tunnel, status_callback=tunnel)
    (finding,) = found(simulator, listeners)
    assert str(finding.fix).endswith(f"; Twilio then no longer requests {tunnel}")
    assert "must be the same" not in str(finding.fix)


def test_numbers_with_different_documents_keep_their_paths_and_all_keep_their_queries(
    simulator: Simulator, client: Client
) -> None:
    numbers = client.incoming_phone_numbers
    urls = [
        "https://app.example.com/sales?tenant=7",
        "https://app.example.com/support",
        "https://app.example.com/status",
    ]
    sids = [
        numbers.create(phone_number=f"+1202555014{n}", voice_url=url, status_callback=OURS).sid
        for n, url in reversed(list(enumerate(urls)))  # the newest is listed first
    ]
    first, *rest = found(simulator, FORWARDING)
    assert "names, at its path /sales, in place of https://app.example.com/sales?tenant=7, so that" in str(first.fix)
    typed(str(first.facts["command"]), env_for(simulator))
    # What was set keeps the others' paths: its fallback says which document it was.
    (support, status, _) = found(simulator, FORWARDING)
    assert [one.facts["command"] for one in (support, status)] == [one.facts["command"] for one in rest]
    assert "in place of https://app.example.com/support, so that must be the same application; where" in str(
        support.fix
    )
    assert (
        "names, in place of https://app.example.com/status, so that must be the same document; if it is not, give the "
        "listener a path that the application does not have, by --public-url; where" in str(status.fix)
    )
    for one in (support, status):
        typed(str(one.facts["command"]), env_for(simulator))
    end = "#rc=5&rp=5xx,ct,rt"
    assert [numbers(sid).fetch().voice_url for sid in reversed(sids)] == [
        f"https://calls.example.com/sales?tenant=7{end}",
        f"https://calls.example.com/support{end}",
        PASTED,  # the listener's own path
    ]
    (finding,) = found(simulator, FORWARDING)
    assert finding.text == (
        "of 3 numbers the end of calls is reported here, if https://calls.example.com/sales?tenant=7"
        f"{end} leads to the listener, as its host does"
    )


@pytest.mark.parametrize(
    ("queries", "there"),
    [
        (("?lang=de&x=", "?lang=de"), ("/voice?lang=de&x=", "/voice?lang=de")),
        (("?lang=de", ""), ("/voice?lang=de", "/voice")),
        (("?lang=de", "?lang=fr"), ("/status?lang=de", "/status?lang=fr")),  # that of --forward-to gives way
    ],
)
def test_a_parameter_that_one_number_has_alone_is_no_others(
    simulator: Simulator, client: Client, queries: tuple[str, str], there: tuple[str, str]
) -> None:
    """An application gets the query of --forward-to as well, but for the names that the request's has."""
    sids = [
        client.incoming_phone_numbers.create(
            phone_number=f"+1202555014{n}", voice_url=THEIRS + query, status_callback=OURS
        ).sid
        for n, query in enumerate(queries)
    ]
    for _ in sids:  # what was set first keeps the other's path
        typed(str(found(simulator, FORWARDING)[0].facts["command"]), env_for(simulator))
    set_now = [client.incoming_phone_numbers(sid).fetch().voice_url for sid in sids]
    assert set_now == [f"https://calls.example.com{url}#rc=5&rp=5xx,ct,rt" for url in there]


@pytest.mark.parametrize(("query", "is_twice"), [("key=2", True), ("key=1&a=b", False), ("k%65y=", True), ("", False)])
def test_a_parameter_that_the_public_url_has_too_comes_twice(
    simulator: Simulator, client: Client, query: str, *, is_twice: bool
) -> None:
    own = f"{OURS}?key=1"
    url = f"{THEIRS}?{query}"
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=own)
    (finding,) = found(simulator, Listeners([own], own, forwards=True))
    says = "a parameter in its query is in the public URL's too: the application gets both, the public URL's first"
    assert (says in str(finding.fix)) is is_twice


@pytest.mark.parametrize("own", [OURS, "https://calls.example.com/callctl/status?key=1"])
@pytest.mark.parametrize(
    ("first", "fallback"),
    [
        ("https://u:p@app.example.com/voice?lang=de", ""),
        ("https://app.example.com/support", THEIRS),
        ("https://app.example.com/voice?key=2", THEIRS),
    ],
)
def test_what_was_set_first_says_itself_which_document_it_was(
    simulator: Simulator, client: Client, own: str, first: str, fallback: str
) -> None:
    """The request sets no fallback where there is one, or where the URL has a password."""
    listeners = Listeners([own], f"{own}#rc=5&rp=5xx,ct,rt", forwards=True)
    create = client.incoming_phone_numbers.create
    create(phone_number="+12025550141", voice_url=THEIRS, status_callback=own)
    create(phone_number="+12025550142", voice_url=first, voice_fallback_url=fallback, status_callback=own)
    one, other = found(simulator, listeners)
    assert one.facts["numbers"] == ["+12025550142"]
    typed(str(one.facts["command"]), env_for(simulator))
    assert found(simulator, listeners)[0] == other
    assert "/voice" in str(other.facts["command"]).partition("VoiceUrl=")[2].partition(" ")[0]


@pytest.mark.parametrize(
    ("to_paste", "keeps_path", "there"),
    [
        (PASTED, False, "https://calls.example.com/status?tenant=7#rc=5&rp=5xx,ct,rt"),
        (PASTED, True, "https://calls.example.com/sales?tenant=7#rc=5&rp=5xx,ct,rt"),
        ("https://calls.example.com/hooks/status", True, "https://calls.example.com/hooks/sales?tenant=7"),
        ("https://calls.example.com/voice?a=b", True, "https://calls.example.com/sales?a=b&tenant=7"),
        ("https://calls.example.com/sales", True, "https://calls.example.com/sales?tenant=7"),
        ("https://calls.example.com/status?tenant=7", False, "https://calls.example.com/status?tenant=7"),
        ("https://u:p@calls.example.com/voice?a=b", False, "https://u:p@calls.example.com/voice?a=b&tenant=7"),
        # What a proxy in front wants stays, also by a name that the application has.
        ("https://calls.example.com/status?tenant=p", True, "https://calls.example.com/sales?tenant=p&tenant=7"),
        ("https://calls.example.com/status?tenant=p&a", False, "https://calls.example.com/status?tenant=p&a&tenant=7"),
    ],
)
def test_the_url_here_for_one_of_an_application(to_paste: str, *, keeps_path: bool, there: str) -> None:
    listeners = Listeners([], to_paste, forwards=True)
    assert listeners.url_for("https://app.example.com/sales?tenant=7#rc=1", keeps_path=keeps_path) == there


@pytest.mark.parametrize("voice_url", [PASTED, f"{OURS}?tenant=7#rc=5&rp=5xx,ct,rt", f"{OURS}?tenant=7"])
def test_a_number_whose_voice_url_leads_to_a_listener_without_twiml_is_a_fault(
    simulator: Simulator, client: Client, voice_url: str
) -> None:
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=voice_url, status_callback=OURS)
    silent = Listeners([OURS], PASTED, forwards=False, without_twiml=[(OURS, "127.0.0.1:8765")])
    (fault,) = found(simulator, silent)
    assert (fault.name, fault.level) == ("number", "error")
    assert fault.text == (
        "the calls of +12025550142 fail: the voice URL leads to the listener, which has no TwiML to give there"
    )
    assert "--forward-to" in (fault.fix or "")
    assert [finding.level for finding in found(simulator, HERE)] == ["ok"]  # it is not known of one elsewhere
    # Beside those that fail, the line of what is in order has the others alone.
    client.incoming_phone_numbers.create(phone_number="+12025550143", voice_url=THEIRS, status_callback=OURS)
    well, _ = sorted(found(simulator, silent), key=lambda finding: finding.level != "ok")
    assert well.facts["numbers"] == ["+12025550143"]
    client.incoming_phone_numbers.list()[0].delete()
    (number,) = client.incoming_phone_numbers.list()
    number.update(voice_fallback_url=THEIRS)  # which answers instead
    assert [finding.level for finding in found(simulator, silent)] == ["ok"]


def test_a_url_that_was_set_beside_a_listener_which_forwarded_may_have_no_twiml_now(
    simulator: Simulator, client: Client
) -> None:
    url = "https://calls.example.com/sales?tenant=7#rc=5&rp=5xx,ct,rt"  # as doctor has it set
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=OURS)
    silent = Listeners([OURS], PASTED, forwards=False, without_twiml=[(OURS, "127.0.0.1:8765")])
    (fault,) = found(simulator, silent)
    assert (fault.level, fault.text) == (
        "warning",
        f"the calls of +12025550142 fail if {url} leads to the listener, which has no TwiML to give there",
    )
    for listeners in (FORWARDING, HERE):
        assert [finding.level for finding in found(simulator, listeners)] == ["ok"]
    number.update(voice_url=url.partition("#")[0])  # an application's own, which a proxy routes
    assert [finding.level for finding in found(simulator, silent)] == ["ok"]


@pytest.mark.parametrize(
    "own",
    ["http://calls.example.com/status", "https://tw:x@calls.example.com/status", "https://old.example.net/status"],
)
def test_a_query_is_kept_where_a_url_of_a_watch_is_replaced(simulator: Simulator, client: Client, own: str) -> None:
    number = client.incoming_phone_numbers.create(
        phone_number="+12025550142", voice_url=f"{own}?tenant=7#rc=5&rp=5xx,ct,rt", status_callback=OURS
    )
    (finding,) = found(simulator, FORWARDING)
    assert "must be the same" not in str(finding.fix)
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = number.fetch()
    assert (set_now.voice_url, set_now.voice_fallback_url or "") == (f"{OURS}?tenant=7#rc=5&rp=5xx,ct,rt", "")


@pytest.mark.parametrize("forwards", [False, True])
def test_a_query_that_the_listeners_own_url_has_is_missed(*, forwards: bool) -> None:
    keyed = Listeners([f"{OURS}?key=1"], f"{OURS}?key=1", forwards=forwards)
    assert (keyed.has(f"{OURS}?tenant=7&key=1"), keyed.has_but_for(f"{OURS}?tenant=7&key=1")) == (True, None)
    assert (keyed.has(OURS), keyed.has_but_for(OURS)) == (False, "without the query of the listener's")


@pytest.mark.parametrize("url", [OURS, f"{OURS}?tenant=7", f"{OURS}/", "https://Calls.example.com/status"])
def test_without_that_query_calls_fail_all_the_same_where_the_listener_gives_no_twiml(
    simulator: Simulator, client: Client, url: str
) -> None:
    own = f"{OURS}?key=1"
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=own)
    silent = Listeners([own], own, forwards=False, without_twiml=[(own, "127.0.0.1:8765")])
    (fault,) = found(simulator, silent)
    assert fault.text == (
        "the calls of +12025550142 fail: the voice URL leads to the listener, which has no TwiML to give there"
    )
    dead = Listeners([own], own, forwards=True, lost={own: "cut off"}, dead={own: True})
    fault, unknown = found(simulator, dead)
    assert fault.text.endswith("leads to the listener, to which nothing comes through")
    assert unknown.text == "not checked: +12025550142: cut off"


def test_without_their_queries_a_url_leads_to_none_of_two_for_certain() -> None:
    one, other = f"{OURS}?key=1", f"{OURS}?key=2"
    both = Listeners([one, other], one, forwards=False, without_twiml=[(one, "here")], lost={other: "cut off"})
    for url, why, lacks in ((OURS, None, False), (one, None, True), (f"{OURS}?key=2&a", "cut off", False)):
        assert (both.why_lost(url), both.has_no_twiml(url)) == (why, lacks)
    assert replace(both, without_twiml=[(one, "here"), (other, "there")]).has_no_twiml(OURS)


def test_of_an_application_its_own_urls_count_and_one_request_sets_all_its_numbers(
    simulator: Simulator, client: Client
) -> None:
    app = client.applications.create(voice_url=THEIRS).sid
    for last in (2, 3):
        client.incoming_phone_numbers.create(
            phone_number=f"+1202555014{last}", voice_application_sid=app, status_callback=OURS
        )
    (finding,) = found(simulator)
    assert finding.text.startswith(
        f"+12025550143, +12025550142 (application {app}): the end of calls is not reported here"
    )
    typed(str(finding.facts["command"]), env_for(simulator))
    assert client.applications(app).fetch().status_callback == PASTED
    assert [one.name for one in found(simulator)] == ["numbers"]


def test_numbers_of_a_trunk_are_left_out(simulator: Simulator, client: Client) -> None:
    client.incoming_phone_numbers.create(phone_number="+12025550142", trunk_sid="TK" + "1" * 32)
    assert found(simulator) == []


def test_of_many_numbers_five_are_shown_and_all_are_in_json(simulator: Simulator, client: Client) -> None:
    for last in range(7):
        client.incoming_phone_numbers.create(phone_number=f"+1202555014{last}")
    findings = found(simulator)
    assert ["command" in one.facts for one in findings] == [True] * 5 + [False]
    assert findings[-1].facts["numbers"] == ["+12025550141", "+12025550140"]
    assert findings[0].text.endswith("its voice URL is not set: its calls fail")


def test_some_listeners_at_a_voice_url_without_twiml_are_named(simulator: Simulator, client: Client) -> None:
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=PASTED, status_callback=OURS)
    mixed = Listeners([OURS, OURS], PASTED, forwards=True, without_twiml=[(OURS, "127.0.0.1:8767")])
    (some,) = found(simulator, mixed)
    assert (some.name, some.level) == ("number", "warning")
    assert some.text == (
        "calls of +12025550142 fail, or begin with its fallback: of the listeners at its voice URL some have no TwiML "
        "to give there: 127.0.0.1:8767"
    )
    none = Listeners([OURS, OURS], PASTED, forwards=False, without_twiml=[(OURS, "a:1"), (OURS, "a:2")])
    assert [one.level for one in found(simulator, none)] == ["error"]


def test_of_two_at_one_url_the_one_without_twiml_is_named_for_other_paths_too(
    simulator: Simulator, client: Client
) -> None:
    beside = OURS.replace("/status", "/voice")
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=beside, status_callback=OURS)
    silent = [(OURS, "127.0.0.1:8767")]
    mixed = Listeners([OURS, OURS], PASTED, forwards=False, forwarding=[OURS], without_twiml=silent)
    assert any("127.0.0.1:8767" in finding.text for finding in found(simulator, mixed))
    all_forward = Listeners([OURS, OURS], PASTED, forwards=True, forwarding=[OURS, OURS])
    assert [finding.level for finding in found(simulator, all_forward)] == ["ok"]


def test_a_url_of_the_other_scheme_is_another_one(simulator: Simulator, client: Client) -> None:
    """A proxy that redirects http to https loses the form, and with it the callback."""
    plain = "http://calls.example.com/status"
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=plain, status_callback=plain)
    (finding,) = found(simulator, FORWARDING)
    assert f"its status callback goes to {plain}, by http where the listener's is https" in finding.text
    assert f"its voice URL goes to {plain}, by http where the listener's is https" in finding.text
    assert finding.fix == "this sets both"
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    assert (set_now.voice_url, set_now.voice_fallback_url or "", set_now.status_callback) == (PASTED, "", PASTED)


@pytest.mark.parametrize(
    ("url", "is_here", "answers"),
    [
        (OURS, True, True),
        (PASTED, True, True),
        ("https://calls.example.com:443/status", True, True),
        ("http://calls.example.com/status", False, False),
        ("http://calls.example.com/twiml/survey", False, False),
        ("https://calls.example.com/twiml/survey", False, True),
        ("https://calls.example.com/other", False, False),
        ("https://app.example.com/twiml/survey", False, False),
        ("https://calls.example.com/app/twiml/survey", False, False),
        (f"{OURS}?tenant=7#rc=5", True, True),  # any query is taken: Twilio signs what it sends
        ("https://calls.example.com/other?tenant=7", False, False),
        ("https://[/", False, False),
        ("", False, False),
    ],
)
def test_what_leads_here(url: str, *, is_here: bool, answers: bool) -> None:
    assert (HERE.has(url), HERE.answers(url)) == (is_here, answers)
    # What comes to another path goes to the application.
    at_our_host = url.startswith("https://calls.example.com")
    assert (FORWARDING.has(url), FORWARDING.answers(url)) == (at_our_host, at_our_host)


CAPITALS = "with other capitals in scheme or host, unlike the listener's"
DOT = "with a dot after the host, unlike the listener's"
SLASH = "with a slash at the end, unlike the listener's"
DOCUMENT = "https://calls.example.com/twiml/survey"


@pytest.mark.parametrize(
    ("url", "own", "but"),
    [
        (f"{OURS}/", OURS, SLASH),
        (f"{OURS}/#rc=1", f"{OURS}#rc=1", SLASH),
        (f"{OURS}/?a=b#rc=1", f"{OURS}?a=b#rc=1", SLASH),
        ("https://CALLS.example.com/status?a=b", f"{OURS}?a=b", CAPITALS),
        ("https://CALLS.example.com/status", OURS, CAPITALS),
        ("https://Calls.example.com:443/status", OURS, CAPITALS),
        ("HTTPS://calls.example.com/status", OURS, CAPITALS),
        ("https://calls.example.com./status", OURS, DOT),
        (
            "https://Calls.example.com./status/",
            OURS,
            "with other capitals in scheme or host and a dot after the host and a slash at the end, unlike the "
            "listener's",
        ),
        ("https://calls.example.com:0443/status", OURS, "with another spelling, unlike the listener's"),
        (f"{DOCUMENT}/", DOCUMENT, SLASH),
        ("https://CALLS.example.com/twiml/survey?a=b", f"{DOCUMENT}?a=b", CAPITALS),
        ("https://calls.example.com./twiml/survey#rc=1", f"{DOCUMENT}#rc=1", DOT),
    ],
)
def test_what_leads_here_by_another_spelling_is_refused_for_what_is_signed(url: str, own: str, but: str) -> None:
    def is_accepted(signed: str, expected: str) -> bool:
        target = "/" + signed.partition("#")[0].split("/", 3)[3]
        request = SignedRequest(target, signature=signature_of(signed, (), key=TOKEN))
        return SignatureCheck([expected], keys=[TOKEN]).accepts(request)

    assert (is_accepted(url, own), is_accepted(own, own)) == (False, True)
    assert (HERE.has(url), HERE.answers(url), HERE.is_misspelled(url)) == (False, False, True)
    assert (HERE.spelled(url), HERE.has_but_for(url)) == (own, but)
    assert (HERE.answers(own), HERE.is_misspelled(own), HERE.has_but_for(own)) == (True, False, None)
    assert HERE.leads_to(url, [OURS])
    anything = replace(HERE, unverified=[OURS])
    assert (anything.answers(url), anything.is_misspelled(url), anything.has_but_for(url)) == (True, False, None)


@pytest.mark.parametrize(
    ("own", "url", "but"),
    [
        ("https://Calls.example.com/hook/", "https://Calls.example.com/hook", "no slash at the end"),
        ("https://Calls.example.com/hook/", "https://calls.example.com/hook/", "other capitals in scheme or host"),
        ("https://calls.example.com./hook", "https://calls.example.com/hook", "no dot after the host"),
    ],
)
def test_the_listeners_own_spelling_counts_whatever_it_is(own: str, url: str, but: str) -> None:
    for forwards in (False, True):
        listeners = Listeners([own], own, forwards=forwards)
        is_of_application = forwards and "slash" in but
        assert (listeners.has(own), listeners.has(url)) == (True, is_of_application)
        assert listeners.has_but_for(url) == (None if is_of_application else f"with {but}, unlike the listener's")


def test_beside_an_application_any_path_is_taken_at_the_host_as_it_is_spelled() -> None:
    host = "https://calls.example.com"
    for path in ("/voice", "/voice/", "/status/", "/twiml/survey", "/twiml/survey/", "/"):
        assert (FORWARDING.has(host + path), FORWARDING.is_misspelled(host + path)) == (True, False)
        url = f"https://Calls.example.com{path}"
        assert (FORWARDING.has(url), FORWARDING.has_but_for(url)) == (False, CAPITALS)
        assert FORWARDING.corrected(url) == host + path
    assert FORWARDING.spelled("https://Calls.example.com./status/?a=b#rc=1") == f"{OURS}/?a=b#rc=1"
    assert (FORWARDING.has_by_host_alone(f"{OURS}/"), FORWARDING.has_by_host_alone(OURS)) == (True, False)
    assert FORWARDING.leads_to(f"{OURS}/", [OURS])


@pytest.mark.parametrize("end", ["", "?a=b", "#rc=5&rp=5xx,ct,rt"])
def test_beside_an_application_a_url_without_a_path_stands_for_the_listeners_own(
    simulator: Simulator, client: Client, end: str
) -> None:
    """Twilio signs it as it was given. At "/" the application would have its home page; --public-url means none too."""
    url, own = f"https://calls.example.com{end}", f"{OURS}{end}" if end else PASTED
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=url)
    fails, unreported = found(simulator, FORWARDING)
    but = "with no path, unlike the listener's"
    assert (fails.level, fails.fix) == ("warning", f"set the voice URL to {own}")
    assert f"fail if {url} leads to the listener, which refuses it: it is spelled and signed {but}" in fails.text
    assert f"its status callback goes to {url}, {but}; that they ring" in unreported.text
    assert unreported.fix == "this sets both"
    typed(str(unreported.facts["command"]), env_for(simulator))
    set_now = number.fetch()
    assert (set_now.voice_url, set_now.voice_fallback_url or "", set_now.status_callback) == (own, "", own)
    assert [one.level for one in found(simulator, FORWARDING)] == ["ok"]


def test_a_url_without_a_path_stands_for_the_listener_whose_folder_is_the_whole_host() -> None:
    keyed = Listeners(["https://calls.example.com/hook?key=1"], "https://calls.example.com/hook?key=1", forwards=True)
    bare = "https://Calls.example.com?tenant=7"
    assert (keyed.corrected(bare), keyed.is_misspelled(bare)) == (
        "https://calls.example.com/hook?key=1&tenant=7",
        True,
    )
    assert keyed.has_but_for(bare) == "with other capitals in scheme or host and no path, unlike the listener's"
    anything = replace(FORWARDING, unverified=[OURS])
    assert not anything.has("https://calls.example.com")
    own = "https://calls.example.com/callctl/status"
    assert Listeners([own], own, forwards=True).spelled("https://calls.example.com") == "https://calls.example.com"
    assert HERE.has_but_for("https://calls.example.com") is None  # where nothing is


def test_of_two_listeners_that_differ_in_spelling_each_has_its_own() -> None:
    both = replace(HERE, callback_urls=[OURS, f"{OURS}/"], lost={f"{OURS}/": "cut off"})
    for url, why in ((OURS, None), (f"{OURS}/", "cut off")):
        assert (both.has(url), both.is_misspelled(url), both.why_lost(url)) == (True, False, why)


@pytest.mark.parametrize(
    ("listeners", "url", "but"),
    [
        (HERE, f"{OURS}/", SLASH),
        (HERE, "https://Calls.example.com/status#rc=5&rp=5xx,ct,rt", CAPITALS),
        (FORWARDING, "https://Calls.example.com/status#rc=5&rp=5xx,ct,rt", CAPITALS),
    ],
)
def test_the_calls_of_a_number_whose_url_is_spelled_otherwise_fail(
    simulator: Simulator, client: Client, listeners: Listeners, url: str, but: str
) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=url)
    fault, unreported = found(simulator, listeners)
    assert (fault.name, fault.level) == ("number", "error")
    assert fault.text == (
        "the calls of +12025550142 fail: the voice URL leads to the listener, which refuses it: it is spelled and "
        f"signed {but}"
    )
    assert fault.fix == f"set the voice URL to {PASTED}"
    assert unreported.text == (
        f"+12025550142: the end of calls is not reported here: its status callback goes to {url}, {but}; that they "
        f"ring is not seen: its voice URL goes to {url}, {but}"
    )
    assert unreported.fix == "this sets both"
    typed(str(unreported.facts["command"]), env_for(simulator))
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    assert (set_now.voice_url, set_now.voice_fallback_url or "", set_now.status_callback) == (PASTED, "", PASTED)
    assert [one.name for one in found(simulator, listeners)] == ["numbers"]
    set_now.update(voice_url=url, voice_fallback_url=THEIRS)  # which answers instead
    assert [one.level for one in found(simulator, listeners)] == ["warning"]
    set_now.update(voice_fallback_url=url)
    assert [one.level for one in found(simulator, listeners)] == ["error", "warning"]


def test_so_do_those_of_an_application_and_what_is_beside_the_callback_url(
    simulator: Simulator, client: Client
) -> None:
    url = "https://Calls.example.com/sales?tenant=7#rc=1"
    app = client.applications.create(voice_url=url, status_callback="https://Calls.example.com/status").sid
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_application_sid=app)
    fault, unreported = found(simulator, FORWARDING)
    assert (fault.name, fault.level) == ("number", "warning")  # a proxy may lead it elsewhere
    assert fault.text == (
        f"the calls of +12025550142 (application {app}) fail if {url} leads to the listener, which refuses it: it is "
        f"spelled and signed {CAPITALS}"
    )
    typed(str(unreported.facts["command"]), env_for(simulator))
    set_now = client.applications(app).fetch()
    assert (set_now.voice_url, set_now.voice_fallback_url or "", set_now.status_callback) == (
        "https://calls.example.com/sales?tenant=7#rc=1",
        "",
        PASTED,
    )


@pytest.mark.parametrize(
    ("url", "own", "path"),
    [
        (f"{OURS}/", PASTED, "/status/"),
        (f"{OURS}/?tenant=7#rc=1", f"{OURS}?tenant=7#rc=1", "/status/"),
        (f"{DOCUMENT}/?a=b", f"{DOCUMENT}?a=b", "/twiml/survey/"),
    ],
)
def test_beside_an_application_a_slash_at_the_end_may_be_a_slip(
    simulator: Simulator, client: Client, url: str, own: str, path: str
) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=OURS)
    serving = replace(FORWARDING, serves=lambda asked: asked == DOCUMENT or None)
    (slip,) = found(simulator, serving)
    assert (slip.name, slip.level) == ("number", "warning")
    assert slip.text == (
        f"the calls of +12025550142 fail unless the application has TwiML at its path {path}, to which the voice URL "
        f"leads: it is spelled {SLASH}"
    )
    assert slip.fix == f"set the voice URL to {own}, unless that path is meant"
    for meant in ({"voice_url": own}, {"voice_url": url, "voice_fallback_url": THEIRS}):
        number.update(**meant)
        assert [one.name for one in found(simulator, serving)] == ["numbers"]
    number.update(voice_url=f"{DOCUMENT}/", voice_fallback_url="")  # of which there is none without the slash
    assert [one.name for one in found(simulator, FORWARDING)] == ["numbers"]


def test_so_may_one_of_a_status_callback(simulator: Simulator, client: Client) -> None:
    """Its callbacks are stored; what --forward-to names does not get them."""
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=OURS, status_callback=f"{OURS}/?a=b")
    slip, well = found(simulator, FORWARDING)
    assert (slip.name, slip.level, well.level) == ("number", "warning", "ok")
    assert slip.text == (
        "the application gets the callbacks of +12025550142 at its path /status/, to which the status callback leads: "
        f"it is spelled {SLASH}"
    )
    assert slip.fix == f"set the status callback to {OURS}?a=b, unless that path is meant"
    (unknown,) = found(simulator, replace(FORWARDING, lost={OURS: "cut off"}))  # the application gets none for certain
    assert unknown.text == "not checked: +12025550142: cut off"


def test_the_folder_of_the_public_url_is_none_of_the_applications_path(simulator: Simulator, client: Client) -> None:
    own = "https://calls.example.com/callctl/status"
    behind = Listeners([own], own, forwards=True)
    create = client.incoming_phone_numbers.create
    for last, path in ((1, "/app/voice"), (2, "/app/other?l=de"), (4, "/callctl/voice")):
        create(phone_number=f"+1202555014{last}", voice_url=f"https://app.example.com{path}")
    findings = {str(one.facts["numbers"]): one for one in found(simulator, behind)}
    for last, path, which in (
        (1, "/app/voice", "/app/voice (/callctl/app/voice if --forward-to is below /callctl/ too)"),
        (2, "/app/other", "/app/other (/callctl/app/other if --forward-to is below /callctl/ too)"),
        (4, "/callctl/voice", "/callctl/voice"),  # the folder comes twice in the URL here, and is left out once
    ):
        finding = findings[f"['+1202555014{last}']"]
        assert f"answered by what --forward-to names, at its path {which}, in place of" in str(finding.fix)
        assert f"https://calls.example.com/callctl{path}" in str(finding.facts["command"])
    create(phone_number="+12025550143", voice_url=f"{own}/", status_callback=own)
    slip = next(one for one in found(simulator, behind) if one.facts["numbers"] == ["+12025550143"])
    which = "/status/ (/callctl/status/ if --forward-to is below /callctl/ too)"
    assert f"unless the application has TwiML at its path {which}, to which the voice URL leads" in slip.text


def test_a_path_of_the_application_that_is_the_listeners_but_for_a_slash_is_kept() -> None:
    def path(theirs: str, own: str = OURS, document: str = DOCUMENT) -> str:
        listeners = Listeners([], own, forwards=True, serves=lambda asked: asked == document)
        return urlsplit(listeners.url_for(f"https://app.example.com{theirs}", keeps_path=True)).path

    own_paths = ("/status", "/healthz", "/twiml/survey")
    assert [path(each) for each in own_paths] == ["/status"] * 3
    assert [path(f"{each}/") for each in own_paths] == [f"{each}/" for each in own_paths]
    slashed = "https://calls.example.com/hook/"
    assert [path(each, slashed) for each in ("/hook/", "/hook", "/voice/")] == ["/hook/", "/hook", "/voice/"]
    in_folder, document = "https://calls.example.com/callctl/status", "https://calls.example.com/callctl/twiml/survey"
    for each in (*own_paths, "/callctl/status"):
        assert path(each, in_folder, document) == "/callctl/status"
    assert path("/twiml/survey", in_folder) == "/callctl/twiml/survey"  # which is served elsewhere


def test_the_path_of_callbacks_is_the_applications_where_the_public_url_has_another() -> None:
    for own in ("https://calls.example.com/hook", "https://calls.example.com/callctl/hook"):
        listeners = Listeners([own], own, forwards=True)
        kept = listeners.url_for("https://app.example.com/status", keeps_path=True)
        assert kept == "https://calls.example.com/status"


@pytest.mark.parametrize(
    ("own", "theirs", "helps"),
    [
        (OURS, "/status", True),
        (OURS, "/healthz", False),
        ("https://calls.example.com/hook", "/hook", True),
        ("https://calls.example.com/callctl/status", "/status", False),
        ("https://calls.example.com/callctl/status", "/callctl/status", False),
    ],
)
def test_another_public_url_is_advised_where_that_keeps_the_path(
    simulator: Simulator, client: Client, own: str, theirs: str, *, helps: bool
) -> None:
    for last, path in ((1, theirs), (2, "/voice")):
        client.incoming_phone_numbers.create(
            phone_number=f"+1202555014{last}", voice_url=f"https://app.example.com{path}", status_callback=own
        )
    _, finding = found(simulator, Listeners([own], own, forwards=True))
    assert "so that must be the same document" in str(finding.fix)
    assert ("give the listener a path that the application does not have, by" in str(finding.fix)) is helps


@pytest.mark.parametrize("url", [f"{DOCUMENT}/", "https://Calls.example.com/twiml/survey"])
def test_a_document_whose_url_is_spelled_otherwise_is_refused_too(
    simulator: Simulator, client: Client, url: str
) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=OURS)
    serving = replace(HERE, serves=lambda asked: asked == DOCUMENT)
    fault, unreported = found(simulator, serving)
    assert (fault.level, fault.fix) == ("warning", f"set the voice URL to {DOCUMENT}")
    assert f"fail if {url} leads to the listener, which refuses it: it is spelled and signed with " in fault.text
    assert unreported.fix == "this sets it"
    typed(str(unreported.facts["command"]), env_for(simulator))
    assert client.incoming_phone_numbers(number.sid).fetch().voice_url == DOCUMENT
    assert [one.level for one in found(simulator, serving)] == ["ok"]
    # One that is not served is missing, however it is spelled.
    number.update(voice_url=url)
    (missing,) = found(simulator, replace(HERE, serves=lambda _url: False))
    assert missing.fix == "start it with --serve survey=FILE, or set another voice URL"
    assert "command" not in str(missing.facts)


def test_where_a_proxy_routes_a_part_of_a_host_here_the_rest_is_elsewhere() -> None:
    behind = Listeners([], "https://calls.example.com/callctl/status#rc=5", forwards=True)
    urls = ["callctl/gather", "callctl/status", "app/voice", "callctl", ""]
    assert [behind.has(f"https://calls.example.com/{url}") for url in urls] == [True, True, False, False, False]


BESIDE = "https://other.example.com"
TWO = replace(HERE, callback_urls=[OURS, f"{BESIDE}/status"], forwarding=[f"{BESIDE}/status"])


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        (f"{BESIDE}/status", True),
        (f"{BESIDE}/voice", True),
        (OURS, True),
        ("https://calls.example.com/voice", False),  # that listener passes nothing on
    ],
)
def test_each_listener_that_forwards_has_all_paths_of_its_host(url: str, *, is_here: bool) -> None:
    assert (TWO.has(url), TWO.answers(url)) == (is_here, is_here)


BELOW = "https://calls.example.com/a/status"
LOST_BELOW = replace(FORWARDING, callback_urls=[OURS, BELOW], lost={BELOW: "below"})
LOST_ABOVE = replace(FORWARDING, callback_urls=[OURS, BELOW], lost={OURS: "above"})


@pytest.mark.parametrize(
    ("listeners", "url", "why"),
    [
        (LOST_BELOW, BELOW, "below"),
        (LOST_BELOW, OURS, None),
        (LOST_BELOW, "https://calls.example.com/a/voice", None),  # the other one passes nothing on
        (replace(LOST_BELOW, forwarding=[OURS, BELOW]), "https://calls.example.com/a/voice", "below"),
        (replace(LOST_BELOW, forwarding=[OURS, BELOW]), "https://calls.example.com/voice", None),
        (LOST_ABOVE, BELOW, None),
        (LOST_ABOVE, OURS, "above"),
        (LOST_ABOVE, "https://calls.example.com/voice", "above"),
        (replace(LOST_ABOVE, forwarding=[OURS, BELOW]), "https://calls.example.com/a/voice", None),
    ],
)
def test_a_url_leads_to_the_listener_whose_own_it_is_or_whose_path_it_is_below(
    listeners: Listeners, url: str, why: str | None
) -> None:
    assert listeners.why_lost(url) == why


SECRET = "fake-Word"
WITH_PASSWORD = f"https://tw:{SECRET}@calls.example.com/status"
SIGNED_IN = Listeners([WITH_PASSWORD], f"{WITH_PASSWORD}#rc=5&rp=5xx,ct,rt", forwards=True)


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        (WITH_PASSWORD, True),
        ("https://tw:fake%2DWord@calls.example.com/status#rc=5", True),
        (WITH_PASSWORD.replace(SECRET, "***"), False),
        (WITH_PASSWORD.replace(SECRET, "wrong"), False),
        (WITH_PASSWORD.replace(SECRET, SECRET.lower()), False),
        (WITH_PASSWORD.replace("tw:", "other:"), False),
        (OURS, False),
    ],
)
def test_only_what_signs_in_as_the_listeners_url_does_leads_there(url: str, *, is_here: bool) -> None:
    assert (SIGNED_IN.has(url), SIGNED_IN.answers(url)) == (is_here, is_here)
    assert SIGNED_IN.answers(url.replace("/status", "/twiml/survey")) is is_here
    assert (SIGNED_IN.has_but_for(url) is None) is is_here
    assert not HERE.has(WITH_PASSWORD)


def test_the_request_holds_the_password_of_the_url_and_says_so(simulator: Simulator, client: Client) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=THEIRS)
    (finding,) = found(simulator, SIGNED_IN)
    assert finding.fix == f"this sets both; {ANSWERED}; the command holds the public URL's password in clear"
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    assert (set_now.voice_url, set_now.status_callback) == (SIGNED_IN.to_paste, SIGNED_IN.to_paste)
    assert [one.name for one in found(simulator, SIGNED_IN)] == ["numbers"]


@pytest.mark.parametrize("listeners", [FORWARDING, SIGNED_IN])
def test_the_request_keeps_a_password_in_the_query_of_a_voice_url_and_says_so(
    simulator: Simulator, client: Client, listeners: Listeners
) -> None:
    query = "url=https%3A%2F%2Fann%3As3cret%40x.example.com"
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=f"{THEIRS}?{query}")
    (finding,) = found(simulator, listeners)
    assert str(finding.fix).endswith("the command holds a password in clear, in the query of the voice URL")
    assert ("the public URL's password" in str(finding.fix)) is (listeners is SIGNED_IN)
    assert "s3cret" not in finding.text + str(finding.fix)
    typed(str(finding.facts["command"]), env_for(simulator))
    assert f"?{query}#" in client.incoming_phone_numbers(number.sid).fetch().voice_url


def test_so_it_does_with_one_in_the_query_of_a_status_callback_that_is_spelled_otherwise(
    simulator: Simulator, client: Client
) -> None:
    query = "?url=https%3A%2F%2Fann%3As3cret%40x.example.com"
    number = client.incoming_phone_numbers.create(
        phone_number="+12025550142", voice_url=OURS, status_callback=f"https://Calls.example.com/done{query}"
    )
    (finding,) = found(simulator, FORWARDING)
    assert finding.fix == "this sets it; the command holds a password in clear, in the query of the status callback"
    assert "s3cret" not in finding.text
    typed(str(finding.facts["command"]), env_for(simulator))
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    assert set_now.status_callback == f"https://calls.example.com/done{query}"


def test_a_number_with_another_password_is_named_and_neither_is_shown(simulator: Simulator, client: Client) -> None:
    wrong = WITH_PASSWORD.replace(SECRET, "wrong-word")
    number = client.incoming_phone_numbers.create(
        phone_number="+12025550142", voice_url=SIGNED_IN.to_paste, status_callback=wrong
    )
    (finding,) = found(simulator, SIGNED_IN)
    assert finding.text == (
        "+12025550142: the end of calls is not reported here: its status callback goes to "
        "https://tw:***@calls.example.com/status, with another user or password than the listener's"
    )
    assert finding.fix == "this sets it; the command holds the public URL's password in clear"
    assert "wrong-word" not in str(finding)
    typed(str(finding.facts["command"]), env_for(simulator))
    assert client.incoming_phone_numbers(number.sid).fetch().status_callback == SIGNED_IN.to_paste


@pytest.mark.parametrize("form", [{}, {"terminal": True, "columns": 400}])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_beside_a_watch_the_command_alone_shows_the_password_of_its_url(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path, more: list[str], form: dict[str, Any]
) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142")
    url = f"http://tw:{SECRET}@127.0.0.1:{(port := free_port())}/status"
    env = env_for(simulator) | {"CALLCTL_PORT": str(port)}
    arguments = ("watch", "--no-poll", "--json", "--public-url", url)
    with Piped(*arguments, home=home, env=env) as watch:
        watch.record()
        done = callctl("doctor", *more, env=env, **form)
    shown = [part for part in done.out.split("curl -u ") if "Word" in part]
    assert len(shown) == 1
    assert shown[0] != done.out.split("curl -u ")[0]
    assert "holds the public URL's password in clear" in done.out
    assert "Word" not in done.err
    # To the end of the line, or of the JSON text.
    command = json_of(done.out, "number")["command"] if more else f"curl -u {shown[0].splitlines()[0]}"
    typed(command, env)
    assert client.incoming_phone_numbers(number.sid).fetch().status_callback.startswith(f"{url}#")


NUMBER = {"sid": "PN" + "0" * 32, "phone_number": "+12025550142", "status_callback": OURS, "voice_url": THEIRS}
APPLICATION = "AP" + "0" * 32
OF_APPLICATION = NUMBER | {"sid": "PN" + "1" * 32, "voice_application_sid": APPLICATION}
OF_TRUNK = NUMBER | {"sid": "PN" + "2" * 32, "trunk_sid": "TK" + "0" * 32}
REFUSED = (403, {"code": 20003, "message": "Permission Denied"})


def listed(key: str, *rows: Any, next_page: Any = None) -> tuple[int, dict[str, Any]]:
    return 200, {key: list(rows), "next_page_uri": next_page}


def at_pages(numbers: tuple[int, Any], applications: tuple[int, Any] = REFUSED) -> Any:
    """Return the turn that answers for the account, its numbers and its applications."""

    def answer(handler: Any) -> None:
        path = urlsplit(handler.path).path
        if path.endswith("/IncomingPhoneNumbers.json"):
            reply(*numbers)(handler)
        elif path.endswith("/Applications.json"):
            reply(*applications)(handler)
        else:
            account()(handler)

    return answer


INCOMPLETE = "the list may be incomplete: the address of its next page can't be read"
LOOP = f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers.json?Page=1"


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        (REFUSED, "Permission Denied"),
        ((404, {"code": 20404, "message": "no such resource"}), "no such"),
        ((429, {"code": 20429, "message": "Too Many Requests"}), "Too Many Requests"),
        ((503, {"message": "try later"}), "try later"),
        ((200, {"calls": []}), "holds no incoming_phone_numbers"),
        (listed("incoming_phone_numbers", NUMBER, next_page=LOOP), "the list does not end"),
        (listed("incoming_phone_numbers", NUMBER, next_page=5), INCOMPLETE),
    ],
)
def test_numbers_that_cant_be_read_are_not_called_fine(callctl: Callctl, numbers: tuple[int, Any], why: str) -> None:
    with Server(at_pages(numbers)) as server:
        url = f"http://127.0.0.1:{(port := free_port())}/status"
        code, findings = doctor(callctl, at(server) | {"CALLCTL_PORT": str(port), "CALLCTL_PUBLIC_URL": url})
    assert (code, findings["numbers"]["level"]) == (0, "skipped")
    assert findings["numbers"]["text"].startswith("not checked: they can't be read: ")
    assert why in findings["numbers"]["text"]


@pytest.mark.parametrize(
    ("applications", "why"),
    [
        (REFUSED, "the applications can't be read: "),
        (listed("applications", {"sid": APPLICATION}, next_page=5), f"the applications can't be read: {INCOMPLETE}"),
        (listed("applications", {"sid": "AP" + "9" * 32}), f"the account shows no application {APPLICATION}"),
    ],
)
def test_nor_are_those_of_an_application_that_cant_be_read(applications: tuple[int, Any], why: str) -> None:
    def open_client(settings: Settings) -> ApiClient:
        return ApiClient(settings, sleep=time.sleep, random=random.random)

    rows = [PhoneNumber.from_resource(row) for row in (NUMBER, OF_APPLICATION, OF_TRUNK)]
    with Server(at_pages(REFUSED, applications)) as server:
        settings = Settings(account_sid=ACCOUNT, auth_token=TOKEN, api_url=server.url)
        fine, unknown = number_findings(settings, open_client, numbers=rows, listeners=HERE)
    assert (fine.level, fine.facts["numbers"]) == ("ok", ["+12025550142"])
    assert (unknown.name, unknown.level, unknown.facts["numbers"]) == ("numbers", "skipped", ["+12025550142"])
    assert unknown.text.startswith(f"not checked: +12025550142: {why}")


def json_of(out: str, name: str) -> dict[str, Any]:
    """Return the finding of this name."""
    return next(one for one in json.loads(out)["checks"] if one["name"] == name)


@pytest.fixture
def forwarding_watch(simulator: Simulator, home: Path) -> Iterator[dict[str, Any]]:
    arguments = ("watch", "--port", "0", "--no-poll", "--json", "--forward-to", "http://127.0.0.1:9/voice")
    with Piped(*arguments, home=home, env=env_for(simulator)) as watch:
        yield watch.record()


def test_beside_a_watch(
    callctl: Callctl, simulator: Simulator, client: Client, forwarding_watch: dict[str, Any]
) -> None:
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=THEIRS)
    env = env_for(simulator)
    code, findings = doctor(callctl, env)
    assert (code, findings["number"]["level"], findings["number"]["numbers"]) == (0, "warning", ["+12025550142"])
    typed(findings["number"]["command"], env)
    set_now = client.incoming_phone_numbers(number.sid).fetch()
    url = forwarding_watch["callback_url"]
    assert set_now.voice_url.partition("#")[0] == set_now.status_callback.partition("#")[0] == url
    code, findings = doctor(callctl, env)
    assert (code, findings["numbers"]["text"]) == (0, "of 1 number the end of calls is reported here")
    done = callctl("doctor", env=env | {"CALLCTL_PORT": "0"})
    assert "warning" not in done.out.splitlines()[-1]


def test_beside_a_watch_a_number_may_lead_to_another_one_that_forwards(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path, forwarding_watch: dict[str, Any]
) -> None:
    env = env_for(simulator)
    there = forwarding_watch["callback_url"].removesuffix("status")
    client.incoming_phone_numbers.create(
        phone_number="+12025550142", voice_url=f"{there}voice", status_callback=f"{there}done"
    )
    port = str(free_port())
    with Piped("watch", "--port", port, "--no-poll", "--json", home=home, env=env) as watch:
        watch.record()
        code, findings = doctor(callctl, env | {"CALLCTL_PORT": port})
    assert findings["port"]["text"].startswith(f"a watch of this account listens at {port} ")
    assert (code, "number" in findings, findings["numbers"]["numbers"]) == (0, False, ["+12025550142"])


def test_beside_a_watch_that_passes_nothing_on_its_url_is_none_for_twiml(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path
) -> None:
    env = env_for(simulator)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        url = watch.record()["callback_url"]
        client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=url)
        code, findings = doctor(callctl, env)
    assert (code, findings["number"]["level"]) == (1, "error")
    assert findings["number"]["text"].startswith("the calls of +12025550142 fail: the voice URL leads to the listener")


@pytest.fixture
def document(home: Path) -> Path:
    file = home / "survey.xml"
    file.write_text("<Response><Say>Hello</Say></Response>")
    return file


def test_beside_a_watch_a_document_that_is_not_served_is_none(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path, document: Path
) -> None:
    env = env_for(simulator)
    arguments = ("watch", "--port", "0", "--no-poll", "--json", "--serve", f"survey={document}")
    with Piped(*arguments, home=home, env=env) as watch:
        url = watch.record()["callback_url"]
        documents = url.removesuffix("status") + "twiml/"
        number = client.incoming_phone_numbers.create(
            phone_number="+12025550142", voice_url=f"{documents}survey", status_callback=url
        )
        code, findings = doctor(callctl, env)
        assert (code, "number" in findings, findings["numbers"]["level"]) == (0, False, "ok")
        number.update(voice_url=f"{documents}menu")
        code, findings = doctor(callctl, env)
        assert (code, findings["number"]["level"]) == (0, "warning")
        assert findings["number"]["text"] == (
            f"the calls of +12025550142 fail if {documents}menu leads to the listener, which has no TwiML to give there"
        )
        assert findings["number"]["fix"] == "start it with --serve menu=FILE, or set another voice URL"
        number.update(voice_fallback_url=THEIRS)
        assert "number" not in doctor(callctl, env)[1]
        number.update(voice_fallback_url=f"{documents}sorry")
        assert "number" in doctor(callctl, env)[1]
        watch.interrupt()
        assert "trouble" not in "".join(watch.lines())  # it has no word on what was looked at


@pytest.mark.parametrize("more", [(), ("--forward-to", "http://127.0.0.1:9/voice")], ids=["alone", "forwarding"])
def test_beside_a_watch_a_document_whose_file_is_no_good_any_more_is_none(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path, document: Path, more: tuple[str, ...]
) -> None:
    env = env_for(simulator)
    arguments = ("watch", "--port", "0", "--no-poll", "--json", "--serve", f"survey={document}", *more)
    with Piped(*arguments, home=home, env=env) as watch:
        url = watch.record()["callback_url"]
        voice_url = url.removesuffix("status") + "twiml/survey"
        client.incoming_phone_numbers.create(
            phone_number="+12025550142", voice_url=f"{voice_url}?a=b", status_callback=url
        )
        assert "number" not in doctor(callctl, env)[1]
        document.write_text("<Response><Say>Hel")
        code, findings = doctor(callctl, env)
        assert (code, findings["number"]["level"]) == (0, "warning")
        assert findings["number"]["text"] == (
            f"the calls of +12025550142 fail if {voice_url}?a=b leads to the listener, which can't give that document "
            "now: the file of --serve survey can't be read or is no TwiML"
        )
        assert findings["number"]["fix"] == "mend the file that --serve survey names, or set another voice URL"
        document.unlink()
        assert doctor(callctl, env)[1]["number"]["text"] == findings["number"]["text"]
        document.write_text("<Response><Say>Hello</Say></Response>")
        assert "number" not in doctor(callctl, env)[1]
        watch.interrupt()
        assert "trouble" not in "".join(watch.lines())


def test_beside_two_watches_a_document_that_the_other_one_has_is_none(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path, document: Path, forwarding_watch: dict[str, Any]
) -> None:
    env = env_for(simulator)
    elsewhere = forwarding_watch["callback_url"].removesuffix("status") + "twiml/survey"
    arguments = ("--serve", f"survey={document}")
    with (
        Piped("watch", "--port", "0", "--no-poll", "--json", *arguments, home=home, env=env) as watch,
        Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as without,
    ):
        url, silent = watch.record()["callback_url"], without.record()["callback_url"]
        voice_url = silent.removesuffix("status") + "twiml/survey"
        number = client.incoming_phone_numbers.create(
            phone_number="+12025550142", voice_url=voice_url, status_callback=url
        )
        (finding,) = findings_of(callctl, env, "number")
        assert finding["text"].startswith(f"the calls of +12025550142 fail if {voice_url} leads to the listener")
        for known in (url.removesuffix("status") + "twiml/survey", elsewhere):  # which the application may have
            number.update(voice_url=known)
            assert findings_of(callctl, env, "number") == []
        # What one has that can't be given is not there by that of another one.
        document.unlink()
        number.update(voice_url=url.removesuffix("status") + "twiml/survey")
        assert len(findings_of(callctl, env, "number")) == 1


def findings_of(callctl: Callctl, env: dict[str, str], name: str) -> list[dict[str, Any]]:
    """Run doctor, and return all of its findings of this name."""
    out = callctl("doctor", "--json", env={"CALLCTL_PORT": "0"} | env).out
    return [one for one in json.loads(out)["checks"] if one["name"] == name]


def test_to_a_listener_that_nothing_comes_through_to_no_number_is_sent(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path
) -> None:
    env, numbers = env_for(simulator), client.incoming_phone_numbers
    with closed_port() as closed:
        dead = f"http://127.0.0.1:{closed}/status"
        numbers.create(phone_number="+12025550142", voice_url=THEIRS, status_callback=THEIRS)
        numbers.create(phone_number="+12025550143", voice_url=THEIRS, status_callback=dead)
        numbers.create(phone_number="+12025550144", voice_url=dead, voice_fallback_url=THEIRS, status_callback=dead)
        arguments = ("--public-url", dead, "--forward-to", "http://127.0.0.1:9/voice")
        with Piped("watch", "--port", "0", "--no-poll", "--json", *arguments, home=home, env=env) as watch:
            watch.record()
            code, findings = doctor(callctl, env)
            assert (code, findings["round trip"]["level"], "number" in findings) == (6, "error", False)
            assert "command" not in str(findings)
            assert findings["numbers"]["level"] == "skipped"
            assert findings["numbers"]["text"] == (
                "not checked: +12025550144, +12025550143, +12025550142: nothing comes through to the watch, "
                "see round trip"
            )
            numbers.create(phone_number="+12025550145", voice_url=dead, status_callback=THEIRS)
            beside = f"http://127.0.0.1:{closed}/voice"  # a proxy may lead that to the application
            numbers.create(phone_number="+12025550146", voice_url=beside, status_callback=THEIRS)
            maybe, certain = findings_of(callctl, env, "number")
    assert (certain["level"], maybe["level"]) == ("error", "warning")
    assert certain["text"] == (
        "the calls of +12025550145 fail: the voice URL leads to the listener, to which nothing comes through"
    )
    assert maybe["text"] == (
        f"the calls of +12025550146 fail if {beside} leads to the listener, to which nothing comes through"
    )


def test_nor_to_one_that_refuses_what_is_signed_with_this_token(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path
) -> None:
    env = env_for(simulator)
    with Piped(
        "watch", "--port", "0", "--no-poll", "--json", home=home, env=env | {"CALLCTL_SIGNING_TOKEN": OTHER}
    ) as watch:
        url = watch.record()["callback_url"]
        client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=THEIRS, status_callback=THEIRS)
        client.incoming_phone_numbers.create(phone_number="+12025550143", voice_url=url, status_callback=url)
        code, findings = doctor(callctl, env)
    assert (code, findings["round trip"]["level"], findings["numbers"]["level"]) == (6, "error", "skipped")
    assert "command" not in str(findings)
    # The watch may have the token that Twilio signs with.
    assert (findings["number"]["level"], findings["number"]["numbers"]) == ("warning", ["+12025550143"])
    assert "fail if nothing comes through to the listener from Twilio either" in findings["number"]["text"]


def test_without_a_token_here_what_the_listener_says_of_its_own_test_counts(
    callctl: Callctl, simulator: Simulator, client: Client, home: Path
) -> None:
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=THEIRS, status_callback=THEIRS)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env_for(simulator)) as watch:
        watch.until_health(watch.record()["health_url"], lambda health: health.get("reachable") is True)
        env = with_key(simulator, TWILIO_AUTH_TOKEN="")
        code, findings = doctor(callctl, env)
        assert (code, findings["round trip"]["level"]) == (0, "skipped")
        assert "StatusCallback=" in findings["number"]["command"]
        # Another token would be refused by Twilio, and may be that of the watch.
        code, findings = doctor(callctl, env | {"CALLCTL_SIGNING_TOKEN": OTHER})
    assert (code, findings["round trip"]["level"], findings["numbers"]["level"]) == (1, "skipped", "skipped")
    assert findings["numbers"]["text"].endswith(
        "whether anything comes through to the watch is not known, see round trip"
    )


def test_a_number_is_not_taken_from_a_listener_that_could_not_be_looked_for(
    simulator: Simulator, client: Client
) -> None:
    other = "https://other.example.com/status"
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=OURS, status_callback=OURS)
    client.incoming_phone_numbers.create(phone_number="+12025550143", voice_url=other, status_callback=other)
    well, unknown = found(simulator, replace(FORWARDING, is_complete=False))
    assert (well.level, well.facts["numbers"]) == ("ok", ["+12025550142"])
    assert (unknown.level, unknown.text) == (
        "skipped",
        "not checked: +12025550143: who else listens is not known, see above",
    )


@pytest.mark.usefixtures("forwarding_watch")
def test_beside_a_watch_while_the_shared_store_is_away_no_number_is_taken_from_others(
    callctl: Callctl, simulator: Simulator, client: Client
) -> None:
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=THEIRS, status_callback=THEIRS)
    with closed_port() as port:
        env = env_for(simulator) | {"CALLCTL_STORE": f"postgresql://callctl@127.0.0.1:{port}/callctl"}
        _, findings = doctor(callctl, env)
    assert (findings["round trip"]["level"], findings["numbers"]["level"]) == ("ok", "skipped")
    assert "number" not in findings


LOST = "the listener at web2 can't store callbacks now, see listener"


@pytest.mark.parametrize(
    ("lost", "dead", "expected"),
    [
        ({}, {}, [("numbers", "ok", 2)]),
        ({OURS: LOST}, {}, [("numbers", "skipped", 1), ("numbers", "ok", 1)]),
        ({OURS: LOST}, {OURS: True}, [("number", "error", 1), ("numbers", "skipped", 1), ("numbers", "ok", 1)]),
        ({"https://other.example.com/status": LOST}, {}, [("numbers", "skipped", 1), ("numbers", "ok", 1)]),
    ],
)
def test_of_several_listeners_one_whose_callbacks_may_be_lost_reports_nothing_for_certain(
    simulator: Simulator,
    client: Client,
    lost: dict[str, str],
    dead: dict[str, bool],
    expected: list[tuple[str, str, int]],
) -> None:
    other = "https://other.example.com/status"
    client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=OURS, status_callback=OURS)
    client.incoming_phone_numbers.create(phone_number="+12025550143", voice_url=other, status_callback=other)
    several = replace(FORWARDING, callback_urls=[OURS, other], lost=lost, dead=dead)
    counted = [
        (one.name, str(one.level), str(one.facts.get("numbers", "+")).count("+")) for one in found(simulator, several)
    ]
    assert sorted(counted) == sorted(expected)


@pytest.mark.parametrize("path", ["status", "status/", "status?tenant=7", "twiml/survey", "sales#rc=5"])
def test_without_a_watch_a_number_whose_voice_url_is_the_public_url_is_a_fault(
    callctl: Callctl, simulator: Simulator, client: Client, path: str
) -> None:
    base = f"http://127.0.0.1:{(port := free_port())}"
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=f"{base}/{path}")
    env = env_for(simulator) | {"CALLCTL_PORT": str(port), "CALLCTL_PUBLIC_URL": f"{base}/status"}
    code, findings = doctor(callctl, env)
    if path.startswith("status"):
        expected, why = (1, "error"), ": the voice URL leads"
    else:  # a proxy may lead it to an application
        expected, why = (0, "warning"), f" if {base}/{path} leads"
    assert (code, findings["number"]["level"]) == expected
    assert (
        findings["number"]["text"] == f"the calls of +12025550142 fail{why} to the public URL, where no listener runs"
    )
    # Where the URL leads somewhere else, a listener of another store may be there.
    assert "number" not in doctor(callctl, env | {"CALLCTL_PORT": str(free_port())})[1]
    number.update(voice_fallback_url=THEIRS)
    assert "number" not in doctor(callctl, env)[1]
    number.update(voice_url=THEIRS, voice_fallback_url="")
    assert "number" not in doctor(callctl, env)[1]


def test_without_a_watch_numbers_are_not_asked_for(callctl: Callctl, simulator: Simulator, client: Client) -> None:
    client.incoming_phone_numbers.create(phone_number="+12025550142")
    _, findings = doctor(callctl, env_for(simulator))
    assert not {"number", "numbers"} & set(findings)

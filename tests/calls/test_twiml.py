"""The TwiML that callctl sends, and its checks on that of others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.calls.twiml import (
    MAX_LENGTH,
    add_callbacks,
    check,
    check_events,
    check_inline,
    dial,
    hangs_up_after_dial,
    legs_without_callbacks,
    noun_attributes,
    say,
    stripped,
)
from callctl.errors import UsageError

CALLBACK = 'https://example.com/status?a=1&b="2"#rc=3&rp=5xx,ct,rt'
EVENTS = "initiated ringing answered completed"
REPORTING = {"statusCallback": CALLBACK, "statusCallbackEvent": EVENTS, "statusCallbackMethod": "POST"}
XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))


def test_say_reads_the_text_out() -> None:
    assert say("Hello & <good> bye") == "<Response><Say>Hello &amp; &lt;good&gt; bye</Say></Response>"


@settings(deadline=None)
@given(XML_TEXT.filter(str.strip))
def test_say_carries_any_text(text: str) -> None:
    document = say(text)
    assert ElementTree.fromstring(document).findtext("Say") == text
    if len(document) <= MAX_LENGTH:
        check(document)


@pytest.mark.parametrize("text", ["", " \n", "bell\x07", "nul\x00", "\ud800", "\uffff"])
def test_say_refuses_what_can_not_be_said(text: str) -> None:
    with pytest.raises(UsageError):
        say(text)


def test_each_leg_of_a_dial_reports_by_itself() -> None:
    document = dial(
        ["+12025550101", "sip:agent@example.com", "Client:ann"],
        status_callback=CALLBACK,
        action="https://example.com/after?x=1&y=2",
        method="GET",
        timeout=20,
        caller_id="+15005550006",
        sequential=True,
    )
    check(document)
    root = ElementTree.fromstring(document)
    verb = root[0]
    assert verb.attrib == {
        "action": "https://example.com/after?x=1&y=2",
        "method": "GET",
        "timeout": "20",
        "callerId": "+15005550006",
        "sequential": "true",
    }
    assert [(leg.tag, leg.text) for leg in verb] == [
        ("Number", "+12025550101"),
        ("Sip", "sip:agent@example.com"),
        ("Client", "ann"),
    ]
    assert all(leg.attrib == REPORTING for leg in verb)
    assert legs_without_callbacks(document) == 0


def test_a_dial_without_callbacks_or_options_has_no_attributes() -> None:
    assert dial(["+12025550101"], status_callback=None) == (
        "<Response><Dial><Number>+12025550101</Number></Dial></Response>"
    )


def test_events_are_one_attribute_separated_by_spaces() -> None:
    document = dial(["+12025550101"], status_callback=CALLBACK, events=["answered", "completed"])
    assert 'statusCallbackEvent="answered completed"' in document


@pytest.mark.parametrize(
    ("destinations", "words"),
    [
        ([], "nobody to dial"),
        (["2025550100"], "can't dial 2025550100"),
        (["client:"], "can't dial client:"),
        (["sip:a b"], "can't dial sip:a b"),
        (["+12025550101"] * 11, "at most 10"),
    ],
)
def test_dial_refuses_what_can_not_be_dialled(destinations: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dial(destinations, status_callback=None)


def test_dial_refuses_unknown_events() -> None:
    with pytest.raises(UsageError, match="no such event: in-progress"):
        dial(["+12025550101"], status_callback=CALLBACK, events=["in-progress"])


@pytest.mark.parametrize(
    "document",
    [
        "<Response/>",
        "\n  <Response><Hangup/></Response>\n",
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Say>Grüße</Say></Response>',
        '<?xml version="1.0" encoding="ISO-8859-1"?><Response><Say>Grüße 你好</Say></Response>',
        "\ufeff<Response/>",
        "<!-- before --><Response><Say>a<!-- in -->b</Say></Response><!-- after -->",
        f"<Response><Say>{'x' * (MAX_LENGTH - len('<Response><Say></Say></Response>'))}</Say></Response>",
    ],
)
def test_good_documents_pass(document: str) -> None:
    check(document)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "not well-formed: no element found, line 1, column 1"),
        ("hello", "not well-formed: syntax error, line 1"),
        ("<Response>\n<Say>Hello</Response>", "not well-formed: mismatched tag, line 2, column 13"),
        ("<Response><Say>a & b</Say></Response>", "not well-formed"),
        ("<Response>&nbsp;</Response>", "not well-formed: undefined entity"),
        ("<Response/><Response/>", "not well-formed: junk after document element"),
        ("<Response>\x00</Response>", "not well-formed"),
        ("<Response>\udcff</Response>", "not well-formed"),
        ("<Say>Hello</Say>", "root element is <Say>, not <Response>"),
        ("<response/>", "root element is <response>"),
        ("<!DOCTYPE Response><Response/>", "declares a document type"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><Response>&a;</Response>', "declares a document type"),
        (f"<Response><Say>{'x' * MAX_LENGTH}</Say></Response>", "too long: 4032 characters"),
    ],
)
def test_bad_documents_are_refused_with_a_reason_and_a_hint(document: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(document)
    assert words in caught.value.message
    assert caught.value.hint


@settings(deadline=None)
@given(st.text())
def test_any_text_passes_or_is_refused(text: str) -> None:
    for document in (text, f"<Response><Say>{text}</Say></Response>"):
        try:
            check(document)
        except UsageError as error:
            assert error.hint
        else:
            assert "<Response" in document


@pytest.mark.parametrize(
    ("document", "legs"),
    [
        ("<Response><Say>Hello</Say></Response>", 0),
        ("<Response><Dial>+12025550101</Dial></Response>", 1),
        ("<Response><Dial> </Dial><Dial/></Response>", 0),
        ("<Response><Dial><Number>+12025550101</Number><Sip>sip:a</Sip><Client>ann</Client></Dial></Response>", 3),
        (
            '<Response><Dial><Number statusCallback="https://example.com">+1</Number><Sip>sip:a</Sip></Dial></Response>',
            1,
        ),
        ("<Response><Dial><Conference>room</Conference></Dial><Dial><Queue>q</Queue></Dial></Response>", 0),
        ("<Response><Dial>+12025550101<Number>+12025550102</Number></Dial></Response>", 1),
        ("<Response><Number>+12025550101</Number></Response>", 0),
        ("<Response><Dial><!-- nobody --></Dial></Response>", 0),
    ],
)
def test_legs_that_report_nothing_are_counted_and_can_be_made_to_report(document: str, legs: int) -> None:
    assert legs_without_callbacks(document) == legs
    changed = add_callbacks(document, CALLBACK)
    assert legs_without_callbacks(changed) == 0
    assert sum(1 for element in ElementTree.fromstring(changed).iter() if element.attrib == REPORTING) == legs


def test_adding_callbacks_changes_nothing_else() -> None:
    document = (
        '<Response><!-- mine --><Say language="en-GB">Hello &amp; bye</Say><Dial timeout="9">\n  <Number>+12025550101'
        '</Number>\n  <Client statusCallback="https://example.com/own">ann</Client>\n</Dial><Hangup /></Response>'
    )
    changed = add_callbacks(document, "https://example.com/s")
    expected = document.replace("<Number>", f"<Number {noun_attributes('https://example.com/s')}>")
    assert changed == expected


def test_a_number_in_the_dial_itself_becomes_a_noun() -> None:
    changed = add_callbacks("<Response><Dial> +12025550101 </Dial></Response>", CALLBACK)
    (noun,) = ElementTree.fromstring(changed)[0]
    assert (noun.tag, noun.text, noun.attrib) == ("Number", "+12025550101", REPORTING)


def test_adding_callbacks_can_make_a_document_too_long() -> None:
    document = f"<Response><Say>{'x' * 3900}</Say><Dial>+12025550101</Dial></Response>"
    with pytest.raises(UsageError, match="too long"):
        add_callbacks(document, CALLBACK)


@settings(deadline=None)
@given(XML_TEXT)
def test_what_is_to_be_pasted_is_escaped(url: str) -> None:
    element = ElementTree.fromstring(f"<Number {noun_attributes(url)}/>")
    assert element.attrib == {**REPORTING, "statusCallback": url}


DECLARED = '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Say>hi</Say></Response>'


@pytest.mark.parametrize("before", ["\n", " \t\r\n", "\ufeff", "\ufeff\n"])
def test_a_document_is_checked_as_it_goes_out(before: str) -> None:
    with pytest.raises(UsageError, match="not well-formed") if before != "\ufeff" else nullcontext():
        check(before + DECLARED)
    assert stripped(before + DECLARED + "\n") == DECLARED
    check(DECLARED)


@pytest.mark.parametrize(
    ("verbs", "words"),
    [
        (
            '<Gather action="/score"/>',
            "the action of <Gather> is no absolute URL in TwiML that is given inline: '/score'",
        ),
        ('<Gather action="score.php"><Say>x</Say></Gather>', "the action of <Gather>"),
        ('<Record action="//example.com/x"/>', "the action of <Record>"),
        ("<Gather/>", "<Gather> has no action"),
        ('<Record action=""/>', "<Record> has no action"),
        ("<Pay/>", "<Pay> has no action"),
        ('<Dial action="/after">+12025550101</Dial>', "the action of <Dial>"),
        ('<Dial recordingStatusCallback="rec">+12025550101</Dial>', "the recordingStatusCallback of <Dial>"),
        ('<Dial><Number url="/whisper">+12025550101</Number></Dial>', "the url of <Number>"),
        ('<Dial><Client statusCallback="/status">ann</Client></Dial>', "the statusCallback of <Client>"),
        ('<Dial><Conference waitUrl="wait.xml">r</Conference></Dial>', "the waitUrl of <Conference>"),
        ("<Redirect>next.xml</Redirect>", "the URL in <Redirect>"),
        ("<Redirect/>", "the URL in <Redirect>"),
        ("<Play>beep.mp3</Play>", "the URL in <Play>"),
        ('<Gather action="https://example.com/x"><Play>beep.mp3</Play></Gather>', "the URL in <Play>"),
        ('<Start><Stream url="stream"/></Start>', "the url of <Stream>"),
    ],
)
def test_inline_a_url_is_absolute(verbs: str, words: str) -> None:
    document = f"<Response>{verbs}</Response>"
    check(document)
    with pytest.raises(UsageError) as caught:
        check_inline(document)
    assert caught.value.message.startswith(words)
    assert "https://example.com" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "verbs",
    [
        '<Gather action="https://example.com/score" method="GET"><Say>x</Say></Gather>',
        '<Record action="https://example.com/r" recordingStatusCallbackEvent="completed" transcribe="true"/>',
        '<Dial action=" https://example.com/x "><Conference waitUrl="">room</Conference></Dial>',
        '<Dial sequential="true"><Sip statusCallback="https://example.com/s">sip:a@example.com</Sip></Dial>',
        "<Play> https://example.com/a.mp3 </Play>",
        '<Play digits="1"/>',
        '<Start><Stream url="wss://example.com/s"/></Start>',
        "<!-- action='x' --><?x url='y'?><Say>https</Say>",
        "<Redirect>HTTPS://example.com/x</Redirect>",
    ],
)
def test_what_is_absolute_or_no_url_passes(verbs: str) -> None:
    check_inline(f"<Response>{verbs}</Response>")


@pytest.mark.parametrize("check_it", [check_inline, check_events])
@pytest.mark.parametrize("noun", ["Number", "Sip", "Client", "Application", "WhatsApp", "Conference"])
@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        ("initiated,ringing", "initiated,ringing"),
        ("hold, busy", "hold,"),
        ("['initiated']", "['initiated']"),
        ("in-progress", "in-progress"),
        ("no-answer completed", "no-answer"),
        ("Answered", "Answered"),
        ("", "(nothing)"),
    ],
)
def test_events_that_are_none_are_named(check_it: Callable[[str], None], noun: str, events: str, wrong: str) -> None:
    document = f'<Response><Dial><{noun} statusCallbackEvent="{events}">x</{noun}></Dial></Response>'
    with pytest.raises(UsageError) as caught:
        check_it(document)
    assert f"no such event: {wrong}" in caught.value.message
    assert "separated by spaces" in (caught.value.hint or "")


def test_the_events_of_each_noun_pass() -> None:
    check_events(
        '<Response><Dial><Number statusCallbackEvent="initiated ringing  answered completed">+12025550101</Number>'
        '</Dial><Dial><Conference statusCallbackEvent="start end join">r</Conference></Dial></Response>'
    )


@pytest.mark.parametrize(
    ("verbs", "hangs_up"),
    [
        ("<Dial><Client>ann</Client></Dial>", True),
        ("<Say>wait</Say><Play>https://example.com/a.mp3</Play><Pause/><Dial>+12025550100</Dial><!-- end -->", True),
        ('<Dial action="https://example.com/next"><Client>ann</Client></Dial>', False),
        ("<Dial><Client>ann</Client></Dial><Say>bye</Say>", False),
        ("<Dial><Client>ann</Client></Dial><Dial><Client>bob</Client></Dial>", False),
        ("<Redirect>https://example.com/next</Redirect><Dial>+12025550100</Dial>", False),
        ("<Say>alone</Say>", False),
        ("", False),
    ],
)
def test_a_document_says_whether_a_call_hangs_up_once_its_dial_is_over(verbs: str, hangs_up: bool) -> None:
    assert hangs_up_after_dial(f"<Response>{verbs}</Response>") is hangs_up


@pytest.mark.parametrize("text", ["", "<Response>", "<Dial/>"])
def test_what_is_no_document_says_nothing_of_the_end_of_a_dial(text: str) -> None:
    assert not hangs_up_after_dial(text)

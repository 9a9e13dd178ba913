from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from events import START, samples
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from callctl.calls.event_record import signed_form
from callctl.watch.listener.signature import RequestedUrl, SignatureCheck, SignedRequest, SigningKey, signature_of

# Where the libraries differ, the choice made for callctl (the reasons stand in the module's docstring).
OWN_CHOICES = {
    "apostrophe in query": True,
    "JSON body but no bodySHA256": False,
    "non-ASCII URL unescaped": True,
    "C#: host mixed case": True,
    "C#: host mixed case with port": True,
    "C#: host mixed case http": True,
    "C#: credentials http mixed-case host": True,
    "C#: upper-case scheme": True,
    "C#: mixed-case credentials": True,
    "C#: mixed-case host with the lower-case host signature is rejected": False,
    "C#: mixed-case host with port with the lower-case host signature is rejected": False,
    "node pair: signed https://example.com/path?test=param'WithQuote seen "
    "https://example.com/path?test=param%27WithQuote": True,
    "node pair: signed https://example.com/path?test=param%27WithQuote seen "
    "https://example.com/path?test=param'WithQuote": True,
    "shared key HMAC_SHA256 form": True,
    "shared key HMAC_SHA256 empty params": True,
    "shared key HMAC_SHA256 http port": True,
}


def admits(vector: dict[str, Any]) -> bool:
    url = vector["url"]
    rest = url.partition("://")[2]
    mark, query = rest.partition("?")[1:]
    body = vector["body"]
    is_form = body is not None and vector.get("content_type") == "application/x-www-form-urlencoded"
    request = SignedRequest(
        "/" + rest.partition("/")[2].partition("?")[0] + mark + query,
        pairs=parse_qsl(body, keep_blank_values=True) if is_form else _pairs(vector["params"] or {}),
        signature=vector["signature"],
        settings=vector.get("headers", {}).get("X-Twilio-Webhooks-Signature-Settings"),
        json_body=None if body is None or is_form else body.encode(),
    )
    return SignatureCheck([url], keys=[vector["token"]]).accepts(request)


def _pairs(params: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, one or "") for name, value in params.items() for one in (value if isinstance(value, list) else [value])
    ]


def test_what_the_libraries_agree_on_is_held() -> None:
    agreed = [vector for vector in samples("signature_vectors.json") if vector.get("all_agree")]
    assert len(agreed) == 73
    wrong = [vector["name"] for vector in agreed if admits(vector) is not vector["valid"]]
    assert wrong == []


def test_where_they_differ_the_choice_is_ours() -> None:
    others = [vector for vector in samples("signature_vectors.json") if not vector.get("all_agree")]
    assert {vector["name"]: admits(vector) for vector in others} == OWN_CHOICES


# What UTF-8 can hold; names that begin alike, and come twice.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["From", "FromCity", "To", "to", "", "É", "%", "a\U0001f600"]) | TEXTS
PAIRS = st.lists(st.tuples(NAMES, st.sampled_from(["", "1", "+1", "ü"]) | TEXTS), max_size=12)


@hypothesis_given(TEXTS, PAIRS, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_signature_is_that_of_twilios_library(end: str, pairs: list[tuple[str, str]], key: str) -> None:
    url, library, form = f"https://example.com/{end}".partition("#")[0], RequestValidator(key), MultiDict(pairs)
    assert signature_of(url, pairs, key=key) == library.compute_signature(url, form)
    for algorithm in ("HMAC_SHA1", "HMAC_SHA256"):
        computed = library.compute_signature(url, form, algorithm)
        assert SigningKey(key).sign((url + signed_form(pairs)).encode(), algorithm) == computed.encode()


FORM = (("CallSid", "CA1"), ("Blank", ""))


def signed(url: str, given: str) -> bool:
    """Return whether a check for one URL accepts what was signed over another."""
    target = "/" + url.partition("://")[2].partition("/")[2]
    signature = RequestValidator("t").compute_signature(url, dict(FORM))
    return SignatureCheck([given], keys=["t"]).accepts(SignedRequest(target, FORM, signature))


@pytest.mark.parametrize(
    "given",
    [
        "https://example.com/status",
        "https://example.com/status#rc=2&rp=all",
        "https://user:word@example.com/status",
        "https://user:word@example.com:443/status#rc=2",
        "https://example.com:8443/status",
        "https://example.com/status?a=b#rc=2",
    ],
)
def test_the_url_is_given_to_twilio_in_many_ways_and_signed_in_one(given: str) -> None:
    assert signed("https://example.com/status", given)


def test_an_ipv6_address_keeps_its_colons() -> None:
    assert signed("http://[::1]:8765/status", "http://[::1]:8765/status")
    assert signed("http://[::1]/status", "http://[::1]:8765/status")
    assert signed("http://[::1]:80/status", "http://[::1]/status")
    assert not signed("http://[::1]:81/status", "http://[::1]/status")


@pytest.mark.parametrize("settings", ["algorithm=none", "algorithm=,", "algorithm=HMAC_SHA256", "key=\xff", ""])
def test_naming_an_algorithm_gains_nothing(settings: str) -> None:
    check = SignatureCheck(["https://example.com/status"], keys=["t"])
    guesses = ["", "x", RequestValidator("").compute_signature("https://example.com/status", dict(FORM))]
    assert not any(check.accepts(SignedRequest("/status", FORM, guess, settings)) for guess in guesses)


def test_a_cause_is_looked_into_once_a_second_at_most() -> None:
    check = SignatureCheck(["https://example.com/status"], keys=["t"])
    request = SignedRequest("/status", signature="x")
    moments = [0.0, 0.1, 0.9, 1.0, 1.5, 2.5]
    texts = [
        check.refusals.explain_once(request, requested=RequestedUrl(), now=START + timedelta(seconds=at))
        for at in moments
    ]
    assert [text is not None for text in texts] == [True, False, False, False, False, False]
    assert check.refusals.causes == {"unknown cause": 3}


def test_a_clock_set_back_does_not_silence_the_explanations() -> None:
    check = SignatureCheck(["https://example.com/status"], keys=["t"])
    check.refusals.explain_once(SignedRequest("/status", signature="x"), requested=RequestedUrl(), now=START)
    text = check.refusals.explain_once(
        SignedRequest("/status"), requested=RequestedUrl(), now=START - timedelta(hours=1)
    )
    assert text is not None
    assert "no signature" in text


class _Form(list[tuple[str, str]]):
    """A form that counts how often it is gone through."""

    looks = 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        self.looks += 1
        return super().__iter__()


def test_a_forged_form_of_thousands_of_fields_is_put_in_order_once_and_not_explained_at_length() -> None:
    check = SignatureCheck(
        [f"https://example.com:8443/{path}" for path in "abc"], keys=["12345", "67890"], other_keys=["0"]
    )
    form = _Form((f"{number:032}", "x") for number in range(1999))
    forged = SignedRequest("/a?who=%27me%27", form, signature="forged")
    assert not check.accepts(forged)
    assert form.looks == 1
    assert check.refusals.explain(forged, requested=RequestedUrl((("example.org", "Host"),))).startswith(
        "unknown cause: "
    )
    assert form.looks <= 3
    signed = SignedRequest("/a", form, signature=signature_of("http://example.com:8443/a", form, key="12345"))
    assert check.refusals.explain(signed, requested=RequestedUrl()).startswith("unknown cause: ")
    few = SignedRequest("/a", form[:9], signature=signature_of("http://example.com:8443/a", form[:9], key="12345"))
    assert check.refusals.explain(few, requested=RequestedUrl()).startswith("wrong scheme: ")


@pytest.mark.parametrize(
    ("own", "signed", "host", "cause"),
    [
        ("https://example.com", "http://example.com:443", "example.com:443", "wrong scheme"),
        ("https://example.com:443", "http://example.com:80", "example.com", "wrong scheme"),
        ("http://example.com", "https://example.com:80", "example.com:80", "wrong scheme"),
        ("https://Example.com", "http://Example.com:443", "Example.com:443", "wrong scheme"),
        ("https://example.com", "http://Example.com:443", "Example.com:443", "capitals in the host and scheme"),
        ("https://example.com:443", "https://Example.com", "Example.com", "capitals in the host"),
        ("https://example.com", "http://example.com:8443", "example.com:8443", "wrong port and scheme"),
    ],
)
def test_the_usual_port_alone_is_no_other_host(own: str, signed: str, host: str, cause: str) -> None:
    check = SignatureCheck([f"{own}/status"], keys=["12345"])
    request = SignedRequest("/status", (), signature=signature_of(f"{signed}/status", (), key="12345"))
    said = check.refusals.explain(request, requested=RequestedUrl(((host, "Host"),)))
    assert said.partition(":")[0] == cause


URL = "https://example.com/status"


def admitted(target: str, *, over: str, pairs: tuple[tuple[str, str], ...] = (), body: bytes | None = None) -> bool:
    """Return whether a request is admitted that was signed over a URL and a form."""
    signature = signature_of(over, pairs, key="t")
    return SignatureCheck([URL], keys=["t"]).accepts(SignedRequest(target, pairs, signature, json_body=body))


def test_a_json_body_is_covered_by_its_digest_alone() -> None:
    body = b'{"CallSid": "CA1"}'
    digest = hashlib.sha256(body).hexdigest()
    named = f"/status?bodySHA256={digest}"
    assert admitted(named, over=f"{URL}?bodySHA256={digest}", body=body)
    assert not admitted(named, over=f"{URL}?bodySHA256={digest}", body=body + b" ")
    assert not admitted("/status", over=URL, body=body)
    assert not admitted("/status?bodySHA256=", over=f"{URL}?bodySHA256=", body=body)
    assert not admitted("/status?bodySHA256=x", over=f"{URL}?bodySHA256=x", body=body)
    assert not admitted(named, over=URL, body=body)  # the digest itself is not signed


def test_pairs_are_signed_as_a_set_in_the_order_of_their_names_and_values() -> None:
    signature = RequestValidator("t").compute_signature(f"{URL}A1A2B0", None)
    check = SignatureCheck([URL], keys=["t"])
    for pairs in (
        [("B", "0"), ("A", "2"), ("A", "1")],
        [("A", "1"), ("A", "2"), ("B", "0"), ("A", "1")],
    ):
        assert check.accepts(SignedRequest("/status", pairs, signature))
    assert not check.accepts(SignedRequest("/status", [("A", "1"), ("B", "0")], signature))


@pytest.mark.parametrize(
    ("sent", "signed"),
    [
        ("who='me'", "who='me'"),
        ("who=%27me%27", "who='me'"),
        ("who='me'", "who=%27me%27"),
        ("who=a%40b", "who=a@b"),
        ("at=10%3A00", "at=10:00"),
        ("at=10%3a00", "at=10:00"),
    ],
)
def test_twilio_signs_some_characters_of_a_query_otherwise_than_it_sends_them(sent: str, signed: str) -> None:
    assert admitted(f"/status?{sent}", over=f"{URL}?{signed}")
    assert not admitted(f"/status?{sent}x", over=f"{URL}?{signed}")

"""A bad evening on the simulator, explained by one command to somebody who was not there."""

from __future__ import annotations

import json
import re

import pytest
from readme import watching
from stage import ANSWERS, BUSY, HANGS_UP, NEVER, NOT_FOUND, Stage, standing_still, wait_until

PAUSE = "--twiml \"<Response><Pause length='300'/></Response>\""
# Ten kinds of call, six of each.
KINDS = (
    f"{ANSWERS} {PAUSE}",
    f"{ANSWERS} --say Hello",
    f"{HANGS_UP} {PAUSE}",
    f"{BUSY} --say Hello",
    f"{NEVER} --say Hello",
    f"{NOT_FOUND} --say Hello",
    f"{ANSWERS} --dial sip:agent@example.com",
    f"{ANSWERS} --dial client:no-answer --dial sip:agent@example.com",
    f"{ANSWERS} --dial {NOT_FOUND}",
    f"{ANSWERS} --dial {BUSY}",
)


def sids(stage: Stage) -> list[str]:
    return [line.split("\t")[0] for line in stage.type("callctl list --all -q | cat").splitlines()]


def exported(stage: Stage) -> list[dict[str, object]]:
    return list(json.loads(stage.type("callctl export --since 1d --format json --output -")))


def test_sixty_calls_failures_and_a_storm_of_redirects_become_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine the export takes long enough to say how far it is, among what is read here.
    monkeypatch.setattr("callctl.cli.io.progress.AFTER", 3600.0)
    with standing_still() as stage, watching(stage):
        for kind in KINDS * 6:
            stage.type(f"callctl place {kind}")
        stage.simulator.advance(10)
        storm = sids(stage)[-1]
        for _ in range(7):
            stage.type(f"callctl redirect {storm} --url survey")
        stage.simulator.advance(120)
        stage.type("callctl hangup --all --yes --max 100")
        stage.simulator.advance_until(idle=True)
        wait_until(
            lambda: len(stories := exported(stage)) == 60 and all(story["outcome"] != "live" for story in stories)
        )
        (path,) = stage.type("callctl export --since 1d").splitlines()
        page = (stage.home / path).read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<style.*?</style>|<svg.*?</svg>", "", page)))
    assert path == "callctl-2026-11-24.html"
    assert "60 calls with 90 legs" in text
    assert "12 legs failed: SIP 404 (not found) (12)" in text
    assert re.search(r"1 call was redirected, 7 times in all, by \S+@\S+\.", text)
    assert "was redirected 7 times" in text
    assert text.count(f"busy at {BUSY}") >= 12
    assert page.count("<article") == 60
    assert page.count('<svg class="diagram"') == 60
    assert re.search(r"Where most went wrong .{,80}\+15005550006 → \+12025550100", text)

"""What a story is made of, with the numbers and names of callers masked: ``--mask-numbers``."""

from __future__ import annotations

from callctl.calls.masked_numbers import masked_action, masked_call, masked_event
from callctl.reports.stories.rest_facts import RestFacts
from callctl.reports.stories.stored_family import StoredFamily
from callctl.views.call_page import masked_note


def masked_family(family: StoredFamily) -> StoredFamily:
    """Return events and actions of a family masked."""
    return StoredFamily(tuple(map(masked_event, family.events)), tuple(map(masked_action, family.actions)))


def masked_facts(facts: RestFacts) -> RestFacts:
    """Return what REST says of a family masked."""
    return RestFacts(
        {sid: masked_call(call) for sid, call in facts.calls.items()},
        {sid: [masked_note(note) for note in notes] for sid, notes in facts.notifications.items()},
    )

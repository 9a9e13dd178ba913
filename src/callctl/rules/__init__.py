"""Policies: they look at the board and the time, and propose. Nothing here waits, asks or acts.

A flag of ``watch`` and an entry of a rules file become the same thing, a :class:`Rule`; one engine decides for all.
"""

from __future__ import annotations

from callctl.rules.action import Action, Declined, Proposal
from callctl.rules.engine import Engine, Scope
from callctl.rules.rate_limit import Brake, Turn
from callctl.rules.rule import Cancel, Deed, Hangup, Limit, On, Redirect, Rule, When

__all__ = [
    "Action",
    "Brake",
    "Cancel",
    "Declined",
    "Deed",
    "Engine",
    "Hangup",
    "Limit",
    "On",
    "Proposal",
    "Redirect",
    "Rule",
    "Scope",
    "Turn",
    "When",
]

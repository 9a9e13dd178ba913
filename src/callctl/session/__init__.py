"""One watch, from start-up to shut-down: one that listens, or one that follows another's store."""

from __future__ import annotations

from callctl.session.following import Follower
from callctl.session.plan import Plan, PortHeldError, Ready
from callctl.session.watching import Session
from callctl.views.view import View

__all__ = ["Follower", "Plan", "PortHeldError", "Ready", "Session", "View"]

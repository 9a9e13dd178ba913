"""The listener's public address: a tunnel command that callctl runs, or an ngrok agent that runs already."""

from __future__ import annotations

from callctl.tunnel.address import AddressFinder
from callctl.tunnel.agent import NGROK_AGENT, find_agent
from callctl.tunnel.command import Tunnel

__all__ = ["NGROK_AGENT", "AddressFinder", "Tunnel", "find_agent"]

"""The listener's public address: a tunnel command that callctl runs, or an ngrok agent that runs already."""

from __future__ import annotations

from callctl.watch.tunnel.address import AddressFinder
from callctl.watch.tunnel.command import Tunnel
from callctl.watch.tunnel.ngrok import NGROK_AGENT, find_agent

__all__ = ["NGROK_AGENT", "AddressFinder", "Tunnel", "find_agent"]

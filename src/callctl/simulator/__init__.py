"""Twilio's live calls on loopback: the Calls API, TwiML, `<Dial>` legs and signed callbacks, without account or charge.

It imports `support` alone of callctl and is spoken to over HTTP, so that no mistake can be right on both sides.
"""

from callctl.simulator.callbacks import Callback
from callctl.simulator.far_end import FarEnd, FarEndError
from callctl.simulator.far_end import load as load_far_ends
from callctl.simulator.faults import Faults
from callctl.simulator.http_requests import Noted, Received, Reply, Sent
from callctl.simulator.records import Call, CallNote, Change
from callctl.simulator.rest.control.seed import SeedError
from callctl.simulator.rest.control.seed import load_as_json as load_seed
from callctl.simulator.server import MissingLibraryError, PortInUseError, SeedRefusedError, SimulatorError
from callctl.simulator.settings import DIALECTS, READINGS, Settings
from callctl.simulator.simulator import Simulator

__all__ = [
    "DIALECTS",
    "READINGS",
    "Call",
    "CallNote",
    "Callback",
    "Change",
    "FarEnd",
    "FarEndError",
    "Faults",
    "MissingLibraryError",
    "Noted",
    "PortInUseError",
    "Received",
    "Reply",
    "SeedError",
    "SeedRefusedError",
    "Sent",
    "Settings",
    "Simulator",
    "SimulatorError",
    "load_far_ends",
    "load_seed",
]

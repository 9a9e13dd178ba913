"""Run schemathesis on a simulator, from Twilio's own descriptions: `python tests/simulator/fuzz.py`.

The fuzzer invents addresses, so run it in a network namespace of its own. It is no test module of pytest's: it needs
the extra `fuzz`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callctl.simulator import Simulator
from callctl.simulator.faults import Chance
from callctl.simulator.rest.control.service import DESCRIPTION

DATA = Path(__file__).parents[1] / "data"  # it is run by itself, without the tests' path
ACCOUNT = "AC" + "a" * 32  # the only account that the descriptions' paths may hold
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SEED = 20260105
ADDRESSES = ["http://127.0.0.1:9/a", "https://127.0.0.1:9/a#rc=5", "http://[", "a", ""]
NUMBERS = ["+12025550142", "+12025550143", "client:ann", "sip:ann@127.0.0.1", "x", ""]
REFUSAL = {
    "type": "object",
    "required": ["code", "message", "more_info", "status"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "status": {"type": "integer"}},
}


def main() -> int:
    calls = json.loads((DATA / "calls_openapi_live.json").read_text())
    voice = fit(json.loads((DATA / "voice_openapi.json").read_text()))
    control = aim(json.loads(DESCRIPTION.read_text()))
    return max(
        fuzz("calls", calls, examples=40),
        fuzz("what belongs to calls", voice, examples=12),
        fuzz("the control surface", control, examples=30, manual_clock=True, seed=SEED),
    )


def fuzz(name: str, description: Any, *, examples: int, **options: Any) -> int:
    """Try each operation of a description so many times; return 0 where every answer was as described."""
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    # Fast, so that the calls it places also ring, answer and end under it; a callback to a closed port is soon refused.
    with tempfile.TemporaryDirectory() as folder, Simulator(account_sid=ACCOUNT, speed=20, **options) as sim:
        file = Path(folder) / "openapi.json"
        file.write_text(json.dumps(description))
        arguments = ["run", str(file), "--url", sim.url, "--auth", f"{ACCOUNT}:{sim.auth_token}"]
        arguments += ["--checks", CHECKS, "--max-examples", str(examples), "--seed", str(SEED), "--no-color"]
        # The fuzzer's own report fills pages: it is read after a failure alone, and then whole.
        output = subprocess.PIPE
        done = subprocess.run([command, *arguments], check=False, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.stderr.buffer.write(done.stdout)
        verdict = "failed" if done.returncode else "every answer as described"
        sys.stderr.write(f"fuzz: {name}: {len(sim.requests) or 'some'} requests, {verdict}\n")
    return done.returncode


def fit(description: Any) -> Any:
    """Make Twilio's description fit for checking: what is sent stays on this machine, and refusals are described."""
    for operation in operations_of(description):
        for parameter in operation["parameters"]:
            if parameter["name"] == "AccountSid":
                parameter["schema"] = {"type": "string", "enum": [ACCOUNT]}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            properties = content["schema"].get("properties", {})
            properties |= {name: choices for name in properties if (choices := choices_for(name)) is not None}
        for status in ("400", "404", "409"):
            answer = {"description": "", "content": {"application/json": {"schema": REFUSAL}}}
            operation["responses"].setdefault(status, answer)
    for resource in description["components"]["schemas"].values():
        if resource.get("properties"):
            resource |= {"required": list(resource["properties"]), "additionalProperties": False}
    leave_out_formats(description)
    return description


def aim(description: Any) -> Any:
    """Have the control surface asked for calls that are there: the first two, whose SIDs are known from the seed."""
    sids = ["CA" + Chance(SEED).hexadecimal("CA", number) for number in "12"]
    for operation in operations_of(description):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "sid":
                parameter["schema"] = {"type": "string", "enum": [*sids, "CA0"]}
    incoming = description["components"]["schemas"]["IncomingCall"]["properties"]
    for name in ("to", "from", "application_sid"):
        incoming[name] = {"type": "string", "enum": [*NUMBERS, ""] if name != "application_sid" else [""]}
    for name in ("url", "fallback_url", "status_callback"):
        incoming[name] = {"type": "string", "enum": ADDRESSES}
    return description


def operations_of(description: Any) -> Iterator[Any]:
    for operations in description["paths"].values():
        yield from operations.values()


def choices_for(name: str) -> Any:
    """Return what a field of a request may be, where the description leaves open who would be called or asked."""
    if name.endswith(("Url", "Callback")):
        return {"type": "string", "enum": ADDRESSES}
    if name in ("To", "From", "PhoneNumber"):
        return {"type": "string", "enum": NUMBERS}
    return {"type": "string", "enum": [ACCOUNT]} if name == "AccountSid" else None


def leave_out_formats(described: Any) -> None:
    """Leave out formats: those of JSON Schema mean other texts than Twilio's of the same name, as of addresses."""
    if isinstance(described, dict):
        if isinstance(described.get("format"), str):
            del described["format"]
        for value in described.values():
            leave_out_formats(value)
    elif isinstance(described, list):
        for value in described:
            leave_out_formats(value)


if __name__ == "__main__":
    sys.exit(main())

"""Run schemathesis on a simulator, from Twilio's own description: `python tests/simulator/fuzz.py`.

The fuzzer invents addresses, so run it in a network namespace of its own. It is no test module of pytest's: it needs
the extra `fuzz`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from callctl.simulator import Simulator

OPENAPI = Path(__file__).parents[1] / "data" / "calls_openapi_live.json"  # it is run by itself, without the tests' path
ACCOUNT = "AC" + "a" * 32  # the only account that the description's paths may hold
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 40
SEED = 20260105


def main() -> int:
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    # Fast, so that the calls it places also ring, answer and end under it; a callback to a closed port is soon refused.
    with tempfile.TemporaryDirectory() as folder, Simulator(account_sid=ACCOUNT, speed=20) as sim:
        arguments = ["run", str(OPENAPI), "--url", sim.url, "--auth", f"{ACCOUNT}:{sim.auth_token}"]
        arguments += ["--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--no-color"]
        # The fuzzer's own report fills pages: it is read after a failure alone, and then whole.
        output = subprocess.PIPE
        done = subprocess.run([command, *arguments], check=False, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.stderr.buffer.write(done.stdout)
        verdict = "failed" if done.returncode else "every answer as described"
        sys.stderr.write(f"fuzz: {len(sim.requests)} requests, {verdict}\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

"""``callctl listen`` as a process of its own, and what its monitoring port says."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from processes import Piped

from callctl.simulator import Simulator
from callctl.watch.listener.signature import signature_of


class Service(Piped):
    """A running ``callctl listen`` that writes JSON Lines."""

    def __init__(self, *args: str, home: Path, env: Mapping[str, str], port: int = 0) -> None:
        super().__init__("listen", "--json", "--port", str(port), "--health-port", "0", *args, home=home, env=env)

    @cached_property
    def ready(self) -> dict[str, Any]:
        """What it says when it listens."""
        said = self.until_said('"type": "ready"')
        while not said.endswith("\n"):
            said = self.until_said("\n")
        return next(record for record in map(json.loads, said.splitlines()) if record["type"] == "ready")

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a type once there is one; every line of the log must be one."""
        said = self.until_said(f'"type": "{kind}"')
        return [record for record in map(json.loads, said.splitlines()) if record["type"] == kind]

    @property
    def port(self) -> int:
        """The port of the callbacks."""
        return int(self.ready["port"])

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer of the monitoring port."""
        return get(f"{self.ready['monitoring_url']}{path}")

    def metrics(self) -> dict[str, float]:
        """Return the metrics by their names with labels."""
        code, text = self.ask("/metrics")
        assert code == 200
        return {name: float(value) for name, value in re.findall(r"^(callctl\S*) (\S+)$", text, re.MULTILINE)}

    def send(
        self, simulator: Simulator, fields: Mapping[str, str], *, signed: bool = True, path: str = "/status"
    ) -> int:
        """Send a callback as Twilio would, or one without a signature, and return the status of the answer."""
        url = f"http://127.0.0.1:{self.port}{path}"
        signature = signature_of(url, list(fields.items()), key=simulator.auth_token)
        headers = {"X-Twilio-Signature": signature} if signed else {}
        return get(url, data=urlencode(fields).encode(), headers=headers)[0]


def get(url: str, **more: Any) -> tuple[int, str]:
    """Return status and text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=60) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()

"""A real tunnel: OpenSSH forwards a port of its own to the watch, over loopback."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Piped
from running import Callctl, env_for
from watches import running_watch, settings_in
from web_site import free_port

from callctl.simulator import Simulator
from callctl.watch.options import WatchOptions

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
LIMIT = 60.0

pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="a real tunnel needs OpenSSH's ssh and sshd"
)


def key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def tunnel(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Return a tunnel command for ``--tunnel`` and the sshd that it goes through."""
    host, user, port = key(tmp_path / "host"), key(tmp_path / "user"), free_port()
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {user}.pub\n"
        f"PidFile {tmp_path}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, run by root, leaves its privileges
    assert SSHD is not None
    with (tmp_path / "sshd.log").open("w") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=log)
    try:
        wait_for(port, server, tmp_path / "sshd.log")
        yield wrapper(tmp_path, user=user, port=port), server
    finally:
        server.kill()
        server.wait()


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)


def cut(server: subprocess.Popen[bytes]) -> None:
    """End the connections of a server, each of which is a process."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)], capture_output=True, text=True, check=True)
    for pid in listed.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def wrapper(folder: Path, *, user: Path, port: int) -> str:
    """Return a script that opens the tunnel and says at which address, as tunnel services do."""
    public = free_port()
    script = folder / "tunnel.sh"
    script.write_text(
        "#!/bin/sh\n"
        f"echo Forwarding http://127.0.0.1:{public}\n"
        f"exec ssh -N -F none -i {shlex.quote(str(user))} -p {port} -o StrictHostKeyChecking=no "
        f"-o UserKnownHostsFile={shlex.quote(str(folder / 'known'))} -o ExitOnForwardFailure=yes "
        f'-o ServerAliveInterval=1 -R 127.0.0.1:{public}:127.0.0.1:"$1" 127.0.0.1\n'
    )
    script.chmod(0o755)
    return f"{shlex.quote(str(script))} {{port}}"


def test_calls_report_through_the_tunnel(
    callctl: Callctl, home: Path, simulator: Simulator, tunnel: tuple[str, subprocess.Popen[bytes]]
) -> None:
    env, (command, _) = env_for(simulator), tunnel
    with Piped("watch", "--port", "0", "--no-poll", "--json", "--tunnel", command, home=home, env=env) as watch:
        ready = watch.record()
        assert ready["callback_url"] != f"http://127.0.0.1:{ready['port']}/status"
        watch.until_health(str(ready["health_url"]), lambda health: health.get("reachable") is True)
        sid = callctl("place", "+12025550100", "--say", "Hello", env=env).out.strip()
        event = watch.record()
        assert (event["call_sid"], event["verified"], event["event"]) == (sid, True, "initiated")
        assert watch.interrupt() == 130


async def test_the_death_of_the_tunnel_is_reported(tmp_path: Path, tunnel: tuple[str, subprocess.Popen[bytes]]) -> None:
    command, server = tunnel
    options = WatchOptions("127.0.0.1", 0, tunnel=command)
    async with running_watch(settings_in(tmp_path), options) as watch:
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        cut(server)
        await watch.view.until_noted("has ended with code 255")
        assert str(watch.session.header().unreachable).startswith("the tunnel has ended")

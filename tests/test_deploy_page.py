"""docs/deploy.md is played: its unit is one, its nginx carries callbacks past a restart, its alerts name metrics."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from callback_load import Load, call_and_number, kept_in
from claims import claimed
from events import event, moment, sid
from paths import DATA, ROOT
from postgresql_server import PostgresServer
from running import env_for
from services import Service
from web_site import free_port

from callctl.cli.commands import LazyCommand, every_command
from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import OpenClaim, Undelivered
from callctl.watch.counts import REFUSALS, Counts
from callctl.watch.forwarding.forwarder import COUNTED
from callctl.watch.metrics import Figures, exposition

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
PSQL = shutil.which("psql")
SYSTEMD = shutil.which("systemd-analyze")
PROMTOOL = shutil.which("promtool")
# What happens to a listener, and which alerts that is to raise.
ALERTS_PLAYED = DATA / "callctl.rules.test.yml"


def test_the_unit_starts_a_command_that_there_is() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", FILES["callctl-listen@.service"], re.MULTILINE)
    program, name, *args = shlex.split(line.replace("%i", "8765"))
    assert program.endswith("/callctl")
    context = LazyCommand(dict(every_command())[name]).make_context(name, args)
    assert (context.params["port"], context.params["health_port"]) == (8765, 18765)
    assert context.params["poll"]  # else nothing polls REST: watches follow
    context.close()


def test_the_file_of_settings_holds_settings_that_there_are(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```sh\n(TWILIO_ACCOUNT_SID=.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "callctl.env"
    file.write_text(text.replace("…", "0" * 32).replace("# CALLCTL_STORE", "CALLCTL_STORE"))
    settings = load({"HOME": str(tmp_path)}, cwd=tmp_path, env_file=file)
    (names,) = settings.files.values()
    assert set(names) == set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE))
    assert (settings.public_url, settings.from_) == ("https://calls.example.com", "+15005550006")
    assert settings.store_url is not None


@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "callctl-listen@.service"
    unit.write_text(FILES[unit.name].replace("/opt/callctl/bin/callctl", "/bin/true"))
    instance = tmp_path / "callctl-listen@8765.service"
    instance.symlink_to(unit)
    verified = subprocess.run(
        [str(SYSTEMD), "verify", str(instance)], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in (verified.stdout + verified.stderr).splitlines() if "callctl-listen" in line]
    assert said == []


def test_alerts_and_the_table_name_metrics_that_there_are() -> None:
    counts = Counts()
    counts.events["callback", "ringing"] = 1
    found = exposition(
        Figures(
            counts,
            duplicates=0,
            ignored=0,
            live_legs=0,
            open_claims=0,
            is_reachable=True,
            last_commit_at=datetime(2026, 1, 1, tzinfo=UTC),
            forwarded=dict.fromkeys(COUNTED, 0),
        ),
        accept="",
    )
    assert found is not None
    text = found.body.decode()
    known = set(re.findall(r"^# TYPE (callctl\S+)", text, re.MULTILINE))
    named = set(re.findall(r"\b(callctl_[a-z_]+?)(?:_bucket)?\b(?=[{\[\s,`)])", ALERTS_PLAYED.read_text() + PAGE))
    assert named <= known
    assert known <= named
    # An increase is seen from the first one on, since all of them begin with 0.
    for cause in re.findall(r'cause="(\w+)"', FILES["callctl.rules.yml"]):
        assert f'callctl_refusals_total{{cause="{cause}"}} 0.0' in text
    for outcome in re.findall(r'outcome="(\w+)"', FILES["callctl.rules.yml"]):
        assert f'callctl_forwarded_total{{outcome="{outcome}"}} 0.0' in text
    for code in (204, 403, 500, 503):
        assert f'callctl_answers_total{{code="{code}"}} 0.0' in text
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `callctl_refusals_total{cause}`")]
    assert set(re.findall(r"`(\w+)`", row)) == set(REFUSALS)


def test_each_alert_is_played_as_it_fires_and_as_it_is_quiet() -> None:
    text = ALERTS_PLAYED.read_text()
    alerts = set(re.findall(r"- alert: (\w+)", FILES["callctl.rules.yml"]))
    assert set(re.findall(r"- alertname: (\w+)\n.*\n +exp_alerts:", text)) == alerts
    assert set(re.findall(r"- \{alertname: (\w+), eval_time: \w+\}", text)) == alerts


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_raises_the_alerts_when_it_should_and_not_else(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "callctl.rules.yml"):
        (tmp_path / name).write_text(FILES[name])
    shutil.copy(ALERTS_PLAYED, tmp_path)
    for command in (("check", "config", "prometheus.yml"), ("test", "rules", ALERTS_PLAYED.name)):
        played = subprocess.run(
            [str(PROMTOOL), *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert played.returncode == 0, played.stdout + played.stderr


def test_prometheus_reads_the_job_and_the_ports_that_alerts_and_unit_have() -> None:
    text = FILES["prometheus.yml"]
    (job,) = re.findall(r"job_name: (\w+)", text)
    assert set(re.findall(r'job="(\w+)"', FILES["callctl.rules.yml"])) == {job}
    assert "callctl.rules.yml" in text
    ports = re.findall(r"127\.0\.0\.1:1(\d+)", text)
    assert ports == re.findall(r"server 127\.0\.0\.1:(\d+)", FILES["callctl.conf"])


# nginx


@contextmanager
def nginx(folder: Path, port: int, listeners: tuple[int, int]) -> Iterator[None]:
    """Run nginx with the page's configuration, on ports that are free and without TLS."""
    server = FILES["callctl.conf"].replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    server = re.sub(r"^ *ssl_\w+ .*\n", "", server, flags=re.MULTILINE)
    for documented, real in zip((8765, 8767), listeners, strict=True):
        assert f"127.0.0.1:{documented} " in server
        server = server.replace(f"127.0.0.1:{documented} ", f"127.0.0.1:{real} ")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{server}\n}}\n"
    )
    process = subprocess.Popen([str(NGINX), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_behind_nginx_a_listener_is_restarted_and_the_sender_sees_no_error(
    home: Path, simulator: Simulator, kind: str, killed: bool, request: pytest.FixtureRequest
) -> None:
    env, numbers = env_for(simulator), itertools.count()
    homes = (home, home)
    if kind == "PostgreSQL":  # on two machines, as far as files are concerned
        env["CALLCTL_STORE"] = request.getfixturevalue("shared_store")
        homes = (home, home / "another")
        homes[1].mkdir()
    port, ports = free_port(), (free_port(), free_port())
    public = ("--public-url", f"http://127.0.0.1:{port}/status")

    with nginx(home, port, ports), ExitStack() as stack:

        def listener(number: int) -> Service:
            return stack.enter_context(Service(*public, home=homes[number], env=env, port=ports[number]))

        running = [listener(0), listener(1)]
        assert [service.port for service in running] == list(ports)
        sending = Load(port, token=simulator.auth_token, numbers=numbers)
        for number in (0, 1):
            sending.until(len(sending.answered) + 100)
            if killed:
                running[number].kill()
            else:
                assert running[number].terminate() == 0
            running[number] = listener(number)
            assert running[number].port == ports[number]
        sending.until(len(sending.answered) + 100)
        sending.stop()
        # Each takes the self-test that the other one answered for its own.
        for service in running:
            assert service.metrics()["callctl_reachable"] == 1
            assert service.terminate() == 0
            assert '"trouble"' not in service.until_said("")
    kept = kept_in(load({"HOME": str(home), **env}, cwd=home))
    assert {*map(call_and_number, sending.answered)} == set(kept)
    assert set(kept.values()) == {1}
    assert sending.broken == []


# Several databases


@pytest.mark.skipif(PSQL is None, reason="psql is not installed")
def test_an_account_moves_to_another_database_with_all_that_is_known_of_it(
    postgresql: PostgresServer, tmp_path: Path
) -> None:
    urls = (postgresql.new_store(), postgresql.new_store())
    worlds = {f"AC{number:032}": f"{number:016x}" for number in (1, 2)}
    claim, fences = OpenClaim("after-dial", sid(1), sid(2), "redirect"), list[int]()
    for account_sid, world in worlds.items():
        with closing(PostgresStore.open(urls[0], world=world, by="ann@desk")) as store:
            store.describe_world(account_sid=account_sid, api_url="https://api.twilio.com")
            for number in range(20):
                store.append(event(number // 4, "ringing", number=number % 4, CallerName="a\tb\\c\nd"))
            store.remember_placed(sid(1), at=moment(0), events=("ringing",))
            fences.append(claimed(store, claim, now=moment(0), until=moment(90)).fence)
            [(_, first), *_] = store.after(0)
            why = ("http://127.0.0.1:5000/status", first.received_at, "HTTP 503", timedelta(0))
            store.keep_undelivered([Undelivered(first.call_sid, first.key, *why)], now=moment(0))
    script = tmp_path / "move-account.sh"
    script.write_text(FILES[script.name])
    moved, stays = worlds
    command = ["bash", str(script), moved, *urls]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stderr == ""
    with (
        closing(PostgresStore.open(urls[0], world=worlds[moved], by="ann@desk")) as old,
        closing(PostgresStore.open(urls[1], world=worlds[moved], by="ann@desk")) as new,
        closing(PostgresStore.open(urls[1], world=worlds[stays], by="ann@desk")) as other,
    ):
        assert new.after(0) == old.after(0)
        assert len(new.after(0)) == 20
        assert new.call(sid(1)) == old.call(sid(1))
        assert (new.last_placed(), new.claim_keys()) == (sid(1), {("after-dial", sid(1))})
        assert len(new.undelivered(now=moment(0))) == 1
        assert new.undelivered(now=moment(0)) == old.undelivered(now=moment(0))
        assert (other.after(0), other.last_placed(), other.claim_keys()) == ([], None, set())
        assert new.append(event(9, "ringing", number=0))
        assert new.after(0)[-1][0] == 21
        later = claimed(new, OpenClaim("limit", sid(3), sid(3), "limit"), now=moment(0), until=moment(90))
        assert later.fence > fences[0]
    again = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "duplicate key" in again.stderr

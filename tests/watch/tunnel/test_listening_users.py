"""Whose programs listen at a port."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator

import pytest

from callctl.watch.tunnel import listening_users as module
from callctl.watch.tunnel.listening_users import listening_users, users_in

# As proc(5) describes it: a listener on loopback, one on all addresses, and a connection.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0FC8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 57 1 0
   1: 00000000000000000000000000000000:0FC8 00000000000000000000000000000000:0000 0A 0:0 00:0 0  65534        0 58 1
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 59 1 0
   3: 0100007F:0FC8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000    33        0 60 1 0
   4: cut
"""


def test_those_who_listen_at_the_port_are_in_the_table() -> None:
    assert list(users_in(TABLE, 4040)) == [1000, 65534]
    assert list(users_in(TABLE, 8080)) == [0]
    assert list(users_in(TABLE, 40000)) == []


@pytest.fixture(params=[("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    host, family = request.param
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError as error:
            pytest.skip(f"{host}: {error}")
        listener.listen()
        yield listener.getsockname()[1]


async def test_ones_own_program(port: int) -> None:
    assert await listening_users(port) == {os.geteuid()}


@pytest.mark.skipif(shutil.which("lsof") is None, reason="lsof is not installed")
async def test_ones_own_program_where_there_is_no_table(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TABLES", ())
    assert await listening_users(port) == {os.geteuid()}


async def test_nothing_is_known_where_nobody_listens_or_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await listening_users(1) == frozenset()
    monkeypatch.setattr(module, "_TABLES", ())
    monkeypatch.setenv("PATH", "")
    assert await listening_users(1) == frozenset()

"""The proxy's certificate authority: what its files hold, and what is kept."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from callctl.simulator.proxy import authority
from callctl.simulator.proxy.authority import Authority, system_roots


def certificates(pem: bytes) -> list[bytes]:
    """Return the certificates of a file, each as it was issued."""
    context = ssl.create_default_context(cadata=pem.decode("ascii", "ignore"))
    return context.get_ca_certs(binary_form=True)


def test_the_files_hold_the_authority_alone_and_with_the_systems_roots() -> None:
    made = Authority()
    own, all_ = made.own_file.read_bytes(), made.roots_file.read_bytes()
    made.close()
    assert len(certificates(own)) == 1
    assert set(certificates(all_)) == {*certificates(own), *certificates(system_roots())}
    assert len(certificates(all_)) > 50
    assert not made.own_file.parent.exists()


def test_the_system_is_asked_first_and_certifi_where_it_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import certifi

    mine = tmp_path / "mine.pem"
    mine.write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))
    assert system_roots() == mine.read_bytes()
    monkeypatch.setattr(authority, "_ROOTS", (str(tmp_path / "none"), str(tmp_path), str(mine)))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    assert system_roots() == mine.read_bytes()
    mine.write_bytes(b"")
    assert system_roots() == Path(certifi.where()).read_bytes()


def test_its_own_key_is_never_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Authority()
    key = made._ca.private_key_pem.bytes()
    loaded = []

    class Context(ssl.SSLContext):
        def load_cert_chain(self, certfile: str, *arguments: str) -> None:  # type: ignore[override]
            loaded.append(Path(certfile).read_bytes())
            assert Path(certfile).stat().st_mode & 0o077 == 0
            super().load_cert_chain(certfile, *arguments)

    monkeypatch.setattr(ssl, "SSLContext", Context)
    made.context("api.twilio.com")
    files = [path.read_bytes() for path in made.own_file.parent.iterdir()]
    made.close()
    assert len(loaded) == 1
    assert b"PRIVATE KEY" in loaded[0]  # of the name's certificate, while OpenSSL reads it
    assert len(files) == 2
    assert not any(b"PRIVATE KEY" in each for each in files)
    assert not any(key in each for each in [*loaded, *files])


def test_certificates_are_made_once_and_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "MOST_NAMES", 2)
    made = Authority()
    first = made.context("api.twilio.com")
    assert made.context("api.twilio.com") is first
    for name in ("api.us1.twilio.com", "api.ie1.twilio.com"):
        made.context(name)
    assert len(made._contexts) == 1
    made.close()


def test_nothing_of_it_is_loaded_without_a_proxy() -> None:
    modules = ("trustme", "cryptography", "callctl.simulator.proxy.server", "callctl.simulator.proxy.authority")
    code = f"""
import sys
from callctl.simulator import Simulator
with Simulator():
    print([name for name in {modules} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

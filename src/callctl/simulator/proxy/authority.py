"""A certificate authority that lives as long as the proxy, and the files by which clients trust it."""

from __future__ import annotations

import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

MOST_NAMES = 100  # for which certificates are kept; those for more are made anew each time
# Where systems have their roots in one file: Debian and Alpine, Fedora, SUSE, macOS and the BSDs.
_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Authority:
    """Issues certificates for host names. Its key is in memory alone.

    Its two files are in a folder of their own, which only its owner can enter, until `close`. Raises ImportError where
    trustme is not installed, and OSError where the files can't be written.
    """

    def __init__(self) -> None:
        import trustme

        self._ca: trustme.CA = trustme.CA(organization_name="callctl simulator")
        self._contexts: dict[str, ssl.SSLContext] = {}
        # 0700; it goes with the process, too, where nobody closes this.
        self._folder = tempfile.TemporaryDirectory(prefix="callctl-simulator-", ignore_cleanup_errors=True)
        try:
            own = self._ca.cert_pem.bytes()
            self.own_file = self._write("authority.pem", own)
            self.roots_file = self._write("roots.pem", system_roots().rstrip() + b"\n\n" + own)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def context(self, name: str) -> ssl.SSLContext:
        """Return what answers TLS by this host name, with HTTP/1.1; raise OSError where the disk does not take it."""
        if name not in self._contexts:
            if len(self._contexts) >= MOST_NAMES:
                self._contexts.clear()
            self._contexts[name] = self._make_context(name)
        return self._contexts[name]

    def _make_context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # Python reads a certificate and its key from a file alone. That one is gone at once; it is not the authority's.
        issued = self._ca.issue_cert(name).private_key_and_cert_chain_pem
        with issued.tempfile(dir=self._folder.name) as path:
            context.load_cert_chain(path)
        return context

    def _write(self, name: str, data: bytes) -> Path:
        path = Path(self._folder.name) / name
        path.write_bytes(data)
        return path


def system_roots() -> bytes:
    """Return the certificates that clients here trust already: the system's, else those of certifi, as PEM."""
    named: str | None = ssl.get_default_verify_paths().cafile  # SSL_CERT_FILE, else where Python's OpenSSL looks
    for path in (named or "", *_ROOTS):
        with suppress(OSError):
            if roots := Path(path).read_bytes():
                return roots
    import certifi

    return Path(certifi.where()).read_bytes()

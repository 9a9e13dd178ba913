"""What is checked before anything listens: credentials, addresses, and options that would let anybody act."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from callctl.cli.options.callback_url import with_status_path
from callctl.cli.options.checks import check_account, signing_trouble
from callctl.errors import UsageError, without_user_info
from callctl.settings import Settings
from callctl.support.urls import is_http_url, is_loopback_host, is_loopback_url, scheme_hint

if TYPE_CHECKING:
    from callctl.cli.io.runtime import Runtime
    from callctl.watch.options import WatchOptions


def check_credentials(settings: Settings, *, unverified: bool) -> None:
    """Check that there is an account SID and, unless ``unverified``, a token that verifies callbacks.

    Raises:
        SettingsError: One is missing, or the SID of something else.
    """
    check_account(settings)
    trouble = None if unverified else signing_trouble(settings)
    if trouble is not None:
        raise trouble


def check_exposure(options: WatchOptions) -> None:
    """Check that unsigned callbacks are not accepted where anybody could send them, unless an option allows it.

    Raises:
        UsageError: The options do not go together.
    """
    if options.forgeries_accepted and not options.unverified:
        raise UsageError("--accept-forgeries goes with --unverified", hint="alone it changes nothing: drop it")
    if not options.unverified:
        return
    if options.forward_to:
        raise UsageError(
            "--unverified and --forward-to exclude each other: only verified requests are passed on",
            hint="drop --unverified",
        )
    exposed = {
        "a public URL": options.public_url is not None and not is_loopback_url(options.public_url),
        "a tunnel": options.tunnel is not None,
        f"--host {options.host}": not is_loopback_host(options.host),
    }
    named = [what for what, is_so in exposed.items() if is_so]
    if named and not options.forgeries_accepted:
        raise UsageError(
            f"--unverified with {named[0]}: anybody could send callbacks",
            hint="drop --unverified, or give --accept-forgeries as well if you mean it",
        )


def check_forwarding(options: WatchOptions) -> None:
    """Check that requests are forwarded to http or https addresses other than this listener's.

    Raises:
        UsageError: They are not.
    """
    if options.forward_insecure and not (options.forward_to and all(map(is_loopback_url, options.forward_to))):
        raise UsageError(
            "--forward-insecure goes with --forward-to an address on loopback: elsewhere anybody could answer for it",
            hint="name the file of the CA that signed your application's certificate in SSL_CERT_FILE",
        )
    for url in options.forward_to:
        _check_forward_url(url, port=options.port)


def _check_forward_url(url: str, *, port: int) -> None:
    if not is_http_url(url):
        raise UsageError(
            f"--forward-to is not an http or https address: {without_user_info(url)}",
            hint=scheme_hint(url, otherwise="such as http://127.0.0.1:5000/status"),
        )
    if is_loopback_url(url) and urlsplit(url).port == port:
        raise UsageError(f"--forward-to leads back to this watch: {url}", hint="give the address of your application")


def warn_of_unserved_urls(runtime: Runtime, options: WatchOptions) -> None:
    """Warn of relative URLs in the documents that are served which lead to nothing: a call that goes there fails.

    Twilio resolves them against the document's URL, so they are paths of this listener. Those that it does not serve
    are passed on to the application, if there is one.
    """
    from callctl.calls.twiml import relative_urls
    from callctl.watch.listener.address import DOCUMENTS

    if options.forward_to:
        return
    served = {options.path, *(DOCUMENTS + name for name in options.documents.files)}
    for name in options.documents.files:
        for what, url in relative_urls(options.documents.text(name)):
            if urlsplit(urljoin(DOCUMENTS + name, url)).path not in served:
                runtime.say(
                    f"callctl: warning: --serve {name}: {what} is {url}, which is not served here: a call that goes "
                    "there fails; write the whole URL, or name your application with --forward-to"
                )


def read_public_url(settings: Settings, given: str | None) -> str | None:
    """Return the listener's URL as Twilio sees it, from the option or else the settings; None if neither has it.

    Raises:
        UsageError: It is not an http or https address.
    """
    url = given or settings.public_url
    if url is None:
        return None
    if not is_http_url(url):
        raise UsageError(
            f"--public-url is not an http or https address: {without_user_info(url)}",
            hint=scheme_hint(url, otherwise="such as https://example.ngrok.app"),
        )
    return with_status_path(url)

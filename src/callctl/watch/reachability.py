"""Whether Twilio can reach the listener: opens a tunnel or finds one, tests the address now and then, closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import UsageError
from callctl.support.urls import is_loopback_url
from callctl.watch.background_tasks import pause, repeat
from callctl.watch.listener.listener import Listener
from callctl.watch.options import WatchOptions
from callctl.watch.selftest import LIMIT, SelftestResult, selftest, why_not_ours
from callctl.watch.tunnel.command import Tunnel
from callctl.watch.tunnel.ngrok import OthersAgentError, find_agent

# Seconds from one self-test to the next: after one that succeeded, and after one that failed.
TEST_INTERVAL = 180.0
RETRY_INTERVAL = 5.0
# Seconds that one self-test may take while an address is looked for, among several that may be black holes.
ADDRESS_TEST_LIMIT = 5.0
# How often the addresses of an ngrok agent are tried, and seconds between.
AGENT_TRIES = 5
AGENT_INTERVAL = 1.0
# A tunnel may print its address before it works, so one failure alone is shown in the header and not reported. Nor is
# an address left for one: somebody else may have the tunnel's connections taken up for a while.
FAILURES_REPORTED = 2


class Reachability:
    """Opens a tunnel, or finds one, and sees that requests through it arrive.

    ``api_is_local`` means that the API runs on this machine and so reaches loopback addresses. ``trouble`` is
    given what goes wrong, and that it is over; ``moved`` is called when the callback URL has become another one.
    ``others`` looks up the nonces of other listeners that may answer at the same URL.
    """

    def __init__(
        self,
        options: WatchOptions,
        listener: Listener,
        *,
        api_is_local: bool,
        trouble: Callable[[Trouble], None],
        moved: Callable[[], object],
        others: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._options, self._listener, self._api_is_local = options, listener, api_is_local
        self._trouble, self._moved, self._others = trouble, moved, others
        self._tunnel: Tunnel | None = None
        self._uses_agent = False
        self._printed_before = 0  # how many addresses the tunnel had printed before the last self-test
        self._was_early = False  # whether what it printed had the last self-test done before its time
        self._tunnel_ended: str | None = None
        self._failures = 0
        self._is_reported = False  # that the self-test fails
        self._last: SelftestResult | None = None

    @property
    def is_reachable(self) -> bool:
        """Whether there is an address that the API can reach."""
        return self._api_is_local or not is_loopback_url(self._listener.callback_url)

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last self-test took, if it succeeded."""
        return self._last.round_trip if self._last is not None else None

    @property
    def unreachable(self) -> str | None:
        """Why no callback can arrive, as far as is known."""
        if self._tunnel_ended:
            return self._tunnel_ended
        if not self.is_reachable:
            return "Twilio can't reach a loopback address"
        return self._last.failure if self._last is not None else None

    async def open(self) -> None:
        """Run the tunnel, or look for an ngrok agent's, and have the listener take requests signed over its address.

        An address that a program prints counts only once a signed self-test has come back through it: it may be that
        of a dashboard, which callbacks with phone numbers are not for.

        Raises:
            CallctlError: The tunnel does not come up, or none of the addresses it prints leads here.
            UsageError: A tunnel leads to a listener that verifies nothing.
        """
        options, port = self._options, self._listener.port
        if options.tunnel is not None and options.public_url is not None:
            self._tunnel = await Tunnel.start(options.tunnel, port=port)
        elif options.tunnel is not None:
            self._tunnel, _ = await Tunnel.start_and_find(options.tunnel, port=port, check_address=self._try_address)
        elif options.public_url is None and (options.unverified or not self._api_is_local):
            try:
                await self._use_agent(await find_agent(port, agent=options.agent))
            except OthersAgentError as error:
                self._check_unverified(error.url)
                self._trouble(Trouble(f"{error.message}; {error.hint}", Cause.UNREACHABLE))

    async def _use_agent(self, urls: Sequence[str]) -> None:
        if not urls:
            return
        self._check_unverified(urls[0])
        before, why = self._listener.address, ""
        for _ in range(AGENT_TRIES):
            for url in urls:
                failure = await self._try_address(url)
                if failure is None:
                    self._uses_agent = True
                    return
                why = f"{url}: {failure}"
            await asyncio.sleep(AGENT_INTERVAL)
        self._listener.move_to(before)
        what = f"an ngrok agent runs, but no self-test comes back through its address, which is not used: {why}"
        self._trouble(Trouble(what, Cause.UNREACHABLE, url=urls[0]))

    def _check_unverified(self, url: str) -> None:
        if self._options.unverified and not self._options.forgeries_accepted:
            raise UsageError(
                f"--unverified: an ngrok agent leads from {url} to this port, so anybody could send callbacks",
                hint="stop it, listen at another --port, or give --accept-forgeries as well if you mean it",
            )

    async def _try_address(self, address: str) -> str | None:
        """Have the listener be at an address, and say why it does not lead there; None if it does.

        A signed self-test goes only where the listener itself has answered.
        """
        url = _with_path(address, self._options.path)
        self._listener.move_to(replace(self._listener.address, public_url=url))
        failure = await self._why_not_ours(url)
        if failure is not None:
            return failure
        return (await self._selftest(url, limit=ADDRESS_TEST_LIMIT)).failure

    async def _why_not_ours(self, url: str) -> str | None:
        if is_loopback_url(url) and not self._api_is_local:
            return "Twilio can't reach a loopback address"
        listener = self._listener
        return await why_not_ours(
            url, nonce=listener.config.nonce, awaited=listener.awaited_selftests, limit=ADDRESS_TEST_LIMIT
        )

    async def _selftest(self, url: str, *, limit: float) -> SelftestResult:
        config, awaited = self._listener.config, self._listener.awaited_selftests
        others = self._others
        return await selftest(url, keys=config.keys, nonce=config.nonce, awaited=awaited, others=others, limit=limit)

    async def watch_tunnel(self) -> None:
        """Report the end of the tunnel that was started."""
        if self._tunnel is None:
            return
        code = await self._tunnel.ended()
        said = f": {self._tunnel.last_line}" if self._tunnel.last_line else ""
        self._tunnel_ended = f"the tunnel has ended (code {code})"
        self._listener.health["reachable"] = False
        what = f"the tunnel `{self._tunnel.name}` has ended with code {code}{said}"
        self._trouble(Trouble(what, Cause.TUNNEL_ENDED, url=self._listener.callback_url))
        if self.is_reachable:
            await pause(RETRY_INTERVAL)
            await self._test()  # some commands only start a tunnel, and end
            while self._failures and not self._is_reported:
                await pause(RETRY_INTERVAL)
                await self._test()

    async def keep_testing(self) -> None:
        """Repeat the self-test until cancelled, where there is an address to test."""
        if self.is_reachable:
            await repeat(self._test_once, wait=self._wait)

    async def _test_once(self) -> float:
        if self._tunnel is not None:
            self._printed_before = self._tunnel.printed_count
        if self.is_reachable:
            await self._test()
        return RETRY_INTERVAL if self._failures else TEST_INTERVAL

    async def _wait(self, seconds: float) -> None:
        """Return after so many seconds, or once the tunnel prints another address: the one before may be gone.

        While the one before fails, each of its failures has the time between.
        """
        due = asyncio.create_task(pause(seconds))
        waits = [due]
        if self._tunnel is not None and not self._failures:
            waits.append(asyncio.create_task(self._another_address(self._tunnel)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            self._was_early = not due.done()
        finally:
            for wait in waits:
                wait.cancel()

    async def _another_address(self, tunnel: Tunnel) -> None:
        """Return once a tunnel has printed an address at another host since before the last self-test.

        Some print a line for each request, and so for each self-test: no two follow each other at once for that.
        """
        if self._was_early:
            await pause(RETRY_INTERVAL)
        host = urlsplit(self._listener.callback_url).netloc
        await tunnel.prints_another(host, since=self._printed_before)

    async def _test(self) -> None:
        url, ended_before = self._listener.callback_url, self._tunnel_ended
        result = await self._selftest(url, limit=LIMIT)
        if result.failure is not None:
            self._failures += 1
            if self._failures >= FAILURES_REPORTED:
                later = await self._leave_for_later_address()
                if later is None:
                    self._failures = 0  # those were of the address before
                    await self._test()
                    return
                result = later if later.failure is None else result
        self._last = result
        self._listener.health["reachable"] = result.failure is None
        if result.failure is None:
            self._report_success(url, ended_before)
        elif self._failures >= FAILURES_REPORTED and not self._is_reported:
            self._is_reported = True
            what = f"the self-test through {url} fails: {result.failure}; callbacks would not arrive either"
            self._trouble(Trouble(what + self._not_followed(), Cause.UNREACHABLE, url=url, status=result.status))

    def _report_success(self, url: str, ended_before: str | None) -> None:
        if self._is_reported:
            what = f"the self-test through {url} arrives again"
            self._trouble(Trouble(what, Cause.UNREACHABLE, url=url, is_over=True))
        if ended_before:
            what = f"the self-test through {url} arrives all the same"
            self._trouble(Trouble(what, Cause.TUNNEL_ENDED, url=url, is_over=True))
            self._tunnel_ended = None
        self._failures, self._is_reported = 0, False

    def _not_followed(self) -> str:
        other = None if self._tunnel is None else self._tunnel.other_provider
        if other is None:
            return ""
        return (
            f"; the tunnel has printed {other} since, which is not followed, as its host is another provider's: start "
            "anew if that is the tunnel's address now"
        )

    async def _leave_for_later_address(self) -> SelftestResult | None:
        """Leave an address that has failed repeatedly, if the tunnel has another one that leads here; None if left.

        Else return the last result of the address that is kept: it is tried once more right before it would be left.
        """
        before, result = self._listener.address, SelftestResult(failure="no other address")
        for address in await self._later_addresses():
            url = _with_path(address, self._options.path)
            if url == before.callback_url or await self._why_not_ours(url) is not None:
                continue  # checked first: while it is tried, what is signed over the one before is refused
            result = await self._selftest(before.callback_url, limit=LIMIT)
            if result.failure is None:
                return result
            if await self._try_address(address) is None:
                self._moved()
                what = (
                    f"the tunnel has another address now, {self._listener.callback_url}: calls placed before, and "
                    f"whatever names {before.callback_url}, report in vain"
                )
                self._trouble(Trouble(what, Cause.TUNNEL_MOVED, url=self._listener.callback_url))
                return None
            self._listener.move_to(before)
        return result

    async def _later_addresses(self) -> Sequence[str]:
        """Return where the tunnel may be now, as it printed or as an ngrok agent that was found has it."""
        if self._tunnel is not None:
            return self._tunnel.later_addresses()
        if not self._uses_agent:
            return ()
        try:
            return await find_agent(self._listener.port, agent=self._options.agent)
        except OthersAgentError:
            return ()

    async def close(self) -> None:
        """End the tunnel that was started."""
        if self._tunnel is not None:
            await self._tunnel.stop()


def _with_path(url: str, path: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=path).geturl() if parts.path in ("", "/") else url

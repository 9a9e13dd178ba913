"""A menu of several steps that keeps what it knows of a caller in a cookie, as web frameworks' sessions do."""

from urllib.parse import parse_qsl

from aiohttp import web
from simulator.setup import FROM, SimulatorSetup, served, simulator_setup
from twilio.twiml.voice_response import Gather, VoiceResponse

from callctl.simulator import FarEnd

ANN, BOB, EVE = "+12025550151", "+12025550152", "+12025550153"
CALLERS = {
    ANN: FarEnd(answers=("1", "sales please", "yes"), digits_after=2),
    BOB: FarEnd(answers=("2", "", "billing", "1"), digits_after=2),  # silent when first asked for what
    EVE: FarEnd(answers=("1", "the weather"), digits_after=2),
}
LANGUAGES = {"1": "en", "2": "es"}
DEPARTMENTS = ("sales", "billing")
YES = ("yes", "1")


class Menu:
    """An application whose steps are paths; of what was answered it keeps nothing itself."""

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.lost: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode()))
        answer = (form.get("SpeechResult") or form.get("Digits", "")).lower()
        session = dict(request.cookies)
        response = VoiceResponse()
        match request.path:
            case "/welcome":
                session = {}
                self._ask(response, "For English press one. Para español, oprima dos.", "/language", kinds="dtmf")
            case "/language":
                session["language"] = LANGUAGES[answer]
                self._ask(response, "Which department?", "/department", kinds="dtmf speech")
                response.redirect("/again")
            case "/again":
                self._ask(response, "Please say sales, or billing.", "/department", kinds="speech")
            case "/department":
                found = next((name for name in DEPARTMENTS if name in answer), "")
                if found:
                    session["department"] = found
                    self._ask(response, f"{found}, is that right?", "/confirm", kinds="dtmf speech")
                else:
                    response.say("We have no such department. Goodbye.")
            case "/confirm" if "language" not in session or "department" not in session:
                self.lost.append(form["From"])
                response.say("We have forgotten who you are.")
            case "/confirm" if answer in YES:
                self.connected.append(f"{form['From']} {session['language']} {session['department']}")
                response.say("We connect you.")
        reply = web.Response(text=str(response), content_type="text/xml")
        for name, value in session.items():
            reply.set_cookie(name, value, httponly=True)
        return reply

    @staticmethod
    def _ask(response: VoiceResponse, question: str, action: str, *, kinds: str) -> None:
        gather = Gather(input=kinds, num_digits=1, timeout=3, speech_timeout="auto", action=action)
        gather.say(question)
        response.append(gather)


async def call_in(setup: SimulatorSetup, url: str) -> list[str]:
    """Let all call at once; return the calls' SIDs."""
    return [(await setup.incoming(f"{url}/welcome", caller=caller))["sid"] for caller in CALLERS]


async def test_each_caller_has_a_session_of_its_own() -> None:
    menu = Menu()
    async with served(menu.handle) as url, simulator_setup(far_end=CALLERS, cookies=True) as setup:
        sids = await call_in(setup, url)
        await setup.advance(60)
        assert sorted(menu.connected) == [f"{ANN} en sales", f"{BOB} es billing"]
        assert menu.lost == []
        for sid in sids:
            assert setup.statuses(sid)[-1] == "completed"
            assert await setup.notes(sid) == []


async def test_without_cookies_it_forgets_them() -> None:
    menu = Menu()
    async with served(menu.handle) as url, simulator_setup(far_end=CALLERS) as setup:
        await call_in(setup, url)
        await setup.advance(60)
        assert (menu.connected, sorted(menu.lost)) == ([], [ANN, BOB])
        assert {arrived.form["To"] for arrived in setup.listener.at("/status")} == {FROM}

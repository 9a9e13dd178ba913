"""An API with both legs of a Dial, some changes of which fail."""

from __future__ import annotations

from collections.abc import Mapping

from api.scripted import ReceivedRequest, Server, Turn, call, reply

PARENT, CHILD = "CA" + "1" * 32, "CA" + "2" * 32
REFUSED = reply(400, {"code": 20001, "message": "no", "status": 400})


class Dialled(Server):
    """An API with a parent and its child, both in progress; some changes of them are answered otherwise, by SID."""

    def __init__(self, changes: Mapping[str, Turn], *, child: str = "in-progress") -> None:
        super().__init__(reply(404))
        self._changes, self._child = changes, child
        self._ended: set[str] = set()

    @property
    def env(self) -> dict[str, str]:
        """The settings to reach it."""
        return {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": self.url}

    @property
    def changed(self) -> list[str]:
        """The calls that were to be changed, in their order."""
        posts = [request.path for request in self.received if request.method == "POST"]
        return [path.rpartition("/")[2].removesuffix(".json") for path in posts]

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        sid = request.path.partition("?")[0].rpartition("/")[2].removesuffix(".json")
        if sid == "Calls":
            query = dict(request.query)
            listed = (
                [CHILD] if query.get("ParentCallSid") == PARENT else [] if "ParentCallSid" in query else [PARENT, CHILD]
            )
            listed = [one for one in listed if query.get("Status", self._status(one)) == self._status(one)]
            return reply(200, {"calls": [self._call(one) for one in listed]})
        if request.method == "POST" and sid in self._changes:
            return self._changes[sid]
        if request.method == "POST" and "Status" in dict(request.form):
            self._ended.add(sid)
        return reply(200, self._call(sid))

    def _status(self, sid: str) -> str:
        return "completed" if sid in self._ended else self._child if sid == CHILD else "in-progress"

    def _call(self, sid: str) -> dict[str, object]:
        return dict(call(sid, status=self._status(sid), parent_call_sid=PARENT if sid == CHILD else None))

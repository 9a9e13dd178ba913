"""The account that the credentials open, as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callctl.support.dates import parse_text


@dataclass(frozen=True, slots=True)
class Account:
    """An account (OAS, account).

    Attributes:
        sid: Its SID.
        name: What its owner calls it.
        status: ``active``, ``suspended`` or ``closed``.
        type: ``Trial`` or ``Full``.
        owner_sid: The main account's SID; its own if it is no subaccount.
        primary_token: The auth token that signs its callbacks (docs/twilio.md, "Signatures"), where the API tells it.
    """

    sid: str
    name: str
    status: str
    type: str
    owner_sid: str
    primary_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Account:
        """Read the JSON object of a reply; what it lacks is empty.

        Raises:
            ValueError: It is no account.
        """

        def text(name: str) -> str:
            return parse_text(resource.get(name))

        if not text("sid"):
            raise ValueError("no account: it has no sid")
        return cls(
            sid=text("sid"),
            name=text("friendly_name"),
            status=text("status"),
            type=text("type"),
            owner_sid=text("owner_account_sid"),
            primary_token=text("auth_token") or None,
        )

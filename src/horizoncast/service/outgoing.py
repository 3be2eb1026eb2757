"""The tables of settings for the ledger and for messages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from horizoncast.service.sections import Section


class LedgerSettings(Section):
    """Where published runs are recorded, and for how long."""

    url: str = ""
    timeout_s: PositiveFloat = 30.0
    days: int = Field(default=0, ge=0)


class NotifySettings(Section):
    """Who is told of a run, and how; nothing is sent while all of it is empty."""

    when: Literal["always", "problems"] = "problems"
    mail_to: tuple[str, ...] = ()
    mail_from: str = ""
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    webhooks: tuple[str, ...] = ()
    ping: str = ""
    timeout_s: PositiveFloat = 10.0
    prometheus: str = ""

    @field_validator("mail_to")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if any("@" not in address or not address.isprintable() for address in addresses):
            raise ValueError("addresses as name@example.org")
        return addresses

    @field_validator("ping")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://", "{secret:")):
            raise ValueError("an address as https://hc-ping.com/UUID, or {secret:NAME}")
        return url

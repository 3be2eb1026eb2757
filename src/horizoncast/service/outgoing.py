"""The tables of settings for the ledger, for messages and for the weekly review."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from horizoncast.errors import ConfigError
from horizoncast.policy.cadence import Cadence
from horizoncast.service.member_settings import BadSettingError
from horizoncast.service.sections import Section, Weekday


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


class ReviewSettings(Section):
    """The language of pages and mails, and when the weekly review is sent."""

    language: Literal["en", "es"] = "en"
    send: Weekday | Literal[""] = ""
    time: str = "08:00"
    timezone: str = "America/Santiago"
    weeks: PositiveInt = 1
    link: str = ""

    @field_validator("link")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("an address as https://forecasts.example.org")
        return url

    @model_validator(mode="after")
    def _is_moment(self) -> Self:
        try:
            self.as_cadence()
        except ConfigError as error:
            raise BadSettingError("review", error) from error
        return self

    def as_cadence(self) -> Cadence | None:
        """When it is sent; None when it is not."""
        cadence = Cadence(days=(self.send or "mon",), time=self.time, timezone=self.timezone)
        return cadence if self.send else None

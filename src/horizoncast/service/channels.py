"""Ways to reach people and monitors: mail, webhooks, a health check.

What goes wrong is told without the address, the account or the text: an address may be the secret.
"""

from __future__ import annotations

import base64
import smtplib
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from horizoncast.data.secrets import Secrets
from horizoncast.errors import ConfigError, HorizoncastError
from horizoncast.service.outgoing import NotifySettings
from horizoncast.store.plain import Json

MAIL, WEBHOOK, PING = "mail", "webhook", "ping"

_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    ImportError,
)
"""What a foreign notifier may raise; none of it may end a run."""

_UNKNOWN_KIND = "apprise does not know this kind of address"

Payload = Mapping[str, Json]


class DeliveryError(HorizoncastError):
    """A message did not arrive."""

    exit_code = 7


def channels_of(notify: NotifySettings) -> tuple[str, ...]:
    """The channels that the settings name, webhooks by their place: ``webhook/0``."""
    mail = (MAIL,) if notify.mail_to and notify.smtp_host else ()
    ping = (PING,) if notify.ping else ()
    return (*mail, *(f"{WEBHOOK}/{place}" for place in range(len(notify.webhooks))), *ping)


def deliver(channel: str, payload: Payload, notify: NotifySettings, secrets: Secrets) -> None:
    """Send one message now.

    Raises
    ------
    DeliveryError
        When it did not arrive, for whatever reason.
    """
    kind, _, place = channel.partition("/")
    senders: dict[str, Callable[[], None]] = {
        MAIL: lambda: _mail(payload, notify, secrets),
        WEBHOOK: lambda: _webhook(payload, notify, secrets, int(place)),
        PING: lambda: ping(notify, secrets, str(payload["suffix"])),
    }
    if channel not in channels_of(notify):
        raise DeliveryError("the settings no longer name this channel", value=channel)
    try:
        senders[kind]()
    except DeliveryError:
        raise
    except HorizoncastError as error:
        raise DeliveryError(f"{channel}: {secrets.redact(str(error))}") from error
    except _BROKEN as error:
        raise DeliveryError(f"{channel}: {_reason(error)}") from error


def ping(notify: NotifySettings, secrets: Secrets, suffix: str) -> None:
    """Tell the health check: ``start``, or the exit code.

    Raises
    ------
    DeliveryError
        When it does not answer, or not with a 2xx.
    """
    import urllib3

    url = f"{secrets.fill(notify.ping, quoted=False).rstrip('/')}/{suffix}"
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=notify.timeout_s), retries=False)
    try:
        status = pool.request("POST", url).status
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise DeliveryError(f"{PING}: {type(error).__name__}") from error
    finally:
        pool.clear()
    if not 200 <= status < 300:
        raise DeliveryError(f"{PING}: HTTP {status}")


def _mail(payload: Payload, notify: NotifySettings, secrets: Secrets) -> None:
    message = EmailMessage()
    message["Subject"] = " ".join(str(payload["subject"]).split())
    message["From"] = notify.mail_from or notify.mail_to[0]
    message["To"] = ", ".join(notify.mail_to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=message["From"].addresses[0].domain or None)
    message.set_content(str(payload["text"]))
    if "html" in payload:
        _add_html(message, str(payload["html"]), payload.get("images"))
    kind = smtplib.SMTP_SSL if notify.smtp_security == "tls" else smtplib.SMTP
    with kind(notify.smtp_host, notify.smtp_port, timeout=notify.timeout_s) as server:
        if notify.smtp_security == "starttls":
            import ssl

            server.starttls(context=ssl.create_default_context())
        if notify.smtp_user:
            server.login(secrets.fill(notify.smtp_user), secrets.fill(notify.smtp_password))
        server.send_message(message)


def _add_html(message: EmailMessage, html: str, images: Json) -> None:
    """The same as HTML, its pictures (PNG in base64) beside it by content id."""
    message.add_alternative(html, subtype="html")
    body = message.get_body(("html",))
    assert isinstance(body, EmailMessage)
    for name, data in (images if isinstance(images, Mapping) else {}).items():
        body.add_related(
            base64.b64decode(str(data)), "image", "png", cid=f"<{name}>", filename=f"{name}.png",
            disposition="inline",
        )  # fmt: skip


def _webhook(payload: Payload, notify: NotifySettings, secrets: Secrets, place: int) -> None:
    hook = _hook(notify.webhooks[place], secrets)
    if hook is None:
        raise DeliveryError(f"{WEBHOOK}/{place}: {_UNKNOWN_KIND}")
    if not hook.notify(title=str(payload["subject"]), body=str(payload["text"]), body_format="text"):
        raise DeliveryError(f"{WEBHOOK}/{place}: refused or not reached")


def webhook_problem(address: str, secrets: Secrets) -> str:
    """Why nothing could ever be sent to an address, without showing it; empty when it is well-formed."""
    try:
        return "" if _hook(address, secrets) is not None else _UNKNOWN_KIND
    except HorizoncastError as error:
        return secrets.redact(str(error))
    except _BROKEN as error:
        return _reason(error)


def _hook(address: str, secrets: Secrets) -> Any:
    """A notifier for one address, None where apprise knows no such kind.

    Raises
    ------
    ConfigError
        When apprise is not installed, or a secret is not set.
    """
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise ConfigError(
            "webhooks need the package apprise", action="pip install horizoncast[notify]"
        ) from error
    # Placeholders stand in the address as it is: a token with a slash has to be percent-encoded in it.
    hook = apprise.Apprise()
    return hook if hook.add(secrets.fill(address, quoted=True)) else None


def _reason(error: Exception) -> str:
    """The kind of an error, and its number where it has one; never its text."""
    number = getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    return f"{type(error).__name__} {number}" if number else type(error).__name__

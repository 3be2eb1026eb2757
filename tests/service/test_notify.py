"""Messages about runs: servers on this machine, good and bad."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from horizoncast.errors import CheckError, ConfigError
from horizoncast.service.ledgers import open_ledger
from horizoncast.service.notify import send_due
from horizoncast.service.prometheus import HELP, textfile
from horizoncast.service.runner import run_service
from horizoncast.service.settings import Settings, load_settings
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Delivery, Message
from ledger_runs import a_record, commit
from mailbox_server import mail_server
from small_target import NAIVES_ONLY, write_target

PASSWORD = "hunter2-very-secret"


@contextmanager
def web_server(status: int = 200) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Takes POST requests; yields its port and (path, body) of what came."""
    came: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            came.append((self.path, body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, came
        server.shutdown()


def settings_for(root: Path, **notify: str) -> Settings:
    overrides = {**NAIVES_ONLY, "target": "toy.toml", "notify.timeout_s": "2"}
    overrides |= {f"notify.{key}": value for key, value in notify.items()}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


def mail_to(port: int, **more: str) -> dict[str, str]:
    return {
        "mail_to": '["ana@example.org"]',
        "smtp_host": "127.0.0.1",
        "smtp_port": str(port),
        "smtp_security": "none",
        **more,
    }


def test_a_run_is_told_by_mail_and_ping_once(tmp_path: Path) -> None:
    write_target(tmp_path)
    with mail_server() as mail, web_server() as (port, came):
        settings = settings_for(
            tmp_path, **mail_to(mail.server_address[1]), ping=f"http://127.0.0.1:{port}/uuid", when="always"
        )
        outcome = run_service(settings)
        assert outcome.problems == ()
        send_due(open_ledger(settings), settings)
    assert [path for path, _ in came] == ["/uuid/start", "/uuid/0"]
    (text,) = mail.box
    message = message_from_string(text, policy=default)
    assert "toy as of" in message["Subject"] and message["To"] == "ana@example.org"
    assert f"{outcome.result.forecast.point[-1]:.6g}" in message.get_content()


def test_a_plainly_published_run_is_mailed_only_when_asked(tmp_path: Path) -> None:
    write_target(tmp_path)
    with mail_server() as mail:
        run_service(settings_for(tmp_path, **mail_to(mail.server_address[1])))
    assert mail.box == []


def test_a_failed_run_is_told_with_its_exit_code(tmp_path: Path) -> None:
    data = write_target(tmp_path).with_suffix(".csv")
    data.write_text(data.read_text() + "2031-01-01,18.0\n")
    with mail_server() as mail, web_server() as (port, came):
        ping = f"http://127.0.0.1:{port}/uuid"
        with pytest.raises(CheckError):
            run_service(settings_for(tmp_path, **mail_to(mail.server_address[1]), ping=ping))
    assert [path for path, _ in came] == ["/uuid/start", "/uuid/3"]
    assert "CheckError" in message_from_string(mail.box[0], policy=default)["Subject"]


def test_a_notifier_that_fails_fails_no_run_and_is_tried_again(tmp_path: Path) -> None:
    write_target(tmp_path)
    with web_server(500) as (port, came):
        settings = settings_for(tmp_path, ping=f"http://127.0.0.1:{port}/uuid", **mail_to(9), when="always")
        outcome = run_service(settings)
    assert outcome.run.revision == 1 and len(outcome.problems) == 2
    assert {event.code for event in outcome.record.events} >= {"ping_failed"}
    ledger = open_ledger(settings)
    assert {row.state for row in ledger.outbox.all()} == {Delivery.PENDING}
    assert send_due(ledger, settings).sent == 0  # not due yet
    with mail_server() as mail, web_server() as (port, came):
        settings = settings_for(
            tmp_path, ping=f"http://127.0.0.1:{port}/u", **mail_to(mail.server_address[1]), when="always"
        )
        later = datetime.now(tz=UTC) + timedelta(minutes=2)
        assert send_due(ledger, settings, now=later).sent == 2
    assert len(mail.box) == 1 and came == [("/u/0", "")]


def test_a_ping_of_a_run_long_past_is_not_sent(tmp_path: Path) -> None:
    """A heartbeat must not beat for a run of yesterday."""
    with web_server() as (port, came):
        settings = settings_for(tmp_path, ping=f"http://127.0.0.1:{port}/u")
        ledger = open_ledger(settings)
        ledger.outbox.add([Message(key="k", channel="ping", payload={"suffix": "0"})])
        send_due(ledger, settings, now=datetime.now(tz=UTC) + timedelta(hours=2))
    assert came == []
    assert [row.state for row in ledger.outbox.all()] == [Delivery.GIVEN_UP]


def test_webhooks_go_through_apprise(tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    write_target(tmp_path, name="toy")
    with web_server() as (port, came):
        hooks = json.dumps([f"json://127.0.0.1:{port}/hook", "nonsense://x", f"json://127.0.0.1:{port}/b"])
        outcome = run_service(settings_for(tmp_path, webhooks=hooks, when="always"))
    assert [path.rstrip("/") for path, _ in came] == ["/hook", "/b"]
    assert "toy as of" in json.loads(came[0][1])["title"]
    assert outcome.problems == ("webhook/1: apprise does not know this kind of address",)


@pytest.mark.parametrize(
    "name", ["../../x", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", r"$\frac{", "a\nb: c"]
)
def test_hostile_names_break_no_header_and_no_metric(tmp_path: Path, name: str) -> None:
    from horizoncast.service.notify import run_messages

    with mail_server() as mail:
        settings = settings_for(tmp_path, **mail_to(mail.server_address[1]), when="always")
        ledger = open_ledger(settings)
        record = a_record(name=name)
        ledger.outbox.add(run_messages(settings, record))
        assert send_due(ledger, settings).sent == 1
        commit(ledger, settings.output_folder, record)
    message = message_from_string(mail.box[0], policy=default)
    assert " ".join(name.split()) in message["Subject"] and set(message) >= {"Subject", "From", "To"}
    assert "b" not in message
    for line in textfile(ledger).splitlines():
        assert line.startswith("#") or line.split("{")[0].split()[0] in HELP


def test_a_secret_is_in_no_log_ledger_or_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Credentials of a mail server that refuses, a webhook and a ping nobody answers."""
    write_target(tmp_path)
    (tmp_path / "secrets").mkdir()
    for key in ("SMTP_PASSWORD", "HOOK", "UUID"):
        (tmp_path / "secrets" / key).write_text(PASSWORD)
    caplog.set_level(logging.DEBUG)
    with mail_server("535 no") as mail:
        notify = mail_to(mail.server_address[1], smtp_user="ana", smtp_password="{secret:SMTP_PASSWORD}")
        settings = settings_for(
            tmp_path,
            **notify,
            when="always",
            ping="http://127.0.0.1:9/{secret:UUID}",
            webhooks='["json://ana:{secret:HOOK}@127.0.0.1:9/x"]',
        )
        object.__setattr__(settings, "data", settings.data.model_copy(update={"secrets": "secrets"}))
        outcome = run_service(settings)
    assert len(mail.logins) == 1 and len(outcome.problems) == 3
    texts = [*outcome.problems, *(event.message for event in outcome.record.events), caplog.text]
    assert not any(PASSWORD in text for text in texts)
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    missing = settings_for(tmp_path, ping="{secret:NOWHERE}")
    assert "NOWHERE" in " ".join(e.message for e in run_service(missing).record.events)


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for key, value in (("mail_to", '["nobody"]'), ("ping", "ftp://x"), ("smtp_port", "0"), ("when", "never")):
        with pytest.raises(ConfigError):
            settings_for(tmp_path, **{key: value})


def test_messages_and_ledger_change_no_digest_of_settings(tmp_path: Path) -> None:
    plain = settings_for(tmp_path)
    told = settings_for(tmp_path, **mail_to(25), ping="http://x/y")
    assert plain.config_hash == told.config_hash


def test_the_metrics_file_holds_every_metric(tmp_path: Path) -> None:
    write_target(tmp_path)
    run_service(settings_for(tmp_path, prometheus="metrics/horizoncast.prom"))
    text = (tmp_path / "metrics" / "horizoncast.prom").read_text()
    for name in HELP:
        assert f"# TYPE {name} gauge\n" in text
    labels = 'service="forecaster_7d",series="toy"'
    assert f"horizoncast_last_run_degraded{{{labels}}} 0.0\n" in text
    assert f'horizoncast_member_answered{{{labels},member="random_walk"}} 1.0\n' in text
    assert "horizoncast_ledger_runs 1.0\n" in text
    data = tmp_path / "toy.csv"
    data.write_text(data.read_text() + "2031-01-01,18.0\n")
    with pytest.raises(CheckError):
        run_service(settings_for(tmp_path, prometheus="metrics/horizoncast.prom"))
    assert (
        f"horizoncast_last_failure_timestamp_seconds{{{labels}}}"
        in (tmp_path / "metrics" / "horizoncast.prom").read_text()
    )
    assert Ledger.at(tmp_path / "runs").runs.all()[0].status == "published"

"""The weekly review is sent once a week, as mail and webhook; a notifier that fails fails nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

import reviews
from due_services import light, write_services
from horizoncast.report.pages.mail import LARGEST, review_mail
from horizoncast.service.attempts import Memory, read_memory
from horizoncast.service.ledgers import open_ledger
from horizoncast.service.notify import send_due
from horizoncast.service.reviewing import NAME, review_due, send_review, week_of
from horizoncast.service.settings import Settings, load_settings
from horizoncast.service.tick import tick
from horizoncast.store.ledger.rows import Delivery
from horizoncast.store.metrics_log import MetricsLog
from mailbox_server import mail_server
from pages import HOSTILE, check

MONDAY = datetime(2026, 10, 26, 11, 30, tzinfo=UTC)
"""Half past eight in Santiago."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FOUR = tuple(f"forecaster_{h}d" for h in (7, 15, 30, 90))


def a_review(name: str = "usdmxn") -> reviews.m.Review:
    return reviews.review(*(reviews.service(s, series=name, member=name) for s in FOUR), health="missed")


def settings_for(root: Path, port: int, **more: str) -> Settings:
    notify = {"mail_to": '["ana@example.org"]', "smtp_host": "127.0.0.1", "smtp_port": str(port)}
    overrides = {f"notify.{k}": v for k, v in {**notify, "smtp_security": "none", "timeout_s": "5"}.items()}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides | more)


def parts_of(text: str) -> dict[str, EmailMessage]:
    """Parts of a mail by type; pictures by content id."""
    message = message_from_string(text, policy=default)
    found = {}
    for part in message.walk():
        cid = part["Content-ID"]
        found[str(cid) if cid else part.get_content_type()] = part
    found["message"] = message
    return found  # type: ignore[return-value]


def test_the_mail_holds_text_html_and_pictures_by_content_id(tmp_path: Path) -> None:
    with mail_server() as server:
        settings = settings_for(tmp_path, server.server_address[1])
        new, done = send_review(
            open_ledger(settings), settings, a_review(), place=tmp_path / "x.html", now=MONDAY
        )
    assert (new, done.sent, done.problems) == (1, 1, ())
    (raw,) = server.box
    parts = parts_of(raw)
    message = parts["message"]
    subject = "horizoncast: 1 of 4 services needs a look: forecaster_90d missed (2026-10-26)"
    assert message["Subject"].strip() == subject
    assert message["Date"] and message["Message-ID"]
    assert message.get_content_type() == "multipart/alternative"
    plain, rich = message.iter_parts()
    assert (plain.get_content_type(), rich.get_content_type()) == ("text/plain", "multipart/related")
    assert "now 17.74 to 18.32 by 2 Nov 2026" in plain.get_content()
    html = parts["text/html"].get_content()
    assert len(html.encode()) < LARGEST == 100_000
    used = re.findall(r'src="cid:([^"]+)"', html)
    assert used == ["fan0", "fan1", "fan2", "fan3"]
    for name in used:
        picture = parts[f"<{name}>"]
        assert picture.get_content_type() == "image/png" and picture.get_content().startswith(b"\x89PNG")
        assert picture.get_content_disposition() == "inline"
    assert not re.search(r"<script|https?://|<link|@import", html)
    assert str(tmp_path / "x.html") in plain.get_content()


def test_a_week_is_sent_once_however_often_it_is_asked(tmp_path: Path) -> None:
    with mail_server() as server:
        settings = settings_for(tmp_path, server.server_address[1], **{"review.send": "mon"})
        ledger = open_ledger(settings)
        sent = [
            send_review(ledger, settings, a_review(), place=tmp_path, now=moment)[0]
            for moment in (MONDAY, MONDAY + HOUR, MONDAY + 6 * DAY, MONDAY + 7 * DAY)
        ]
    assert sent == [1, 0, 0, 1] and len(server.box) == 2
    assert [row.key for row in ledger.outbox.all()] == ["review/2026-W44/mail", "review/2026-W45/mail"]


def test_the_week_is_that_of_the_moment_it_was_due(tmp_path: Path) -> None:
    """Due on Sunday just before midnight; a tick just after it still counts for that week."""
    overrides = {"review.send": "sun", "review.time": "23:59", "review.timezone": "UTC"}
    settings = load_settings("forecaster_7d", root=tmp_path, environ={}, overrides=overrides)
    sunday = datetime(2026, 11, 1, 23, 59, 30, tzinfo=UTC)
    assert week_of(settings, sunday) == week_of(settings, sunday + HOUR) == "2026-W44"
    assert week_of(settings, sunday + 7 * DAY) == "2026-W45"


def test_a_mail_server_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, 9)
    ledger = open_ledger(settings)
    new, done = send_review(ledger, settings, a_review(), place=tmp_path, now=MONDAY)
    assert new == 1 and done.sent == 0 and len(done.problems) == 1
    with mail_server() as server:
        settings = settings_for(tmp_path, server.server_address[1])
        later = datetime.now(tz=UTC) + timedelta(minutes=5)
        assert send_due(ledger, settings, now=later).sent == 1
    assert [row.state for row in ledger.outbox.all()] == [Delivery.SENT]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_in_mails(name: str, tmp_path: Path) -> None:
    with mail_server() as server:
        settings = settings_for(tmp_path, server.server_address[1])
        send_review(open_ledger(settings), settings, a_review(name), place=tmp_path, now=MONDAY)
    parts = parts_of(server.box[0])
    page = check(
        parts["text/html"]
        .get_content()
        .replace("cid:", "")
        .replace("<title>", "<!-- http-equiv --><title>")
        .replace("</head>", "<style></style></head>")
    )
    assert name in page.text and name in parts["text/plain"].get_content()


def test_a_mail_of_many_services_stays_small() -> None:
    many = [reviews.service(f"service_{k}", member="m" * 200) for k in range(40)]
    mail = review_mail(reviews.review(*many), "es")
    assert len(mail.html.encode()) < LARGEST and len(mail.images) == 8
    assert sum(map(len, mail.images.values())) < 1_000_000


def test_webhooks_get_the_text(tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    from horizoncast.service import channels

    settings = settings_for(tmp_path, 9, **{"notify.webhooks": json.dumps(["nonsense://x"])})
    ledger = open_ledger(settings)
    send_review(ledger, settings, a_review(), place=tmp_path, now=MONDAY)
    payloads = {row.channel: row.payload for row in ledger.outbox.all()}
    assert set(payloads) == {channels.MAIL, "webhook/0"}
    assert "2 of 2 held the outcome" in str(payloads["webhook/0"]["text"])


class Starter:
    """Children that a tick starts: noted, and ended with a code."""

    def __init__(self, exit_code: int = 0) -> None:
        self.exit_code = exit_code
        self.commands: list[tuple[str, ...]] = []

    def __call__(self, arguments: Sequence[str], limit_s: float) -> int:
        self.commands.append(tuple(arguments))
        return self.exit_code if arguments[0] == "review" else 0

    @property
    def reviews(self) -> int:
        return sum(command[:2] == ("review", "--send") for command in self.commands)


REVIEWED = '[review]\nsend = "mon"\n[notify]\nmail_to = ["ana@example.org"]\nsmtp_host = "127.0.0.1"\n'


def a_root(folder: Path, more: str = REVIEWED) -> Path:
    root = write_services(folder, more="")
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "base.toml").write_text(more)
    (root / "runs").mkdir(exist_ok=True)
    return root


def test_a_tick_sends_it_once_a_week(tmp_path: Path) -> None:
    services, start = light(a_root(tmp_path)), Starter()
    moments = [MONDAY - 2 * HOUR, MONDAY, MONDAY + HOUR, MONDAY + 3 * DAY, MONDAY + 7 * DAY]
    counts = []
    for moment in moments:
        tick(services, now=lambda moment=moment: moment, start=start)  # type: ignore[misc]
        counts.append(start.reviews)
    assert counts == [
        1,
        2,
        2,
        2,
        3,
    ]  # the first for the Monday before: whoever switches it on gets one at once
    assert read_memory(tmp_path / "runs").told[NAME] == datetime(2026, 11, 2, 11, 0, tzinfo=UTC)


def test_a_review_that_fails_is_tried_again_and_fails_no_tick(tmp_path: Path) -> None:
    services, start = light(a_root(tmp_path)), Starter(exit_code=7)
    report = tick(services, now=lambda: MONDAY, start=start)
    assert report.exit_code == 0 and start.reviews == 1
    tick(services, now=lambda: MONDAY + timedelta(minutes=5), start=start)
    assert start.reviews == 1  # tick.retry_minutes have not passed
    start.exit_code = 0
    tick(services, now=lambda: MONDAY + HOUR, start=start)
    tick(services, now=lambda: MONDAY + 2 * HOUR, start=start)
    assert start.reviews == 2
    log = MetricsLog(tmp_path / "runs" / "metrics.jsonl").read().records
    (event,) = [r for r in log if r.get("code") == "review_failed"]
    assert "exit code 7" in str(event["message"])


@pytest.mark.parametrize(
    "more", ["", '[review]\nsend = "mon"\n', REVIEWED.replace('send = "mon"', 'send = ""')]
)
def test_nobody_is_told_who_did_not_ask(more: str, tmp_path: Path) -> None:
    services, start = light(a_root(tmp_path, more)), Starter()
    assert review_due(services, Memory(), MONDAY) is None
    tick(services, now=lambda: MONDAY, start=start)
    assert start.reviews == 0


def test_daylight_saving_moves_it_with_the_wall_clock(tmp_path: Path) -> None:
    """Santiago puts its clocks forward on 6 September 2026: eight o'clock comes an hour earlier, in UTC."""
    services = light(a_root(tmp_path))
    before, after = (review_due(services, Memory(), datetime(2026, 9, d, 20, tzinfo=UTC)) for d in (2, 9))
    assert before is not None and after is not None
    assert (before.hour, after.hour) == (12, 11)

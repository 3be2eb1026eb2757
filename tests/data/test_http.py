import gzip
import logging
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from horizoncast.data.http import HttpClient, Request, checked_url
from horizoncast.data.http_body import Answer, Broken, Expected, gunzip
from horizoncast.data.http_limits import Budget, HttpLimits
from horizoncast.data.payloads import keep_payload, read_payload
from horizoncast.data.secrets import Secret, Secrets
from horizoncast.errors import ConfigError, SourceError, StoreError
from loopback import Asked, Clock, Fault, Loopback, Reply

CSV = b"date,v\n2024-01-02,877.12\n2024-01-03,880.5\n"
LIMITS = HttpLimits(connect_s=1.0, read_s=0.2, budget_s=100.0, tries=3, backoff_s=1.0, max_bytes=10_000)


class Script:
    """Answers in turn; the last one is repeated."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def __call__(self, asked: Asked) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def fetch(
    *replies: Reply,
    limits: HttpLimits = LIMITS,
    clock: Clock | None = None,
    expected: Expected = Expected.CSV,
    secrets: Secrets | None = None,
    path: str = "/x.csv",
    budget_s: float | None = None,
    **request: object,
) -> tuple[Answer, list[Asked]]:
    clock = clock or Clock()
    with (
        Loopback(Script(*replies)) as server,
        HttpClient(
            secrets or Secrets({}), limits, clock=clock, sleep=clock.sleep, draw=lambda: 0.5
        ) as client,
    ):
        budget = Budget(clock, limits.budget_s if budget_s is None else budget_s)
        try:
            answer = client.get(Request(url=server.url + path, expected=expected, **request), budget)  # type: ignore[arg-type]
        finally:
            fetch_log[:] = server.asked
        return answer, server.asked


fetch_log: list[Asked] = []


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    fetch_log.clear()
    yield


def test_a_whole_answer_plain_gzipped_and_without_length() -> None:
    for reply, framed in (
        (Reply(CSV), True),
        (Reply(CSV, zipped=True), True),
        (Reply(CSV, fault=Fault.NO_LENGTH), False),
    ):
        answer, asked = fetch(reply)
        assert (answer.body, answer.framed, len(asked)) == (CSV, framed, 1)
        assert asked[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HALF, Fault.HALF_CHUNKED, Fault.CUT_GZIP, Fault.RESET])
def test_a_broken_answer_is_asked_for_again_and_never_used(fault: Fault) -> None:
    answer, asked = fetch(Reply(CSV, fault=fault), Reply(CSV))
    assert answer.body == CSV and len(asked) == 2
    with pytest.raises(SourceError, match="no answer, asked 3 times") as caught:
        fetch(Reply(CSV, fault=fault))
    assert len(fetch_log) == 3 and "/x.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<!DOCTYPE html><html>busy</html>", kind="text/csv"), "a web page instead of csv"),
        (Reply(b"\xef\xbb\xbf  <html>", kind=""), "a web page"),
        (Reply(CSV, kind="text/html; charset=utf-8"), "a web page"),
        (Reply(CSV, kind="image/png"), "content type image/png instead of csv"),
        (Reply(CSV, kind="application/json"), "content type application/json"),
        (Reply(b"x" * 10_001), "more than 10000 bytes"),
        (Reply(b"x" * 10_001, zipped=True), "more than 10000 bytes decompressed"),
        (Reply(CSV, headers={"Content-Encoding": "br"}), "content encoding br"),
    ],
)
def test_what_is_no_data_is_refused_at_once(reply: Reply, words: str) -> None:
    with pytest.raises(SourceError, match="the answer is refused") as caught:
        fetch(reply)
    assert words in str(caught.value) and len(fetch_log) == 1


def test_an_empty_answer_is_no_data() -> None:
    with pytest.raises(SourceError, match="an empty answer"):
        fetch(Reply(b" \n"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422, 451])
def test_a_4xx_is_never_asked_again(status: int) -> None:
    with pytest.raises(SourceError, match=f"status {status}"):
        fetch(Reply(status=status))
    assert len(fetch_log) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_later_statuses_are_asked_again(status: int) -> None:
    clock = Clock()
    assert fetch(Reply(status=status), Reply(CSV), clock=clock)[0].body == CSV
    assert clock.waits == [pytest.approx(0.75)]


def test_retry_after_in_seconds_and_as_a_date() -> None:
    clock = Clock()
    fetch(Reply(status=429, headers={"Retry-After": "7"}), Reply(CSV), clock=clock)
    assert clock.waits == [7.0]
    from email.utils import formatdate

    clock = Clock()
    date = formatdate(time.time() + 20, usegmt=True)
    fetch(Reply(status=503, headers={"Retry-After": date}), Reply(CSV), clock=clock)
    assert 17 <= clock.waits[0] <= 20
    clock = Clock()
    fetch(Reply(status=503, headers={"Retry-After": "soon"}), Reply(CSV), clock=clock)
    assert clock.waits == [pytest.approx(0.75)]


def test_a_wait_past_the_budget_is_not_waited() -> None:
    clock = Clock()
    with pytest.raises(SourceError, match="past the pull's budget"):
        fetch(Reply(status=429, headers={"Retry-After": "3600"}), clock=clock)
    assert clock.waits == [] and len(fetch_log) == 1


def test_a_spent_budget_asks_nothing() -> None:
    with pytest.raises(SourceError, match="budget is spent"):
        fetch(Reply(CSV), budget_s=0.0)
    assert fetch_log == []


def test_a_server_that_drips_cannot_hold_the_pull() -> None:
    """Each byte comes in time, the whole does not."""
    clock = Clock()
    began = clock()
    limits = HttpLimits(connect_s=1, read_s=0.1, tries=1)
    with pytest.raises(SourceError, match="too slow"):
        fetch(Reply(CSV * 20, fault=Fault.DRIP), limits=limits, clock=clock, budget_s=0.5)
    assert clock() - began < 0.6


def test_waits_double_within_their_jitter() -> None:
    limits = HttpLimits(tries=6, backoff_s=1.0, longest_wait_s=5.0)
    draw = random.Random(1)
    clock = Clock()
    with (
        Loopback(Script(Reply(status=503))) as server,
        HttpClient(Secrets({}), limits, clock=clock, sleep=clock.sleep, draw=draw.random) as client,
        pytest.raises(SourceError, match="asked 6 times"),
    ):
        client.get(Request(url=server.url, expected=Expected.CSV), Budget(clock, 60))
    assert len(clock.waits) == 5 == len(set(clock.waits))
    for wait, full in zip(clock.waits, (1, 2, 4, 5, 5), strict=True):
        assert full / 2 <= wait <= full


@pytest.mark.parametrize("header", [{"X-Bad\n": "a"}, {"X": "a\r\nY: b"}, {"X": "ü"}, {"X Y": "a"}])
def test_headers_that_cannot_be_sent(header: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="a header cannot be sent"):
        fetch(Reply(CSV), headers=header)
    assert fetch_log == []


def test_conditional_requests() -> None:
    answer, asked = fetch(Reply(status=304), etag='"abc"', modified="Mon, 01 Jan 2024 00:00:00 GMT")
    assert answer.status == 304 and answer.body == b""
    assert asked[0].headers["if-none-match"] == '"abc"' and "if-modified-since" in asked[0].headers
    with pytest.raises(SourceError, match="status 304"):
        fetch(Reply(status=304))


def test_redirects_are_followed_but_carry_no_secret_to_another_host() -> None:
    with Loopback(Script(Reply(CSV))) as other:
        away = Reply(status=302, headers={"Location": f"{other.url}/y.csv"})
        assert fetch(away)[0].body == CSV
        secrets = Secrets({"KEY": "hunter2"})
        with pytest.raises(SourceError, match="sends to another host"):
            fetch(away, secrets=secrets, headers={"X-Key": "{secret:KEY}"})
        assert len(other.asked) == 1
    assert fetch(Reply(status=301, headers={"Location": "/z.csv"}), Reply(CSV))[1][1].path == "/z.csv"
    with pytest.raises(SourceError, match="in circles"):
        fetch(Reply(status=302, headers={"Location": "/x.csv"}))
    with pytest.raises(ConfigError, match="is not asked"):
        fetch(Reply(status=302, headers={"Location": "http://example.org/"}))


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "//x", "https://[x"]
)
def test_only_https_or_this_machine(url: str) -> None:
    with pytest.raises(ConfigError, match="is not asked"):
        checked_url(url, url)
    assert checked_url("https://example.org/x", "") and checked_url("http://localhost:1/x", "")


def test_an_unknown_certificate_is_refused_without_another_try(tmp_path: Path) -> None:
    import ssl
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    pem = tmp_path / "self.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(pem), "-out", str(tmp_path / "c.pem")],
        capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.handle_request, daemon=True)
    thread.start()
    try:
        with (
            HttpClient(Secrets({}), LIMITS) as client,
            pytest.raises(SourceError, match="the connection is not trusted"),
        ):
            url = f"https://localhost:{server.server_port}/x"
            client.get(Request(url=url, expected=Expected.CSV), Budget(time.monotonic, 5))
    finally:
        thread.join(5)
        server.server_close()


SECRET = "hunter2/ü&x"


def test_no_secret_in_errors_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    secrets = Secrets({"KEY": SECRET, "LOGIN": "ann:s3cr3tpw"})
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SourceError) as caught:
        fetch(
            Reply(status=500),
            secrets=secrets,
            path="/x.csv?key={secret:KEY}",
            auth="{secret:LOGIN}",
        )
    assert fetch_log[0].query["key"] == SECRET
    assert fetch_log[0].headers["authorization"].startswith("Basic ")
    shown = str(caught.value) + repr(caught.value.__cause__) + caplog.text + repr(secrets)
    assert "/x.csv?key={secret:KEY}" in str(caught.value) and caught.value.__cause__ is None
    assert "urllib3" in caplog.text and "key=***" in caplog.text
    for form in ("hunter2", "s3cr3tpw", fetch_log[0].headers["authorization"][6:]):
        assert form not in shown


def test_a_connection_that_fails_shows_no_secret() -> None:
    secrets = Secrets({"KEY": SECRET})
    with (
        HttpClient(secrets, HttpLimits(tries=1, connect_s=0.5)) as client,
        pytest.raises(SourceError) as caught,
    ):
        url = "http://127.0.0.1:9/{secret:KEY}"
        client.get(Request(url=url, expected=Expected.CSV), Budget(time.monotonic, 5))
    assert "no connection" in str(caught.value) and "hunter2" not in str(caught.value)


def test_secrets_come_from_the_environment_then_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("from-file\n")
    assert Secrets({}, tmp_path).fill("k={secret:KEY}") == "k=from-file"
    assert Secrets({"KEY": "from-env"}, tmp_path).fill("{secret:KEY}") == "from-env"
    assert Secrets({"KEY": "a&b"}).fill("{secret:KEY}", quoted=True) == "a%26b"
    with pytest.raises(ConfigError, match="a secret is not set; got OTHER"):
        Secrets({}, tmp_path).fill("{secret:OTHER}")
    with pytest.raises(ConfigError, match="line break"):
        Secrets({"KEY": "a\nb: c"}).fill("{secret:KEY}")


def test_a_secret_is_never_shown_or_pickled() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}" and secret.reveal() == "hunter2"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_gunzip_takes_members_and_refuses_bombs_and_damage() -> None:
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b"), 10) == b"ab"
    for raw, words in (
        (gzip.compress(b"0" * 1_000_000), "more than 1000 bytes"),
        (gzip.compress(b"abc")[:-1], "truncated"),
        (b"\x1f\x8b" + b"x" * 20, "damaged"),
    ):
        with pytest.raises(Broken, match=words):
            gunzip(raw, 1000)


def test_payloads_are_kept_once_and_checked(tmp_path: Path) -> None:
    url = "https://x.org/?key={secret:KEY}"
    digest = keep_payload(tmp_path, CSV, url=url, at="2024-01-03", headers={"etag": "a"})
    first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert keep_payload(tmp_path, CSV, url=url, at="2024-01-04", headers={}) == digest
    assert {path: path.stat().st_mtime_ns for path in first} == first and len(first) == 2
    assert read_payload(tmp_path, digest) == CSV
    packed = next(tmp_path.rglob("*.gz"))
    packed.write_bytes(gzip.compress(b"other"))
    with pytest.raises(StoreError, match="damaged"):
        read_payload(tmp_path, digest)
    packed.write_bytes(b"no gzip")
    with pytest.raises(StoreError, match="cannot be read"):
        read_payload(tmp_path, digest)


def test_asking_needs_urllib3_only_when_it_asks() -> None:
    code = "import sys, horizoncast.data.pull, horizoncast.data.load; print('urllib3' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"

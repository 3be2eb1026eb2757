"""Ask a server over HTTP: time-outs, retries with jitter, a budget, and answers that are whole.

A server's error is tried again, with growing waits and with ``Retry-After`` honoured; a 4xx is not
(408, 425 and 429 are the server's own words for "later"). Secrets are filled in at the moment of
asking and are shown nowhere: not in errors, not in urllib3's log lines, not in what is kept.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from horizoncast.data.http_body import Answer, Broken, Expected, read_body
from horizoncast.data.http_limits import Budget, HttpLimits, full_wait
from horizoncast.data.secrets import Secrets
from horizoncast.errors import ConfigError, SourceError

if TYPE_CHECKING:
    import urllib3

AGENT = "horizoncast"
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_MOVES = 3
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2
_LOGGERS = ("urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.util.retry")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A question, with ``{secret:NAME}`` where secrets go.

    Parameters
    ----------
    url
        Address; it is shown as it stands here.
    expected
        What the answer should be.
    headers
        Further headers.
    auth
        ``user:password`` for basic authentication.
    etag, modified
        From an earlier answer; an unchanged one is not sent again.
    """

    url: str
    expected: Expected
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: str | None = None
    etag: str | None = None
    modified: str | None = None

    @property
    def secret(self) -> bool:
        """Whether a secret goes with it."""
        return "{secret:" in "".join([self.url, self.auth or "", *self.headers.values()])


class _LaterError(Exception):
    """A try that failed, where another one may not."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        self.reason = reason
        self.wait_s = wait_s
        super().__init__(reason)


class HttpClient:
    """Asks servers; a context manager that closes its connections.

    Parameters
    ----------
    secrets
        Where ``{secret:NAME}`` is looked up.
    limits
        What asking may cost.
    clock, sleep, draw
        Seconds, waiting, and numbers from 0 to 1 for the jitter; tests bring their own.
    """

    def __init__(
        self,
        secrets: Secrets,
        limits: HttpLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.secrets = secrets
        self.limits = limits or HttpLimits()
        self.clock = clock
        self.sleep = sleep
        self._draw = draw
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._filter = _Redactor(secrets)

    def __enter__(self) -> HttpClient:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._filter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            pool.clear()
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._filter)

    def get(self, request: Request, budget: Budget) -> Answer:
        """Ask until there is a whole answer, the tries are used up or the budget is spent.

        Raises
        ------
        SourceError
            With the URL as declared, the reason and what to do.
        ConfigError
            For an address that is neither https nor this machine, or a secret that is not set.
        """
        tried = 0
        while True:
            tried += 1
            try:
                return self._once(request, budget)
            except _LaterError as problem:
                wait = self._wait(tried) if problem.wait_s is None else problem.wait_s
                if tried >= self.limits.tries or wait >= budget.left():
                    raise self._given_up(request, problem, tried, wait) from None
                self.sleep(wait)

    def _wait(self, tried: int) -> float:
        """Seconds before the next try: doubling, with a random half left out."""
        return full_wait(self.limits, tried) * (0.5 + 0.5 * self._draw())

    def _given_up(self, request: Request, problem: _LaterError, tried: int, wait: float) -> SourceError:
        action = "try again later"
        if tried < self.limits.tries:
            action = f"the next try is {wait:.0f} s away, past the pull's budget; try again later"
        times = "once" if tried == 1 else f"{tried} times"
        return self._error(request, f"no answer, asked {times}", problem.reason, action)

    def _error(self, request: Request, what: str, value: str, action: str) -> SourceError:
        shown = self.secrets.redact(value)
        return SourceError(f"{request.url}: {what}", value=shown, action=action)

    def _once(self, request: Request, budget: Budget) -> Answer:
        url = checked_url(self.secrets.fill(request.url, quoted=True), request.url)
        for _ in range(_MOVES + 1):
            response = self._send(url, request, budget)
            try:
                if response.status not in _MOVED or "location" not in response.headers:
                    return self._answer(response, request, budget)
                url = self._moved(url, response.headers["location"], request)
            finally:
                response.close()  # a body read to its end has given its connection back already
        raise self._error(request, "the server sends in circles", f"{_MOVES} redirects", "correct the url")

    def _moved(self, url: str, location: str, request: Request) -> str:
        target = urljoin(url, location)
        if request.secret and urlsplit(target).netloc != urlsplit(url).netloc:
            raise self._error(
                request, "the server sends to another host", urlsplit(target).netloc, "name that host in url"
            )
        return checked_url(target, request.url)

    def _send(self, url: str, request: Request, budget: Budget) -> urllib3.BaseHTTPResponse:
        import urllib3

        left = budget.left()
        if left <= 0:
            raise self._error(request, "not asked", "the pull's budget is spent", "pull again later")
        timeout = urllib3.Timeout(
            connect=min(self.limits.connect_s, left / 4), read=min(self.limits.read_s, left / 4)
        )
        try:
            return self._pool(url).request(
                "GET",
                url,
                headers=self._headers(request),
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.SSLError as error:
            raise self._error(
                request, "the connection is not trusted", str(error), "check the certificate and the clock"
            ) from None
        except urllib3.exceptions.LocationValueError as error:
            raise self._error(request, "this is no address", str(error), "correct the url") from None
        except urllib3.exceptions.HTTPError as error:
            raise _LaterError(_reason(error)) from None

    def _headers(self, request: Request) -> dict[str, str]:
        from urllib3.util import make_headers

        headers = {"User-Agent": AGENT, "Accept": request.expected.accept, "Accept-Encoding": "gzip"}
        if request.auth is not None:
            headers |= make_headers(basic_auth=self.secrets.fill(request.auth))
        if request.etag is not None:
            headers["If-None-Match"] = request.etag
        if request.modified is not None:
            headers["If-Modified-Since"] = request.modified
        headers |= {key: self.secrets.fill(value) for key, value in request.headers.items()}
        for key, value in headers.items():
            if not (_TOKEN.fullmatch(key) and value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"{request.url}: a header cannot be sent", value=key, allowed="printable ASCII"
                )
        return headers

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Connections, through the environment's proxy where there is one."""
        import urllib3

        proxy = _proxy_of(url)
        if proxy not in self._pools:
            self._pools[proxy] = urllib3.PoolManager() if proxy is None else urllib3.ProxyManager(proxy)
        return self._pools[proxy]

    def _answer(self, response: urllib3.BaseHTTPResponse, request: Request, budget: Budget) -> Answer:
        status = response.status
        if status in LATER:
            raise _LaterError(f"status {status}", _retry_after(response.headers.get("Retry-After")))
        if status == 304 and (request.etag or request.modified):
            return Answer(status=304, headers={}, body=b"", framed=True)
        if status != 200:
            raise self._error(request, "refused", f"status {status}", _action_for(status))
        slack = min(self.limits.read_s, budget.left() / 4)  # one more read may take that long
        try:
            return read_body(
                response,
                request.expected,
                max_bytes=self.limits.max_bytes,
                late=lambda: budget.left() <= slack,
            )
        except Broken as problem:
            if problem.again:
                raise _LaterError(problem.reason) from None
            raise self._error(request, "the answer is refused", problem.reason, problem.action) from None


class _Redactor(logging.Filter):
    """Keeps secrets out of log lines."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._secrets.redact(record.getMessage()), ()
        return True


def checked_url(url: str, shown: str) -> str:
    """Refuse an address that is not encrypted, unless it is this machine's own.

    Raises
    ------
    ConfigError
        Naming the address as declared.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url
    raise ConfigError(
        "this address is not asked", value=shown, allowed="https://, or http:// on this machine"
    )


def _proxy_of(url: str) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _retry_after(text: str | None) -> float | None:
    """Seconds a server asks to wait; None when it does not, or in no known form."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    if text is None:
        return None
    try:
        return float(Retry(0).parse_retry_after(text))
    except InvalidHeader:
        return None


def _action_for(status: int) -> str:
    if status in (401, 403):
        return "check the secret that goes with it"
    if status in (404, 410):
        return "check url, base_url and series"
    return "check the url; a status 4xx is not tried again"


def _reason(error: Exception) -> str:
    """What a failure is called, without the object it names."""
    text = str(error)
    names = {
        "ConnectTimeoutError": "no connection in time",
        "ReadTimeoutError": "no answer in time",
        "NewConnectionError": "no connection",
        "NameResolutionError": "the host is not known",
        "ProtocolError": "the connection broke",
    }
    return names.get(type(error).__name__, f"{type(error).__name__}: {text}")

"""A PostgreSQL server of a test's own: in a folder, on a loopback port, stopped at the end."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "s3cr:t@pass/word"
_LOCAL = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def binary(name: str) -> Path:
    """A program of the server's package; the test is skipped without it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name)
    if not places and found is None:
        pytest.skip("PostgreSQL server absent: apt-get install postgresql")
    return places[-1] if places else Path(str(found)).resolve()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_nobody() -> dict[str, object]:
    """The server refuses to run as root."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def with_password(url: str) -> str:
    """The server's URL with its password in it."""
    return url.replace("tester@", f"tester:{quote(PASSWORD, safe='')}@")


def new_database(url: str) -> str:
    """URL of a database of its own on the server of a URL that holds the password."""
    from sqlalchemy import text

    from horizoncast.store.ledger.database import Database

    name = f"t{uuid.uuid4().hex}"
    engine = Database(url).engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return f"{url.rsplit('/', 1)[0]}/{name}"


@contextmanager
def server() -> Iterator[str]:
    """Yield ``postgresql://tester@127.0.0.1:PORT/postgres`` without its password, which is `PASSWORD`.

    The folder lies below the system's temporary folder: pytest's own is closed to other users.
    """
    initdb, pg_ctl = binary("initdb"), binary("pg_ctl")
    home = Path(tempfile.mkdtemp(prefix="horizoncast-pg-"))
    who, environ = _as_nobody(), {"PATH": os.environ["PATH"], **_LOCAL}
    if who:
        os.chown(home, 65534, 65534)
    data, port, secret = home / "data", _free_port(), home / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)

    def call(*command: object, check: bool = True) -> None:
        texts = [str(part) for part in command]
        done = subprocess.run(
            texts, cwd=home, env=environ, timeout=60, check=False, capture_output=True, text=True, **who
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr

    try:
        call(initdb, "-D", data, "-U", "tester", "-A", "scram-sha-256", f"--pwfile={secret}", "-N")
        options = f"-F -c listen_addresses=127.0.0.1 -p {port} -k {home} -c max_connections=10"
        call(pg_ctl, "-D", data, "-w", "-t", "30", "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            call(pg_ctl, "-D", data, "-m", "immediate", "-t", "20", "stop", check=False)
    finally:
        shutil.rmtree(home, ignore_errors=True)

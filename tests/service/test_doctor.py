"""Doctor: each misconfiguration is found and named, and a healthy place has none of them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from chronos_checkpoints import make_bolt
from due_services import FRIDAY, write_services
from horizoncast.service import doctor, doctor_machine
from horizoncast.service.doctor import examine, worst
from horizoncast.service.findings import Finding, Level
from horizoncast.service.folders import Places
from horizoncast.service.settings import load_settings
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Message
from ledger_runs import START, a_record, commit

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "services/one/service.toml"


class Patient:
    """A root with two healthy services, and what is done to it.

    Parameters
    ----------
    root
        An empty folder.
    patch, undo
        For what a test cannot have as it is, and for processes that are to be ended.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, undo: ExitStack) -> None:
        self.root, self.patch, self.undo = root, patch, undo
        self.environ: dict[str, str] = {}
        self.now = FRIDAY
        write_services(root, names=("one", "two"))
        (root / "runs").mkdir()

    def set(self, text: str, service: str = "one") -> None:
        """Put lines before the first table of a service's settings."""
        file = self.root / "services" / service / "service.toml"
        file.write_text(f"{text}\n{file.read_text()}")

    def table(self, text: str, service: str = "one") -> None:
        """Put a table at the end of them."""
        file = self.root / "services" / service / "service.toml"
        file.write_text(f"{file.read_text()}\n{text}\n")

    def replace(self, old: str, new: str, name: str = "toy.toml") -> None:
        """Change a file's text, which must have been there."""
        file = self.root / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    def examine(self) -> list[Finding]:
        return examine(Places(root=self.root), self.environ, self.now)


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    monkeypatch.setattr(doctor, "_installed", lambda: FRIDAY - timedelta(days=30))
    monkeypatch.setattr(doctor_machine, "CRONTABS", (f"{tmp_path}/cron/*",))
    monkeypatch.setattr(doctor_machine.shutil, "which", lambda name: None)
    for name in doctor_machine.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as undo:
        yield Patient(tmp_path, monkeypatch, undo)


def cron(p: Patient, line: str) -> None:
    (p.root / "cron").mkdir()
    (p.root / "cron" / "root").write_text(f"MAILTO=a\n# a comment on horizoncast\n{line}\n")


def closed_port(p: Patient) -> None:
    p.table('[ledger]\nurl = "postgresql://me@127.0.0.1:9/none"\ntimeout_s = 1.0')


def newer_ledger(p: Patient) -> None:
    from sqlalchemy import text

    found = Ledger.at(p.root / "runs")
    with found.database.writing() as connection:
        connection.execute(text("INSERT INTO schema_version VALUES (99, '2030-01-01')"))


def orphaned_lock(p: Patient) -> None:
    """A process takes the lock, starts another one and dies; that one keeps the file open."""
    script = (
        "import fcntl, os, sys, time\n"
        "handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(handle, fcntl.LOCK_EX)\n"
        "child = os.fork()\n"
        "if child:\n    print(child, flush=True)\n    os._exit(0)\n"
        "os.close(1)\ntime.sleep(600)\n"
    )
    taker = subprocess.run(
        [sys.executable, "-c", script, str(p.root / "runs" / doctor_machine.TICK_LOCK)],
        stdout=subprocess.PIPE,
        check=True,
    )
    p.undo.callback(os.kill, int(taker.stdout), signal.SIGKILL)


def old_holder(p: Patient) -> None:
    """A live process has it, and by the clock it has been there since yesterday."""
    orphaned_lock(p)
    p.patch.setattr(doctor_machine, "_age_of", lambda pid: 90_000.0)


def committed_ahead(p: Patient) -> None:
    commit(Ledger.at(p.root / "runs"), p.root / "runs", a_record())  # committed by the real clock


def greedy_member(p: Patient) -> None:
    record = a_record(name="toy", service="one")
    usage = SimpleNamespace(wall_s=1.0, cpu_s=1.0, peak_mb=1900.0)
    members = tuple(replace(m, usage=usage) if m.name == "random_walk" else m for m in record.members)
    commit(Ledger.at(p.root / "runs"), p.root / "runs", replace(record, members=members))
    p.now = datetime.now(tz=UTC) + timedelta(days=1)  # the commit is of today
    p.patch.setattr(doctor, "memory_limit", lambda: 2000 * 2**20)


def world_readable(p: Patient, name: str, mode: int) -> None:
    file = p.root / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("HUSH=hush\n")
    file.chmod(mode)


def room(p: Patient, mebibytes: int) -> None:
    usage = SimpleNamespace(free=mebibytes * 2**20)
    p.patch.setattr(doctor_machine.shutil, "disk_usage", lambda folder: usage)


def on_nfs(p: Patient) -> None:
    table = p.root / "mounts"
    table.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {p.root} nfs4 rw 0 0\n")
    real = doctor_machine.kind_of
    p.patch.setattr(doctor_machine, "kind_of", lambda path: real(path, table))


def broken_covariate(p: Patient) -> None:
    target = p.root / "toy.toml"
    target.write_text(
        target.read_text() + '[[covariates]]\nname = "copper"\n'
        '[covariates.source]\ntype = "csv"\npath = "copper.csv"\nvalue_column = "value"\n'
    )


def missed_moment(p: Patient) -> None:
    Ledger.at(p.root / "runs")
    record = replace(a_record(name="toy", service="one"))
    commit(Ledger.at(p.root / "runs"), p.root / "runs", record)
    p.now = datetime.now(tz=UTC) + timedelta(days=30)


def absent_member(p: Patient) -> None:
    p.patch.setattr(doctor.doctor_settings, "_runs", lambda name: name != "var")
    p.replace('[members.var]\nstate = "off"', '[members.var]\nstate = "on"', SERVICE)


def half_past_midnight(p: Patient) -> None:
    p.replace("[cadence]", '[cadence]\ntime = "00:30"', SERVICE)
    p.replace('days = ["fri"]', 'days = ["sun"]', SERVICE)


Fault = tuple[Callable[[Patient], object], str, Level, str]
FAULTS: dict[str, Fault] = {
    "bad time zone": (
        lambda p: p.replace("[cadence]", '[cadence]\ntimezone = "America/Santiaga"', SERVICE),
        "settings of one",
        Level.FAIL,
        "America/Santiago",
    ),
    "unknown setting": (
        lambda p: p.table("[decison]\nrule = 'equal'"),
        "settings of one",
        Level.FAIL,
        "decison",
    ),
    "settings that are no TOML": (
        lambda p: p.table("[cadence"),
        "settings of one",
        Level.FAIL,
        "no valid TOML",
    ),
    "misspelt variable": (
        lambda p: p.environ.update(ENABLE_CRONOS="on"),
        "settings of one",
        Level.FAIL,
        "ENABLE_CHRONOS",
    ),
    "unknown variable of ours": (
        lambda p: p.environ.update(HORIZONCAST_RUN__OUTPTU="x"),
        "settings of one",
        Level.FAIL,
        "outptu",
    ),
    "line of .env that cannot be read": (
        lambda p: (p.root / ".env").write_text("just words\n"),
        "settings of one",
        Level.FAIL,
        ".env, line 1",
    ),
    "folder without service.toml": (
        lambda p: (p.root / "services" / "three").mkdir(),
        "services",
        Level.WARN,
        "services/three",
    ),
    "no service at all": (
        lambda p: [shutil.rmtree(p.root / "services" / n) for n in ("one", "two")],
        "services",
        Level.FAIL,
        "no services/NAME/service.toml",
    ),
    "member on and not installed": (
        absent_member,
        "members of one",
        Level.FAIL,
        "var is on and its package is not installed",
    ),
    "tick ends runs before members may": (
        lambda p: p.table("[tick]\nrun_minutes = 5"),
        "limits of one",
        Level.FAIL,
        "300 s",
    ),
    "members not isolated": (
        lambda p: p.table("[run]\nisolated = false"),
        "limits of one",
        Level.WARN,
        "run.isolated is false",
    ),
    "more workers than processors": (
        lambda p: p.table("[run]\nworkers = 64"),
        "limits of one",
        Level.WARN,
        "64 on",
    ),
    "hour of the clock change": (
        half_past_midnight,
        "schedule of one",
        Level.WARN,
        "00:30 America/Santiago does not exist on 2026-09-06",
    ),
    "cron joins day and weekday by or": (
        lambda p: cron(p, "0 7 1-7 * 2 root horizoncast run forecaster_90d"),
        "cron",
        Level.WARN,
        "by or",
    ),
    "cron calls run": (
        lambda p: cron(p, "0 7 * * 1 cd /srv && /opt/bin/horizoncast run forecaster_7d"),
        "cron",
        Level.WARN,
        "revision",
    ),
    "two ledgers in one Prometheus file": (
        lambda p: [
            p.table(f'[notify]\nprometheus = "m.prom"\n[run]\noutput = "{n}"', n) for n in ("one", "two")
        ],
        "shared places",
        Level.FAIL,
        "one, two: one Prometheus file",
    ),
    "one PostgreSQL ledger for two folders": (
        lambda p: [
            p.table(
                f'[ledger]\nurl = "postgresql://127.0.0.1:9/x"\ntimeout_s = 1.0\n[run]\noutput = "{n}"', n
            )
            for n in ("one", "two")
        ],
        "shared places",
        Level.FAIL,
        "one, two: one ledger by URL",
    ),
    "one health check for two services": (
        lambda p: [p.table('[notify]\nping = "http://127.0.0.1:9/x"', n) for n in ("one", "two")],
        "shared places",
        Level.FAIL,
        "one health check",
    ),
    "two services make one forecast": (
        lambda p: p.replace('horizon = "4d"', 'horizon = "3d"', "services/two/service.toml"),
        "shared places",
        Level.FAIL,
        "published twice",
    ),
    "results inside the cache": (
        lambda p: p.table('[run]\ncache = "runs/cache"'),
        "folders",
        Level.FAIL,
        "run.cache and run.output",
    ),
    "results cannot be written": (
        lambda p: (p.root / "blocked").write_text("") or p.table('[run]\noutput = "blocked"'),
        "output folder",
        Level.FAIL,
        "blocked",
    ),
    "disk nearly full": (lambda p: room(p, 200), "output folder", Level.WARN, "200 MiB free"),
    "disk full": (lambda p: room(p, 10), "output folder", Level.FAIL, "10 MiB free"),
    "results on a network share": (on_nfs, "file system", Level.FAIL, "nfs4"),
    "limit below what a run needs": (
        lambda p: p.patch.setattr(doctor_machine, "memory_limit", lambda: 300 * 2**20),
        "memory",
        Level.FAIL,
        "300 MiB may be used",
    ),
    "little memory free": (
        lambda p: p.patch.setattr(doctor_machine, "memory_available", lambda: 400 * 2**20),
        "memory",
        Level.WARN,
        "400 MiB are free",
    ),
    "member that never fits": (greedy_member, "members of one", Level.FAIL, "random_walk took 1900 MiB"),
    "threads set too high": (
        lambda p: p.patch.setenv("OMP_NUM_THREADS", "2"),
        "threads",
        Level.WARN,
        "OMP_NUM_THREADS=2",
    ),
    "package missing": (
        lambda p: p.patch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package")),
        "packages",
        Level.FAIL,
        "no-such-package",
    ),
    "time zones missing": (
        lambda p: p.patch.setattr(doctor.zoneinfo, "available_timezones", set),
        "time zones",
        Level.FAIL,
        "missing",
    ),
    "clock before the installation": (
        lambda p: setattr(p, "now", datetime(2020, 1, 1, tzinfo=UTC)),
        "clock",
        Level.FAIL,
        "before this program",
    ),
    "clock before the newest run": (committed_ahead, "clock", Level.FAIL, "committed"),
    "secrets that others can read": (
        lambda p: world_readable(p, ".env", 0o644),
        "secrets of one",
        Level.WARN,
        ".env can be read",
    ),
    "secret file that others can read": (
        lambda p: world_readable(p, "hush/KEY", 0o640) or p.table('[data]\nsecrets = "hush"'),
        "secrets of one",
        Level.WARN,
        "hush/KEY can be read",
    ),
    "password in a settings file": (
        lambda p: p.table('[notify]\nsmtp_password = "hush"'),
        "secrets of one",
        Level.FAIL,
        "notify.smtp_password",
    ),
    "password in the ledger's address": (
        lambda p: p.table('[ledger]\nurl = "postgresql://me:hush@127.0.0.1:9/x"\ntimeout_s = 1.0'),
        "secrets of one",
        Level.FAIL,
        "ledger.url",
    ),
    "secret that is not set": (
        lambda p: p.table('[notify]\nping = "https://hc-ping.com/{secret:PING_ID}"'),
        "secrets of one",
        Level.FAIL,
        "PING_ID",
    ),
    "people without a mail server": (
        lambda p: p.table('[notify]\nmail_to = ["a@example.org"]'),
        "messages of one",
        Level.FAIL,
        "no mail is ever sent",
    ),
    "account without a password": (
        lambda p: p.table('[notify]\nmail_to = ["a@example.org"]\nsmtp_host = "x"\nsmtp_user = "me"'),
        "messages of one",
        Level.FAIL,
        "smtp_password is empty",
    ),
    "webhook of no known kind": (
        lambda p: p.table('[notify]\nwebhooks = ["json://127.0.0.1", "slakc://hush/x"]'),
        "messages of one",
        Level.FAIL,
        "number 2: apprise does not know",
    ),
    "webhooks without apprise": (
        lambda p: (
            p.patch.setitem(sys.modules, "apprise", None),
            p.table('[notify]\nwebhooks = ["json://127.0.0.1"]'),
        ),
        "messages of one",
        Level.FAIL,
        "horizoncast[notify]",
    ),
    "Prometheus folder missing": (
        lambda p: p.table('[notify]\nprometheus = "nowhere/x.prom"'),
        "messages of one",
        Level.FAIL,
        "nowhere",
    ),
    "target missing": (
        lambda p: (p.root / "toy.toml").unlink(),
        "target toy.toml",
        Level.FAIL,
        "toy.toml",
    ),
    "data missing": (
        lambda p: (p.root / "toy.csv").unlink(),
        "target toy.toml",
        Level.FAIL,
        "toy.csv",
    ),
    "covariate missing": (broken_covariate, "target toy.toml", Level.FAIL, "copper.csv"),
    "stale data": (
        lambda p: setattr(p, "now", FRIDAY + timedelta(days=40)),
        "target toy.toml",
        Level.WARN,
        "sessions old",
    ),
    "ledger of a newer program": (newer_ledger, "ledger", Level.FAIL, "newer horizoncast"),
    "PostgreSQL that does not answer": (closed_port, "ledger", Level.FAIL, "cannot"),
    "ledger of another kind": (
        lambda p: p.table('[ledger]\nurl = "mysql://127.0.0.1/x"'),
        "ledger",
        Level.FAIL,
        "postgresql://",
    ),
    "damaged ledger": (
        lambda p: (p.root / "runs" / "ledger.sqlite").write_bytes(b"damage" * 500),
        "ledger",
        Level.FAIL,
        "cannot",
    ),
    "lock of a process that is gone": (orphaned_lock, "locks", Level.FAIL, "is gone"),
    "lock held since yesterday": (old_holder, "locks", Level.WARN, "25.0 hours"),
    "nothing calls tick": (missed_moment, "trigger of one", Level.WARN, "not published"),
}


def named(findings: list[Finding], fault: Fault) -> list[Finding]:
    _, check, level, words = fault
    return [f for f in findings if (f.check, f.level) == (check, level) and words in f"{f.text}; {f.action}"]


def test_there_are_more_than_twenty_faults() -> None:
    assert len(FAULTS) > 40


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_found_and_named(patient: Patient, name: str) -> None:
    FAULTS[name][0](patient)
    findings = patient.examine()
    (found,) = named(findings, FAULTS[name])
    assert found.action
    assert "hush" not in repr(findings).replace("hush/", "")  # no secret is shown


def test_a_healthy_place_has_none_of_them(patient: Patient) -> None:
    findings = patient.examine()
    assert [f for f in findings if f.level is Level.FAIL] == []
    assert [name for name, fault in FAULTS.items() if named(findings, fault)] == []
    assert [f.check for f in findings if f.level is Level.WARN] == ["members of one", "members of two"]


def test_what_ships_is_healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder of its own, as the deployment page lays it out."""
    for name in ("config", "services"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(doctor_machine, "CRONTABS", ())
    found = examine(Places(root=tmp_path), {})
    assert [f for f in found if f.level is Level.FAIL] == []
    assert len([f for f in found if f.check.startswith("settings of")]) == 4


def test_leftovers_are_found_when_old(patient: Patient) -> None:
    stale = patient.root / "runs" / ".staging" / "run"
    stale.mkdir(parents=True)
    assert {f.level for f in patient.examine() if f.check == "leftovers"} == {Level.OK}
    past = time.time() - 2 * doctor_machine.STALE_S
    os.utime(stale, (past, past))
    (found,) = (f for f in patient.examine() if f.check == "leftovers")
    assert found.level is Level.WARN
    assert str(stale) in found.text


def test_messages_that_did_not_arrive_and_broken_invariants_are_named(tmp_path: Path) -> None:
    settings = load_settings("forecaster_7d", root=tmp_path, environ={})

    def looked() -> list[tuple[str, Level]]:
        return [(f.check, f.level) for f in doctor.ledger(settings, START + timedelta(days=400))]

    assert looked() == [("ledger", Level.OK)]
    assert not settings.output_folder.exists()
    found = Ledger.at(settings.output_folder)
    done = commit(found, settings.output_folder, a_record())
    assert looked() == [("ledger", Level.OK)]
    found.outbox.add([Message(key="k", channel="mail", payload={})])
    found.outbox.mark_failed(found.outbox.all()[0], "mail: timed out", datetime.now(tz=UTC))
    assert looked() == [("ledger", Level.OK), ("messages", Level.WARN)]
    (done.folder.parent / "latest.json").unlink()
    assert looked()[0] == ("ledger", Level.WARN)
    (done.folder / "forecast.csv").write_text("")
    assert looked()[0] == ("ledger", Level.FAIL)


def test_a_lock_at_work_is_nothing_wrong(patient: Patient) -> None:
    from horizoncast.store.locks import alone

    with alone(patient.root / "runs" / doctor_machine.TICK_LOCK):
        (found,) = (f for f in patient.examine() if f.check == "locks")
    assert found.level is Level.OK
    assert f"process {os.getpid()}" in found.text


def test_the_file_that_a_killed_process_locked_holds_nothing(patient: Patient) -> None:
    orphaned_lock(patient)
    patient.undo.close()  # what it left behind is ended, too
    deadline = time.monotonic() + 10
    while doctor_machine.holders().get((patient.root / "runs" / ".tick.lock").stat().st_ino):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {f.text for f in patient.examine() if f.check == "locks"} == {"none is held"}


def test_the_worst_finding_counts() -> None:
    ok, bad = Finding(check="a", level=Level.OK, text=""), Finding(check="b", level=Level.FAIL, text="")
    assert (worst([]), worst([ok]), worst([ok, bad])) == (Level.OK, Level.OK, Level.FAIL)


def test_every_check_is_documented(patient: Patient) -> None:
    page = (
        (ROOT / "docs" / "operations.md").read_text().split("## What `doctor` looks at")[1].split("\n## ")[0]
    )
    checks = {f.check.split(" of ")[0].split(" toy")[0] for f in patient.examine()}
    checks |= {check.split(" of ")[0].split(" toy")[0] for _, check, _, _ in FAULTS.values()}
    assert {check for check in checks if f"| {check} |" not in page} == set()


def test_the_checkpoint_that_would_run_is_named(patient: Patient) -> None:
    def model(**environ: str) -> Finding:
        patient.environ = dict(environ)
        (found,) = (f for f in patient.examine() if f.check == "chronos model")
        return found

    make_bolt(patient.root / "models" / "own", name="me/own")
    found = model(HORIZONCAST_MEMBERS__CHRONOS__MODEL="me/own")
    assert found.level is Level.OK
    assert "me/own at 1" in found.text
    missing = model(HORIZONCAST_MEMBERS__CHRONOS__MODEL="me/other", ENABLE_CHRONOS="shadow")
    assert missing.level is Level.WARN
    assert missing.action
    unused = model(HORIZONCAST_MEMBERS__CHRONOS__MODEL="me/other", ENABLE_CHRONOS="off")
    assert unused.level is Level.OK

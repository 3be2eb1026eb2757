"""What would stop a run here, found before it happens: each finding says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from horizoncast.errors import HorizoncastError, NotInstalledError
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.registry import MEMBERS, member_class
from horizoncast.policy.states import MemberState
from horizoncast.resources import MIB, THREAD_VARIABLES, memory_available, memory_limit
from horizoncast.service.folders import Places
from horizoncast.service.settings import Settings, load_settings
from horizoncast.store.results import STAGING

PACKAGES: tuple[str, ...] = (
    "horizoncast", "numpy", "scipy", "pandas", "pyarrow", "statsmodels", "arch", "scikit-learn",
    "pydantic", "pydantic-settings", "pebble", "holidays", "currencyconverter", "matplotlib",
)  # fmt: skip
OPTIONAL = ("torch", "chronos-forecasting")

MIN_DISK_MB = 500
MIN_MEMORY_MB = 1000
STALE_S = 86_400.0
"""Leftovers older than a day belong to no run that is alive."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at.

    Parameters
    ----------
    check
        What was looked at.
    level
        Ok, worth knowing, or in the way of a run.
    text
        What was found.
    action
        What to do; empty when nothing is.
    """

    check: str
    level: Level
    text: str
    action: str = ""


def examine(places: Places, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything a run needs; never raises for what it finds."""
    findings = [*python_and_packages(), *members(), *machine(), *clock()]
    settings = {}
    for service in places.services():
        found, loaded = configuration(service, places, environ)
        findings.append(found)
        if loaded is not None:
            settings[service] = loaded
    if not places.services():
        text = f"no services/NAME/service.toml below {places.root}"
        findings.append(_fail("services", text, "add one, or remove the services folder"))
    findings += _once(settings.values(), folders)
    findings += _once(settings.values(), leftovers)
    findings += _once(settings.values(), ledger)
    findings += _once(settings.values(), chronos_model)
    return [*findings, *_once(settings.values(), target)]


def worst(findings: list[Finding]) -> Level:
    """The worst level among findings."""
    order = list(Level)
    return max((f.level for f in findings), key=order.index, default=Level.OK)


def python_and_packages() -> Iterator[Finding]:
    """Version of Python and of every package that numbers depend on."""
    version = platform.python_version()
    fits = sys.version_info >= (3, 11)
    yield _ok("python", version) if fits else _fail("python", version, "install Python 3.11 or later")
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, text in found.items() if text is None]
    if missing:
        yield _fail("packages", f"not installed: {', '.join(missing)}", "pip install horizoncast again")
    yield _ok("packages", ", ".join(f"{name} {text}" for name, text in found.items() if text is not None))
    neural = {name: _version(name) for name in OPTIONAL}
    words = ", ".join(f"{name} {text or 'not installed'}" for name, text in neural.items())
    yield _ok("optional packages", words)


def members() -> Iterator[Finding]:
    """Which members can run."""
    for name in MEMBERS:
        try:
            member_class(name)
        except NotInstalledError as error:
            yield _warn(f"member {name}", str(error), error.action or "")
        else:
            yield _ok(f"member {name}", "can run")


def machine() -> Iterator[Finding]:
    """Memory as the container limits it, processors, threads."""
    limit, free = memory_limit() // MIB, memory_available() // MIB
    text = f"{limit} MiB may be used in all, {free} MiB are free now"
    if free < MIN_MEMORY_MB:
        yield _warn("memory", text, "stop other programs, or raise the container's limit")
    else:
        yield _ok("memory", text)
    cores = len(os.sched_getaffinity(0))
    threads = {key: os.environ[key] for key in THREAD_VARIABLES if key in os.environ}
    words = ", ".join(f"{key}={value}" for key, value in threads.items()) or "one per member (default)"
    several = any(value.isdigit() and int(value) > 1 for value in threads.values())
    text = f"{cores} processors; threads: {words}"
    if several:
        action = "unset them: on a busy two-core machine two threads ran fifty times slower than one"
        yield _warn("threads", text, action)
    else:
        yield _ok("threads", text)


def clock() -> Iterator[Finding]:
    """The time zone database, and a clock that is not obviously wrong."""
    if "America/Santiago" not in zoneinfo.available_timezones():
        yield _fail("time zones", "the time zone database is missing", "pip install tzdata")
    else:
        count = len(zoneinfo.available_timezones())
        yield _ok(
            "time zones", f"{count} zones, TZPATH {', '.join(zoneinfo.TZPATH) or 'none: tzdata package'}"
        )
    year = datetime.now().astimezone().year
    if year < 2025:
        yield _fail("clock", f"the clock says {year}", "set the clock: dates after it are refused as future")


def configuration(
    service: str, places: Places, environ: Mapping[str, str]
) -> tuple[Finding, Settings | None]:
    """Whether a service's settings can be read, and what it would run."""
    try:
        settings = load_settings(
            service, root=places.root, environ=environ, config=places.config, env_file=places.env_file
        )
        settings.engine_config()
    except HorizoncastError as error:
        return _fail(f"settings of {service}", str(error), "correct the setting named"), None
    on = ", ".join(f"{n} {m.state}" for n, m in settings.members.items() if m.state is not MemberState.OFF)
    if settings.notes():
        return _warn(f"settings of {service}", "; ".join(settings.notes()), "switch it off"), settings
    return _ok(f"settings of {service}", f"{settings.horizon}: {on}"), settings


def folders(settings: Settings) -> Iterator[Finding]:
    """Whether output and cache can be written, and have room."""
    for what, folder in (("output folder", settings.output_folder), ("cache folder", settings.cache_folder)):
        home = _existing(folder)
        try:
            with tempfile.TemporaryFile(dir=home):
                free = shutil.disk_usage(home).free // MIB
        except OSError as error:
            words = error.strerror or str(error)
            yield _fail(what, f"{folder}: {words}", "give write permission, or set another folder")
            continue
        text = f"{folder}: writable, {free} MiB free"
        yield _ok(what, text) if free >= MIN_DISK_MB else _warn(what, text, "make room on the disk")


def leftovers(settings: Settings) -> Iterator[Finding]:
    """Staging folders and half-written files that no living run owns."""
    places = [*(settings.output_folder / STAGING).glob("*"), *settings.cache_folder.rglob(".*.part")]
    old = [path for path in places if time.time() - _changed(path) > STALE_S]
    if old:
        text = f"{len(old)} left by interrupted runs, the first {old[0]}"
        yield _warn("leftovers", text, "the next run sweeps staging folders; remove .part files by hand")
    else:
        yield _ok("leftovers", "none")


def ledger(settings: Settings) -> Iterator[Finding]:
    """Whether the ledger can be read and holds, and what waits in its outbox; makes none."""
    from horizoncast.service.ledgers import has_ledger, open_ledger
    from horizoncast.store.ledger.invariants import check_invariants

    if not has_ledger(settings):
        yield _ok("ledger", "none yet: the first run makes it")
        return
    root = settings.output_folder
    try:
        found = open_ledger(settings)
        broken = check_invariants(found, root, deep=False)
        waiting = [row for row in found.outbox.all() if row.sent is None and row.problem]
        runs = len(found.runs.all())
    except HorizoncastError as error:
        yield _fail("ledger", str(error), "restore a backup, see docs/operations.md")
        return
    hard = [b for b in broken if not b.derived]
    if hard:
        text = f"{found.name}: {len(hard)} invariants broken, the first: {hard[0].text}"
        yield _fail("ledger", text, "see `horizoncast ledger check`")
    elif broken:
        yield _warn("ledger", f"{found.name}: {broken[0].text}", "the next run mends it")
    else:
        yield _ok("ledger", f"{found.name}: {runs} runs, all invariants hold")
    if waiting:
        text = f"{len(waiting)} messages did not arrive, the last: {waiting[-1].problem}"
        yield _warn("messages", text, "correct [notify]; the next run tries again")


def chronos_model(settings: Settings) -> Iterator[Finding]:
    """Which checkpoint the member `chronos` would run; its files are checked by `models verify`."""
    from horizoncast.models.chronos.folder import read_manifest

    setting = next(m for m in settings.engine_config().members if m.name == "chronos")
    if not isinstance(setting.config, ChronosConfig):
        return
    try:
        found = read_manifest(setting.config.folder())
    except HorizoncastError as error:
        if setting.state is MemberState.OFF:
            yield _ok("chronos model", f"none, and the member is off ({error})")
        else:
            yield _warn("chronos model", str(error), "fetch one, or set ENABLE_CHRONOS=off")
        return
    yield _ok("chronos model", f"{found.name} at {found.revision[:12]}, {found.parameters:,} parameters")


def target(settings: Settings) -> Iterator[Finding]:
    """Whether the target can be read, and what its checks find."""
    from horizoncast.data.load import check_target
    from horizoncast.data.target_file import read_target

    name = f"target {settings.target}"
    try:
        report = check_target(read_target(settings.target_path), store=settings.store_folder)
    except HorizoncastError as error:
        yield _fail(name, str(error), "see `horizoncast data check`")
        return
    text = f"{report.observed} sessions from {report.place}, {report.stale} sessions old"
    if report.errors:
        yield _fail(name, f"{text}; {report.errors[0].message}", "see `horizoncast data check`")
    elif report.warnings:
        yield _warn(name, f"{text}; {report.warnings[0].message}", "see `horizoncast data check`")
    else:
        yield _ok(name, text)


def _once(settings: Iterable[Settings], look: Callable[[Settings], Iterator[Finding]]) -> list[Finding]:
    """Findings over all services, those that are the same only once."""
    return list(dict.fromkeys(f for one in settings for f in look(one)))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # a run that ended in between took it away
        return time.time()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _ok(check: str, text: str) -> Finding:
    return Finding(check=check, level=Level.OK, text=text)


def _warn(check: str, text: str, action: str) -> Finding:
    return Finding(check=check, level=Level.WARN, text=text, action=action)


def _fail(check: str, text: str, action: str) -> Finding:
    return Finding(check=check, level=Level.FAIL, text=text, action=action)

"""What would stop a run here, found before it happens: each finding says what to do.

This module looks at the installation, the data and the ledger; `doctor_settings` at what settings say,
`doctor_machine` at what the machine does.
"""

from __future__ import annotations

import os
import platform
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from horizoncast.errors import HorizoncastError, NotInstalledError
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.registry import MEMBERS, member_class
from horizoncast.policy.admission import RESERVE_MB
from horizoncast.policy.states import MemberState
from horizoncast.resources import MIB, memory_limit
from horizoncast.service import doctor_machine, doctor_settings
from horizoncast.service.findings import Finding, Level, fail, ok, warn
from horizoncast.service.folders import Places
from horizoncast.service.settings import Settings, load_settings

if TYPE_CHECKING:
    from horizoncast.store.ledger.ledger import Ledger

PACKAGES: tuple[str, ...] = (
    "horizoncast", "numpy", "scipy", "pandas", "pyarrow", "statsmodels", "arch", "scikit-learn",
    "pydantic", "pydantic-settings", "pebble", "holidays", "currencyconverter", "matplotlib",
)  # fmt: skip
OPTIONAL = ("torch", "chronos-forecasting")
SKEW = timedelta(minutes=5)
"""Clocks of two machines that are kept right differ by less."""

Look = Callable[[Settings], Iterator[Finding]]


def examine(places: Places, environ: Mapping[str, str], now: datetime | None = None) -> list[Finding]:
    """Look at everything a run needs; never raises for what it finds.

    Parameters
    ----------
    environ
        Variables that settings and secrets may be in.
    now
        What the clock says; the system's by default.
    """
    moment, cores = now or datetime.now(tz=UTC), len(os.sched_getaffinity(0))
    findings = [*python_and_packages(), *members(), *doctor_machine.machine(), *clock(moment)]
    found, settings = services(places, environ)
    looks: tuple[Look, ...] = (
        lambda s: doctor_settings.states(s, cores),
        lambda s: doctor_settings.schedule(s, moment),
        lambda s: doctor_settings.secrets(s, environ),
        lambda s: doctor_settings.channels(s, environ),
        doctor_settings.folders_apart,
        doctor_machine.folders,
        doctor_machine.file_system,
        doctor_machine.leftovers,
        doctor_machine.locks,
        lambda s: ledger(s, moment),
        chronos_model,
        lambda s: overdue(s, environ, moment),
        lambda s: target(s, moment),
    )
    findings += [*found, *doctor_settings.sharing(settings), *doctor_machine.triggers()]
    return [*findings, *(finding for look in looks for finding in _once(settings, look))]


def worst(findings: list[Finding]) -> Level:
    """The worst level among findings."""
    order = list(Level)
    return max((f.level for f in findings), key=order.index, default=Level.OK)


def python_and_packages() -> Iterator[Finding]:
    """Version of Python and of every package that numbers depend on."""
    version = platform.python_version()
    fits = sys.version_info >= (3, 11)
    yield ok("python", version) if fits else fail("python", version, "install Python 3.11 or later")
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, text in found.items() if text is None]
    if missing:
        yield fail("packages", f"not installed: {', '.join(missing)}", "pip install horizoncast again")
    yield ok("packages", ", ".join(f"{name} {text}" for name, text in found.items() if text is not None))
    neural = {name: _version(name) for name in OPTIONAL}
    words = ", ".join(f"{name} {text or 'not installed'}" for name, text in neural.items())
    yield ok("optional packages", words)


def members() -> Iterator[Finding]:
    """Which members could run; whether one that is asked for can is told service by service."""
    absent = [name for name in MEMBERS if not _can_run(name)]
    yield ok("members", f"can run: {', '.join(name for name in MEMBERS if name not in absent)}")
    if absent:
        yield ok("members", f"not installed: {', '.join(absent)} (pip install 'horizoncast[neural]')")


def clock(now: datetime) -> Iterator[Finding]:
    """The time zone database, and a clock that cannot be right."""
    zones = zoneinfo.available_timezones()
    if "America/Santiago" not in zones:
        yield fail("time zones", "the time zone database is missing", "pip install tzdata")
    else:
        places = ", ".join(zoneinfo.TZPATH) or "none: tzdata package"
        yield ok("time zones", f"{len(zones)} zones, TZPATH {places}")
    installed = _installed()
    if now < installed - SKEW:
        text = f"it says {now:%Y-%m-%d %H:%M}, before this program was installed ({installed:%Y-%m-%d %H:%M})"
        yield fail("clock", text, "set it: what is due, and what is a future value, is judged by it")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M} UTC")


def services(places: Places, environ: Mapping[str, str]) -> tuple[list[Finding], list[Settings]]:
    """Settings of every service that can be read, and folders that are no service."""
    findings, settings = [], []
    for service in places.services():
        found, loaded = configuration(service, places, environ)
        findings.append(found)
        settings += [] if loaded is None else [loaded]
    if not places.services():
        text = f"no services/NAME/service.toml below {places.root}"
        findings.append(fail("services", text, "add one, or remove the services folder"))
    folders = sorted(path for path in (places.root / "services").glob("*") if path.is_dir())
    for folder in folders:
        if not (folder / "service.toml").is_file():
            text = f"{places.short(folder)} holds no service.toml: it is no service and never runs"
            findings.append(warn("services", text, "add service.toml, or remove the folder"))
    return findings, settings


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
        return fail(f"settings of {service}", str(error), "correct the setting named"), None
    on = ", ".join(f"{n} {m.state}" for n, m in settings.members.items() if m.state is not MemberState.OFF)
    if settings.notes():
        action = "switch its parts on, or it off"
        return warn(f"settings of {service}", "; ".join(settings.notes()), action), settings
    return ok(f"settings of {service}", f"{settings.horizon}: {on}"), settings


def ledger(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether the ledger can be read and holds, and what waits in its outbox; makes none."""
    from horizoncast.service.ledgers import has_ledger, open_ledger
    from horizoncast.store.ledger.invariants import check_invariants

    if not has_ledger(settings):
        yield ok("ledger", "none yet: the first run makes it")
        return
    try:
        found = open_ledger(settings)
        broken = check_invariants(found, settings.output_folder, deep=False)
        waiting = [row for row in found.outbox.all() if row.sent is None and row.problem]
        runs = found.runs.all()
        peaks = _peaks(found, settings)
    except HorizoncastError as error:
        yield fail("ledger", str(error), "see docs/operations.md, When something broke")
        return
    hard = [b for b in broken if not b.derived]
    if hard:
        text = f"{found.name}: {len(hard)} invariants broken, the first: {hard[0].text}"
        yield fail("ledger", text, "see `horizoncast ledger check`")
    elif broken:
        yield warn("ledger", f"{found.name}: {broken[0].text}", "the next run mends it")
    else:
        yield ok("ledger", f"{found.name}: {len(runs)} runs, all invariants hold")
    if waiting:
        text = f"{len(waiting)} messages did not arrive, the last: {waiting[-1].problem}"
        yield warn("messages", text, "correct [notify]; the next run tries again")
    newest = max((datetime.fromisoformat(run.committed) for run in runs), default=now)
    if newest > now + SKEW:
        text = (
            f"it says {now:%Y-%m-%d %H:%M} UTC, and the ledger holds a run committed {newest:%Y-%m-%d %H:%M}"
        )
        yield fail("clock", text, "set it: it is behind, or was ahead when that run was made")
    yield from _too_big(settings, peaks)


def _peaks(found: Ledger, settings: Settings) -> dict[str, float]:
    from horizoncast.data.target_file import read_target
    from horizoncast.service.admitting import measured_peaks

    if not settings.target_path.is_file():
        return {}
    return measured_peaks(found, settings.service, read_target(settings.target_path).name)


def _too_big(settings: Settings, peaks: Mapping[str, float]) -> Iterator[Finding]:
    """Members whose measured peak can never be admitted under the limit."""
    room = memory_limit() / MIB - RESERVE_MB
    for member, peak in peaks.items():
        if peak > room and settings.members[member].state is not MemberState.OFF:
            text = f"{member} took {peak:.0f} MiB in its last runs, {room:.0f} MiB can ever be free for it"
            yield fail(f"members of {settings.service}", text, "raise the limit, or switch it off")


def overdue(settings: Settings, environ: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    """Whether anything calls `tick`, told by what came of it."""
    from horizoncast.service.light import read_light
    from horizoncast.service.status import Health, statuses

    (found,) = statuses([read_light(settings.service, settings.places, environ=environ)], now)
    if found.health is Health.MISSED:
        text = f"due {found.due}, and not published: {found.reason}"
        action = "see whether tick is called: crontab -l, systemctl list-timers; then `horizoncast tick`"
        yield warn(f"trigger of {settings.service}", text, action)


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
            yield ok("chronos model", f"none, and the member is off ({error})")
        else:
            yield warn("chronos model", str(error), "fetch one, or set ENABLE_CHRONOS=off")
        return
    yield ok("chronos model", f"{found.name} at {found.revision[:12]}, {found.parameters:,} parameters")


def target(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether the target can be read, and what its checks find."""
    from horizoncast.data.load import check_target
    from horizoncast.data.target_file import read_target

    name = f"target {settings.target}"
    try:
        clock_says = np.datetime64(int(now.timestamp()), "s")
        report = check_target(read_target(settings.target_path), now=clock_says, store=settings.store_folder)
    except HorizoncastError as error:
        yield fail(name, str(error), "see `horizoncast data check`")
        return
    text = f"{report.observed} sessions from {report.place}, {report.stale} sessions old"
    if report.errors:
        yield fail(name, f"{text}; {report.errors[0].message}", "see `horizoncast data check`")
    elif report.warnings:
        yield warn(name, f"{text}; {report.warnings[0].message}", "see `horizoncast data check`")
    else:
        yield ok(name, text)


def _installed() -> datetime:
    """When this file was written: no honest clock says less."""
    return datetime.fromtimestamp(Path(__file__).stat().st_mtime, tz=UTC)


def _once(settings: Iterable[Settings], look: Look) -> list[Finding]:
    """Findings over all services, those that are the same only once."""
    return list(dict.fromkeys(f for one in settings for f in look(one)))


def _can_run(name: str) -> bool:
    try:
        member_class(name)
    except NotInstalledError:
        return False
    return True


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

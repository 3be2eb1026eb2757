"""`tick`, `daemon` and `backfill`; nothing heavy is imported while nothing is due."""

from __future__ import annotations

import json as plain_json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import typer

from horizoncast.cli.pairs import pair_of
from horizoncast.errors import ConfigError
from horizoncast.service.folders import Places, find_places
from horizoncast.service.light import LightSettings, read_light
from horizoncast.service.tick import TickReport, not_finished, tick, without_waiting

_YEAR = timedelta(days=366)


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where settings are read from, as typed; runs are told the same.

    Parameters
    ----------
    sets
        ``KEY=VALUE`` of ``--set``.
    root, config, env_file
        As everywhere.
    """

    sets: tuple[str, ...] = ()
    root: Path | None = None
    config: Path | None = None
    env_file: Path | None = None
    _places: list[Places] = field(default_factory=list)

    @property
    def places(self) -> Places:
        """The places."""
        if not self._places:
            self._places.append(find_places(self.root, config=self.config, env_file=self.env_file))
        return self._places[0]

    def services(self, only: str | None = None) -> list[LightSettings]:
        """The services, or one of them.

        Raises
        ------
        ConfigError
            When there is none, or its settings are wrong.
        """
        overrides = dict(pair_of(text, "--set", "tick.run_minutes=60") for text in self.sets)
        names = self.places.services() if only is None else (only,)
        if not names:
            raise ConfigError(
                "no services/NAME/service.toml", value=self.places.root, action="add one, or name --root"
            )
        return [read_light(name, self.places, overrides=overrides) for name in names]

    def passed(self) -> list[str]:
        """The same for a child, whatever folder it starts in."""
        named = (("--root", self.places.root), ("--config", self.config), ("--env-file", self.env_file))
        paths = [
            part for option, path in named if path is not None for part in (option, str(path.absolute()))
        ]
        return [*paths, *(part for text in self.sets for part in ("--set", text))]


def run_tick(where: Where, *, at_once: bool, dry_run: bool, json: bool, quiet: bool) -> None:
    """One tick; exits with the code of the first thing that went wrong."""
    from horizoncast.service.children import ending_on_sigterm, run_child

    services = where.services()
    if at_once:
        services = without_waiting(services)
    if dry_run:
        _show_due(services, json=json)
        return
    tell = _nothing if quiet or json else _to_stderr
    start = partial(run_child, silent=quiet)
    with ending_on_sigterm():
        report = tick(services, start=start, tell=tell, passed=where.passed())
    _show(report, json=json, quiet=quiet)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _show_due(services: Sequence[LightSettings], *, json: bool) -> None:
    from horizoncast.service.attempts import read_memory
    from horizoncast.service.due import look
    from horizoncast.service.tick import system_now

    looked = look(services, system_now(), read_memory(services[0].output_folder))
    report = TickReport(looked=tuple(looked))
    _show(report, json=json, quiet=False)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _show(report: TickReport, *, json: bool, quiet: bool) -> None:
    if json:
        typer.echo(plain_json.dumps(as_plain(report), indent=1))
        return
    for one in report.looked:
        if one.error is not None:
            typer.echo(f"error: {one.settings.service}: {one.error}", err=True)
    for service, slot in report.missed:
        typer.echo(f"missed: {service}, due {slot.due.local:%a %Y-%m-%d %H:%M}", err=True)
    for ran in report.ran:
        if ran.exit_code:
            how = "did not finish" if not_finished(ran.exit_code) else "failed"
            typer.echo(f"{ran.run.settings.service}: {how}, exit code {ran.exit_code}", err=True)
    if not quiet:
        _show_state(report)


def _show_state(report: TickReport) -> None:
    for ran in report.ran:
        if not ran.exit_code:
            typer.echo(f"{ran.run.settings.service}: done in {ran.seconds:.0f} s")
    started = {(r.run.settings.service, r.run.slot) for r in report.ran}
    for one in report.looked:
        for run in one.runs:
            if (one.settings.service, run.slot) not in started:
                local = run.slot.due.local
                typer.echo(f"{one.settings.service}: due since {local:%a %Y-%m-%d %H:%M}, not run now")
    if not any(one.runs or one.error for one in report.looked):
        typer.echo(f"nothing due; next: {next_due([one.settings for one in report.looked])}")


def next_due(services: Sequence[LightSettings], now: datetime | None = None) -> str:
    """The next moment of any service, in words."""
    begin = now or datetime.now(tz=UTC)
    ahead = [(next(s.cadence.between(begin, begin + _YEAR)), s) for s in services]
    due, settings = min(ahead, key=lambda pair: pair[0].moment)
    return f"{settings.service}, {due.local:%a %Y-%m-%d %H:%M} {settings.cadence.timezone}"


def as_plain(report: TickReport) -> dict[str, object]:
    """What a tick did, as JSON has it."""
    return {
        "busy": report.busy,
        "exit_code": report.exit_code,
        "due": [
            {"service": run.settings.service, "series": run.series, "due": run.slot.due.moment.isoformat()}
            for one in report.looked
            for run in one.runs
        ],
        "ran": [
            {
                "service": ran.run.settings.service,
                "due": ran.run.slot.due.moment.isoformat(),
                "as_of": ran.run.as_of,
                "exit_code": ran.exit_code,
                "seconds": round(ran.seconds, 3),
            }
            for ran in report.ran
        ],
        "missed": [
            {"service": service, "due": slot.due.moment.isoformat()} for service, slot in report.missed
        ],
        "errors": {one.settings.service: str(one.error) for one in report.looked if one.error is not None},
    }


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def _nothing(line: str) -> None:
    """Nobody listens."""

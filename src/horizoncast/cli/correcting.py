"""`data check` and `data override`: look at a target's data, and correct it on the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from horizoncast.cli.options import parse_date
from horizoncast.cli.screen import Screen, print_json
from horizoncast.errors import CheckError, ConfigError, UnknownNameError

if TYPE_CHECKING:
    from horizoncast.data.overrides import Override, OverrideLog
    from horizoncast.data.report import DataReport
    from horizoncast.data.suggest import Suggestion
    from horizoncast.data.survey import Survey
    from horizoncast.data.target import Target

TERMINAL = "-"
"""Value of ``--report`` without a file."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What is looked at.

    Parameters
    ----------
    file
        Of the target.
    named, usual
        Folder of the stores, as named by an option, or by the settings.
    later_overrides
        Whether corrections made after the as-of date are applied.
    """

    file: Path
    named: Path | None
    usual: Path | None
    later_overrides: bool = False

    @property
    def store(self) -> Path | None:
        """Folder of the stores."""
        return self.named or self.usual


def data_check(asked: Looked, as_of: str | None, *, report: str | None, json: bool) -> None:
    """Show what the checks of a target find; with a report, everything else there is to see.

    Raises
    ------
    typer.Exit
        With the code of a data error when a finding blocks.
    """
    from horizoncast.data.load import check_target
    from horizoncast.data.target_file import read_target

    target, moment = read_target(asked.file), parse_date(as_of, "--as-of")
    if report is not None and not json:
        found = _survey(target, moment, asked)
        _show_or_write(found, asked, report)
        _stop_if_blocked(found.report)
        return
    later = asked.later_overrides
    checked = check_target(target, as_of=moment, store=asked.store, later_overrides=later)
    if json:
        print_json(checked)
    else:
        screen = Screen(as_json=False, quiet=False)
        screen.rows(checked.target, _rows(checked))
        _say(screen, _suggestions(target, moment, asked), asked)
    _stop_if_blocked(checked)


def _stop_if_blocked(report: DataReport) -> None:
    if report.errors:
        raise typer.Exit(CheckError.exit_code)


def _survey(target: Target, as_of: np.datetime64 | None, asked: Looked) -> Survey:
    from horizoncast.data.survey import survey

    return survey(target, as_of=as_of, store=asked.store, later_overrides=asked.later_overrides)


def _suggestions(target: Target, as_of: np.datetime64 | None, asked: Looked) -> list[Suggestion]:
    from horizoncast.data.load import make_reader, read_columns
    from horizoncast.data.suggest import suggest_all

    reader = make_reader(target, as_of, asked.store, later_overrides=asked.later_overrides)
    return suggest_all(target, read_columns(target, reader, as_of))


def _say(screen: Screen, found: Sequence[Suggestion], asked: Looked) -> None:
    """Corrections somebody may want to make, with the commands; nothing is applied."""
    if found:
        screen.out.print("suggestions, none applied:", style="bold")
        screen.paths(
            (f"{one.column} {_day(one.date)}", one.command(asked.file, asked.named)) for one in found
        )


def _show_or_write(found: Survey, asked: Looked, report: str) -> None:
    screen = Screen(as_json=False, quiet=False)
    if report == TERMINAL:
        _show(found, screen)
        _say(screen, found.suggestions, asked)
        return
    from horizoncast.report.data_page import data_page
    from horizoncast.store.atomic import write_atomic

    page = data_page(found, target_file=asked.file, store=asked.named, made=np.datetime64("now", "s"))
    write_atomic(Path(report), lambda handle: handle.write(page.encode()))
    screen.paths([("report", report)])


def _rows(report: DataReport) -> list[tuple[str, str]]:
    days = f"{_day(report.first)} to {_day(report.last)}"
    sessions = f"{report.observed} observed, {report.filled} filled, {report.absent} left out; {days}"
    return [
        ("source", report.place),
        ("rows", str(report.rows)),
        ("sessions", sessions),
        ("age", f"{report.stale} sessions"),
        ("scale", f"{report.scale or 'not chosen'} {report.scale_reason}"),
        *((f"{f.severity}", f"[{f.code}] {f.message}") for f in report.findings),
        ("verdict", "blocked" if report.errors else "fit to be forecast"),
    ]


def _show(found: Survey, screen: Screen) -> None:
    """The report on a terminal."""
    screen.rows(found.report.target, [*_rows(found.report), *(("look", text) for text in found.warnings)])
    years = [(str(s.year), str(s.observed), str(s.missing)) for s in found.years]
    screen.table("coverage", ("year", "observed", "missing"), years)
    if found.gaps:
        gaps = [(_day(g.after), _day(g.before), str(g.sessions)) for g in found.gaps]
        screen.table("longest gaps", ("after", "before", "sessions"), gaps)
    if found.leads:
        from horizoncast.data.leadlag import LAGS

        head = ("covariate", *(f"{lag:+d}" for lag in LAGS), "what it says")
        leads = [(x.name, *(f"{r:+.2f}" for r in x.correlations), x.text) for x in found.leads]
        screen.table("correlation with the covariate, sessions before (+) or after (-)", head, leads)
    if found.outliers:
        rows = [(_day(o.date), f"{o.before:g}", f"{o.value:g}", f"{o.z:+.1f}") for o in found.outliers]
        screen.table("outliers", ("date", "before", "value", "robust sigmas"), rows)
    if found.revisions:
        changes = [
            (
                c.column,
                _day(c.date),
                f"{c.before:g}",
                f"{c.after:g}",
                f"{100 * c.share:+.2f} %",
                _day(c.known_at),
            )
            for c in found.revisions
        ]
        head = ("column", "date", "before", "after", "change", "known at")
        screen.table(f"revisions, the newest of {found.revised}", head, changes)
    if found.overrides:
        _table(screen, found.overrides)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `data override`, as typed."""

    date: str | None = None
    value: float | None = None
    drop: bool = False
    column: str | None = None
    why: str | None = None
    by: str | None = None
    listed: bool = False
    revert: int | None = None

    def check(self) -> None:
        """Refuse options that do not say one thing to do."""
        if sum((self.listed, self.revert is not None, self.date is not None)) != 1:
            allowed = "--date with --value or --drop, or --list, or --revert ID"
            raise ConfigError("say one thing to do", allowed=allowed)
        if self.date is not None and (self.value is None) != self.drop:
            raise ConfigError("an override needs either --value or --drop")


def override(target: Path, store: Path, asked: Asked, *, json: bool) -> None:
    """Record, list or take back a correction.

    Raises
    ------
    ConfigError
        When the options do not say one thing to do.
    """
    from horizoncast.data.overrides import OverrideLog, overrides_path
    from horizoncast.data.target_file import read_target

    asked.check()
    declared = read_target(target)
    log = OverrideLog(overrides_path(store, declared.name))
    screen = Screen(as_json=json, quiet=False)
    now = np.datetime64("now", "s")
    if asked.listed:
        _list(screen, log)
    elif asked.revert is not None:
        done = log.revert(asked.revert, why=asked.why or "", by=asked.by or "", now=now)
        _confirm(screen, done, f"reverted: {done.text}")
    else:
        made = _add(log, declared, store, asked, now)
        _confirm(screen, made, f"recorded: {made.text}")


def _add(log: OverrideLog, target: Target, store: Path, asked: Asked, now: np.datetime64) -> Override:
    from horizoncast.data.overrides import OF_TARGET

    names = [OF_TARGET, *(spec.name for spec in target.covariates)]
    name = OF_TARGET if asked.column in (None, target.source.column) else str(asked.column)
    if name not in names:
        raise UnknownNameError.of("column", name, names)
    day = parse_date(asked.date, "--date")
    assert day is not None
    before = _before(target, store, name, day)
    if before is None and asked.value is None:
        raise ConfigError("there is no such observation to drop", value=f"{name} on {asked.date}")
    return log.add(
        column=name,
        date=day,
        value=asked.value,
        before=before,
        why=asked.why or "",
        by=asked.by or "",
        now=now,
    )


def _before(target: Target, store: Path, name: str, day: np.datetime64) -> float | None:
    """What the source says now; None when it says nothing."""
    from horizoncast.data.load import make_reader
    from horizoncast.data.overrides import OF_TARGET, find_row
    from horizoncast.data.reading import TARGET_KEY, covariate_key

    spec = next((c for c in target.covariates if c.name == name and name != OF_TARGET), None)
    source = target.source if spec is None or spec.source is None else spec.source
    key = TARGET_KEY if spec is None or spec.source is None else covariate_key(name)
    wanted = str(target.source.column) if spec is None else spec.column
    rows = make_reader(target, store=store).raw_rows(key, source, [wanted])
    seen = rows.values[find_row(target, rows, day), 0]
    return float(seen[0]) if len(seen) and np.isfinite(seen[0]) else None


def _list(screen: Screen, log: OverrideLog) -> None:
    if screen.as_json:
        print_json(log.all())
    elif log.all():
        _table(screen, log.all())
    else:
        screen.rows("", [("overrides", f"none in {log.path}")])


def _table(screen: Screen, overrides: tuple[Override, ...]) -> None:
    rows = [
        (
            str(o.id),
            o.column,
            _day(o.date),
            "nothing" if o.before is None else f"{o.before:g}",
            "dropped" if o.value is None else f"{o.value:g}",
            o.by,
            _day(o.at),
            o.why,
            "holds" if o.holds_at(None) else f"reverted by {o.reverted_by}: {o.reverted_why}",
        )
        for o in overrides
    ]
    screen.table("overrides", ("no", "of", "date", "before", "value", "by", "on", "why", "state"), rows)


def _confirm(screen: Screen, override_: Override, text: str) -> None:
    if screen.as_json:
        print_json(override_)
    else:
        screen.paths([("override", text)])


def _day(date: object) -> str:
    return "none" if date is None else str(date)[:16].removesuffix("T00:00")

"""`run` and `run-all`."""

from __future__ import annotations

from datetime import datetime

import typer

from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.errors import AlreadyPublishedError, ConfigError, HorizoncastError
from horizoncast.service.runner import Preview, RunOutcome, preview, run_service
from horizoncast.service.settings import Settings
from horizoncast.service.summary import SHORT_HEAD, as_json, files_of, notes, rows_of, short_row
from horizoncast.store.plain import date_text

_MOMENT = "a moment with its zone, as in 2026-01-09T10:00:00+00:00"


def run_one(
    service: str,
    common: Common,
    *,
    json: bool,
    quiet: bool,
    dry_run: bool,
    once: bool = False,
    due: str | None = None,
) -> None:
    """Run one service, or say what it would do; with `once` a published as-of is left as it is."""
    settings = common.settings(service)
    screen = Screen(as_json=json, quiet=quiet)
    _say_notes(settings, screen)
    if dry_run:
        _show_preview(preview(settings, as_of=common.as_of), screen)
        return
    try:
        outcome = _run(settings, common, screen, reprocess=not once, due=_moment(due))
    except AlreadyPublishedError as error:
        if json:
            print_json({"published": False, "reason": str(error)})
        screen.complain(f"{error}: nothing was done")
        return
    if json:
        print_json(as_json(outcome))
    else:
        screen.rows(service, rows_of(outcome))
        screen.paths(files_of(outcome))


def run_every(common: Common, *, json: bool, quiet: bool) -> None:
    """Run all services; one that fails does not stop the others, and decides the exit code.

    Raises
    ------
    Exit
        With the code of the first error, after every service has had its turn.
    ConfigError
        When there is no service, or a service's settings are wrong; nothing has run then.
    """
    screen = Screen(as_json=json, quiet=quiet)
    places = common.places()
    every = [common.settings(service) for service in places.services()]
    if not every:
        raise ConfigError(
            "no services/NAME/service.toml", value=places.root, action="add one, or name --root"
        )
    outcomes: list[RunOutcome] = []
    errors: dict[str, HorizoncastError] = {}
    for settings in every:
        try:
            outcomes.append(_run(settings, common, screen))
        except HorizoncastError as error:
            errors[settings.service] = error
    if json:
        failed = {name: {"code": type(e).__name__, "reason": str(e)} for name, e in errors.items()}
        print_json({"runs": [as_json(outcome) for outcome in outcomes], "failed": failed})
    elif outcomes:
        _show_all(outcomes, screen)
    for name, problem in errors.items():
        screen.complain(f"error: {name}: {problem}")
    if errors:
        raise typer.Exit(next(iter(errors.values())).exit_code)


def _run(
    settings: Settings,
    common: Common,
    screen: Screen,
    *,
    reprocess: bool = True,
    due: datetime | None = None,
) -> RunOutcome:
    with screen.progressing():
        outcome = run_service(
            settings,
            as_of=common.as_of,
            progress=screen.advance,
            tell=screen.tell,
            reprocess=reprocess,
            due=due,
        )
    for problem in outcome.problems:
        screen.complain(f"{settings.service}: published; not done yet: {problem}")
    return outcome


def _moment(text: str | None) -> datetime | None:
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("--due cannot be read", value=repr(text), allowed=_MOMENT) from error
    if found is not None and found.tzinfo is None:
        raise ConfigError("--due names no time zone", value=repr(text), allowed=_MOMENT)
    return found


def _say_notes(settings: Settings, screen: Screen) -> None:
    for note in settings.notes():
        screen.complain(f"note: {note}")


def _show_all(outcomes: list[RunOutcome], screen: Screen) -> None:
    first = outcomes[0].result
    last = date_text(first.series.last)
    title = f"{first.series.name} [{first.series.unit}], last observation {last}"
    screen.table(title, SHORT_HEAD, [short_row(outcome) for outcome in outcomes], least_width=150)
    verdicts = [(f"{o.settings.service}: verdict", dict(rows_of(o))["verdict"]) for o in outcomes]
    every_note = dict.fromkeys(text for o in outcomes for text in notes(o))
    screen.rows("", [*verdicts, *(("note", text) for text in every_note)])
    screen.paths([(o.settings.service, str(o.folder)) for o in outcomes])
    screen.paths([("metrics", str(outcomes[0].metrics))])


def _show_preview(found: Preview, screen: Screen) -> None:
    plan, report = found.plan, found.report
    members = {name: str(state) for name, state in found.members}
    warnings = [finding.message for finding in report.warnings]
    values = {
        "service": found.settings.service,
        "target": found.target.name,
        "source": report.place,
        "sessions": report.observed + report.filled,
        "cutoff": date_text(plan.live),
        "horizon": plan.horizon.steps,
        "cutoffs": len(plan.cutoffs),
        "cutoffs_wanted": plan.wanted,
        "stride": plan.stride,
        "output": str(found.settings.output_folder),
    }
    if screen.as_json:
        print_json({"dry_run": True, **values, "members": members, "warnings": warnings})
        return
    rows = [(key.replace("_", " "), str(value)) for key, value in values.items()]
    rows.append(("members", ", ".join(f"{name} {state}" for name, state in members.items())))
    if report.freshness is not None and report.freshness.reason:
        rows.append(("input", f"{report.freshness.state}: {report.freshness.reason}"))
    rows += [("covariate", c.reason) for c in report.covariates if c.reason]
    rows += [("warning", text) for text in warnings]
    screen.rows("dry run: nothing was computed or written", rows)

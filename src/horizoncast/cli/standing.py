"""`status`, `scores` and `rollout`: how services and members stand, and what people decide about them."""

from __future__ import annotations

from collections import Counter
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from horizoncast.cli.arguments import (
    AnyService,
    Config,
    EnvFile,
    Json,
    Quiet,
    Root,
    Service,
    Sets,
    TargetFile,
)

if TYPE_CHECKING:
    from horizoncast.cli.screen import Screen
    from horizoncast.service.rollout import MemberStanding, Rollout
    from horizoncast.service.settings import Settings
    from horizoncast.service.track import SubjectTrack
    from horizoncast.store.ledger.ledger import Ledger
    from horizoncast.store.ledger.rows import Transition
    from horizoncast.validation.live import Running

rollout_app = typer.Typer(help="Members: off, shadow or on, and why.", no_args_is_help=True)
Member = Annotated[str, typer.Argument(help="Name of a member, as in var.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; on record for good.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason; on record for good.")]


def add_to(app: typer.Typer) -> None:
    """Enter the commands."""
    app.command("status")(status)
    app.command("scores")(scores)
    app.command("review")(review)
    app.add_typer(rollout_app, name="rollout")


def status(
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Say how every service stands; exit code 0 only where what is due has been published."""
    from horizoncast.cli.ticking import Where
    from horizoncast.service.status import statuses, worst

    where = Where(sets=tuple(set_ or ()), root=root, config=config, env_file=env_file)
    found = statuses(where.services())
    if json:
        import json as plain_json
        from dataclasses import asdict

        typer.echo(plain_json.dumps([asdict(s) for s in found], indent=2, ensure_ascii=False))
    else:
        for s in found:
            dates = f"as of {s.as_of or 'nothing'}, due {s.due or 'never'} for {s.expected or 'nothing'}"
            typer.echo(f"{s.health:<9}{s.service}: {dates}{f' ({s.reason})' if s.reason else ''}")
    if code := worst(found).exit_code:
        raise typer.Exit(code)


def scores(
    service: AnyService = None,
    *,
    leads: Annotated[bool, typer.Option("--leads", help="Lead by lead, too.")] = False,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Show how published forecasts have done: live skill, coverage and bias, with their errors."""
    from horizoncast.cli.options import Common
    from horizoncast.cli.screen import Screen, print_json
    from horizoncast.service.track import track_record

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    names = common.places().services() if service is None else (service,)
    opened = [_opened(common.settings(name)) for name in names]
    found = [track_record(o.ledger, o.settings.service, o.series, o.calendar) for o in opened]
    if json:
        print_json([track for tracks in found for track in tracks])
        return
    screen = Screen(as_json=False, quiet=False)
    for name, shown, tracks in zip(names, opened, found, strict=True):
        if left := _left_out(shown.ledger, name, shown.series):
            typer.echo(f"{name}: {left}")
        if not tracks:
            typer.echo(f"{name}: no live forecast has been scored yet")
            continue
        rows = [_track_row(t.subject, r) for t in tracks for r in (t.running if leads else t.running[:1])]
        screen.table(f"{name} {tracks[0].series}, live", _TRACK_HEAD, rows)
        for track in tracks:
            screen.rows("", [(track.subject, text) for text in _track_notes(track)])


def review(
    *,
    weeks: Annotated[
        int | None, typer.Option("--weeks", metavar="N", help="How many weeks; overrides review.weeks.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="One service only.")
    ] = None,
    target: TargetFile = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="DATE", help="Last day; default: the newest as-of on record."),
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Read this metrics.jsonl, not the ledger.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="The page (.html), or JSON (.json).")
    ] = None,
    lang: Annotated[
        str | None,
        typer.Option("--lang", metavar="LANGUAGE", help="en or es; default: the setting review.language."),
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Write no page; the terminal alone.")] = False,
    send: Annotated[
        bool, typer.Option("--send", help="Send it to the channels of the settings, once a week.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Say how the week went: what was forecast, what happened, who earned its weight, what to decide."""
    from horizoncast.cli import reviewing
    from horizoncast.cli.ticking import Where

    sets = tuple(set_ or ()) + ((f"target={target.absolute()}",) if target is not None else ())
    where = Where(sets=sets, root=root, config=config, env_file=env_file)
    request = reviewing.request_of(weeks=weeks, as_of=as_of, service=service, target=target, file=from_)
    wanted = reviewing.Wanted(
        output=output, language=lang, page=not no_page, send=send, json=json, quiet=quiet
    )
    reviewing.review(where, request, wanted)


@rollout_app.command("status")
def rollout_status(
    service: AnyService = None,
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Hold every member against its criteria: met, not met, or cannot be told."""
    from horizoncast.cli.options import Common
    from horizoncast.cli.screen import Screen, print_json

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    names = common.places().services() if service is None else (service,)
    found = [standing for name in names for standing in _opened(common.settings(name)).standings()]
    if json:
        print_json(found)
        return
    screen = Screen(as_json=False, quiet=False)
    for standing in found:
        _show(screen, standing)


@rollout_app.command("promote")
def rollout_promote(
    member: Member,
    service: Service,
    *,
    by: By,
    why: Why,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Promote although a criterion is not met.")
    ] = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Let a member go one step up: off, shadow, on. The decision and its evidence go on record."""
    from horizoncast.service.rollout import Decision

    rollout = _of(service, set_, root, config, env_file)
    _tell(rollout.promote(member, Decision(who=by, why=why, anyway=anyway)))


@rollout_app.command("rollback")
def rollout_rollback(
    member: Member,
    service: Service,
    *,
    by: By,
    why: Why,
    to: Annotated[
        str | None, typer.Option("--to", metavar="STATE", help="shadow or off; default: one step down.")
    ] = None,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Take a member back: one step down, or to the state named. It goes on record."""
    from horizoncast.policy.states import MemberState
    from horizoncast.service.rollout import Decision

    rollout = _of(service, set_, root, config, env_file)
    state = None if to is None else MemberState.parse(to)
    _tell(rollout.rollback(member, Decision(who=by, why=why), to=state))


_TRACK_HEAD = ("subject", "steps", "cutoffs", "independent", "skill", "80 % covers", "95 % covers", "bias")


def _track_row(subject: str, found: Running) -> tuple[str, ...]:
    first, last = found.leads
    return (
        subject,
        str(first) if first == last else f"{first} to {last}",
        str(found.skill.windows),
        f"{found.skill.n_eff:.1f}",
        _with_error(found.skill.value, found.skill.error, "{:.1%}"),
        _with_error(found.coverage_80.value, found.coverage_80.error, "{:.1%}"),
        _with_error(found.coverage_95.value, found.coverage_95.error, "{:.1%}"),
        _with_error(found.bias.value, found.bias.error, "{:.3g}"),
    )


def _left_out(ledger: Ledger, service: str, series: str) -> str:
    """Runs that are no track record, or only in part."""
    from horizoncast.store.records import Origin

    counts = Counter(run.origin for run in ledger.runs.all(service=service, series=series))
    told = [
        f"{counts[origin]} {words}"
        for origin, words in (
            (Origin.BACKFILL, "backfilled, left out"),
            (Origin.REPROCESS, "reprocessed, counted where they came before what they forecast"),
        )
        if counts[origin]
    ]
    return f"{sum(counts.values())} runs, of them {'; '.join(told)}" if told else ""


def _with_error(value: float, error: float, form: str) -> str:
    """``12.0% (error 3.1%)``; what is not known is left out."""
    if isnan(value):
        return "not yet known"
    return form.format(value) + (f" (error {form.format(error)})" if not isnan(error) else "")


def _track_notes(track: SubjectTrack) -> list[str]:
    """What may be said of it, and what may not."""
    notes = []
    if track.running[0].skill.windows and not track.running[0].skill.can_be_told:
        notes.append("too few independent cutoffs: skill cannot be told from luck")
    if track.test is not None:
        notes.append(
            f"80 % interval at the last step, {track.test.windows} cutoffs apart: coverage p = "
            f"{track.test.p_unconditional:.2f}, independence p = {track.test.p_independence:.2f}"
        )
    if track.recent.leads:
        notes.append(
            f"loss over the naive's on common leads: {track.recent.recent:.3f} in the last half year, "
            f"{track.recent.earlier:.3f} before"
        )
    return notes


def _of(
    service: str, sets: list[str] | None, root: Path | None, config: Path | None, env_file: Path | None
) -> Rollout:
    from horizoncast.cli.options import Common

    return _opened(Common.of(sets=sets, root=root, config=config, env_file=env_file).settings(service))


def _opened(settings: Settings) -> Rollout:
    from horizoncast.data.target_file import read_target
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.rollout import Rollout

    target = read_target(settings.target_path)
    return Rollout(
        settings=settings, ledger=open_ledger(settings), series=target.name, calendar=target.calendar
    )


def _show(screen: Screen, standing: MemberStanding) -> None:
    evidence = standing.evidence
    span = f"{evidence.runs} runs as of {evidence.since} to {evidence.until}" if evidence.until else "no run"
    who = f"{standing.service} {standing.member}: {standing.state} ({standing.source})"
    rows = [
        (f.criterion, str(f.answer), "" if f.value is None else f"{f.value:.3g}", f.text)
        for f in standing.findings
    ]
    screen.table(f"{who}; {standing.answer}; {span}", ("criterion", "answer", "value", "asked"), rows)


def _tell(made: Transition) -> None:
    typer.echo(
        f"{made.service} {made.member}: {made.before} to {made.after}, by {made.who}; the next run takes it"
    )

"""`compare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from horizoncast.cli.arguments import Config, EnvFile, Json, Members, Quiet, Root, Sets, TargetFile

if TYPE_CHECKING:
    import numpy as np

    from horizoncast.cli.screen import Screen
    from horizoncast.service.comparing import Comparison, Side
    from horizoncast.validation.power import Power


def add_to(app: typer.Typer) -> None:
    """Enter the command."""
    app.command("compare")(compare)


def compare(
    a: Annotated[str, typer.Argument(help="What runs now: a member, hybrid, or ensemble.")],
    b: Annotated[str, typer.Argument(help="What would take its place: a member, hybrid, or ensemble.")],
    *,
    service: Annotated[str, typer.Option("--service", help="Name of a service, as in forecaster_30d.")],
    target: TargetFile = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="First cutoff; default: as many as a verdict needs."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last cutoff; default: newest matured.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", min=1, help="Sessions between cutoffs; default: the horizon's.")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Seeds in all, for stability; 1 does not look at it.")
    ] = 3,
    png: Annotated[Path | None, typer.Option("--png", help="Write a chart to this PNG file.")] = None,
    set_: Sets = None,
    member: Members = None,
    json: Json = False,
    quiet: Quiet = False,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Compare two members, the hybrid or the ensemble, over the same cutoffs."""
    from horizoncast.cli.options import Common, parse_date
    from horizoncast.cli.screen import Screen, print_json

    common = Common.of(target=target, sets=set_, members=member, root=root, config=config, env_file=env_file)
    span = (parse_date(first, "--from"), parse_date(last, "--to"), stride)
    screen = Screen(as_json=json, quiet=quiet)
    found = _compared(common, service, (a, b), span=span, seeds=seeds, screen=screen)
    if png is not None:
        _draw(png, found)
    if json:
        print_json(values_of(service, found) | ({} if png is None else {"png": str(png)}))
        return
    screen.table(_title(service, found), ("", a, b, f"{b} / {a}"), _rows(found))
    screen.rows("", _words(found))
    screen.paths([] if png is None else [("png", str(png))])


def _compared(
    common: Any,
    service: str,
    names: tuple[str, str],
    *,
    span: tuple[np.datetime64 | None, np.datetime64 | None, int | None],
    seeds: int,
    screen: Screen,
) -> Comparison:
    from horizoncast.data.target_file import read_target
    from horizoncast.service.backtesting import Span
    from horizoncast.service.comparing import require_two, run_comparison
    from horizoncast.service.inputs import read_series

    require_two(names)
    asked = Span(first=span[0], last=span[1], stride=span[2])
    settings = common.settings(service)
    series = read_series(settings, read_target(settings.target_path)).series
    screen.tell(f"{service}: {names[0]} and {names[1]} on {series.name}, {len(series)} sessions")
    with screen.progressing():
        return run_comparison(settings, series, names, asked, seeds=seeds, progress=screen.advance)


def values_of(service: str, found: Comparison) -> dict[str, Any]:
    """A comparison as plain values, in the unit; ratios are B over A."""
    a, b = found.names
    power, verdict = found.power, found.verdict
    return {
        "service": service,
        "series": found.series.name,
        "unit": found.series.unit,
        "scale": found.series.scale,
        "horizon": found.horizon.steps,
        "stride": found.stride,
        "from": found.bank.cutoffs[0],
        "to": found.bank.cutoffs[-1],
        "cutoffs": found.bank.windows,
        "left_out": found.left_out,
        "n_eff": found.bank.n_eff,
        "a": a,
        "b": b,
        "sides": [_side(side) for side in found.sides],
        "ratios": {m.value: v for m, v in found.sides[1].score.ratios.items()},
        "verdict": {
            "code": verdict.code,
            "text": verdict.text,
            "statistic": verdict.statistic,
            "p_value": verdict.p_value,
        },
        "power": {
            "can_tell": power.can_tell,
            "difference": power.difference,
            "error": power.error,
            "smallest": power.smallest,
            "finds_5_percent": power.finds_example,
        },
    }


def _side(side: Side) -> dict[str, Any]:
    cost, stability = side.cost, side.stability
    return {
        "subject": side.score.subject,
        "scores": {m.value: v for m, v in side.score.values.items()},
        "coverage": {
            f"{100 * share:.0f}": {"value": c.value, "error": c.error} for share, c in side.coverage.items()
        },
        "cost": None
        if cost is None
        else {
            "wall_s": cost.wall_s,
            "cpu_s": cost.cpu_s,
            "peak_mb": cost.peak_mb,
            "cutoffs": cost.cutoffs,
        },
        "stability": {
            "seeds": stability.seeds,
            "deterministic": stability.deterministic,
            "wql": stability.wql,
            "path_rmse": stability.path_rmse,
            "median": stability.median,
        },
    }


def _draw(path: Path, found: Comparison) -> None:
    from horizoncast.report.compare_plot import compare_chart
    from horizoncast.report.plots import save_chart

    title = f"{found.series.name}, {found.horizon.steps} steps: {found.names[1]} against {found.names[0]}"
    save_chart(path, compare_chart(found.bank, found.names, found.quantiles, found.losses, title))


def _title(service: str, found: Comparison) -> str:
    from horizoncast.store.plain import date_text

    bank = found.bank
    missed = f"; {found.left_out} more that one of them missed" if found.left_out else ""
    return (
        f"{service}: {found.series.name}, {bank.windows} cutoffs {date_text(bank.cutoffs[0])} to "
        f"{date_text(bank.cutoffs[-1])}, every {found.stride} sessions{missed}"
    )


def _rows(found: Comparison) -> list[tuple[str, ...]]:
    """Accuracy, calibration, stability and cost, one line each."""
    a, b = found.sides
    rows: list[tuple[str, ...]] = [(label, *_errors(found, metric)) for label, metric in _accuracy(found)]
    for share in a.coverage:
        cells = [
            f"{100 * s.coverage[share].value:.1f} +- {100 * s.coverage[share].error:.1f} %" for s in (a, b)
        ]
        rows.append((f"coverage {100 * share:.0f} %", *cells, ""))
    rows.append(("over seeds", _steady(a), _steady(b), ""))
    costs: tuple[tuple[str, Callable[[Any], float], str], ...] = (
        ("seconds", lambda cost: cost.wall_s, ".2f"),
        ("CPU seconds", lambda cost: cost.cpu_s, ".2f"),
        ("peak MiB", lambda cost: cost.peak_mb, ".0f"),
    )
    for label, pick, form in costs:
        values = [None if s.cost is None else pick(s.cost) for s in (a, b)]
        cells = ["not measured" if v is None else format(v, form) for v in values]
        ratio = f"{values[1] / values[0]:.2f}" if values[0] and values[1] is not None else "-"
        rows.append((label, *cells, ratio))
    return rows


def _accuracy(found: Comparison) -> list[tuple[str, Any]]:
    from horizoncast.metrics import Metric

    unit = found.series.unit
    return [
        (f"RMSE, {unit}", Metric.RMSE),
        (f"path RMSE, {found.series.scale}", Metric.PATH_RMSE),
        ("WQL", Metric.WQL),
        (f"interval score 80 %, {unit}", Metric.INTERVAL_SCORE_80),
        (f"interval score 95 %, {unit}", Metric.INTERVAL_SCORE_95),
    ]


def _errors(found: Comparison, metric: Any) -> tuple[str, str, str]:
    a, b = (side.score.values[metric] for side in found.sides)
    ratio = found.sides[1].score.ratios.get(metric)
    return f"{a:.5g}", f"{b:.5g}", "-" if ratio is None else f"{ratio:.4f}"


def _steady(side: Side) -> str:
    found = side.stability
    if found.deterministic is None:
        return "not looked at" if found.seeds == 1 else "not known"
    if found.deterministic:
        return "deterministic"
    return f"WQL +- {100 * found.wql:.2f} %, median +- {100 * found.median:.1f} % of the half-width"


def _words(found: Comparison) -> list[tuple[str, str]]:
    verdict, power = found.verdict, found.power
    test = f"statistic {verdict.statistic:.2f}, p {verdict.p_value:.3f}" if power.error > 0 else "none"
    costs = [side.cost for side in found.sides if side.cost is not None]
    words = [
        (found.names[1], verdict.text),
        (
            "mean quantile loss",
            f"{100 * power.difference:+.2f} % of {found.names[0]}'s (per step over sqrt(h))",
        ),
        ("Diebold-Mariano, Harvey's correction", test),
        ("power", power_words(power)),
    ]
    if costs:
        timed = f"{costs[0].cutoffs} cutoffs afresh, each member alone in a process of its own"
        words.append(("seconds and memory", timed))
    return words


def power_words(power: Power) -> str:
    """What the test could have found, in words."""
    from horizoncast.validation.significance import MIN_EFFECTIVE

    if not power.error > 0:
        return "not known: too few cutoffs, or no difference at any"
    smallest = (
        f"with this noise a true difference of {100 * power.smallest:.1f} % is found with probability 80 %, "
        f"one of 5 % with {100 * power.finds_example:.0f} %"
    )
    if power.can_tell:
        return smallest
    return (
        f"none: {power.n_eff:.1f} independent cutoffs are too few for a verdict, {MIN_EFFECTIVE:.0f} are "
        f"needed; by the statistic alone, {smallest}"
    )

"""`backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.metrics import Metric
from horizoncast.service.backtesting import BacktestResult, Span, SubjectScore, run_backtest, write_bank
from horizoncast.store.plain import date_text

HEAD = (
    "subject",
    "path RMSE",
    "WQL",
    "CRPS",
    "interval score 95 %",
    "coverage 80 %",
    "coverage 95 %",
    "cutoffs",
)


def backtest(
    service: str,
    common: Common,
    span: tuple[np.datetime64 | None, np.datetime64 | None, int | None],
    *,
    bank: Path | None,
    plot: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Run a backtest and show or write what was asked for."""
    from horizoncast.data.target_file import read_target
    from horizoncast.service.inputs import read_series

    asked = Span(first=span[0], last=span[1], stride=span[2])
    settings = common.settings(service)
    screen = Screen(as_json=json, quiet=quiet)
    series = read_series(settings, read_target(settings.target_path)).series
    screen.tell(f"{service}: backtest of {series.name}, {len(series)} sessions")
    with screen.progressing():
        result = run_backtest(settings, series, asked, progress=screen.advance)
    written = _write(result, bank, plot, screen)
    if json:
        print_json({**values_of(service, result), **written})
        return
    screen.table(_title(service, result), HEAD, [_row(score) for score in result.scores])
    screen.rows("", _words(result))
    screen.paths(list(written.items()))


def values_of(service: str, result: BacktestResult) -> dict[str, Any]:
    """Scores of a backtest as plain values, in the unit and relative to the reference."""
    cutoffs = result.bank.cutoffs
    return {
        "service": service,
        "series": result.series.name,
        "unit": result.series.unit,
        "scale": result.series.scale,
        "horizon": result.horizon.steps,
        "stride": result.stride,
        "from": cutoffs[0],
        "to": cutoffs[-1],
        "cutoffs": len(cutoffs),
        "n_eff": result.bank.n_eff,
        "reference": result.reference,
        "mean_kappa": float(result.kappas.mean()),
        "mean_width": float(result.widths.mean()),
        "subjects": [
            {
                "subject": s.subject,
                "cutoffs": s.cutoffs,
                "scores": {m.value: v for m, v in s.values.items()},
                "ratios": {m.value: v for m, v in s.ratios.items()},
            }
            for s in result.scores
        ],
        "verdicts": [{"subject": v.subject, "code": v.code, "text": v.text} for v in result.verdicts],
    }


def _write(result: BacktestResult, bank: Path | None, plot: Path | None, screen: Screen) -> dict[str, str]:
    """Write the files asked for and name them."""
    written = {}
    if bank is not None:
        rows = write_bank(bank, result)
        screen.tell(f"{rows} forecasts written to {bank}")
        written["bank"] = str(bank)
    if plot is not None:
        from horizoncast.report.backtest_plot import backtest_chart
        from horizoncast.report.plots import save_chart

        title = f"{result.series.name}, {result.horizon.steps} steps: error relative to {result.reference}"
        save_chart(plot, backtest_chart(result.bank, result.subjects, result.reference, title))
        written["plot"] = str(plot)
    return written


def _title(service: str, result: BacktestResult) -> str:
    first, last = date_text(result.bank.cutoffs[0]), date_text(result.bank.cutoffs[-1])
    return (
        f"{service}: {result.series.name}, {result.bank.windows} cutoffs {first} to {last}, every "
        f"{result.stride} sessions; errors relative to {result.reference} (below 1 is better)"
    )


def _row(score: SubjectScore) -> tuple[str, ...]:
    errors = (Metric.PATH_RMSE, Metric.WQL, Metric.CRPS, Metric.INTERVAL_SCORE_95)
    shares = (Metric.COVERAGE_80, Metric.COVERAGE_95)
    return (
        score.subject,
        *(f"{score.ratios[m]:.4f}" if m in score.ratios else "-" for m in errors),
        *(f"{100 * score.values[m]:.1f} %" if m in score.values else "-" for m in shares),
        str(score.cutoffs),
    )


def _words(result: BacktestResult) -> list[tuple[str, str]]:
    verdicts = [(f"{verdict.subject}", verdict.text) for verdict in result.verdicts]
    kappa, width = float(result.kappas.mean()), float(result.widths.mean())
    return [*verdicts, ("mean skill factor", f"{kappa:.2f}"), ("mean width factor", f"{width:.2f}")]

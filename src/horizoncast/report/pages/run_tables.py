"""Tables of a run's report: steps, members, validation, data, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import Horizon
from horizoncast.metrics import Metric, Score
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.report.pages.rendering import Cell, Head, Table, number
from horizoncast.report.review.rounding import percent
from horizoncast.report.summary import rounded
from horizoncast.report.texts import text
from horizoncast.store.ledger.rows import ENSEMBLE
from horizoncast.store.plain import date_text
from horizoncast.store.records import MemberRecord, RunRecord

_PATH_LEADS = 6
_KINDS = {"better": "good", "worse": "bad"}


def grid(steps: int) -> list[int]:
    """Leads worth a row."""
    return list(Horizon(steps=steps).lead_grid)


def step_tables(forecast: Forecast, language: str) -> tuple[Table, Table | None]:
    """The lead grid, and every step where that is more."""
    few, many = grid(forecast.steps), list(range(1, forecast.steps + 1))
    whole = None if few == many else _steps(forecast, many, language)
    return _steps(forecast, few, language), whole


def _steps(forecast: Forecast, leads: list[int], language: str) -> Table:
    shares = [s for s in (0.8, 0.95) if _ends(forecast, s) is not None]
    head = [
        Head(text=text("run.steps.step", language)),
        Head(text=text("run.steps.date", language)),
        Head(text=text("run.steps.point", language), kind="number"),
        *(
            Head(text=text("chart.interval", language, percent=f"{100 * s:.0f}"), kind="number")
            for s in shares
        ),
    ]
    rows = []
    for lead in leads:
        row = lead - 1
        ends = {s: _ends(forecast, s) for s in shares}
        cells = [
            _between(e[0][row], e[1][row], language) if e is not None else number("") for e in ends.values()
        ]
        inner = next((e for e in ends.values() if e is not None), None)
        spread = float("nan") if inner is None else float(inner[1][row] - inner[0][row])
        date = date_text(forecast.dates[row]).replace("T", " ")
        point = number(rounded(float(forecast.point[row]), spread, extra=1))
        rows.append([Cell(text=str(lead)), Cell(text=date, kind="day"), point, *cells])
    return Table(label=text("run.steps.label", language), head=head, rows=rows)


def _ends(forecast: Forecast, share: float) -> tuple[Any, Any] | None:
    tail = round((1 - share) / 2, 6)
    if tail not in forecast.levels or round(1 - tail, 6) not in forecast.levels:
        return None
    return forecast.interval(share)


def _between(low: float, high: float, language: str) -> Cell:
    width = high - low
    return number(text("common.to", language, low=rounded(low, width), high=rounded(high, width)))


def member_table(record: RunRecord, language: str) -> Table:
    """Every member: state, weight, last step, error on the slice, and why it has no say."""
    keys = ("member", "state", "weight", "would_be", "last", "relative", "remark")
    numeric = ("weight", "would_be", "last", "relative")
    head = [
        Head(text=text(f"run.members.{key}", language), kind="number" if key in numeric else "")
        for key in keys
    ]
    rows = [_member(record, member, language) for member in record.members]
    return Table(label=text("run.members.label", language), head=head, rows=rows, stacked=True)


def _member(record: RunRecord, member: MemberRecord, language: str) -> list[Cell]:
    shadow = member.state is MemberState.SHADOW
    last = number("")
    if isinstance(member.live, Forecast):
        ends = _ends(member.live, 0.8)
        spread = float("nan") if ends is None else float(ends[1][-1] - ends[0][-1])
        last = number(rounded(float(member.live.point[-1]), spread, extra=1))
    relative = "" if member.relative != member.relative else f"{member.relative:.3f}"
    return [
        Cell(text=member.name),
        Cell(text=text(f"common.state.{member.state.value}", language)),
        number(f"{100 * member.weight:.0f}\u00a0%", share=member.weight),
        number(f"{100 * member.would_be_weight:.0f}\u00a0%" if shadow else ""),
        last,
        number(relative),
        _remark(record, member, language),
    ]


def _remark(record: RunRecord, member: MemberRecord, language: str) -> Cell:
    if isinstance(member.live, Failure):
        words = text("run.members.failed", language, code=member.live.code, reason=member.live.reason)
        return Cell(text=words, kind="wide bad")
    flags = ", ".join(member.live.flags)
    if member.name in NAIVES and member.weight == 0:
        best = member.name == record.decision.best_naive
        words = text("run.members.reference" if best else "run.members.other_naive", language)
    else:
        words = member.reason
    return Cell(text="; ".join(part for part in (words, flags) if part), kind="wide")


def path_table(record: RunRecord, language: str) -> Table:
    """Medians of the published forecast and of every member at a few leads."""
    forecast = record.forecast
    leads = grid(forecast.steps)
    while len(leads) > _PATH_LEADS:
        leads = [*leads[::2], *([leads[-1]] if leads[-1] not in leads[::2] else [])]
    ends = _ends(forecast, 0.8)
    head = [Head(text=text("run.members.member", language))]
    head += [Head(text=f"{lead} ({date_text(forecast.dates[lead - 1])})", kind="number") for lead in leads]
    paths = [(text("run.paths.published", language), forecast)]
    paths += [(m.name, m.live) for m in record.members if isinstance(m.live, Forecast)]
    rows = []
    for name, path in paths:
        cells = []
        for lead in leads:
            spread = float("nan") if ends is None else float(ends[1][lead - 1] - ends[0][lead - 1])
            cells.append(number(rounded(float(path.point[lead - 1]), spread, extra=1)))
        rows.append([Cell(text=name), *cells])
    return Table(label=text("run.paths.label", language), head=head, rows=rows)


def score_table(record: RunRecord, language: str) -> Table:
    """Scores over replayed cutoffs, against the best naive, with the verdict."""
    found: Mapping[tuple[str, Metric], Score] = {(s.subject, s.metric): s for s in record.scores}
    verdicts = {v.subject: v for v in record.verdicts}
    subjects = dict.fromkeys([ENSEMBLE, *(s.subject for s in record.scores)])
    keys = ("subject", "rmse", "wql", "coverage80", "coverage95", "verdict")
    head = [
        Head(
            text=text(
                f"run.scores.{key}", language, **({"unit": record.forecast.unit} if key == "rmse" else {})
            ),
            kind="" if key in ("subject", "verdict") else "number",
        )
        for key in keys
    ]
    rows = []
    for subject in subjects:
        if (subject, Metric.RMSE) not in found:
            continue
        rmse = found[subject, Metric.RMSE]
        base = found.get((record.decision.best_naive, Metric.WQL))
        verdict = verdicts.get(subject)
        code = "" if verdict is None else verdict.code
        words = text("run.scores.reference", language) if subject == record.decision.best_naive else ""
        rows.append(
            [
                Cell(text=text("run.scores.ensemble", language) if subject == ENSEMBLE else subject),
                number(_relative_digits(rmse)),
                number("" if words else _gain(found.get((subject, Metric.WQL)), base)),
                number(_coverage(found.get((subject, Metric.COVERAGE_80)))),
                number(_coverage(found.get((subject, Metric.COVERAGE_95)))),
                Cell(
                    text=text(f"common.verdict.{code}", language) if code else words,
                    kind=_KINDS.get(code, ""),
                ),
            ]
        )
    return Table(
        label=text("run.scores.label", language),
        head=head,
        rows=rows,
        empty=text("run.scores.empty", language),
        stacked=True,
    )


def _relative_digits(score: Score) -> str:
    """An error with the digits that so many independent windows can carry."""
    if score.value != score.value:
        return ""
    return rounded(score.value, score.value / max(2.0 * score.n_eff, 1.0) ** 0.5)


def _gain(score: Score | None, base: Score | None) -> str:
    if score is None or base is None or not base.value > 0 or score.value != score.value:
        return ""
    return f"{100 * (1 - score.value / base.value) + 0.0:+.1f}\u00a0%"


def _coverage(score: Score | None) -> str:
    """Share of outcomes inside, with its binomial error over the independent windows."""
    if score is None or score.value != score.value:
        return ""
    error = (max(score.value * (1 - score.value), 0.01) / max(score.n_eff, 1.0)) ** 0.5
    return f"{percent(score.value, error)} \u00b1 {percent(error, error)}\u00a0%"


def cost_table(record: RunRecord, language: str) -> Table:
    """Seconds, processor time, peak memory and cutoffs of each member."""
    keys = ("member", "asked", "answered", "cached", "seconds", "cpu", "peak")
    head = [
        Head(text=text(f"run.cost.{key}", language), kind="" if key == "member" else "number") for key in keys
    ]
    rows = []
    for member in record.members:
        counts = [number(str(n)) for n in (member.asked, member.answered, member.cached)]
        use = member.usage
        costs = (
            ("", "", "") if use is None else (f"{use.wall_s:.1f}", f"{use.cpu_s:.1f}", f"{use.peak_mb:.0f}")
        )
        rows.append([Cell(text=member.name), *counts, *(number(c) for c in costs)])
    return Table(label=text("run.cost.label", language), head=head, rows=rows)

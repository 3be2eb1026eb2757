"""Backtest of a service: decisions taken again over a span of cutoffs, each with its own slice.

Letters in shapes: R scored cutoffs, H steps, Q levels, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.calendar import Dates, as_stamp
from horizoncast.engine import EngineConfig, ForecastEngine, evaluate
from horizoncast.engine.branches import branch_digests
from horizoncast.engine.hybrid import fusion_of
from horizoncast.ensemble.decision import MIN_WINDOWS, best_naive
from horizoncast.ensemble.hybrid import Fusion
from horizoncast.ensemble.records import BRANCHES, HYBRID
from horizoncast.ensemble.replay import Replay, replay
from horizoncast.ensemble.weights import RULE_NAMES
from horizoncast.errors import ConfigError, DataError
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.metrics import Metric
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.series import Series
from horizoncast.service.settings import Settings
from horizoncast.store.atomic import write_atomic
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.backtest import Progress
from horizoncast.validation.scoring import score_subject
from horizoncast.validation.significance import Verdict
from horizoncast.validation.splitter import CutoffPlan, matured_rows

Floats = npt.NDArray[np.float64]

SHIPPED = "shipped"
"""The default pipeline: the settings' own rule, skill factor and width factor."""

_USUAL_CUTOFFS = 60
"""Cutoffs that a member's deadline is meant for; a longer backtest gets more time in proportion."""

_RATIOS = (
    Metric.PATH_RMSE,
    Metric.RMSE,
    Metric.WQL,
    Metric.CRPS,
    Metric.INTERVAL_SCORE_80,
    Metric.INTERVAL_SCORE_95,
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which cutoffs are scored.

    Parameters
    ----------
    first, last
        First and last cutoff; None begins once a full slice has matured, and ends with the newest
        matured one.
    stride
        Sessions between cutoffs; None takes the horizon's.
    """

    first: np.datetime64 | None = None
    last: np.datetime64 | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride < 1:
            raise ConfigError("--stride must be positive", value=self.stride)
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ConfigError("--to lies before --from", value=f"{self.first} to {self.last}")


@dataclass(frozen=True, kw_only=True)
class SubjectScore:
    """One subject over the scored cutoffs.

    Parameters
    ----------
    subject
        A member, ``hybrid``, a weighting rule (without skill factor and width factor), or ``shipped``.
    cutoffs
        Cutoffs it has a forecast at.
    values
        Scores in the unit, by metric.
    ratios
        The same relative to the reference on the same cutoffs.
    """

    subject: str
    cutoffs: int
    values: Mapping[Metric, float]
    ratios: Mapping[Metric, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class BacktestResult:
    """What a backtest found.

    Parameters
    ----------
    series, horizon, stride
        What was forecast, and how often.
    bank
        The scored cutoffs, (R,), members' rows in the scale.
    subjects
        (R, H, Q) quantiles in the scale by subject: members, rules, ``hybrid`` unless it is off, ``shipped``.
    reference
        The naive that ratios are relative to, the better one on the scored cutoffs.
    scores, verdicts
        Per subject; verdicts of members and ``shipped`` against the reference.
    kappas, widths
        (R,) skill and width factors of the shipped decisions.
    """

    series: Series
    horizon: Horizon
    stride: int
    bank: Bank
    subjects: Mapping[str, Floats]
    reference: str
    scores: tuple[SubjectScore, ...]
    verdicts: tuple[Verdict, ...]
    kappas: Floats
    widths: Floats


def backtest_plan(series: Series, horizon: Horizon, span: Span, config: EngineConfig) -> CutoffPlan:
    """The scored cutoffs, and before them those that their slices need.

    Raises
    ------
    DataError
        When no matured cutoff lies in the span.
    """
    engine = ForecastEngine(config)
    stride = engine.plan(series, horizon).stride if span.stride is None else span.stride
    rows = matured_rows(series, horizon, stride, engine.min_train(series, horizon))
    dates = series.dates[rows]
    ahead = config.decision.newest + horizon.cutoffs_per_horizon(stride)
    start, stop = _bounds(dates, span, ahead)
    if start >= stop:
        text = series.calendar.text
        raise DataError(
            f"{series.name}: no matured cutoff between --from and --to",
            value=f"{span.first} to {span.last}",
            allowed=f"{text(dates[0])} to {text(dates[-1])}" if len(dates) else "none: history is too short",
        )
    return CutoffPlan(
        cutoffs=dates[max(0, start - ahead) : stop],
        live=series.last,
        stride=stride,
        wanted=ahead + stop - start,
        horizon=horizon,
    )


def run_backtest(
    settings: Settings,
    series: Series,
    span: Span,
    *,
    progress: Progress | None = None,
) -> BacktestResult:
    """Forecast, decide and score over a span of cutoffs.

    Rows are cached apart from those of live runs, which would else push each other out.

    Raises
    ------
    DataError
        When the span holds no cutoff that has matured, or none with enough matured before it.
    """
    horizon = Horizon.parse(settings.horizon)
    config = settings.engine_config(horizon)
    plan = backtest_plan(series, horizon, span, config)
    config = patient(config, len(plan.cutoffs))
    engine = ForecastEngine(config, cache=BankCache(settings.cache_folder / "backtest"))
    bank, live = engine.fill(series, plan, progress=progress)
    fusion = past_fusion(series, bank, live, config)
    states = {m.name: m.state for m in config.members} | dict.fromkeys(NAIVES, MemberState.ON)
    first = first_scored(bank, span, config)
    shipped = since(replay(bank, states, config.decision, fusion=fusion), first)
    if not len(shipped.places):
        raise DataError(
            f"{series.name}: no cutoff of the span has {MIN_WINDOWS} matured ones before it",
            action="choose a later --from, a smaller --stride, or a longer history",
        )
    scored = bank.pick(shipped.places)
    subjects = {name: scored.quantiles[k] for k, name in enumerate(scored.members)}
    for rule in RULE_NAMES:
        plain = replace(config.decision, rule=rule, shrink=False, calibrate=False)
        subjects[rule] = since(replay(bank, states, plain, fusion=fusion), first).quantiles
    if shipped.hybrid is not None and np.isfinite(shipped.hybrid).any():
        subjects[HYBRID] = shipped.hybrid
    subjects[SHIPPED] = shipped.quantiles
    reference = best_naive(scored, [name for name in NAIVES if name in scored.members])
    _, verdicts = evaluate(series, bank, shipped, reference)
    return BacktestResult(
        series=series,
        horizon=horizon,
        stride=plan.stride,
        bank=scored,
        subjects=subjects,
        reference=reference,
        scores=tuple(
            score_against(name, q, subjects[reference], scored, series) for name, q in subjects.items()
        ),
        verdicts=tuple(_renamed(verdict) for verdict in verdicts),
        kappas=np.array([d.kappa for d in shipped.decisions]),
        widths=np.array([d.width for d in shipped.decisions]),
    )


def write_bank(path: Path, result: BacktestResult) -> int:
    """Write one row per subject, cutoff and step, in the unit, and return their number.

    Columns: subject, cutoff, step, date, actual, q0.01 ... q0.99. Steps without a forecast are left
    out; an actual that was never observed is null.

    Raises
    ------
    StoreError
        When the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables([_rows_of(name, q, result) for name, q in result.subjects.items()])
    write_atomic(path, lambda handle: pq.write_table(table, handle, compression="zstd"))
    return int(table.num_rows)


def _rows_of(subject: str, quantiles: Floats, result: BacktestResult) -> object:
    """One subject's rows as a table."""
    import pyarrow as pa

    bank, steps = result.bank, result.horizon.steps
    with np.errstate(over="ignore"):
        unit = bank.scale.backward(quantiles).reshape(-1, len(bank.levels))
    keep = np.isfinite(unit).all(axis=1)
    actual = bank.scale.backward(bank.actuals).reshape(-1)[keep]
    dates = np.stack([result.series.session_dates(cutoff, steps) for cutoff in bank.cutoffs]).reshape(-1)
    columns = {
        "subject": pa.array([subject] * int(keep.sum()), pa.string()),
        "cutoff": pa.array(np.repeat(bank.cutoffs, steps)[keep], pa.timestamp("ms")),
        "step": pa.array(np.tile(np.arange(1, steps + 1), bank.windows)[keep], pa.int32()),
        "date": pa.array(dates[keep], pa.timestamp("ms")),
        "actual": pa.array(actual, pa.float64(), mask=np.isnan(actual)),
    }
    levels = {f"q{level:g}": pa.array(unit[keep, k]) for k, level in enumerate(LEVELS)}
    return pa.table(columns | levels)


def _bounds(dates: Dates, span: Span, ahead: int) -> tuple[int, int]:
    """Half-open range of the scored cutoffs among all; without a first date a full slice comes before."""
    start, stop = min(ahead, max(0, len(dates) - 1)), len(dates)
    if span.first is not None:
        start = int(np.searchsorted(dates, as_stamp(span.first)))
    if span.last is not None:
        stop = int(np.searchsorted(dates, as_stamp(span.last), side="right"))
    return start, stop


def patient(config: EngineConfig, cutoffs: int) -> EngineConfig:
    """Every member is asked for every cutoff, with time in proportion."""
    factor = max(1, ceil(cutoffs / _USUAL_CUTOFFS))
    members = tuple(replace(m, windows=None, deadline_s=m.deadline_s * factor) for m in config.members)
    return replace(config, members=members)


def first_scored(bank: Bank, span: Span, config: EngineConfig) -> np.datetime64:
    """Where scoring begins: the date asked for, else the first cutoff with a full slice if there is one."""
    if span.first is not None:
        return as_stamp(span.first)
    full = [w for w in range(bank.windows) if (bank.ends <= bank.cutoffs[w]).sum() >= config.decision.newest]
    return as_stamp(bank.cutoffs[full[0] if full else 0])


def since(replayed: Replay, first: np.datetime64) -> Replay:
    """The replayed decisions from a cutoff on."""
    keep = replayed.cutoffs >= first
    return Replay(
        cutoffs=replayed.cutoffs[keep],
        places=replayed.places[keep],
        quantiles=replayed.quantiles[keep],
        decisions=tuple(d for d, k in zip(replayed.decisions, keep, strict=True) if k),
        hybrid=None if replayed.hybrid is None else replayed.hybrid[keep],
    )


def past_fusion(series: Series, bank: Bank, live: Bank, config: EngineConfig) -> Fusion | None:
    """The hybrid for decisions taken again at the cutoffs of a bank; None where it is off or has no parts."""
    if config.hybrid.state is MemberState.OFF or not set(BRANCHES) <= set(bank.members):
        return None
    fusion, _ = fusion_of(series, bank, live, config, {}, running=branch_digests(config, config.service))
    return fusion


def score_against(
    subject: str, quantiles: Floats, reference: Floats, bank: Bank, series: Series
) -> SubjectScore:
    """Scores, and ratios to the reference on the cutoffs the subject answered."""
    answered = np.asarray(np.isfinite(quantiles).all(axis=(1, 2)))
    same = np.where(answered[:, None, None], reference, np.nan)
    own = {s.metric: s.value for s in score_subject(subject, quantiles, bank, series)}
    base = {s.metric: s.value for s in score_subject(subject, same, bank, series)}
    ratios = {m: own[m] / base[m] for m in _RATIOS if m in own and base.get(m, 0.0) > 0.0}
    return SubjectScore(subject=subject, cutoffs=int(answered.sum()), values=own, ratios=ratios)


def _renamed(verdict: Verdict) -> Verdict:
    return replace(verdict, subject=SHIPPED) if verdict.subject == "ensemble" else verdict

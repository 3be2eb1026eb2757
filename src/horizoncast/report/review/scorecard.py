"""Members and ensemble against the naive of the same cutoffs.

Letters in shapes: W cutoffs, H steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import numpy as np
import numpy.typing as npt

from horizoncast.report.review.model import Figure, PitBin, Sample, ScoreLine
from horizoncast.report.review.tables import ENSEMBLE, OwnFacts
from horizoncast.store.facts import MemberFact, RunDocument
from horizoncast.validation.coverage import CoverageEstimate
from horizoncast.validation.live import (
    PIT_BINS,
    Estimate,
    LiveTable,
    compare_periods,
    headline,
    mean_with_error,
    per_cutoff,
)
from horizoncast.validation.significance import compare

HALF_YEAR = np.timedelta64(182 * 86400, "s")
BEST_NAIVE = "best_naive"
_UNKNOWN = Figure(value=None, error=None, windows=0, n_eff=0.0, can_be_told=False)


def score_lines(
    own: OwnFacts,
    tables: Mapping[Sample, Mapping[str, LiveTable]],
    members: Mapping[str, MemberFact],
    document: RunDocument,
) -> tuple[ScoreLine, ...]:
    """Live lines first, then those made in hindsight, then the newest run's replays.

    Parameters
    ----------
    tables
        Of live forecasts, and of those made in hindsight.
    members, document
        Of the newest run.
    """
    lines = []
    naives = {run.best_naive for run in own.runs}
    reference = own.head.best_naive if len(naives) == 1 else BEST_NAIVE
    for sample, found in tables.items():
        lines += [
            _line(table, reference, sample, members.get(name))
            for name, table in found.items()
            if name != reference
        ]
    return (*lines, *_backtest(own.head.horizon, members, document))


def _line(table: LiveTable, reference: str, sample: Sample, member: MemberFact | None) -> ScoreLine:
    figures, steps = headline(table), table.steps
    rows = table.matured
    paired = np.isfinite(table.loss) & np.isfinite(table.naive_loss) & rows[:, None]
    loss, naive = (per_cutoff(np.where(paired, x, np.nan)) for x in (table.loss, table.naive_loss))
    verdict = compare(table.subject, reference, loss, naive, steps=steps, stride=table.spacing)
    periods = compare_periods(table, table.cutoffs[-1] - HALF_YEAR)
    return ScoreLine(
        subject=table.subject,
        reference=reference,
        sample=sample,
        state="" if member is None else member.state,
        weight=None if member is None else member.weight,
        leads=(1, steps),
        skill=_figure(figures.skill),
        verdict=str(verdict.code),
        p_value=_number(verdict.p_value),
        windows=verdict.windows,
        n_eff=verdict.n_eff,
        bias=_figure(figures.bias),
        coverage_80=_figure(figures.coverage_80),
        coverage_95=_figure(figures.coverage_95),
        pit=_pit(table.pit[rows], steps, table.spacing),
        recent=_number(periods.recent),
        earlier=_number(periods.earlier),
    )


def _pit(pit: npt.NDArray[np.float64], steps: int, spacing: int) -> tuple[PitBin, ...]:
    """Ten bins, each cutoff counting once, with errors that respect the overlap."""
    known = np.isfinite(pit)
    if not known.any():
        return ()
    bins = np.minimum((np.where(known, pit, 0.0) * PIT_BINS).astype(np.int64), PIT_BINS - 1)
    found = []
    for k in range(PIT_BINS):
        share = mean_with_error(per_cutoff(np.where(known, bins == k, np.nan)), steps=steps, spacing=spacing)
        low, high = k / PIT_BINS, (k + 1) / PIT_BINS
        found.append(PitBin(low=low, high=high, share=share.value, error=_number(share.error)))
    return tuple(found)


def _backtest(steps: int, members: Mapping[str, MemberFact], document: RunDocument) -> list[ScoreLine]:
    """The newest run's replays: what looks further back than the ledger does."""
    lines = []
    for verdict in sorted(document.verdicts, key=lambda v: (v.subject != ENSEMBLE, v.subject)):
        member = members.get(verdict.subject)
        own, base = (document.scores.get((name, "wql")) for name in (verdict.subject, verdict.reference))
        skill = None
        if own is not None and base is not None and own[0] is not None and base[0]:
            skill = 1.0 - own[0] / base[0]
        lines.append(
            ScoreLine(
                subject=verdict.subject,
                reference=verdict.reference,
                sample=Sample.BACKTEST,
                state="" if member is None else member.state,
                weight=None if member is None else member.weight,
                leads=(1, steps),
                skill=Figure(
                    value=skill,
                    error=None,
                    windows=verdict.windows,
                    n_eff=verdict.n_eff,
                    can_be_told=False,
                ),
                verdict=verdict.code,
                p_value=verdict.p_value,
                windows=verdict.windows,
                n_eff=verdict.n_eff,
                bias=_UNKNOWN,
                coverage_80=_scored(document, verdict.subject, "coverage_80"),
                coverage_95=_scored(document, verdict.subject, "coverage_95"),
            )
        )
    return lines


def _scored(document: RunDocument, subject: str, metric: str) -> Figure:
    found = document.scores.get((subject, metric))
    if found is None:
        return _UNKNOWN
    value, windows, n_eff = found
    return Figure(value=value, error=None, windows=windows, n_eff=n_eff, can_be_told=False)


def _figure(estimate: Estimate | CoverageEstimate) -> Figure:
    return Figure(
        value=_number(estimate.value),
        error=_number(estimate.error),
        windows=estimate.windows,
        n_eff=estimate.n_eff,
        can_be_told=estimate.can_be_told,
    )


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None

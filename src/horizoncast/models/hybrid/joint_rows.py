"""What a joint fine-tuning learns from: windows of the series with another model's rows, in three parts.

Letters in shapes: W cutoffs, N windows, T context, H steps, Q levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError, ConfigError, HistoryTooShortError
from horizoncast.models.chronos.folder import BOLT
from horizoncast.models.chronos.pipeline import Loaded
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import Job
from horizoncast.models.chronos.windows import Windows, cut_windows, thinned

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOST = (4096, 256, 512)
"""Windows at most to learn from, to stop by and to judge on."""
_LEAST_CONTEXT = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Another model's answers, and the fusion as it stands.

    Parameters
    ----------
    ends
        (W,) rows of the cutoffs in the job's only series, each once, in any order.
    quantiles
        (W, H, Q) in the scale, increasing, from weights that had seen no later row.
    levels
        (Q,) theirs.
    log_odds
        (W, H) in favour of Chronos before this stage; None is an even share.
    """

    ends: Ints
    quantiles: Floats
    levels: tuple[float, ...]
    log_odds: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Windows with the other model's rows, in units of their contexts, and the log-odds before."""

    windows: Windows
    other: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]


def check(job: Job, rows: Rows, loaded: Loaded, penalty: float) -> None:
    """Refuse what cannot be tuned jointly.

    Raises
    ------
    ConfigError
        For another mode, Chronos-2, a model with an adapter, more steps than one pass answers, or a
        negative penalty.
    BankError
        When the rows do not fit the job.
    """
    manifest = loaded.manifest
    if manifest.kind != BOLT or loaded.adapter is not None:
        raise ConfigError(
            "joint fine-tuning moves the weights of a Chronos-Bolt without an adapter", value=manifest.name
        )
    if job.settings.mode != "gradual":
        raise ConfigError("mode of joint fine-tuning", value=repr(job.settings.mode), allowed="gradual")
    if job.steps > manifest.prediction_length:
        raise ConfigError(
            "joint fine-tuning of steps that are read back as paths",
            value=job.steps,
            allowed=f"at most {manifest.prediction_length} for {manifest.name}",
        )
    if not penalty >= 0:
        raise ConfigError("penalty of joint fine-tuning", value=penalty, allowed="at least 0")
    shape = (len(rows.ends), job.steps, len(rows.levels))
    odds = np.zeros(shape[:2]) if rows.log_odds is None else rows.log_odds
    fits = rows.quantiles.shape == shape and odds.shape == shape[:2] and len(job.values) == 1
    if not fits or len(np.unique(rows.ends)) < len(rows.ends):
        raise BankError(
            "rows for joint fine-tuning do not fit the job",
            value=f"{rows.quantiles.shape} for {len(job.values)} series",
            allowed=f"{shape}, each cutoff of one series once",
        )
    if not (np.isfinite(rows.quantiles).all() and np.isfinite(odds).all()):
        raise BankError("rows for joint fine-tuning are not finite")


def parts_of(job: Job, rows: Rows, context: int) -> tuple[Part, Part, Part]:
    """Learnt from, held back, judged on: later parts' outcomes reach into no earlier one.

    Raises
    ------
    HistoryTooShortError
        When a part has no window.
    """
    values, steps = job.values[0], job.steps
    order = np.argsort(rows.ends)
    ends = rows.ends[order]
    usable = (ends + 1 >= _LEAST_CONTEXT) & (ends + steps < len(values))
    order, ends = order[usable], ends[usable]
    bounds = _bounds(ends, steps, job.settings) if len(ends) else ((0, 0),) * 3
    out = []
    for (first, stop), most in zip(bounds, _MOST, strict=True):
        at = order[(ends + 1 >= first) & (ends + steps < stop)]
        out.append(_part(job, rows, at, context, most))
    if short := [n for n, part in enumerate(out) if not len(part.windows)]:
        raise HistoryTooShortError(
            f"joint fine-tuning has no cutoff to {('learn from', 'hold back', 'judge on')[short[0]]}",
            value=f"{len(ends)} matured cutoffs",
            allowed=f"cutoffs over several times {steps} sessions",
        )
    return out[0], out[1], out[2]


def _bounds(ends: Ints, steps: int, settings: TrainingSettings) -> tuple[tuple[int, int], ...]:
    """Rows [first, stop) that the outcomes of each part lie in."""
    first, stop = int(ends[0]) + 1, int(ends[-1]) + steps + 1
    test = stop - round(settings.test_split * (stop - first))
    held = test - round(settings.validation_split * (test - first))
    return ((first, held), (held, test), (test, stop))


def _part(job: Job, rows: Rows, at: Ints, context: int, most: int) -> Part:
    """Windows at some rows, in order of time; those whose context never moved are left out."""
    values = job.values[0]
    observed = np.ones(len(values), np.bool_) if job.observed is None else job.observed[0]
    windows = thinned(cut_windows(values, observed, rows.ends[at], 0, shape=(context, job.steps)), most)
    at = at[np.searchsorted(rows.ends[at], windows.ends)]
    odds = np.zeros((len(at), job.steps)) if rows.log_odds is None else rows.log_odds[at]
    other = windows.scaled(rows.quantiles[at])
    return Part(windows=windows, other=other, before=odds.astype(np.float32))

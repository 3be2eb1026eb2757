"""From outcomes to tables of cutoffs and leads, live ones apart from those made in hindsight.

Letters in shapes: W cutoffs, H steps, n outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.report.review.model import Sample
from horizoncast.series import Scale
from horizoncast.store.facts import OutcomeFact, PointFact, RunFact
from horizoncast.validation.live import LiveTable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ENSEMBLE = "ensemble"
_VALUES = ("actual", "error", "loss", "pit", "covered_80", "covered_95")


@dataclass(frozen=True, kw_only=True)
class OwnFacts:
    """What is on record of one service on one series.

    Parameters
    ----------
    runs
        Of the newest run's horizon, unit and scale, by as-of and start.
    points
        The lead grid of every run's forecast.
    outcomes
        Of these runs.
    last
        Newest date whose value is known.
    """

    runs: tuple[RunFact, ...]
    points: Mapping[str, tuple[PointFact, ...]]
    outcomes: tuple[OutcomeFact, ...]
    last: str

    @property
    def head(self) -> RunFact:
        """The newest run."""
        return self.runs[-1]

    def end(self, run: RunFact) -> str:
        """Date of a run's step H."""
        return self.points[run.run_id][-1].date


def live_tables(own: OwnFacts, sample: Sample) -> dict[str, LiveTable]:
    """One table per subject, the ensemble first; empty without an outcome of the sample.

    Of several runs of one cutoff the one that started last counts, lead by lead. A lead that was
    published in time is live, whatever was published for it later.
    """
    chosen = _chosen(own, sample)
    if not chosen:
        return {}
    runs = {run.run_id: run for run in own.runs}
    sessions = {runs[o.run_id].cutoff: o.session for o in chosen}
    cutoffs = sorted(sessions)
    ends = {run.cutoff: own.end(run) for run in own.runs if run.cutoff in sessions}
    subjects = sorted({o.subject for o in chosen}, key=lambda name: (name != ENSEMBLE, name))
    row_of = {cutoff: w for w, cutoff in enumerate(cutoffs)}
    place_of = {name: k for k, name in enumerate(subjects)}
    at = (
        np.array([place_of[o.subject] for o in chosen]),
        np.array([row_of[runs[o.run_id].cutoff] for o in chosen]),
        np.array([o.step - 1 for o in chosen]),
    )
    shape = (len(subjects), len(cutoffs), own.head.horizon)
    cells = {name: _filled(shape, at, [getattr(o, name) for o in chosen]) for name in _VALUES}
    scaled = _scaled(cells["actual"], cells["error"], Scale.parse(own.head.scale))
    naive = _naives(own, chosen, (row_of, place_of), shape)
    stamps = np.array(cutoffs, dtype="datetime64[s]")
    return {
        name: LiveTable(
            subject=name,
            cutoffs=stamps,
            ordinals=np.array([sessions[cutoff] for cutoff in cutoffs], dtype=np.int64),
            matured=np.array([ends[cutoff] <= own.last for cutoff in cutoffs]),
            error=cells["error"][k],
            scaled_error=scaled[k],
            loss=cells["loss"][k],
            pit=cells["pit"][k],
            covered_80=cells["covered_80"][k],
            covered_95=cells["covered_95"][k],
            naive_loss=_beside(cells["loss"], naive),
            naive_scaled_error=_beside(scaled, naive),
        )
        for k, name in enumerate(subjects)
    }


def kept(table: LiveTable, rows: npt.NDArray[np.bool_]) -> LiveTable:
    """A table on some of its cutoffs."""
    arrays = {name: value[rows] for name, value in vars(table).items() if name != "subject"}
    return LiveTable(subject=table.subject, **arrays)


def _chosen(own: OwnFacts, sample: Sample) -> list[OutcomeFact]:
    """Outcomes of the run that counts at each cutoff and lead, of one sample."""
    order = {run.run_id: k for k, run in enumerate(own.runs)}
    cutoff = {run.run_id: run.cutoff for run in own.runs}
    owner: dict[tuple[str, int], tuple[bool, int, str]] = {}
    for o in own.outcomes:
        if o.subject == ENSEMBLE:
            key, rank = (cutoff[o.run_id], o.step), (o.live, order[o.run_id], o.run_id)
            if key not in owner or rank > owner[key]:
                owner[key] = rank
    wanted = {
        (run_id, step) for (_, step), (live, _, run_id) in owner.items() if live is (sample is Sample.LIVE)
    }
    return [o for o in own.outcomes if (o.run_id, o.step) in wanted]


def _filled(
    shape: tuple[int, int, int], at: tuple[Ints, Ints, Ints], values: Sequence[float | bool | None]
) -> Floats:
    cells = np.full(shape, np.nan)
    cells[at] = np.array(values, dtype=np.float64)
    return cells


def _scaled(actual: Floats, error: Floats, scale: Scale) -> Floats:
    """Point forecast minus actual in the scale."""
    with np.errstate(invalid="ignore", divide="ignore"):
        out = scale.forward(actual + error) - scale.forward(actual)
    return np.where(np.isfinite(out), out, np.nan)


def _naives(
    own: OwnFacts,
    chosen: Sequence[OutcomeFact],
    places: tuple[Mapping[str, int], Mapping[str, int]],
    shape: tuple[int, int, int],
) -> Ints:
    """(W, H) place of the best naive of the run that counts in each cell; -1 where there is none."""
    row_of, place_of = places
    runs = {run.run_id: run for run in own.runs}
    naive = np.full(shape[1:], -1)
    for o in chosen:
        if o.subject == ENSEMBLE:
            run = runs[o.run_id]
            naive[row_of[run.cutoff], o.step - 1] = place_of.get(run.best_naive, -1)
    return naive


def _beside(cells: Floats, naive: Ints) -> Floats:
    """(W, H) the naive's values."""
    found = np.take_along_axis(cells, np.maximum(naive, 0)[None], axis=0)[0]
    return np.where(naive >= 0, found, np.nan)

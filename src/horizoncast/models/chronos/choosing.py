"""What the member takes from matured origins at each cutoff: the context, and the weight of each reading.

A loss is computed once per origin, context and anchor, and serves every cutoff of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from horizoncast.horizon import Horizon
from horizoncast.models.chronos import contexts
from horizoncast.models.chronos.adapter import told_of
from horizoncast.models.chronos.asking import Reading
from horizoncast.models.chronos.blending import Weighted
from horizoncast.models.chronos.chosen import CONTEXT, SEASON, Chosen, leave_chosen
from horizoncast.models.chronos.config import AUTO, OFF, ON, ChronosConfig
from horizoncast.models.chronos.folder import ModelManifest
from horizoncast.models.chronos.inference import Raw
from horizoncast.models.chronos.seasons import Anchor, needed, trials, weigh
from horizoncast.models.evidence import prior_odds
from horizoncast.series import History, Series

Ask = Callable[[Sequence[History], Reading], list[Raw]]
"""The checkpoint: answers at the ends of histories."""


class Chooser:
    """Contexts, and weights of anchors, of one call of `Chronos.forecast`."""

    def __init__(self, config: ChronosConfig, manifest: ModelManifest, horizon: Horizon) -> None:
        self.config = config
        self.manifest = manifest
        self.horizon = horizon
        self._losses: dict[tuple[int, Reading], float] = {}
        self._contexts: dict[np.datetime64, int] = {}
        self._weights: dict[np.datetime64, dict[Anchor | None, float]] = {}

    def readings(self, histories: Sequence[History], ask: Ask) -> list[Weighted]:
        """How the checkpoint reads the end of each history of one series."""
        auto = self.config.context_length == AUTO
        if auto:
            rows = {int(row) for history in histories for row in self._origins(history).rows}
            for context in self._tried():
                self._score(histories[0].series, rows, Reading(context=context), ask)
        spans = [self._context(history) for history in histories]
        if auto:
            self._contexts |= {h.cutoff: span for h, span in zip(histories, spans, strict=True)}
        return self._anchored(histories, spans, ask)

    def leave(self, series: Series, digest: str, service: str) -> None:
        """Write down what was chosen, for the record of the run."""
        name = self.manifest.name
        spans = {cutoff: (span,) for cutoff, span in self._contexts.items()}
        seasons = {cutoff: _told(weights) for cutoff, weights in self._weights.items()}
        for chosen in (
            Chosen(kind=CONTEXT, choices=spans, default=(self._tried()[0],), source=name),
            Chosen(kind=SEASON, choices=seasons, default=_told({None: 1.0}), source=name),
        ):
            if chosen.choices and self.config.traces:
                folder, steps = Path(self.config.traces), self.horizon.steps
                leave_chosen(folder, series, steps, digest, chosen, service=service)

    def _context(self, history: History) -> int:
        """T at a cutoff: the setting or the choice, doubled while nothing moves in it."""
        longest = self.manifest.context_length
        context = min(self.config.context, longest)
        if self.config.context_length == AUTO:
            context = self._chosen_context(history)
        while context < min(longest, history.stop) and np.ptp(history.tail(context).z) == 0:
            context = min(2 * context, longest)
        return context

    def _chosen_context(self, history: History) -> int:
        """The context that did best at origins whose outcome had matured by the cutoff."""
        tried, origins = self._tried(), self._origins(history)
        if len(origins.rows) < contexts.FEWEST:
            return tried[0]
        losses = {c: [self._losses[int(row), Reading(context=c)] for row in origins.rows] for c in tried}
        return contexts.choose({c: np.array(found) for c, found in losses.items()}, origins.worth)

    def _anchored(self, histories: Sequence[History], spans: Sequence[int], ask: Ask) -> list[Weighted]:
        """The readings at the contexts given: as it is, and by its anchors where it has any."""
        adapted = told_of(self.manifest) is not None  # it reads as it learned
        if adapted or self.config.season == OFF or not histories[0].periods:
            return [((Reading(context=span), 1.0),) for span in spans]
        origins = [self._origins(history) for history in histories]
        tried = [
            trials(h.periods, h.stop, found.rows, self.horizon.steps)
            for h, found in zip(histories, origins, strict=True)
        ]
        forced = self.config.season == ON
        wanted = [needed(mine, forced=forced) for mine in tried]
        self._score_anchors(histories[0].series, spans, wanted, ask)
        readings: list[Weighted] = []
        for history, span, mine, pairs, found in zip(histories, spans, tried, wanted, origins, strict=True):
            losses = {(r, a): self._losses[r, Reading(context=span, anchor=a)] for r, a in pairs}
            prior = prior_odds(history.series)
            weights = weigh(mine, losses, found.worth, forced=forced, prior=prior)
            self._weights[history.cutoff] = weights
            readings.append(tuple((Reading(context=span, anchor=a), w) for a, w in weights.items()))
        return readings

    def _score_anchors(
        self,
        series: Series,
        spans: Sequence[int],
        wanted: Sequence[set[tuple[int, Anchor | None]]],
        ask: Ask,
    ) -> None:
        """Losses of every anchor, and of the series as it is, at the origins of a chunk, in full batches."""
        rows: dict[Reading, set[int]] = {}
        for span, pairs in zip(spans, wanted, strict=True):
            for row, anchor in pairs:
                rows.setdefault(Reading(context=span, anchor=anchor), set()).add(row)
        for reading, at in rows.items():
            self._score(series, at, reading, ask)

    def _score(self, series: Series, rows: set[int], reading: Reading, ask: Ask) -> None:
        """Losses of one reading at origins of a series."""
        missing = sorted(row for row in rows if (row, reading) not in self._losses)
        origins = [History(series=series, stop=row + 1) for row in missing]
        for row, raw in zip(missing, ask(origins, reading), strict=True):
            actual = series.scale.forward(series.values[row + 1 : row + 1 + self.horizon.steps])
            loss = contexts.loss(raw.quantiles, self.manifest.quantiles, actual, self.horizon)
            self._losses[row, reading] = loss

    def _tried(self) -> tuple[int, ...]:
        return contexts.candidates(self.config.context, self.manifest.context_length)

    def _origins(self, history: History) -> contexts.Origins:
        """The origins that decide at the end of a history."""
        ordinals = history.series.ordinals
        return contexts.matured_origins(ordinals, history.stop, self.horizon.steps, self.config.min_train)


def _told(weights: Mapping[Anchor | None, float]) -> tuple[int, int, int, int]:
    """Period, seasons and weight of the heaviest anchor, and weight of the series as it is, in per cent."""
    anchors = {anchor: weight for anchor, weight in weights.items() if anchor is not None}
    plain = round(100 * weights.get(None, 0.0))
    if not anchors:
        return 0, 0, 0, plain
    first = max(anchors, key=lambda anchor: anchors[anchor])
    return first.period, first.seasons, round(100 * anchors[first]), plain

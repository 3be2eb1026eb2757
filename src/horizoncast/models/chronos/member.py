"""The member `chronos`: a pretrained checkpoint, Chronos-Bolt or Chronos-2, asked zero-shot.

Nothing is fitted. What it answers at a cutoff is a function of the context before it and of the
checkpoint, whose digest is part of the member's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar

import numpy as np

from horizoncast.errors import ModelError, StoreError
from horizoncast.forecast import Failure, Flag, Forecast, ModelIdentity
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, Prediction
from horizoncast.models.chronos import contexts
from horizoncast.models.chronos.adapter import Told, told_of
from horizoncast.models.chronos.chosen import Chosen, leave_chosen
from horizoncast.models.chronos.config import AUTO, ChronosConfig
from horizoncast.models.chronos.folder import BOLT, ModelManifest, read_manifest
from horizoncast.models.chronos.inference import Floats, Raw, Window, answer_bolt, answer_chronos2
from horizoncast.models.chronos.levels import at_levels
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline, release_pipeline
from horizoncast.models.chronos.trace import leave_trace
from horizoncast.series import History, Series


class Chronos(Member[ChronosConfig, None]):
    """A Chronos checkpoint (Ansari et al. 2024; Chronos-2: Ansari et al. 2025) as a member.

    One pipeline is loaded per process when the first cutoff is answered, and released with the last.
    """

    name: ClassVar[str] = "chronos"
    config_type: ClassVar[type[ChronosConfig]] = ChronosConfig

    def __init__(self, config: ChronosConfig, *, service: str = "") -> None:
        super().__init__(config, service=service)
        self._ahead: dict[np.datetime64, Raw] = {}
        self._losses: dict[tuple[int, int], float] = {}
        self._contexts: dict[np.datetime64, int] = {}

    @cached_property
    def manifest(self) -> ModelManifest:
        """What the checkpoint says it is.

        Raises
        ------
        UnknownNameError, StoreError
            When there is none, or its manifest cannot be read.
        """
        return read_manifest(self.config.folder())

    @cached_property
    def told(self) -> Told | None:
        """What the manifest says of the model's adapter; None where it has none.

        Raises
        ------
        StoreError
            As `told_of`.
        """
        return told_of(self.manifest)

    def identity(self) -> ModelIdentity:
        """The checkpoint by its own name, with its revision and the last date it or its adapter has seen."""
        found = self.manifest
        dates = (found.trained_until, None if self.told is None else self.told.trained_until)
        seen = [date for date in dates if date is not None]
        return ModelIdentity(
            id=found.name,
            revision=found.revision,
            digest=self.digest(),
            trained_until=max(seen, default=None),
        )

    def digest(self) -> str:
        """Digest of name, code, settings and of the checkpoint's files."""
        text = f"{super().digest()} {self.manifest.digest}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def fit(self, history: History, horizon: Horizon) -> None:
        """Nothing is fitted."""

    def forecast(
        self,
        series: Series,
        cutoffs: Iterable[np.datetime64],
        horizon: Horizon,
        levels: Sequence[float],
    ) -> Iterator[Forecast | Failure]:
        """Answer every cutoff: the first alone, so that it comes first, the others in chunks.

        Raises
        ------
        StoreError, ModelError
            When the checkpoint is damaged, missing, or does not fit in memory; every cutoff then fails.
        """
        coming = iter(cutoffs)
        self._losses.clear()
        self._contexts.clear()
        try:
            for first in coming:
                live = first == series.last
                for chunk in chain([[first]], _chunks(coming, self.config.chunk)):
                    self._prepare(series, chunk, horizon)
                    yield from super().forecast(series, chunk, horizon, levels)
                    self._ahead.clear()
                    self._leave_contexts(series, horizon)
                if live and self.config.traces and self._unseen(first):
                    leave_trace(Path(self.config.traces), series, self.config.folder(), self.manifest)
        finally:
            release_pipeline()

    def predict(
        self,
        state: None,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles at one cutoff, from the chunk computed before where there was one.

        Raises
        ------
        ModelError
            When the checkpoint has seen rows after the cutoff.
        MissingCovariateError
            When the series lacks what the model's adapter reads.
        """
        self._require_unseen(history.cutoff)
        if self.told is not None:
            self.told.require(history.series)
        raw = self._ahead.get(history.cutoff)
        if raw is None:
            (raw,) = self._answer([history], horizon)
        quantiles, beyond = at_levels(raw.quantiles, self.manifest.quantiles, levels)
        flags = [Flag.EXTRAPOLATED_TAIL] if beyond else []
        flags += [*raw.flags, *([Flag.SORTED] if raw.crossed else [])]
        short = history.stop < min(self.config.context, self.manifest.context_length)
        flags += [Flag.SHORT_HISTORY] if short else []
        flags += [Flag.DEGENERATE_WIDTH] if (quantiles[:, 0] == quantiles[:, -1]).any() else []
        return Prediction(quantiles=quantiles, flags=(*flags, *self._own_flags(history, horizon)))

    def _prepare(self, series: Series, cutoffs: Sequence[np.datetime64], horizon: Horizon) -> None:
        """Compute a chunk ahead of `predict`; what cannot be answered is left for it to say why."""
        histories = []
        if self.told is not None and self.told.lacking(series):
            return
        for cutoff in cutoffs:
            history = series.until(cutoff)
            if history.stop >= self.config.min_train and self._unseen(cutoff):
                histories.append(history)
        answers = self._answer(histories, horizon)
        self._ahead = {h.cutoff: raw for h, raw in zip(histories, answers, strict=True)}

    def _answer(self, histories: Sequence[History], horizon: Horizon) -> list[Raw]:
        """The checkpoint's answers, cutoffs of one context in one batch."""
        if not histories:
            return []
        loaded = get_pipeline(self.config.folder())
        self._check_same(loaded)
        if self.config.context_length == AUTO:
            self._score(loaded, histories, horizon)
        spans = [self._context(history, horizon) for history in histories]
        if self.config.context_length == AUTO:
            self._contexts |= {history.cutoff: span for history, span in zip(histories, spans, strict=True)}
        found: dict[int, Raw] = {}
        for context in sorted(set(spans)):
            at = [i for i, span in enumerate(spans) if span == context]
            windows = [
                replace(
                    window_of(histories[i], context, horizon.steps, self.manifest.kind),
                    inputs=self._inputs(loaded, histories[i].tail(context)),
                )
                for i in at
            ]
            answers = self._ask(loaded, windows, context, horizon.steps)
            found |= dict(zip(at, answers, strict=True))
        return [found[i] for i in range(len(histories))]

    def _ask(self, loaded: Loaded, windows: Sequence[Window], context: int, steps: int) -> list[Raw]:
        if self.manifest.kind == BOLT:
            return answer_bolt(loaded, windows, context=context, steps=steps, chunk=self.config.chunk)
        return [answer_chronos2(loaded, window, context=context, steps=steps) for window in windows]

    def _context(self, history: History, horizon: Horizon) -> int:
        """T at a cutoff: the setting or the choice, doubled while nothing moves in it."""
        longest = self.manifest.context_length
        context = min(self.config.context, longest)
        if self.config.context_length == AUTO:
            context = self._chosen(history, horizon)
        while context < min(longest, history.stop) and np.ptp(history.tail(context).z) == 0:
            context = min(2 * context, longest)
        return context

    def _chosen(self, history: History, horizon: Horizon) -> int:
        """The context that did best at origins whose outcome had matured by the cutoff."""
        tried, rows = self._tried(), self._origins(history, horizon)
        if len(rows) < contexts.FEWEST:
            return tried[0]
        return contexts.choose({c: np.array([self._losses[int(row), c] for row in rows]) for c in tried})

    def _leave_contexts(self, series: Series, horizon: Horizon) -> None:
        """Write down what ``auto`` chose, for the record of the run."""
        if not self._contexts or not self.config.traces:
            return
        made = Chosen(contexts=dict(self._contexts), default=self._tried()[0], source=self.manifest.name)
        leave_chosen(
            Path(self.config.traces), series, horizon.steps, self.digest(), made, service=self.service
        )

    def _tried(self) -> tuple[int, ...]:
        return contexts.candidates(self.config.context, self.manifest.context_length)

    def _origins(self, history: History, horizon: Horizon) -> contexts.Ints:
        """Rows of the origins that choose at the end of a history."""
        ordinals = history.series.ordinals
        return contexts.matured_origins(ordinals, history.stop, horizon.steps, self.config.min_train)

    def _score(self, loaded: Loaded, histories: Sequence[History], horizon: Horizon) -> None:
        """Losses of every context at the origins of a chunk, in full batches."""
        series = histories[0].series
        needed = sorted({int(row) for history in histories for row in self._origins(history, horizon)})
        for context in self._tried():
            missing = [row for row in needed if (row, context) not in self._losses]
            origins = [History(series=series, stop=row + 1) for row in missing]
            windows = [window_of(o, context, horizon.steps, self.manifest.kind) for o in origins]
            for row, raw in zip(missing, self._ask(loaded, windows, context, horizon.steps), strict=True):
                actual = series.scale.forward(series.values[row + 1 : row + 1 + horizon.steps])
                loss = contexts.loss(raw.quantiles, self.manifest.quantiles, actual, horizon)
                self._losses[row, context] = loss

    def _inputs(self, loaded: Loaded, recent: History) -> Floats | None:
        """What the adapter reads at the end of a context; None where the backbone answers alone."""
        adapter = loaded.adapter
        if adapter is None or recent.cutoff < adapter.told.trained_until:
            return None
        return adapter.inputs_at(recent)

    def _own_flags(self, history: History, horizon: Horizon) -> list[Flag]:
        """What became of covariates, where the checkpoint itself reads them."""
        if self.manifest.kind == BOLT or not history.series.covariates:
            return []
        context = min(self.config.context, self.manifest.context_length)
        columns = history.tail(context).covariates
        flags = [Flag.STALE_INPUT] if np.isnan(columns[-1]).any() else []
        known = [covariate.known_future for covariate in history.series.covariates]
        ahead = history.future_covariates(horizon.steps)[:, known]
        lacking = np.isnan(columns).all(axis=0).any() or np.isnan(ahead).any()
        return flags + ([Flag.NO_COVARIATES] if lacking else [])

    def _unseen(self, cutoff: np.datetime64) -> bool:
        until = self.manifest.trained_until
        return until is None or bool(cutoff >= until)

    def _require_unseen(self, cutoff: np.datetime64) -> None:
        if not self._unseen(cutoff):
            raise ModelError(
                f"{self.manifest.name} may have seen rows after the cutoff",
                value=cutoff,
                allowed=f"{self.manifest.trained_until} or later",
            )

    def _check_same(self, loaded: Loaded) -> None:
        """Refuse a folder that was replaced after the run had looked at it."""
        if loaded.manifest != self.manifest:
            raise StoreError("the model folder changed while the run went on", value=loaded.folder.name)


def window_of(history: History, context: int, steps: int, kind: str) -> Window:
    """What a checkpoint reads at the end of a history: the target, and for Chronos-2 its covariates."""
    recent = history.tail(context)
    if kind == BOLT:
        return Window(values=np.asarray(recent.z))
    past: dict[str, Floats] = {}
    future: dict[str, Floats] = {}
    ahead = history.future_covariates(steps)
    for p, covariate in enumerate(history.series.covariates):
        column = np.asarray(recent.covariates[:, p], dtype=np.float64)
        if np.isnan(column).all():
            continue
        past[covariate.name] = column
        if covariate.known_future and np.isfinite(ahead[:, p]).any():
            future[covariate.name] = np.asarray(ahead[:, p])
    return Window(values=np.asarray(recent.z), past=past, future=future)


def _chunks(cutoffs: Iterator[np.datetime64], size: int) -> Iterator[list[np.datetime64]]:
    """The rest of the cutoffs, `size` at a time, read as they are needed."""
    while chunk := list(islice(cutoffs, size)):
        yield chunk

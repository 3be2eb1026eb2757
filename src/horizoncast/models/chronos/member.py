"""The member `chronos`: a pretrained checkpoint, Chronos-Bolt or Chronos-2, asked zero-shot.

Nothing is fitted. What it answers at a cutoff is a function of the context before it and of the
checkpoint, whose digest is part of the member's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar

import numpy as np

from horizoncast.errors import ModelError, StoreError
from horizoncast.forecast import Embedding, Failure, Flag, Forecast, ModelIdentity
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, Prediction
from horizoncast.models.chronos.adapter import Told, told_of
from horizoncast.models.chronos.answering import blends_of
from horizoncast.models.chronos.asking import Reading, covariates_of
from horizoncast.models.chronos.blending import Blend
from horizoncast.models.chronos.choosing import Chooser
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.embedding import embeddings_of
from horizoncast.models.chronos.folder import BOLT, ModelManifest, read_manifest
from horizoncast.models.chronos.levels import at_levels
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline, release_pipeline
from horizoncast.models.chronos.trace import leave_trace
from horizoncast.series import History, Series


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answer:
    """What the checkpoint says at a cutoff, however it read the history, and what its encoder saw."""

    blend: Blend
    embedding: Embedding | None


class Chronos(Member[ChronosConfig, None]):
    """A Chronos checkpoint (Ansari et al. 2024; Chronos-2: Ansari et al. 2025) as a member.

    One pipeline is loaded per process when the first cutoff is answered, and released with the last.
    """

    name: ClassVar[str] = "chronos"
    config_type: ClassVar[type[ChronosConfig]] = ChronosConfig

    def __init__(self, config: ChronosConfig, *, service: str = "") -> None:
        super().__init__(config, service=service)
        self._ahead: dict[np.datetime64, _Answer] = {}

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
        try:
            for first in coming:
                live = first == series.last
                chooser = Chooser(self.config, self.manifest, horizon)
                for chunk in chain([[first]], _chunks(coming, self.config.chunk)):
                    self._prepare(series, chunk, chooser)
                    yield from super().forecast(series, chunk, horizon, levels)
                    self._ahead.clear()
                    chooser.leave(series, self.digest(), self.service)
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
        ahead = self._ahead
        if history.cutoff not in ahead:
            ahead = self._answer([history], Chooser(self.config, self.manifest, horizon))
        answer = ahead[history.cutoff]
        raw = answer.blend.raw
        quantiles, beyond = at_levels(raw.quantiles, self.manifest.quantiles, levels)
        flags = [Flag.EXTRAPOLATED_TAIL] if beyond else []
        flags += [*raw.flags, *([Flag.SORTED] if raw.crossed else [])]
        short = history.stop < min(self.config.context, self.manifest.context_length)
        flags += [Flag.SHORT_HISTORY] if short else []
        flags += [Flag.DEGENERATE_WIDTH] if (quantiles[:, 0] == quantiles[:, -1]).any() else []
        for reading in answer.blend.readings:
            flags += self._own_flags(history, horizon, reading)
        return Prediction(
            quantiles=quantiles,
            flags=tuple(flags),
            epistemic=answer.blend.epistemic,
            embedding=answer.embedding,
        )

    def _prepare(self, series: Series, cutoffs: Sequence[np.datetime64], chooser: Chooser) -> None:
        """Compute a chunk ahead of `predict`; what cannot be answered is left for it to say why."""
        histories = []
        if self.told is not None and self.told.lacking(series):
            return
        for cutoff in cutoffs:
            history = series.until(cutoff)
            if history.stop >= self.config.min_train and self._unseen(cutoff):
                histories.append(history)
        self._ahead = self._answer(histories, chooser)

    def _answer(self, histories: Sequence[History], chooser: Chooser) -> dict[np.datetime64, _Answer]:
        """The checkpoint's answers by cutoff; those that are read alike in one batch."""
        if not histories:
            return {}
        loaded = get_pipeline(self.config.folder())
        self._check_same(loaded)
        blends, seen = blends_of(loaded, chooser, histories), embeddings_of(loaded, histories)
        return {
            h.cutoff: _Answer(blend=own, embedding=embedding)
            for h, own, embedding in zip(histories, blends, seen, strict=True)
        }

    def _own_flags(self, history: History, horizon: Horizon, reading: Reading) -> list[Flag]:
        """What became of covariates, where the checkpoint reads them."""
        if self.manifest.kind == BOLT or not history.series.covariates:
            return []
        flags = [Flag.STALE_INPUT] if np.isnan(history.covariates[-1]).any() else []
        known = [covariate.known_future for covariate in history.series.covariates]
        ahead = history.future_covariates(horizon.steps)[:, known]
        farthest = reading.anchor.blocks(horizon.steps) if reading.anchor else 1
        read = covariates_of(history, reading, farthest)
        lacking = np.isnan(read).all(axis=0).any() or np.isnan(ahead).any()
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


def _chunks(cutoffs: Iterator[np.datetime64], size: int) -> Iterator[list[np.datetime64]]:
    """The rest of the cutoffs, `size` at a time, read as they are needed."""
    while chunk := list(islice(cutoffs, size)):
        yield chunk

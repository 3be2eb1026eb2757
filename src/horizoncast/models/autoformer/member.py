"""The member `autoformer`: trained at re-fit points, from scratch, on what precedes each.

Letters in shapes: n sessions of a history, H steps, Q levels, N origins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from horizoncast.errors import MissingCovariateError, ModelError, StoreError
from horizoncast.forecast import Flag
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.autoformer.anchor import Examples, examples_at, naive_at, spans_two_years
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.base import Member, MemberConfig, Prediction, seed_of
from horizoncast.models.lag_features import (
    Design,
    Window,
    choose_design,
    require_covariates,
    usable_rows,
    window_of,
)
from horizoncast.models.naive import gaussian_prediction
from horizoncast.series import History

if TYPE_CHECKING:
    from horizoncast.models.autoformer.training import Trained
    from horizoncast.models.autoformer.uncertainty import Parts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FEWEST_ORIGINS = 24
_HELD = 96
_MEMORY = 600
"""Sessions before a cutoff beyond which nothing matters to its inputs, seasons apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AutoformerState:
    """What a re-fit point keeps.

    Parameters
    ----------
    design
        Anchor and units.
    level
        Spread of the values in the window.
    yearly
        Whether the time of year is shown to the network.
    context
        L, shorter than the setting where the history is short.
    trained
        None where the window never moved, or was too short to learn from: the naive answers.
    """

    design: Design
    level: float
    yearly: bool
    context: int
    trained: Trained | None


class Autoformer(Member[AutoformerConfig, AutoformerState]):
    """The Autoformer (Wu et al., NeurIPS 2021) anchored at the naive forecast, with a posterior.

    Untrained it answers with the naive forecast; the held-back windows decide how far from it the
    trained network may go.
    """

    name: ClassVar[str] = "autoformer"
    config_type: ClassVar[type[MemberConfig]] = AutoformerConfig

    def fit(self, history: History, horizon: Horizon) -> AutoformerState:
        """Train on origins whose outcome lies inside the window.

        Raises
        ------
        MissingCovariateError
            When covariates leave too few origins.
        """
        window = window_of(history)
        design = choose_design(window, history.periods, horizon)
        context = min(self.config.context, max(8, len(window.z) // 4))
        level = max(float(np.std(window.z)), 1e-12)
        yearly = spans_two_years(window.dates)
        state = AutoformerState(design=design, level=level, yearly=yearly, context=context, trained=None)
        if design.spread <= 0 or self.config.steps == 0:
            return state
        split = split_origins(window, design, horizon.steps, context, self.config)
        if split is None:
            return state
        seed = seed_of(self.service, history.series.name, self.name, history.cutoff)
        learn, held = (self._examples(window, state, rows, horizon) for rows in split)
        return replace(state, trained=self._kept_or_trained(learn, held, seed, context, history.cutoff))

    def _kept_or_trained(
        self, learn: Examples, held: Examples, seed: int, context: int, cutoff: np.datetime64
    ) -> Trained:
        """The network of an earlier run where one was trained on exactly this; else train and keep it.

        Raises
        ------
        ModelError
            When the kept network is damaged: a person must know before it is replaced.
        """
        from horizoncast.models.autoformer.artefacts import from_checkpoint, to_checkpoint, training_key
        from horizoncast.models.autoformer.training import train
        from horizoncast.store.checkpoints import load_checkpoint, save_checkpoint

        label = min(self.config.label, context)
        if not self.config.checkpoints:
            return train(self.config, learn, held, label=label, seed=seed)
        folder = Path(self.config.checkpoints)
        key = training_key((self.digest(), seed, label, cutoff), learn, held)
        try:
            kept = load_checkpoint(folder, key)
            if kept is not None:
                kept.check_cutoff(cutoff)
                return from_checkpoint(kept)
            trained = train(self.config, learn, held, label=label, seed=seed)
            save_checkpoint(folder, to_checkpoint(key, trained, cutoff))
        except StoreError as error:
            raise ModelError("autoformer: checkpoint", value=str(error)) from error
        return trained

    def _examples(self, window: Window, state: AutoformerState, rows: Ints, horizon: Horizon) -> Examples:
        return examples_at(
            window,
            state.design,
            rows,
            context=state.context,
            steps=horizon.steps,
            level=state.level,
            yearly=state.yearly,
        )

    def predict(
        self,
        state: AutoformerState,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the anchor.

        Raises
        ------
        MissingCovariateError
            When a covariate is missing at the cutoff, or one known in advance ahead of it.
        """
        window = self._recent(state, history, horizon)
        if state.trained is None:
            anchor, spread = naive_at(window, state.design, np.array([len(window.z) - 1]), horizon.steps)
            naive = gaussian_prediction(anchor[0], spread[0], levels)
            short = (Flag.SHORT_HISTORY,) if state.design.spread > 0 and self.config.steps > 0 else ()
            return Prediction(quantiles=naive.quantiles, flags=(*short, *naive.flags))
        from horizoncast.models.autoformer.uncertainty import at_levels

        examples = self._examples(window, state, np.array([len(window.z) - 1]), horizon)
        scaled = at_levels(np.asarray(shared_quantiles(state.trained, examples)[0]), LEVELS, levels)
        return Prediction(quantiles=examples.anchor[0][:, None] + examples.spread[0][:, None] * scaled)

    def inputs(self, state: AutoformerState, history: History, horizon: Horizon) -> Examples:
        """What the network reads at the end of a history, one origin."""
        window = self._recent(state, history, horizon)
        return self._examples(window, state, np.array([len(window.z) - 1]), horizon)

    def _recent(self, state: AutoformerState, history: History, horizon: Horizon) -> Window:
        """As much of a history as its inputs need, and the steps after it."""
        seasons = max((state.design.anchor, *state.design.seasons))
        needed = max(_MEMORY, state.context + seasons, 5 * seasons + horizon.steps)
        window = window_of(history.tail(needed), horizon.steps)
        require_covariates(window)
        return window

    def uncertainty(self, state: AutoformerState, history: History, horizon: Horizon) -> Parts:
        """Aleatoric and epistemic variances (1, H) in the scaled space, before sharing with the naive."""
        from horizoncast.models.autoformer.training import answer

        assert state.trained is not None
        return answer(state.trained, self.inputs(state, history, horizon))


def shared_quantiles(trained: Trained, examples: Examples) -> Floats:
    """(N, H, Q) in the scaled space: the naive's, moved toward the network's by the chosen share."""
    from horizoncast.models.autoformer.heads import normal_quantiles
    from horizoncast.models.autoformer.training import answer

    naive = np.broadcast_to(normal_quantiles(LEVELS), (*examples.target.shape, len(LEVELS)))
    if trained.share == 0:
        return np.asarray(naive)
    return np.asarray(naive + trained.share * (answer(trained, examples).quantiles - naive))


def split_origins(
    window: Window, design: Design, steps: int, context: int, config: AutoformerConfig
) -> tuple[Ints, Ints] | None:
    """Origins to learn from, and, purged by H sessions, later ones held back; None where too few.

    Raises
    ------
    MissingCovariateError
        When it is the covariates that leave too few.
    """
    rows = np.arange(max(design.anchor, context // 2), len(window.z) - steps)
    if len(rows) < _FEWEST_ORIGINS:
        return None
    leads = np.full(len(rows), steps)
    usable = usable_rows(window, rows, leads) & usable_rows(window, rows, np.ones_like(leads))
    if usable.sum() < _FEWEST_ORIGINS:
        raise MissingCovariateError(
            "covariates are missing in almost all of the training window",
            value=f"{int(usable.sum())} usable origins of {len(rows)}",
            allowed=f"at least {_FEWEST_ORIGINS}",
            action="leave the emptiest covariate out",
        )
    rows = rows[usable]
    first = rows[int(len(rows) * (1.0 - config.held_back))]
    learn, held = rows[rows + steps <= first], rows[rows >= first]
    if len(learn) < _FEWEST_ORIGINS // 2 or len(held) < 4:
        return None
    return _thin(learn, config.origins), _thin(held, _HELD)


def _thin(rows: Ints, most: int) -> Ints:
    """At most `most` rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)])

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

from horizoncast.errors import ModelError, StoreError
from horizoncast.forecast import Flag
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.autoformer.anchor import (
    Crossed,
    Examples,
    crossed_of,
    examples_at,
    naive_at,
    spans_two_years,
)
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.drift import Drift, anchored
from horizoncast.models.autoformer.origins import joined, related_origins, split_origins
from horizoncast.models.base import Member, MemberConfig, Prediction, seed_of
from horizoncast.models.evidence import prior_odds
from horizoncast.models.lag_features import (
    Design,
    Window,
    choose_design,
    require_covariates,
    window_of,
)
from horizoncast.models.naive import gaussian_prediction
from horizoncast.models.progress import report_training
from horizoncast.series import History

if TYPE_CHECKING:
    from horizoncast.models.autoformer.trained import Trained
    from horizoncast.models.autoformer.uncertainty import Parts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

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
    crossed
        Covariates known in advance that are shown squared and by the calendar.
    context
        L, shorter than the setting where the history is short.
    drift
        Of the naive forecast; None for a series without a season.
    trained
        None where the window never moved, or was too short to learn from: the naive answers.
    """

    design: Design
    level: float
    yearly: bool
    crossed: tuple[Crossed, ...]
    context: int
    drift: Drift | None
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
        prior = prior_odds(history.series)
        design, drift = anchored(window.z, design, history.periods, horizon.steps, prior=prior)
        design = replace(design, seasons=tuple(p for p in history.periods if 3 * p <= len(window.z)))
        context = min(self.config.context, max(8, len(window.z) // 4))
        level = max(float(np.std(window.z)), 1e-12)
        yearly = spans_two_years(window.dates)
        state = AutoformerState(
            design=design,
            level=level,
            yearly=yearly,
            crossed=crossed_of(window),
            context=context,
            drift=drift,
            trained=None,
        )
        if design.spread <= 0 or self.config.steps == 0:
            return state
        split = split_origins(window, design, horizon.steps, context, self.config)
        if split is None:
            return state
        learn, held = (self._examples(window, state, rows, horizon) for rows in split)
        if history.related and self.config.panel:
            others = related_origins(
                history.related,
                design,
                horizon,
                self.config,
                context=context,
                yearly=yearly,
                crossed=[one.column for one in state.crossed],
                before=window.dates[split[1][0]],
                drift=state.drift,
            )
            learn = joined([learn, *others])
        return replace(
            state,
            trained=self._kept_or_trained(learn, held, history, horizon, own=len(split[0]), context=context),
        )

    def _kept_or_trained(
        self, learn: Examples, held: Examples, history: History, horizon: Horizon, *, own: int, context: int
    ) -> Trained:
        """The network of an earlier run where one was trained on exactly this; else train and keep it.

        Raises
        ------
        ModelError
            When the kept network is damaged: a person must know before it is replaced.
        """
        from horizoncast.models.autoformer.training import train

        cutoff, series = history.cutoff, history.series.name
        seed = seed_of(self.service, series, self.name, cutoff)
        label = min(self.config.label, context)

        def tell(done: int, total: int) -> None:
            report_training(self.name, done, total)

        if not self.config.checkpoints:
            return train(self.config, learn, held, label=label, seed=seed, own=own, tell=tell)
        from horizoncast.models.autoformer.artefacts import (
            KeptDescents,
            from_checkpoint,
            to_checkpoint,
            training_key,
        )
        from horizoncast.store.checkpoints import load_checkpoint, save_checkpoint

        folder = Path(self.config.checkpoints)
        key = training_key((self.digest(), seed, label, own, cutoff), learn, held)
        try:
            kept = load_checkpoint(folder, key)
            if kept is not None:
                kept.check_cutoff(cutoff)
                return from_checkpoint(kept)
            parts = KeptDescents(folder, key, cutoff)
            trained = train(
                self.config, learn, held, label=label, seed=seed, own=own, tell=tell, resume=parts
            )
            about = {"member": self.name, "series": series, "service": self.service, "steps": horizon.steps}
            save_checkpoint(folder, to_checkpoint(key, trained, cutoff, about))
            parts.clear()
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
            crossed=state.crossed,
            drift=state.drift,
        )

    def predict(
        self,
        state: AutoformerState,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the anchor, and how much of their variance is doubt about the weights.

        The epistemic share is of what is published, after sharing with the naive (`published_share`); it is
        not known where the naive answers alone.

        Raises
        ------
        MissingCovariateError
            When a covariate is missing at the cutoff, or one known in advance ahead of it.
        """
        window = self._recent(state, history, horizon)
        if state.trained is None:
            anchor, spread = naive_at(
                window, state.design, np.array([len(window.z) - 1]), horizon.steps, state.drift
            )
            naive = gaussian_prediction(anchor[0], spread[0], levels)
            short = (Flag.SHORT_HISTORY,) if state.design.spread > 0 and self.config.steps > 0 else ()
            return Prediction(quantiles=naive.quantiles, flags=(*short, *naive.flags))
        from horizoncast.models.autoformer.trained import published_answer
        from horizoncast.models.autoformer.uncertainty import at_levels

        examples = self._examples(window, state, np.array([len(window.z) - 1]), horizon)
        quantiles, epistemic = published_answer(state.trained, examples)
        scaled = at_levels(quantiles[0], LEVELS, levels)
        return Prediction(
            quantiles=examples.anchor[0][:, None] + examples.spread[0][:, None] * scaled,
            epistemic=None if epistemic is None else epistemic[0],
        )

    def inputs(self, state: AutoformerState, history: History, horizon: Horizon) -> Examples:
        """What the network reads at the end of a history, one origin."""
        window = self._recent(state, history, horizon)
        return self._examples(window, state, np.array([len(window.z) - 1]), horizon)

    def _recent(self, state: AutoformerState, history: History, horizon: Horizon) -> Window:
        """As much of a history as its inputs need, and the steps after it."""
        seasons = max((state.design.anchor, *state.design.seasons, state.drift.period if state.drift else 1))
        needed = max(_MEMORY, state.context + seasons, 5 * seasons + horizon.steps)
        window = window_of(history.tail(needed), horizon.steps)
        require_covariates(window)
        return window

    def uncertainty(self, state: AutoformerState, history: History, horizon: Horizon) -> Parts:
        """Aleatoric and epistemic variances (1, H) in the scaled space, before sharing with the naive."""
        from horizoncast.models.autoformer.trained import answer

        assert state.trained is not None
        return answer(state.trained, self.inputs(state, history, horizon))

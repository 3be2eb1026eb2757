"""Origins to learn from and to hold back, of the target and of the series related to it.

Letters in shapes: N origins, H steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from horizoncast.errors import MissingCovariateError
from horizoncast.horizon import Horizon
from horizoncast.models.autoformer.anchor import Examples, crossed_of, examples_at
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.drift import Drift
from horizoncast.models.lag_features import Design, Window, choose_design, usable_rows, window_of
from horizoncast.series import History

Ints = npt.NDArray[np.int64]

_FEWEST_ORIGINS = 24
_HELD = 96


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
    return thin(learn, config.origins), thin(held, _HELD)


def thin(rows: Ints, most: int) -> Ints:
    """At most `most` rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)])


def related_origins(
    histories: Sequence[History],
    design: Design,
    horizon: Horizon,
    config: AutoformerConfig,
    *,
    context: int,
    yearly: bool,
    crossed: Sequence[int] = (),
    before: np.datetime64,
    drift: Drift | None = None,
) -> Iterator[Examples]:
    """Examples of related series, each anchored as the target is and in units of its own.

    Parameters
    ----------
    histories
        What may be seen of them at the re-fit point.
    design
        Of the target: its anchor and seasons; spreads are each series' own.
    crossed
        Places of the covariates that are shown squared and by the calendar.
    before
        Date of the target's first held-back origin: later outcomes would tell of those that judge.
    drift
        Of the target: its weight, with each series' own growth.
    """
    for history in histories:
        window = window_of(history.tail(config.window))
        if len(window.z) < 2 * design.anchor + 8:
            continue
        own = choose_design(window, (), horizon)
        moved = window.z[design.anchor :] - window.z[: -design.anchor]
        own = replace(
            own, anchor=design.anchor, seasons=design.seasons, spread=float(np.sqrt(np.mean(moved**2)))
        )
        last = int(np.searchsorted(window.dates, before, side="right")) - 1 - horizon.steps
        rows = np.arange(max(design.anchor, context // 2), min(last + 1, len(window.z) - horizon.steps))
        leads = np.full(len(rows), horizon.steps)
        rows = rows[usable_rows(window, rows, leads) & usable_rows(window, rows, np.ones_like(leads))]
        if own.spread <= 0 or not len(rows):
            continue
        yield examples_at(
            window,
            own,
            thin(rows, config.origins),
            context=context,
            steps=horizon.steps,
            level=max(float(np.std(window.z)), 1e-12),
            yearly=yearly,
            crossed=crossed_of(window, crossed),
            drift=drift,
        )


def joined(parts: Sequence[Examples]) -> Examples:
    """Examples of several series as one; rows of each are laid behind those before it."""
    rows, stop = [parts[0].rows], int(parts[0].rows.max()) + 1
    for part in parts[1:]:
        rows.append(part.rows - part.rows.min() + stop)
        stop = int(rows[-1].max()) + 1
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Examples.__dataclass_fields__
        if name != "rows"
    }
    return Examples(**fields, rows=np.concatenate(rows))

"""The answers of several readings of one series as one, with what is not known of which to believe.

Letters in shapes: R readings, H steps, N own levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from horizoncast.metrics import stated_spread
from horizoncast.models.chronos.asking import Reading
from horizoncast.models.chronos.inference import Floats, Raw

Weighted = tuple[tuple[Reading, float], ...]
"""Readings of one history with their weights, which sum to 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Blend:
    """What a checkpoint answers at one cutoff.

    Parameters
    ----------
    raw
        Quantiles averaged over the readings.
    readings
        R readings, the heaviest first.
    epistemic
        (H,) share of the variance that is doubt about the reading; None with one reading, which has no
        doubt to tell.
    """

    raw: Raw
    readings: tuple[Reading, ...]
    epistemic: Floats | None


def blend(weighted: Weighted, answers: Sequence[Raw], levels: tuple[float, ...]) -> Blend:
    """One answer of several: quantiles averaged by the weights of their readings, as wide as their mixture.

    The variance of the mixture is the mean of the readings' variances plus the variance of their medians
    (law of total variance). The second part is doubt about the reading; averaged quantiles alone would leave
    it out, so their distances from the median are scaled up to the mixture's standard deviation.

    Parameters
    ----------
    answers
        R answers (H, N), in the order of the readings.
    levels
        N own levels of the checkpoint, 0.1, 0.5 and 0.9 among them.
    """
    readings = tuple(reading for reading, _ in sorted(weighted, key=lambda pair: -pair[1]))
    if len(answers) == 1:
        return Blend(raw=answers[0], readings=readings, epistemic=None)
    weights = np.array([weight for _, weight in weighted])
    quantiles = np.stack([answer.quantiles for answer in answers])
    mean = np.einsum("r,rhn->hn", weights, quantiles)
    middle = levels.index(0.5)
    between = weights @ (quantiles[..., middle] - mean[:, middle]) ** 2
    total = between + weights @ stated_spread(quantiles, levels) ** 2
    own = stated_spread(mean, levels)
    wider = np.where(own > 0, np.sqrt(total) / np.where(own > 0, own, 1.0), 1.0)
    centre = mean[:, [middle]]
    raw = Raw(
        quantiles=centre + wider[:, None] * (mean - centre),
        crossed=any(answer.crossed for answer in answers),
        flags=tuple(dict.fromkeys(flag for answer in answers for flag in answer.flags)),
    )
    share = np.where(total > 0, between / np.where(total > 0, total, 1.0), 0.0)
    return Blend(raw=raw, readings=readings, epistemic=np.asarray(share))

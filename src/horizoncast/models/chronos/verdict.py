"""Is the fine-tuned model better than its base? A paired test on windows that no training saw.

Losses are pinball losses in units of the context's standard deviation, the same that Chronos is trained
on. Windows overlap and their losses are correlated, so the test is taken on means of blocks no shorter
than two horizons (Ibragimov & Mueller, J. Business & Economic Statistics 2010: a t-test on few group
means keeps its level under correlation inside groups and different variances between them).

Letters in shapes: N windows, H steps, Q levels, B blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.windows import Floats, Ints, Windows, context_spread

LEAST_BLOCKS = 4
MOST_BLOCKS = 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the fine-tuned model is kept, and why.

    Parameters
    ----------
    kept
        Only when the gain is large enough and the test says that it is no chance.
    reason
        In words.
    gain
        1 - loss / loss of the base; NaN where nothing was compared.
    base_loss, tuned_loss
        Mean losses on the test windows, in standard deviations of the context.
    p_value
        One-sided, of the paired test; NaN where there were too few blocks.
    windows, blocks
        N and B.
    """

    kept: bool
    reason: str
    gain: float = float("nan")
    base_loss: float = float("nan")
    tuned_loss: float = float("nan")
    p_value: float = float("nan")
    windows: int = 0
    blocks: int = 0


def pinball(quantiles: npt.ArrayLike, targets: npt.ArrayLike, levels: Sequence[float]) -> Floats:
    """Pinball loss ``max(tau (y - q), (tau - 1)(y - q))`` (Koenker & Bassett 1978), (N, H, Q)."""
    over = np.asarray(targets, dtype=np.float64)[:, :, None] - np.asarray(quantiles, dtype=np.float64)
    tau = np.asarray(levels)
    return np.asarray(np.maximum(tau * over, (tau - 1.0) * over))


def window_losses(quantiles: npt.ArrayLike, windows: Windows, levels: Sequence[float]) -> Floats:
    """Mean loss of each window over known steps and levels, (N,); NaN where its context never moved."""
    loss = pinball(quantiles, windows.targets, levels).mean(axis=2)
    known = np.isfinite(loss)
    mean = np.where(known, loss, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(mean / context_spread(windows.contexts))


def blocks_of(windows: Windows) -> Ints:
    """(N,) block of each window: stretches of one series, at most twenty in all.

    Each is at least 2 H sessions long: at H, neighbours still share enough outcomes that a chance gain
    passed a test of 5 % nearly twice as often as that.
    """
    steps = windows.targets.shape[1]
    names = np.unique(windows.series)
    most = max(1, MOST_BLOCKS // len(names))
    out = np.zeros(len(windows), dtype=np.int64)
    for k, name in enumerate(names):
        mine = windows.series == name
        ends = windows.ends[mine]
        span = int(np.ptp(ends)) + 1
        count = int(np.clip(span // (2 * steps), 1, most))
        out[mine] = k * MOST_BLOCKS + (ends - ends.min()) * count // span
    return out


def judge(
    base: Floats, tuned: Floats, blocks: Ints, *, min_gain: float = 0.0, significance: float = 0.05
) -> Verdict:
    """Compare losses of the same windows, (N,) each.

    Parameters
    ----------
    blocks
        (N,) see `blocks_of`.
    min_gain
        Smallest gain that is kept, as a share of the base's loss.
    significance
        Largest p-value at which it is kept.
    """
    from scipy.stats import t as student

    known = np.isfinite(base) & np.isfinite(tuned)
    if not known.any() or not base[known].mean() > 0:
        return Verdict(kept=False, reason="the test windows never moved: nothing to compare on")
    gains = base[known] - tuned[known]
    means = np.array([gains[blocks[known] == block].mean() for block in np.unique(blocks[known])])
    count, gain = len(means), float(gains.mean() / base[known].mean())
    p_value = float("nan")
    if count >= LEAST_BLOCKS:
        spread = float(means.std(ddof=1))
        statistic = float(means.mean()) / (spread / np.sqrt(count)) if spread > 0 else 0.0
        p_value = float(student.sf(statistic, df=count - 1))
    kept = gain >= max(min_gain, 1e-12) and p_value <= significance
    return Verdict(
        kept=bool(kept),
        reason=_words(gain, p_value, count, min_gain, significance),
        gain=gain,
        base_loss=float(base[known].mean()),
        tuned_loss=float(tuned[known].mean()),
        p_value=p_value,
        windows=int(known.sum()),
        blocks=count,
    )


def _words(gain: float, p_value: float, blocks: int, min_gain: float, significance: float) -> str:
    if gain <= 0:
        return f"not better than the base on later windows: loss {-100 * gain:+.2f} %"
    if blocks < LEAST_BLOCKS:
        return f"cannot be told from luck: {blocks} stretches of two horizons, {LEAST_BLOCKS} are needed"
    if p_value > significance:
        return f"{100 * gain:.2f} % better, which may be luck: {p_text(p_value)}, allowed {significance:g}"
    if gain < min_gain:
        return f"only {100 * gain:.2f} % better than the base, {100 * min_gain:g} % are asked for"
    return f"{100 * gain:.2f} % better than the base on later windows, {p_text(p_value)}"


def p_text(p_value: float) -> str:
    """A p-value as people write it.

    >>> p_text(0.0004), p_text(0.031)
    ('p < 0.001', 'p 0.031')
    """
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"

"""How far forecasts depend on the seed of a member's random numbers.

Seeds follow from the service's name (`models.base.seed_of`), so another name is another seed and nothing
else changes. Whether a member is random at all is found out, not declared: with another seed it is asked
for a few cutoffs again, and only those that then answer differently are asked for all.

Letters in shapes: K members, R scored cutoffs, H steps, Q levels, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.horizon import DECILES
from horizoncast.metrics import path_rmse, weighted_quantile_loss
from horizoncast.policy.states import MemberState
from horizoncast.series import Series
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.backtest import Progress
from horizoncast.validation.splitter import CutoffPlan

Floats = npt.NDArray[np.float64]

PROBED = 3
"""Past cutoffs, beside the live one, at which a member is asked whether its seed matters."""


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Spread over seeds, as standard deviations with n - 1.

    Parameters
    ----------
    seeds
        Seeds compared; 1 where it was not looked at.
    deterministic
        True where another seed gave the same forecasts bit for bit; None where that is not known.
    wql, path_rmse
        Spread of the score relative to its mean, in the scale; NaN where nothing varies or is known.
    median
        Spread of the median, root mean square over cutoffs and steps, relative to half the width of the
        80 % interval.
    """

    seeds: int
    deterministic: bool | None
    wql: float
    path_rmse: float
    median: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Reruns:
    """The bank with other seeds.

    Parameters
    ----------
    random
        By member that was probed: whether its seed matters; None where it did not answer.
    banks
        The bank with the rows of another seed, one per further seed.
    """

    random: dict[str, bool | None]
    banks: tuple[Bank, ...]

    def verdict(self, members: Sequence[str]) -> bool | None:
        """Whether what rests on these members is deterministic."""
        known = [self.random.get(name) for name in members if name in self.random]
        if any(known):
            return False
        return None if not known or None in known else True

    def of(self, members: Sequence[str]) -> tuple[Bank, ...]:
        """Banks that differ for these members."""
        return self.banks if self.verdict(members) is False else ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Rerun:
    """How to ask members again.

    Parameters
    ----------
    config, series, plan, cache, progress
        As the members were asked the first time.
    seeds
        Seeds in all, the first included.
    """

    config: EngineConfig
    series: Series
    plan: CutoffPlan
    cache: BankCache
    seeds: int
    progress: Progress | None = None

    def banks(self, bank: Bank, live: Bank, members: Sequence[str]) -> Reruns:
        """Find the members whose seed matters and ask those for every cutoff, once per further seed."""
        if self.seeds < 2:
            return Reruns(random={}, banks=())
        here = [name for name in members if name in bank.members]
        few = replace(self.plan, cutoffs=self.plan.cutoffs[-PROBED:], wanted=PROBED)
        past, now = ForecastEngine(self._with_seed(2, here)).fill(self.series, few, progress=self.progress)
        old = bank.pick(np.isin(bank.cutoffs, past.cutoffs))
        random = {name: _differs(name, [(old, past), (live, now)]) for name in here}
        moved = [name for name in here if random[name]]
        again = [self._asked_again(bank, seed, moved) for seed in range(2, self.seeds + 1)] if moved else []
        return Reruns(random=random, banks=tuple(again))

    def _asked_again(self, bank: Bank, seed: int, members: Sequence[str]) -> Bank:
        """The bank with these members' rows from another seed."""
        engine = ForecastEngine(self._with_seed(seed, members), cache=self.cache)
        fresh, _ = engine.fill(self.series, self.plan, progress=self.progress)
        quantiles = bank.quantiles.copy()
        for name in members:
            quantiles[bank.member_index(name)] = fresh.quantiles[fresh.member_index(name)]
        return replace(bank, quantiles=quantiles)

    def _with_seed(self, seed: int, members: Sequence[str]) -> EngineConfig:
        """The settings under another name, which seeds and cache keys follow, with these members alone."""
        chosen = tuple(
            replace(m, state=MemberState.SHADOW if m.name in members else MemberState.OFF)
            for m in self.config.members
        )
        return replace(self.config, service=f"{self.config.service}-seed-{seed}", members=chosen)


def stability_of(
    quantiles: Floats, again: Sequence[Floats], bank: Bank, deterministic: bool | None
) -> Stability:
    """Spread of scores and medians over seeds, on cutoffs that every seed answered.

    Parameters
    ----------
    quantiles, again
        (R, H, Q) in the scale with the first seed, and with each of the others.
    bank
        The R cutoffs with their outcomes.
    deterministic
        Whether the seed matters, as probed.
    """
    every = np.stack([quantiles, *again])  # (S, R, H, Q)
    both = np.asarray(np.isfinite(every).all(axis=(0, 2, 3)))
    nan = float("nan")
    if deterministic is not False or not again or not both.any():
        seeds = 1 if deterministic is None else 2
        return Stability(seeds=seeds, deterministic=deterministic, wql=nan, path_rmse=nan, median=nan)
    every, kept = every[:, both], bank.pick(both)
    at = {level: bank.level_index(level) for level in (*DECILES, 0.1, 0.9)}
    deciles, leads = [at[level] for level in DECILES], bank.leads
    wql = [weighted_quantile_loss(kept.actuals, one[..., deciles], DECILES) for one in every]
    rmse = [
        path_rmse(kept.actuals[:, leads], one[:, leads, at[0.5]], bank.horizon.lead_grid) for one in every
    ]
    half = (every[..., at[0.9]] - every[..., at[0.1]]).mean() / 2.0
    spread = float(np.sqrt(every[..., at[0.5]].var(axis=0, ddof=1).mean()))
    return Stability(
        seeds=len(every),
        deterministic=False,
        wql=_relative_spread(wql),
        path_rmse=_relative_spread(rmse),
        median=spread / float(half) if half > 0 else nan,
    )


def _differs(name: str, pairs: Sequence[tuple[Bank, Bank]]) -> bool | None:
    """Whether any forecast differs; None where no cutoff was answered both times."""
    found = []
    for old, new in pairs:
        if name in old.members and name in new.members and old.cutoffs.tolist() == new.cutoffs.tolist():
            one, other = old.quantiles[old.member_index(name)], new.quantiles[new.member_index(name)]
            both = np.isfinite(one).all(axis=(1, 2)) & np.isfinite(other).all(axis=(1, 2))
            found += [bool((one[both] != other[both]).any())] if both.any() else []
    return any(found) if found else None


def _relative_spread(scores: Sequence[float]) -> float:
    values = np.array(scores)
    return float(values.std(ddof=1) / values.mean()) if values.mean() > 0 else float("nan")

"""The decision: weights, skill factor and width factor from one slice of the bank, then applied.

Everything is computed once on a slice and applied to the live forecasts; nothing computed on the
slice is ever reported as a score. Scores come from `replay`, where each decision has its own slice.

Letters in shapes: K members, W windows, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.ensemble.combine import COMBINATIONS
from horizoncast.ensemble.records import BRANCHES, HYBRID, Combined, Decision, DecisionConfig, MemberWeight
from horizoncast.ensemble.skill import prior_for, shifted, skill_slopes
from horizoncast.ensemble.weights import Errors, cap_weights, path_errors, weights_by
from horizoncast.errors import BankError
from horizoncast.forecast import Flag
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale
from horizoncast.validation.calibration import standardised_misses, widen, width_factor

Floats = npt.NDArray[np.float64]

CALIBRATION_LEVELS = (0.1, 0.5, 0.9)
MIN_WINDOWS = 10
"""Below this many matured cutoffs: equal weights, no skill claimed, widths untouched, flagged."""


def decide(bank: Bank, states: Mapping[str, MemberState], config: DecisionConfig) -> Decision:
    """Weights, skill factor and width factor from one slice.

    Parameters
    ----------
    bank
        Matured cutoffs only (see `Bank.slice_at`), every member that ran.
    states
        Rollout state per member; naives count as on.

    Raises
    ------
    BankError
        When no naive is in the bank.
    """
    naives = [name for name in NAIVES if name in bank.members]
    if not naives:
        raise BankError("the slice holds no naive", value=bank.members, allowed=", ".join(NAIVES))
    if config.combination == "quantile_average":
        bank = _narrow(bank)  # the other levels do not take part: a fifth of the work
    if bank.windows < MIN_WINDOWS:
        return _undecided(bank, states, config, naives)
    naive = best_naive(bank, naives)
    errors = path_errors(bank, naive)
    rows = _weigh(bank, errors, states, config, naive)
    weights = np.array([row.weight for row in rows])
    if config.shrink:
        slopes = _slopes(bank, weights, naive, config)
        rows = [replace(row, slope=float(slope)) for row, slope in zip(rows, slopes, strict=True)]
    decision = _decision(bank, rows, naive, config, width=1.0)
    if not config.calibrate or bank.windows == 0:
        return decision
    centred = _centred_rows(bank, decision)
    z = standardised_misses(bank.actuals, centred, bank.levels)
    return replace(decision, width=width_factor(z, bank.n_eff, decision.kappa))


def apply(decision: Decision, live: Bank, at: int = 0) -> Combined:
    """Apply a decision to one cutoff of a bank (the live one, or a replayed one).

    Members with weight that have no forecast here leave their share to the others, flagged; when
    none is left the best naive stands in, flagged as a fallback. Where no naive has a forecast
    there is nothing to shrink toward: the combination goes out as it is, flagged alike.

    Raises
    ------
    BankError
        When neither a weighted member nor any naive has a forecast.
    """
    answered = live.answered[:, at]
    weights = np.array([decision.weights.get(name, 0.0) for name in live.members])
    flags = set(decision.flags)
    if (weights[~answered] > 0).any():
        flags.add(Flag.MEMBER_FAILED)
    weights = np.where(answered, weights, 0.0)
    reference = _live_naive(decision, live, answered)
    if reference is None or live.members[reference] != decision.best_naive or not weights.any():
        flags.add(Flag.FALLBACK)
    if not weights.any():
        if reference is None:
            raise BankError("neither a weighted member nor a naive has a forecast", value=live.cutoffs[at])
        weights[reference] = 1.0
    weights = weights / weights.sum()
    out = COMBINATIONS[decision.config.combination](live.quantiles[:, at], weights, live.levels)
    if reference is not None and decision.config.shrink:
        wanted = _wanted_median(live.median[:, at], reference, _slopes_here(decision, live.members, answered))
        out = shifted(out, out[:, live.level_index(0.5)], wanted)
    out = widen(out, live.levels, decision.width * decision.adaptive)
    if live.nonnegative and live.scale is Scale.LEVEL and (out < 0).any():
        out = np.maximum(out, 0.0)
        flags.add(Flag.CLIPPED_AT_ZERO)
    if not (out[:, -1] > out[:, 0]).all():
        flags.add(Flag.DEGENERATE_WIDTH)
    used = {name: float(w) for name, w in zip(live.members, weights, strict=True)}
    return Combined(quantiles=out, weights=used, flags=tuple(sorted(flags)))


def best_naive(bank: Bank, naives: list[str]) -> str:
    """The naive with the smaller path error on the slice, among those that did not fail."""
    errors = path_errors(bank.select(naives), naives[0])
    if not np.isfinite(errors.rmse).any():
        raise BankError("no naive has a score on the slice", value=naives)
    return naives[int(np.nanargmin(errors.rmse))]


def combine_rows(bank: Bank, weights: Floats, config: DecisionConfig) -> Floats:
    """Combined quantiles of every cutoff, (W, H, Q); absent members leave their share to the others."""
    pick = COMBINATIONS[config.combination]
    out = np.full(bank.quantiles.shape[1:], np.nan)
    patterns = bank.answered & (weights > 0)[:, None]
    for pattern in np.unique(patterns, axis=1).T:
        if pattern.any():
            here = (patterns == pattern[:, None]).all(axis=0)
            own = np.where(pattern, weights, 0.0)
            out[here] = pick(bank.quantiles[:, here], own / own.sum(), bank.levels)
    return out


def _narrow(bank: Bank) -> Bank:
    at = [bank.level_index(level) for level in CALIBRATION_LEVELS]
    return replace(bank, levels=CALIBRATION_LEVELS, quantiles=bank.quantiles[..., at])


def _weigh(
    bank: Bank,
    errors: Errors,
    states: Mapping[str, MemberState],
    config: DecisionConfig,
    naive: str,
) -> list[MemberWeight]:
    """One row per member: its weight, and the weight it would have."""
    weights = _capped(bank, errors, _eligible(bank, states, naive), config)
    base = errors.rmse[bank.member_index(naive)]
    known = dict.fromkeys(_replaced(bank, states), "its say is in the hybrid") | errors.dropped
    rows = []
    for k, name in enumerate(bank.members):
        state = MemberState.ON if name in NAIVES else states.get(name, MemberState.OFF)
        would = float(weights[k])
        trial = _trial(name, bank, states)
        if trial is not None and name not in errors.dropped:
            would = float(_capped(bank, errors, _eligible(bank, trial, naive), config)[k])
        rows.append(
            MemberWeight(
                name=name,
                state=state,
                weight=float(weights[k]),
                would_be_weight=would,
                rmse=float(errors.rmse[k]),
                relative=float(errors.rmse[k] / base) if base > 0 else float("nan"),
                windows=int(errors.windows[k]),
                reason=known.get(name) or _reason(name, state, naive, weights[k]),
            )
        )
    return rows


def _eligible(bank: Bank, states: Mapping[str, MemberState], naive: str) -> list[bool]:
    """Per member of the bank, whether it may carry weight."""
    replaced = _replaced(bank, states)
    return [_carries(name, states, naive) and name not in replaced for name in bank.members]


def _carries(name: str, states: Mapping[str, MemberState], naive: str) -> bool:
    if name in NAIVES:
        return name == naive
    return states.get(name, MemberState.OFF) is MemberState.ON


def _replaced(bank: Bank, states: Mapping[str, MemberState]) -> tuple[str, ...]:
    """Members whose place the hybrid takes."""
    on = HYBRID in bank.members and states.get(HYBRID) is MemberState.ON
    return BRANCHES if on else ()


def _trial(name: str, bank: Bank, states: Mapping[str, MemberState]) -> Mapping[str, MemberState] | None:
    """States in which a member without a say would have one; None where it has its say, or is off."""
    if states.get(name) is MemberState.SHADOW and name not in NAIVES:
        return {**states, name: MemberState.ON}
    return {**states, HYBRID: MemberState.SHADOW} if name in _replaced(bank, states) else None


def _capped(bank: Bank, errors: Errors, eligible: list[bool], config: DecisionConfig) -> Floats:
    if config.rule == "trimmed_inverse_square":
        eligible = _without_naive(bank, errors, eligible, config.trim)
    weights = weights_by(config.rule, bank, errors.rmse, eligible, config.trim)
    return weights if config.rule == "best" else cap_weights(weights, config.cap)


def _without_naive(bank: Bank, errors: Errors, eligible: list[bool], trim: float) -> list[bool]:
    """The members that weights are shared among: the naive only where fewer than two others survive.

    Its say in the median is the skill factor. In the widths it has none where volatility models
    are at hand: its share made them worse on every bed (docs/methods.md, "Weights").
    """
    best = np.nanmin(np.where(eligible, errors.rmse, np.nan))
    others = [
        able and name not in NAIVES and bool(rmse <= trim * best)
        for able, name, rmse in zip(eligible, bank.members, errors.rmse, strict=True)
    ]
    return others if sum(others) >= 2 else eligible


def _reason(name: str, state: MemberState, naive: str, weight: float) -> str:
    if weight > 0:
        return ""
    if state is not MemberState.ON:
        return "in shadow" if state is MemberState.SHADOW else "off"
    if name in NAIVES:
        return "its say is the skill factor" if name == naive else f"the better naive is {naive}"
    return "error too far above the best member's"


def _slopes(bank: Bank, weights: Floats, naive: str, config: DecisionConfig) -> Floats:
    """Slope of every member of the slice, (K,); only members with weight have one."""
    leads = bank.leads
    root = np.sqrt(leads + 1.0)
    reference = bank.member_index(naive)
    base = bank.median[reference][:, leads]
    followed = np.flatnonzero((weights > 0) & (np.arange(len(weights)) != reference))
    slopes = np.zeros(len(weights))
    if len(followed):
        slopes[followed] = skill_slopes(
            (bank.median[followed][:, :, leads] - base) / root,
            (bank.actuals[:, leads] - base) / root,
            weights[followed],
            horizon=bank.horizon,
            stride=bank.stride,
            prior=prior_for(bank.horizon, bank.scale, naive) if config.prior is None else config.prior,
        )
    return slopes


def _slopes_here(decision: Decision, members: tuple[str, ...], answered: npt.NDArray[np.bool_]) -> Floats:
    """Slopes of the members that answered a cutoff, (K,), scaled to the decision's skill factor."""
    slopes = np.array([decision.slopes.get(name, 0.0) for name in members])
    here = np.where(answered, slopes, 0.0)
    return here * (slopes.sum() / here.sum()) if here.sum() > 0 else here


def _wanted_median(medians: Floats, reference: int, slopes: Floats) -> Floats:
    """``b + sum_k beta_k (median_k - b)``, (K, H) to (H,); members of slope 0 may hold NaN."""
    base = medians[reference]
    used = slopes > 0
    return np.asarray(base + slopes[used] @ (medians[used] - base))


def _centred_rows(bank: Bank, decision: Decision) -> Floats:
    """Combined and shifted quantiles of every cutoff of the slice, (W, H, Q), before widening."""
    weights = np.array([row.weight for row in decision.members])
    combined = combine_rows(bank, weights, decision.config)
    if not decision.config.shrink:
        return combined
    reference = bank.member_index(decision.best_naive)
    answered = bank.answered
    wanted = np.stack(
        [
            _wanted_median(bank.median[:, w], reference, _slopes_here(decision, bank.members, answered[:, w]))
            for w in range(bank.windows)
        ]
    )
    return shifted(combined, combined[..., bank.level_index(0.5)], wanted)


def _undecided(
    bank: Bank, states: Mapping[str, MemberState], config: DecisionConfig, naives: list[str]
) -> Decision:
    """Too few cutoffs: equal weights, the naive's median, widths as the members state them."""
    scored = np.isfinite(bank.actuals[:, bank.leads]).any()
    naive = best_naive(bank, naives) if scored else naives[-1]
    on = np.array(_eligible(bank, states, naive), dtype=np.float64)
    rows = [
        MemberWeight(
            name=name,
            state=MemberState.ON if name in NAIVES else states.get(name, MemberState.OFF),
            weight=float(on[k] / on.sum()),
            would_be_weight=float(on[k] / on.sum()),
            rmse=float("nan"),
            relative=float("nan"),
            windows=bank.windows,
            reason="" if on[k] else "not on",
        )
        for k, name in enumerate(bank.members)
    ]
    decision = _decision(bank, rows, naive, config, width=1.0)
    return replace(decision, flags=(Flag.FEW_WINDOWS,))


def _decision(
    bank: Bank, rows: list[MemberWeight], naive: str, config: DecisionConfig, *, width: float
) -> Decision:
    first, last = (bank.cutoffs[0], bank.cutoffs[-1]) if bank.windows else (None, None)
    return Decision(
        members=tuple(rows),
        best_naive=naive,
        kappa=sum(row.slope for row in rows) if config.shrink else 1.0,
        width=width,
        windows=bank.windows,
        n_eff=bank.n_eff,
        first_cutoff=first,
        last_cutoff=last,
        config=config,
    )


def _live_naive(decision: Decision, live: Bank, answered: npt.NDArray[np.bool_]) -> int | None:
    """Position of the reference: the decision's naive, or another one that answered, or None."""
    order = [decision.best_naive, *(name for name in NAIVES if name != decision.best_naive)]
    for name in order:
        if name in live.members and answered[live.member_index(name)]:
            return live.member_index(name)
    return None

"""How much each member counts: errors on a slice of the bank turned into weights.

Letters in shapes: K members, W windows, H steps, L leads of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.errors import BankError, UnknownNameError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_FAILED = 0.10
"""A member that fails on more than this share of the cutoffs it was asked for is dropped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """Path errors of K members on one slice.

    Parameters
    ----------
    rmse
        (K,) root mean square of errors divided by sqrt(h), in the scale; NaN for a dropped member.
    squares
        (K, W) mean over leads of the same, NaN where unknown.
    windows
        (K,) cutoffs behind each figure.
    dropped
        Reason per dropped member.
    """

    rmse: Floats
    squares: Floats
    windows: npt.NDArray[np.int64]
    dropped: dict[str, str]


def path_errors(bank: Bank, reference: str) -> Errors:
    """Error of every member over the slice and the lead grid (methods, section 2).

    Members asked for every cutoff are compared on those that all of them answered. A member asked
    for fewer is scored by its ratio to the reference on its own cutoffs, times the reference's
    error on all.

    Parameters
    ----------
    bank
        A slice with matured outcomes, in the scale.
    reference
        Name of the naive that stands for "all cutoffs".
    """
    leads = bank.leads
    error = (bank.median[:, :, leads] - bank.actuals[None, :, leads]) ** 2 / (leads + 1.0)
    known: Bools = np.asarray(np.isfinite(error).any(axis=2))
    squares = np.full(known.shape, np.nan)
    squares[known] = np.nanmean(error[known], axis=1)
    dropped = _dropped(bank, known)
    kept = np.array([name not in dropped for name in bank.members])
    full = kept & (bank.asked.sum(axis=1) == bank.asked.sum(axis=1).max(initial=0))
    common: Bools = (
        np.asarray(known[full].all(axis=0)) if full.any() else np.zeros(bank.windows, dtype=np.bool_)
    )
    base = squares[bank.member_index(reference)]
    if not common.any():
        raise BankError("no cutoff was answered by every member", value=bank.windows)
    mean_square = np.full(len(bank.members), np.nan)
    windows = np.zeros(len(bank.members), dtype=np.int64)
    for k in np.flatnonzero(kept):
        own = common if full[k] else known[k] & np.isfinite(base)
        windows[k] = own.sum()
        if full[k]:
            mean_square[k] = squares[k, own].mean()
        elif own.any() and base[own].mean() > 0:
            mean_square[k] = squares[k, own].mean() / base[own].mean() * np.mean(base[common])
    return Errors(rmse=np.sqrt(mean_square), squares=squares, windows=windows, dropped=dropped)


def _dropped(bank: Bank, known: Bools) -> dict[str, str]:
    """Members that failed too often, with the reason."""
    scorable = np.isfinite(bank.actuals[:, bank.leads]).any(axis=1)
    reasons: dict[str, str] = {}
    for k, name in enumerate(bank.members):
        asked = bank.asked[k] & scorable
        failed = int((asked & ~known[k]).sum())
        if not asked.any():
            reasons[name] = "no scored cutoff"
        elif failed > MAX_FAILED * asked.sum():
            reasons[name] = f"failed on {failed} of {int(asked.sum())} cutoffs"
    return reasons


def trimmed_inverse_square(rmse: Floats, trim: float = 1.25) -> Floats:
    """``w = 1[rmse <= trim min rmse] rmse^-2``, normalised, (K,) to (K,).

    Inverse squares without covariances: Bates & Granger (1969). A perfect member takes all.

    >>> trimmed_inverse_square(np.array([1.0, 1.0, 2.0]))
    array([0.5, 0.5, 0. ])
    """
    best = np.nanmin(rmse)
    if best == 0:
        return normalise(np.where(rmse == 0, 1.0, 0.0))
    keep = rmse <= trim * best
    return normalise(np.where(keep, (best / np.where(keep, rmse, best)) ** 2, 0.0))


def inverse_rmse(rmse: Floats) -> Floats:
    """``w = 1 / rmse``, normalised, (K,) to (K,); a dropped member (NaN) gets 0."""
    best = np.nanmin(rmse)
    if best == 0:
        return normalise(np.where(rmse == 0, 1.0, 0.0))
    return normalise(np.where(np.isfinite(rmse), best / rmse, 0.0))


def equal_weights(rmse: Floats) -> Floats:
    """The same weight for every member that was not dropped, (K,) to (K,)."""
    return normalise(np.isfinite(rmse).astype(np.float64))


def best_member(rmse: Floats) -> Floats:
    """All weight on the member with the smallest error, (K,) to (K,)."""
    weights = np.zeros(len(rmse))
    weights[int(np.nanargmin(rmse))] = 1.0
    return weights


def greedy_selection(bank: Bank, eligible: Bools, rounds: int = 20) -> Floats:
    """Weights by greedy forward selection with replacement (Caruana et al., ICML 2004), (K,).

    Each round adds the member whose inclusion lowers the slice's path error of the averaged median
    most; weights are the shares of the rounds.
    """
    leads = bank.leads
    share = np.sqrt(leads + 1.0)
    median = bank.median[:, :, leads] / share
    actual = bank.actuals[:, leads] / share
    able = np.flatnonzero(eligible)
    common = np.isfinite(median[able]).all(axis=(0, 2)) & np.isfinite(actual).any(axis=1)
    if not len(able) or not common.any():
        raise BankError("no member and no common cutoff to select from", value=len(able))
    counts = np.zeros(len(bank.members))
    total = np.zeros((int(common.sum()), len(leads)))
    for done in range(rounds):
        trial = (total + median[able][:, common]) / (done + 1.0)
        loss = np.nanmean((trial - actual[common]) ** 2, axis=(1, 2))
        chosen = able[int(np.argmin(loss))]
        counts[chosen] += 1.0
        total = total + median[chosen][common]
    return counts / rounds


def cap_weights(weights: Floats, cap: float = 0.6) -> Floats:
    """Limit every weight to `cap` when three or more carry weight, (K,) to (K,).

    The excess is shared among the uncapped in proportion, repeated until none exceeds the cap. A
    cap below the equal share cannot be kept by weights that sum to one: it counts as that share.

    >>> cap_weights(np.array([0.8, 0.1, 0.1]), 0.6)
    array([0.6, 0.2, 0.2])
    """
    out = weights.copy()
    carrying = int((out > 0).sum())
    if carrying < 3:
        return out
    limit = max(cap, 1.0 / carrying)
    capped = np.zeros(len(out), dtype=np.bool_)
    for _ in range(carrying):
        over = out > limit
        if not over.any():
            break
        capped |= over
        free = ~capped & (out > 0)
        out[capped] = limit
        if not free.any():
            break
        out[free] = out[free] / out[free].sum() * (1.0 - limit * capped.sum())
    return out


def normalise(weights: Floats) -> Floats:
    """Divide by the sum.

    Raises
    ------
    BankError
        When nothing is left to carry weight.
    """
    total = weights.sum()
    if not total > 0:
        raise BankError("no member is left to carry weight")
    return np.asarray(weights / total)


RULES: dict[str, Callable[[Floats], Floats]] = {
    "trimmed_inverse_square": trimmed_inverse_square,
    "inverse_rmse": inverse_rmse,
    "equal": equal_weights,
    "best": best_member,
}
"""Weighting rules that need the errors only; ``greedy`` needs the slice."""

RULE_NAMES: tuple[str, ...] = (*RULES, "greedy")


def weights_by(rule: str, bank: Bank, rmse: Floats, eligible: Sequence[bool], trim: float = 1.25) -> Floats:
    """Weights of one named rule over the eligible members, (K,).

    Parameters
    ----------
    rmse
        (K,) NaN for members that may not carry weight.

    Raises
    ------
    BankError
        When no eligible member has an error.
    """
    if rule == "greedy":
        return greedy_selection(bank, np.asarray(eligible) & np.isfinite(rmse))
    if rule not in RULES:
        raise UnknownNameError.of("weighting rule", rule, RULE_NAMES)
    allowed = np.where(np.asarray(eligible), rmse, np.nan)
    if not np.isfinite(allowed).any():
        raise BankError("no member is left to carry weight")
    return trimmed_inverse_square(allowed, trim) if rule == "trimmed_inverse_square" else RULES[rule](allowed)

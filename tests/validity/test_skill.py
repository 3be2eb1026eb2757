"""The skill factor keeps a signal that is there and claims none where there is none.

Bank by bank: 40 cutoffs at the product's stride, 7 steps, from the past of one simulated path each.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from banks import make_bank
from horizoncast.bank import Bank
from horizoncast.engine import EngineConfig, ForecastEngine, MemberSetting
from horizoncast.ensemble.decision import decide
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale
from processes import ar_gain, ar_r2, ar_returns, random_walk
from support import make_series

H, STRIDE, WINDOWS, TRAIN = 7, 5, 40, 500
PHI = float(brentq(lambda phi: ar_r2(phi, H) - 0.20, 0.1, 0.95))
LENGTH = TRAIN + STRIDE * WINDOWS + H + 1


def bank_of(path: np.ndarray, *, phi: float | None) -> Bank:
    """Random walk and an AR(1) of the changes; `phi` None estimates it at each cutoff on the past."""
    changes = np.diff(path)
    at = TRAIN + STRIDE * np.arange(WINDOWS)  # the last observation of each cutoff
    actuals = np.stack([path[t + 1 : t + 1 + H] for t in at])
    slopes = []
    for t in at:
        past = changes[t - TRAIN : t]
        slopes.append(past[1:] @ past[:-1] / (past[:-1] @ past[:-1]) if phi is None else phi)
    gain = np.array([[ar_gain(slope, h) for h in range(1, H + 1)] for slope in slopes])
    walk = np.repeat(path[at][:, None], H, axis=1)
    median = np.stack([walk, walk + gain * changes[at - 1][:, None]])
    return make_bank(median, actuals, sigma=[0.01, 0.01], scale=Scale.LOG, stride=STRIDE)


def mean_kappa(paths: np.ndarray, *, phi: float | None = None) -> float:
    states = {"a": MemberState.ON}
    return float(np.mean([decide(bank_of(p, phi=phi), states, DecisionConfig()).kappa for p in paths]))


def test_the_process_has_the_r2_it_is_meant_to_have() -> None:
    """By simulation: the last change against the change over the next seven sessions."""
    paths = ar_returns(20_000, 60, seed=0, phi=PHI)
    last = paths[:, 51] - paths[:, 50]
    ahead = paths[:, 58] - paths[:, 51]
    assert np.corrcoef(last, ahead)[0, 1] ** 2 == pytest.approx(0.20, abs=0.015)


def test_ar_returns_keep_their_skill() -> None:
    """At least 0.5 on average, with the true conditional mean (0.77 when it is the combination
    itself) and with its slope estimated on 500 sessions of the past."""
    paths = ar_returns(200, LENGTH, seed=1, phi=PHI)
    assert mean_kappa(paths, phi=PHI) >= 0.5
    assert mean_kappa(paths) >= 0.5


def test_the_true_conditional_mean_alone_keeps_most_of_its_skill() -> None:
    """Not averaged with the random walk, where the slope on the halved forecast is clipped at one."""
    paths = ar_returns(200, LENGTH, seed=2, phi=PHI)
    config = DecisionConfig(rule="best")
    kappas = [decide(bank_of(p, phi=PHI), {"a": MemberState.ON}, config).kappa for p in paths]
    assert 0.7 <= np.mean(kappas) <= 0.95


def test_a_random_walk_has_no_skill() -> None:
    """At most 0.1 on average for a slope that was estimated where there is none."""
    assert mean_kappa(random_walk(200, LENGTH, seed=3)) <= 0.1


def test_forecasts_that_are_noise_lose_four_fifths() -> None:
    """Worst case: noise half as large as the moves, one draw for all leads of a cutoff.

    28 independent cutoffs cannot tell all of it from a signal; the prior bounds what is left.
    """
    rng = np.random.default_rng(4)
    kappas = []
    for path in random_walk(200, LENGTH, seed=3):
        bank = bank_of(path, phi=0.0)
        quantiles = bank.quantiles.copy()
        quantiles[1] += 0.005 * rng.standard_normal((WINDOWS, 1, 1)) * np.sqrt(np.arange(1, H + 1))[:, None]
        noisy = replace(bank, quantiles=quantiles)
        kappas.append(decide(noisy, {"a": MemberState.ON}, DecisionConfig()).kappa)
    assert np.mean(kappas) <= 0.2


@pytest.mark.parametrize(
    ("phi", "low", "high"), [(PHI, 0.5, 1.0), (0.0, 0.0, 0.1)], ids=["ar_returns", "random_walk"]
)
def test_the_real_engine_finds_the_skill_that_is_there(phi: float, low: float, high: float) -> None:
    """Six series through members, bank and decision, as a run does it."""
    members = (MemberSetting(name="arima_garch"), MemberSetting(name="random_walk"))
    engine = ForecastEngine(EngineConfig(members=members, isolated=False, replays=0))
    paths = ar_returns(6, 1200, seed=5, phi=phi)
    kappas = [
        engine.forecast(make_series(np.exp(p), scale=Scale.LOG, periods=()), H).decision.kappa for p in paths
    ]
    assert low <= np.mean(kappas) <= high

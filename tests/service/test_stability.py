"""Stability over seeds: which members are random is found out, and the spread is that of plain loops."""

import numpy as np
import pytest

from horizoncast.bank import Bank
from horizoncast.service.stability import Reruns, stability_of
from small_runs import small_result


@pytest.fixture(scope="module")
def bank() -> Bank:
    return small_result().bank


def test_the_spread_against_a_plain_computation(bank: Bank) -> None:
    quantiles = bank.quantiles[0]
    rng = np.random.default_rng(3)
    again = [quantiles + rng.normal(scale=1e-3, size=quantiles.shape[:2])[..., None] for _ in range(2)]
    found = stability_of(quantiles, again, bank, deterministic=False)
    middle = bank.level_index(0.5)
    medians = np.stack([q[..., middle] for q in (quantiles, *again)])
    half = np.mean(
        [
            (q[..., bank.level_index(0.9)] - q[..., bank.level_index(0.1)]).mean() / 2
            for q in (quantiles, *again)
        ]
    )
    assert (found.seeds, found.deterministic) == (3, False)
    assert found.median == pytest.approx(np.sqrt(medians.var(axis=0, ddof=1).mean()) / half)
    leads = bank.leads
    rmse = [np.sqrt((((m - bank.actuals)[:, leads] / np.sqrt(leads + 1.0)) ** 2).mean()) for m in medians]
    assert found.path_rmse == pytest.approx(np.std(rmse, ddof=1) / np.mean(rmse))
    assert found.wql > 0


def test_cutoffs_that_a_seed_missed_are_left_out(bank: Bank) -> None:
    quantiles = bank.quantiles[0]
    gappy = quantiles * 1.001
    gappy[:5] = np.nan
    keep = np.arange(bank.windows) >= 5
    whole = stability_of(quantiles[keep], [gappy[keep]], bank.pick(keep), deterministic=False)
    assert stability_of(quantiles, [gappy], bank, deterministic=False) == whole


def test_what_was_not_looked_at_has_no_spread(bank: Bank) -> None:
    unknown = stability_of(bank.quantiles[0], [], bank, None)
    assert (unknown.seeds, unknown.deterministic) == (1, None)
    fixed = stability_of(bank.quantiles[0], [], bank, deterministic=True)
    assert (fixed.seeds, fixed.deterministic) == (2, True)
    assert np.isnan([fixed.wql, fixed.path_rmse, fixed.median, unknown.wql]).all()


def test_one_random_member_makes_the_whole_random() -> None:
    found = Reruns(random={"a": False, "b": True, "c": None}, banks=())
    assert found.verdict(["a"]) is True
    assert found.verdict(["a", "b"]) is False
    assert found.verdict(["a", "c"]) is None
    assert found.verdict(["d"]) is None

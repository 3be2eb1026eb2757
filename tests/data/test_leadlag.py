"""Dates that lie: a covariate that seems to predict the target."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.leadlag import LAGS, Dating, lead_lag
from horizoncast.data.load import load_series
from horizoncast.data.survey import survey
from horizoncast.data.target import Target
from horizoncast.data.target_file import read_target
from horizoncast.series import Covariate, Scale, Series
from support import make_series, shared_data


def pair(shift: int, *, lag: int = 0, offset: int = 0, strength: float = 0.7) -> Series:
    """A price and a covariate whose change of t - shift is the target's of t, in part."""
    rng = np.random.default_rng(5)
    common, own, other = rng.standard_normal((3, 800))
    x = strength * common + np.sqrt(1 - strength**2) * other
    y = strength * np.roll(common, shift) + np.sqrt(1 - strength**2) * own
    series = make_series(
        100 * np.exp(np.cumsum(0.01 * y)),
        scale=Scale.LOG,
        covariates=(Covariate(name="x", values=50 * np.exp(np.cumsum(0.01 * x)), publication_lag=lag),),
    )
    return replace(series, dating_offset=offset)


@pytest.mark.parametrize(
    ("shift", "lag", "offset", "verdict"),
    [
        (0, 0, 0, Dating.SAME_SESSION),
        (1, 0, 0, Dating.TRAP),
        (1, 0, 1, Dating.EXPLAINED),
        (1, 1, 0, Dating.EXPLAINED),
        (2, 0, 1, Dating.TRAP),
        (-1, 0, 0, Dating.FOLLOWS),
    ],
)
def test_planted_shifts(shift: int, lag: int, offset: int, verdict: Dating) -> None:
    (found,) = lead_lag(pair(shift, lag=lag, offset=offset))
    assert (found.verdict, found.peak) == (verdict, shift)
    assert found.correlations[LAGS.index(shift)] == pytest.approx(0.49, abs=0.07)
    assert found.first_used == lag + offset + 1


def test_noise_says_nothing_and_a_weak_lead_is_left_to_the_backtest() -> None:
    assert lead_lag(pair(1, strength=0.0))[0].verdict is Dating.NONE
    assert lead_lag(pair(1, strength=0.4))[0].verdict is Dating.LEADS


def test_a_covariate_known_in_advance_or_constant_is_no_suspect() -> None:
    plan = Covariate(name="plan", values=np.zeros(60), known_future=True)
    flat = Covariate(name="flat", values=np.ones(60))
    (found,) = lead_lag(make_series(np.arange(60.0) ** 1.1, covariates=(plan, flat)))
    assert (found.name, found.verdict) == ("flat", Dating.NONE)


def panel(offset: int) -> Target:
    shared_data("usdclp_panel_daily.csv")
    root = Path(__file__).resolve().parents[2]
    return replace(read_target(root / "config" / "targets" / "usdclp.toml"), dating_offset=offset)


def test_the_observado_as_dated_is_a_trap() -> None:
    """SOURCES.md: the observado of t averages the trades of t - 1."""
    found = survey(panel(0))
    assert {lead.name for lead in found.traps} == {"eurusd", "usdbrl", "usdmxn"}
    (text,) = [w for w in found.warnings if w.startswith("dating trap")]
    assert "dating_offset = 1" in text


def test_with_its_offset_the_observado_is_explained() -> None:
    leads = {lead.name: lead for lead in lead_lag(load_series(panel(1)).series)}
    assert not [lead for lead in leads.values() if lead.verdict is Dating.TRAP]
    assert leads["usdmxn"].verdict is Dating.EXPLAINED
    assert "dating_offset = 1" in leads["usdmxn"].text

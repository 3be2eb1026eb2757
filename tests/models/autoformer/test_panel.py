"""Panel training: related series teach, and nothing after the cutoff of any of them does."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from horizoncast.calendar import CalendarKind
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.member import Autoformer
from horizoncast.models.autoformer.origins import joined, related_origins
from horizoncast.models.lag_features import choose_design, window_of
from horizoncast.series import Covariate
from support import make_series

SMALL = AutoformerConfig(
    context=16, label=4, d_model=8, feed_forward=16, kernel=5, steps=10, check_every=5, origins=60, batch=16
)
SEVEN = Horizon(steps=7)


def shop(seed: int, length: int, *, level: float = 20.0, name: str | None = None):
    """A weekly season and a price known in advance that acts alike in every shop."""
    rng = np.random.default_rng(seed)
    price = rng.standard_normal(length + 10)
    week = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -2.0, -4.0])[np.arange(length) % 7]
    values = level * (1 + (week + 2 * price[:length] + 0.5 * rng.standard_normal(length)) / 40)
    known = Covariate(name="price", values=price, known_future=True)
    return make_series(
        values,
        kind=CalendarKind.DAILY,
        periods=(7,),
        covariates=(known,),
        name=name or f"shop{seed}",
    )


def panel(length: int = 120, others: int = 3, other_length: int = 300):
    related = tuple(shop(k, other_length, level=10.0**k) for k in range(1, others + 1))
    return replace(shop(0, length), related=related)


def medians(series, config=SMALL, cutoff=None):
    when = series.last if cutoff is None else cutoff
    (found,) = Autoformer(config, service="test").forecast(series, [when], SEVEN, LEVELS)
    return found.quantiles


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_rows_of_other_series_after_the_cutoff_are_invisible(scale):
    series = panel()
    cutoff = series.dates[100]
    changed = []
    for other in series.related:
        values = other.values.copy()
        values[101:] = values[101:] * scale + 5.0
        changed.append(replace(other, values=values))
    again = replace(series, related=tuple(changed))
    assert np.array_equal(medians(series, cutoff=cutoff), medians(again, cutoff=cutoff))


def test_the_leak_test_of_the_panel_can_fail():
    series = panel()
    (first, *rest) = series.related
    values = first.values.copy()
    values[20:60] += 15.0
    again = replace(series, related=(replace(first, values=values), *rest))
    cutoff = series.dates[100]
    assert not np.array_equal(medians(series, cutoff=cutoff), medians(again, cutoff=cutoff))


def test_outcomes_that_overlap_the_held_back_windows_are_not_learnt_from_others_either():
    series = panel(other_length=120)
    window = window_of(series.until(series.last))
    design = choose_design(window, series.periods, SEVEN)
    before = series.dates[80]
    parts = list(
        related_origins(
            series.until(series.last).related,
            design,
            SEVEN,
            SMALL,
            context=16,
            yearly=False,
            before=before,
        )
    )
    assert len(parts) == 3
    for part in parts:
        assert part.rows.max() + 7 == 80
        assert np.isfinite(part.target).all()


def test_each_series_is_in_units_of_its_own():
    series = panel()
    design = choose_design(window_of(series.until(series.last)), series.periods, SEVEN)
    parts = related_origins(
        series.until(series.last).related,
        design,
        SEVEN,
        SMALL,
        context=16,
        yearly=False,
        before=series.last,
    )
    spreads = [float(np.std(part.target)) for part in parts]
    assert max(spreads) / min(spreads) < 1.5  # their levels differ a hundredfold


def test_the_panel_teaches_a_short_series_what_its_own_past_cannot():
    series, truth = panel(70, others=4, other_length=400), shop(0, 120)
    config = replace(SMALL, steps=60, learning_rate=0.01, min_origins=30)
    cutoff = series.dates[62]
    alone = medians(replace(series, related=()), config, cutoff)
    together = medians(series, config, cutoff)
    actual = truth.values[63:70]
    middle = LEVELS.index(0.5)
    assert np.mean(np.abs(together[:, middle] - actual)) < np.mean(np.abs(alone[:, middle] - actual))


def test_the_panel_can_be_switched_off():
    series = panel()
    off = replace(SMALL, panel=False)
    assert np.array_equal(medians(series, off), medians(replace(series, related=()), off))


def test_joined_examples_keep_their_order_and_a_span_of_all():
    series = panel()
    design = choose_design(window_of(series.until(series.last)), series.periods, SEVEN)
    parts = list(
        related_origins(
            series.until(series.last).related,
            design,
            SEVEN,
            SMALL,
            context=16,
            yearly=False,
            before=series.last,
        )
    )
    both = joined(parts)
    assert len(both.rows) == sum(len(part.rows) for part in parts)
    assert (np.diff(both.rows) > 0).all()
    assert np.array_equal(both.rows[: len(parts[0].rows)], parts[0].rows)
    assert np.array_equal(both.target[len(parts[0].rows) :][: len(parts[1].rows)], parts[1].target)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.errors import HistoryTooShortError, MissingCovariateError
from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, MemberConfig, Prediction, refit_stop, seed_of
from horizoncast.series import Scale
from support import make_series

LEVELS = (0.1, 0.5, 0.9)
TWO = Horizon(steps=2)


class Recorder(Member[MemberConfig, int]):
    """Answers with the last value, and writes down what it was asked."""

    name = "recorder"

    def __init__(self, config=None, *, service="", fit_error=None, spread=(-1.0, 0.0, 1.0)):
        super().__init__(config or MemberConfig(window=50, min_train=20, refit_every=10), service=service)
        self.fit_error, self.spread = fit_error, np.array(spread)
        self.fits, self.drawn = [], []

    def fit(self, history, horizon):
        self.fits.append((history.start, history.stop))
        if self.fit_error is not None:
            raise self.fit_error
        return history.stop

    def predict(self, state, history, horizon, levels, rng):
        self.drawn.append(rng.random())
        return Prediction(quantiles=np.tile(history.z[-1] + self.spread, (horizon.steps, 1)))


def series(length=100, **more):
    return make_series(np.arange(1.0, length + 1), **more)


def run(member, target, rows):
    return list(member.forecast(target, [target.dates[r] for r in rows], TWO, LEVELS))


# Re-fit grid


@given(st.integers(20, 400), st.integers(1, 70), st.integers(2, 40))
def test_refit_point_is_the_latest_grid_session(stop, every, min_train):
    target = series(400)
    history = target.until(target.dates[stop - 1])
    if stop < min_train:
        with pytest.raises(HistoryTooShortError):
            refit_stop(history, every, min_train)
        return
    found = refit_stop(history, every, min_train)
    ordinals = target.ordinals[:stop]
    on_grid = [i for i in range(stop) if i == 0 or ordinals[i] // every > ordinals[i - 1] // every]
    assert found == max(on_grid[-1] + 1, min_train)
    assert min_train <= found <= stop


def test_refit_point_does_not_move_when_the_series_starts_later():
    full = series(300)
    late = make_series(full.values[120:])
    shifted = type(late)(
        name=late.name, unit=late.unit, calendar=late.calendar, dates=full.dates[120:], values=late.values
    )
    for row in (200, 219, 240, 299):
        at = full.dates[row]
        left, right = refit_stop(full.until(at), 60, 20), refit_stop(shifted.until(at), 60, 20)
        assert left == right + 120


def test_fit_sees_its_window_and_runs_once_per_grid_point():
    member, target = Recorder(), series()
    run(member, target, [95, 94, 92, 85, 84])
    assert member.fits == [(41, 91), (31, 81)]


def test_first_fit_waits_for_the_minimum_history():
    member, target = Recorder(), series()
    failure, found = run(member, target, [18, 19])
    assert isinstance(failure, Failure)
    assert failure.code == "HistoryTooShortError"
    assert isinstance(found, Forecast)
    assert member.fits == [(0, 20)]


# Failures and order


def test_failures_stand_in_their_place_and_the_rest_goes_on():
    target = series()
    found = run(Recorder(), target, [60, 3, 70])
    assert [type(f) for f in found] == [Forecast, Failure, Forecast]
    assert [f.cutoff for f in found] == [target.dates[r] for r in (60, 3, 70)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingCovariateError("gone"), "MissingCovariateError"),
        (HistoryTooShortError("short"), "HistoryTooShortError"),
        (np.linalg.LinAlgError("singular"), "ModelError"),
    ],
)
def test_failed_fit_fails_its_cutoffs_under_its_own_name_without_a_second_try(error, code):
    member = Recorder(fit_error=error)
    found = run(member, series(), [95, 94, 85])
    assert [f.code for f in found] == [code] * 3
    assert len(member.fits) == 2


def test_errors_of_other_kinds_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        run(Recorder(fit_error=ZeroDivisionError()), series(), [50])


def test_nan_is_a_failure_never_a_forecast():
    (found,) = run(Recorder(spread=(-1.0, np.nan, 1.0)), series(), [50])
    assert isinstance(found, Failure)
    assert found.code == "ForecastError"


def test_overflow_of_the_log_scale_is_a_failure():
    (found,) = run(Recorder(spread=(-1.0, 0.0, 800.0)), series(scale=Scale.LOG), [50])
    assert isinstance(found, Failure)
    assert found.code == "ForecastError"


# From prediction to forecast


def test_crossing_quantiles_are_sorted_and_flagged():
    (found,) = run(Recorder(spread=(1.0, 0.0, -1.0)), series(), [50])
    assert Flag.SORTED in found.flags
    assert np.allclose(found.quantiles, [[50.0, 51.0, 52.0]] * 2)


def test_only_nonnegative_series_are_clipped():
    spread = (-90.0, 0.0, 1.0)
    (free,) = run(Recorder(spread=spread), series(), [50])
    (clipped,) = run(Recorder(spread=spread), series(nonnegative=True), [50])
    assert (free.quantile(0.1) == -39.0).all()
    assert (clipped.quantile(0.1) == 0.0).all()
    assert Flag.CLIPPED_AT_ZERO in clipped.flags
    assert Flag.CLIPPED_AT_ZERO not in free.flags


# Seeds and identity


def test_random_numbers_depend_on_service_series_and_cutoff_only():
    def drawn(rows, service="a", name="sample"):
        member = Recorder(service=service)
        run(member, series(name=name), rows)
        return member.drawn

    assert drawn([50, 60]) == drawn([60, 50])[::-1]
    one = drawn([50])
    assert len({*one, *drawn([60]), *drawn([50], service="b"), *drawn([50], name="other")}) == 4


def test_seed_is_the_same_on_every_machine():
    """First eight bytes of ``printf 'a\\x1fb' | sha256sum``."""
    assert seed_of("a", "b") == 0xF04CDCED9736A69D
    assert seed_of("a", "b") != seed_of("ab", "")


def test_digest_follows_settings():
    base = Recorder().digest()
    assert Recorder().digest() == base
    assert Recorder(MemberConfig(window=51, min_train=20, refit_every=10)).digest() != base

"""Reading a series as its difference from its last seasons: the arithmetic, the choice, what it gains."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import make_bolt, repeater, save_network
from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.errors import ConfigError
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.metrics import stated_spread
from horizoncast.models.chronos import asking, contexts, member
from horizoncast.models.chronos.asking import Reading, ask, window_of
from horizoncast.models.chronos.blending import blend
from horizoncast.models.chronos.chosen import SEASON, read_chosen
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.inference import Raw
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.places import SHIPPED_NAME
from horizoncast.models.chronos.seasons import Anchor, Trial, needed, trials, weigh
from horizoncast.models.evidence import LEAST_WEIGHT
from horizoncast.models.registry import make_member
from horizoncast.series import Series
from support import make_series, market

DAY = Horizon(steps=24)


@pytest.fixture(scope="module", autouse=True)
def kept():
    """Loading takes longer than answering: the tests of this file keep the pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(member, "release_pipeline", lambda: None)
        yield
    release_pipeline()


@pytest.fixture(scope="module")
def bolt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bolt"
    make_bolt(folder, context=96, d_model=32, layers=2)
    return folder


def hourly(values: np.ndarray, periods: tuple[int, ...]) -> Series:
    calendar = Calendar(kind=CalendarKind.INTRADAY, minutes=60)
    first = np.datetime64("2020-01-06T00:00:00")
    dates = np.concatenate([[first], calendar.future(first, len(values) - 1)])
    return Series(name="hours", unit="MW", calendar=calendar, dates=dates, values=values, periods=periods)


def planted(length: int = 2200, seed: int = 3) -> Series:
    """Hours with a day and, three times as large, a week of no particular shape."""
    rng = np.random.default_rng(seed)
    hours = np.arange(length)
    day, week = rng.standard_normal(24), 3.0 * rng.standard_normal(168)
    values = 100.0 + day[hours % 24] + week[hours % 168] + 0.5 * rng.standard_normal(length)
    return hourly(values, (24, 168))


def answers(series, cutoffs, horizon=DAY, *, model=SHIPPED_NAME, **settings):
    made = make_member("chronos", {"model": str(model), **settings})
    return list(made.forecast(series, cutoffs, horizon, LEVELS))


def error_of(series, found):
    """Mean pinball loss over all levels."""
    losses = []
    for forecast in found:
        miss = series.actuals(forecast.cutoff, forecast.dates)[:, None] - forecast.quantiles
        losses.append(np.maximum(np.array(LEVELS) * miss, (np.array(LEVELS) - 1.0) * miss).mean())
    return float(np.mean(losses))


def chosen(series, cutoffs, folder, horizon=DAY, **settings):
    """The answers, and what was left for the record of all cutoffs, None without."""
    made = make_member("chronos", {"model": SHIPPED_NAME, "traces": str(folder), **settings})
    found = list(made.forecast(series, cutoffs, horizon, LEVELS))
    left = read_chosen(folder, SEASON, series, horizon.steps, made.digest())
    return found, None if left is None else set(left.choices.values())


# The arithmetic


@given(period=st.integers(2, 9), seasons=st.integers(1, 4), steps=st.integers(1, 25), seed=st.integers(0, 99))
def test_what_is_subtracted_ahead_is_what_differences_subtract(period, seasons, steps, seed):
    """A checkpoint that knew the future differences would answer the future values, at every step."""
    anchor, cutoff = Anchor(period=period, seasons=seasons), 150
    z = np.random.default_rng(seed).standard_normal(cutoff + steps)
    answer = np.full(steps, np.nan)
    for block in range(1, anchor.blocks(steps) + 1):
        start, stop = (block - 1) * period, min(block * period, steps)
        known = anchor.ahead(z[:cutoff][-anchor.reach(block) :], block, stop)
        future = anchor.differences(z[: cutoff + stop], block)[-stop:]
        answer[start:stop] = (known + future)[start:stop]
    assert np.allclose(answer, z[cutoff:])


def test_a_season_that_repeats_leaves_nothing():
    z = np.tile([1.0, 4.0, 2.0], 20)
    assert not Anchor(period=3, seasons=4).differences(z, 2).any()


def test_steps_of_every_season_ahead_come_from_their_own_pass(tmp_path):
    """A checkpoint that repeats the last 7 values: of differences at lag 4 and 8, by hand."""
    save_network(repeater(), tmp_path)
    loaded = get_pipeline(tmp_path)
    z = np.cumsum(np.random.default_rng(0).standard_normal(120))
    history = make_series(z, periods=(4,)).until(make_series(z).last)
    reading = Reading(context=64, anchor=Anchor(period=4, seasons=1))
    (raw,) = ask(loaded, [history], reading, steps=6, chunk=4)
    lag4, lag8 = z[4:] - z[:-4], z[8:] - z[:-8]
    expected = [*(z[-4:] + lag4[-7:-3]), *(z[-4:-2] + lag8[-3:-1])]
    middle = loaded.manifest.quantiles.index(0.5)
    assert np.allclose(raw.quantiles[:, middle], expected, atol=0.02 * z.std())


def test_the_window_reaches_as_far_as_its_context():
    series = make_series(np.arange(200.0) ** 1.1, periods=(7,))
    history = series.until(series.last)
    for seasons, block in ((1, 1), (4, 1), (4, 3)):
        reading = Reading(context=90, anchor=Anchor(period=7, seasons=seasons))
        assert len(window_of(history, reading, 7, "bolt", block).values) == 90


# What is tried


def test_the_longest_season_comes_first_and_has_what_the_history_allows():
    rows = np.arange(499, 2000, 24)[-16:]
    tried = trials((24, 168), 2000, rows, 24)
    assert [(t.anchor.period, t.anchor.seasons) for t in tried] == [(168, 4), (24, 4)]
    short = trials((24, 168), 700, np.arange(19, 676, 24)[-16:], 24)
    assert [(t.anchor.period, t.anchor.seasons) for t in short] == [(168, 2), (24, 4)]
    assert all(row + 1 >= 3 * 168 for row in short[0].rows)


def test_what_does_not_fit_is_not_tried():
    rows = np.arange(19, 300, 7)
    assert trials((), 300, rows, 7) == ()
    assert trials((365,), 300, rows, 7) == ()
    assert trials((7,), 300, rows, 29) == ()
    assert len(trials((7,), 300, rows, 28)) == 1


def weights_of(ratio, *, rows=8, worth=1.0, other=1.0, forced=False):
    """Weights where one anchor's losses are `ratio` of the plain ones, and a second one's `other`."""
    first = Trial(anchor=Anchor(period=7, seasons=1), rows=tuple(range(rows)))
    second = Trial(anchor=Anchor(period=3, seasons=1), rows=first.rows)
    plain = np.tile([1.0, 1.2], 8)
    losses = {(row, None): plain[row] for row in first.rows}
    losses |= {(row, first.anchor): ratio * plain[row] for row in first.rows}
    losses |= {(row, second.anchor): other * plain[row] for row in first.rows}
    kept = needed((first, second), forced=forced)
    found = weigh((first, second), {key: losses[key] for key in kept}, worth, forced=forced)
    return found.get(None, 0.0), found.get(first.anchor, 0.0), found.get(second.anchor, 0.0)


def test_readings_are_weighed_by_their_past_losses():
    """Odds beforehand 1 : 1/2 : 1/2, times the ratio of the losses to the power of independent origins."""
    assert weights_of(1.0) == pytest.approx((0.5, 0.25, 0.25))
    assert weights_of(1.0, rows=0) == pytest.approx((0.5, 0.25, 0.25))
    odds = np.array([1.0, 0.5 * 0.8**-8, 0.5])
    assert weights_of(0.8) == pytest.approx(tuple(odds / odds.sum()))
    overlapping = np.array([1.0, 0.5 * 0.8**-2, 0.5])
    assert weights_of(0.8, worth=0.25) == pytest.approx(tuple(overlapping / overlapping.sum()))


def test_a_reading_without_weight_is_left_out():
    assert weights_of(0.1) == (0.0, 1.0, 0.0)
    assert weights_of(10.0, other=10.0) == (1.0, 0.0, 0.0)
    assert min(w for w in weights_of(1.1) if w) > LEAST_WEIGHT


def test_forced_the_series_as_it_is_takes_no_part():
    assert weights_of(1.1, forced=True)[0] == 0.0
    assert weights_of(10.0, forced=True) == (0.0, 0.0, 1.0)


def test_losses_of_nothing_decide_nothing():
    """A constant is forecast without loss by every reading."""
    anchor = Anchor(period=7, seasons=1)
    trial = Trial(anchor=anchor, rows=(1, 2))
    losses = {(row, a): 0.0 for row in trial.rows for a in (None, anchor)}
    assert weigh((trial,), losses, forced=False) == {None: 0.5, anchor: 0.5}


def test_one_season_that_is_asked_for_needs_no_losses():
    trial = Trial(anchor=Anchor(period=7, seasons=1), rows=tuple(range(16)))
    assert needed((trial,), forced=True) == set()
    assert weigh((trial,), {}, forced=True) == {trial.anchor: 1.0}
    assert weigh((), {}, forced=True) == {None: 1.0}


# The mixture


@given(seed=st.integers(0, 99), weight=st.floats(0.05, 0.95))
def test_the_doubt_about_the_reading_is_the_variance_between_medians(seed, weight):
    """Law of total variance: of normal readings the parts are those of the mixture itself."""
    rng = np.random.default_rng(seed)
    means, spreads = rng.standard_normal((2, 3)), rng.uniform(0.2, 2.0, (2, 3))
    levels = (0.1, 0.5, 0.9)
    raws = [
        Raw(quantiles=m[:, None] + s[:, None] * np.array([-1.2815515655, 0.0, 1.2815515655]), crossed=False)
        for m, s in zip(means, spreads, strict=True)
    ]
    readings = (Reading(context=64), Reading(context=64, anchor=Anchor(period=7, seasons=1)))
    found = blend(tuple(zip(readings, (weight, 1 - weight), strict=True)), raws, levels)
    between = weight * (1 - weight) * (means[0] - means[1]) ** 2
    within = weight * spreads[0] ** 2 + (1 - weight) * spreads[1] ** 2
    assert np.allclose(found.epistemic, between / (between + within))
    assert np.allclose(found.raw.quantiles[:, 1], weight * means[0] + (1 - weight) * means[1])
    assert np.allclose(stated_spread(found.raw.quantiles, levels) ** 2, between + within)
    assert found.readings[0] == readings[0 if weight >= 0.5 else 1]


def test_one_reading_is_itself_and_has_no_doubt_to_tell():
    raw = Raw(quantiles=np.zeros((2, 3)), crossed=True)
    found = blend(((Reading(context=8), 1.0),), [raw], (0.1, 0.5, 0.9))
    assert found.raw is raw
    assert found.epistemic is None


@pytest.mark.parametrize("value", ["auto ", "weekly", "", True])
def test_settings_of_season(value):
    with pytest.raises(ConfigError, match="chronos season"):
        ChronosConfig(season=value)


# What it gains


def test_a_week_of_hours_is_found_and_pays(tmp_path):
    series = planted()
    cutoffs = [series.dates[row] for row in range(2170, 2000, -29)]
    plain = error_of(series, answers(series, cutoffs, season="off"))
    auto, choices = chosen(series, cutoffs, tmp_path)
    assert error_of(series, auto) < 0.5 * plain
    assert choices == {(168, 4, 100, 0)}


def test_a_declared_season_that_is_not_there_costs_little():
    """Differences of a random walk over a season are harder to forecast: they are left little say."""
    week, ratios = Horizon(steps=7), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        walk = 100.0 + np.cumsum(rng.standard_normal(500))
        series = make_series(walk, kind=CalendarKind.DAILY, periods=(7,))
        cutoffs = [series.dates[row] for row in range(490, 300, -19)]
        losses = [error_of(series, answers(series, cutoffs, week, season=s)) for s in ("auto", "off", "on")]
        ratios.append([losses[0] / losses[1], losses[2] / losses[1]])
    auto, on = np.exp(np.log(ratios).mean(axis=0))
    assert auto < 1.02
    assert auto - 1.0 < 0.2 * (on - 1.0)


def test_a_price_that_declares_its_week_is_read_as_it_is(tmp_path):
    """Every bit stays: of a season in a price much proof is asked."""
    price = dataclasses.replace(market(400), periods=(5,))
    assert price.price_like
    cutoffs = [price.dates[row] for row in (390, 300, 100)]
    auto, choices = chosen(price, cutoffs, tmp_path, Horizon(steps=7))
    off = answers(price, cutoffs, Horizon(steps=7), season="off")
    assert choices == {(0, 0, 0, 100)}
    assert all(one.same_numbers(two) for one, two in zip(auto, off, strict=True))


def test_a_short_history_is_read_both_ways(tmp_path):
    """Eight years of quarters, too few for any proof: half and half, and the doubt is told."""
    values = np.tile([4.0, 9.0, 6.0, 2.0], 10) + np.linspace(0.0, 8.0, 40)
    series = make_series(values, kind=CalendarKind.QUARTERLY, periods=(4,))
    cutoff = [series.dates[31]]
    (found,), choices = chosen(series, cutoff, tmp_path, Horizon(steps=8))
    assert choices == {(4, 1, 50, 50)}
    assert found.epistemic is not None
    assert (found.epistemic > 0).all()
    plain, apart = (
        answers(series, cutoff, Horizon(steps=8), season=season)[0].quantiles for season in ("off", "on")
    )
    mean, middle = (plain + apart) / 2, LEVELS.index(0.5)
    assert np.allclose(found.quantiles[:, middle], mean[:, middle])
    assert (found.quantiles[:, 0] < mean[:, 0]).all()
    assert (found.quantiles[:, -1] > mean[:, -1]).all()


def test_without_periods_nothing_is_tried(tmp_path, monkeypatch):
    price = dataclasses.replace(market(300), periods=())
    off = answers(price, [price.last], Horizon(steps=7), season="off")[0]
    monkeypatch.setattr(contexts, "loss", lambda *_: pytest.fail("an origin was scored"))
    for season in ("auto", "on"):
        (found,), choices = chosen(price, [price.last], tmp_path, Horizon(steps=7), season=season)
        assert found.same_numbers(off)
        assert choices is None
    assert not list(tmp_path.glob("season-*"))


def test_a_season_longer_than_the_history_is_left_alone():
    series = make_series(market(60).values, periods=(52,))
    one, two = (answers(series, [series.last], Horizon(steps=5), season=s)[0] for s in ("on", "off"))
    assert one.same_numbers(two)


# What it may depend on


@pytest.mark.parametrize(("season", "steps"), [("auto", 24), ("on", 40)])
def test_company_never_moves_a_bit(bolt, season, steps):
    """Cutoffs read with several seasons, with fewer, and as they are, together and alone."""
    series = planted(700)
    cutoffs = [series.dates[row] for row in (690, 689, 520, 60)]
    settings = {"model": bolt, "horizon": Horizon(steps=steps), "season": season}
    together = answers(series, cutoffs, **settings)
    backwards = answers(series, cutoffs[::-1], **settings)[::-1]
    for one, two, cutoff in zip(together, backwards, cutoffs, strict=True):
        assert one.same_numbers(two)
        assert one.same_numbers(answers(series, [cutoff], **settings)[0])


def test_nothing_after_the_cutoff_is_seen(tmp_path):
    series, at = planted(1900), 1850
    values = series.values.copy()
    values[at + 1 :] *= 1000.0
    later = dataclasses.replace(series, values=values)
    cutoff = [series.dates[at]]
    (honest,), choices = chosen(series, cutoff, tmp_path)
    assert choices == {(168, 4, 100, 0)}
    for other in (later, series.truncated(cutoff[0])):
        assert honest.same_numbers(answers(other, cutoff)[0])
    values = series.values.copy()
    values[at - 168 + 1] *= 1.2
    moved = dataclasses.replace(series, values=values)
    assert not honest.same_numbers(answers(moved, cutoff)[0])


def test_context_and_season_are_chosen_together(tmp_path):
    """The season is judged at the context that was chosen."""
    series = planted()
    cutoffs = [series.dates[2100]]
    plain = answers(series, cutoffs, context_length="auto", season="off")
    made, choices = chosen(series, cutoffs, tmp_path, context_length="auto")
    assert error_of(series, made) < error_of(series, plain)
    assert choices == {(168, 4, 100, 0)}


# Short histories


@pytest.mark.parametrize(("rows", "read"), [(26, 24), (50, 48), (36, 36), (20, 20)])
def test_a_first_patch_that_is_mostly_padding_is_left_out(monkeypatch, rows, read):
    """The shipped checkpoint reads patches of 24: of 26 values it reads 24, of 36 all."""
    lengths = []
    inner = asking.answer_bolt

    def watched(loaded, windows, **given):
        lengths.extend(len(window.values) for window in windows)
        return inner(loaded, windows, **given)

    monkeypatch.setattr(asking, "answer_bolt", watched)
    series = make_series(market(rows).values, periods=())
    answers(series, [series.last], Horizon(steps=4), min_train=8)
    assert lengths == [read]


def test_short_walks_are_covered_better_than_with_the_padded_patch(monkeypatch):
    """26 values, of 60 random walks."""

    def covered():
        hits = []
        for seed in range(60):
            walk = 100.0 + np.cumsum(np.random.default_rng(seed).standard_normal(34))
            series = make_series(walk, periods=())
            (found,) = answers(series, [series.dates[25]], Horizon(steps=8), min_train=8)
            low, high = (found.quantiles[:, LEVELS.index(level)] for level in (0.1, 0.9))
            actual = series.actuals(found.cutoff, found.dates)
            hits.append(((actual >= low) & (actual <= high)).mean())
        return np.mean(hits)

    whole = covered()
    monkeypatch.setattr(asking, "filled", lambda values, _: values)
    assert covered() + 0.05 < whole < 0.82

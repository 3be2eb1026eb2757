"""Analogs of a planted shape, with and without a checkpoint; nothing after the cutoff is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.cli.analogs import fitted, notes_of
from horizoncast.errors import ConfigError, HistoryTooShortError
from horizoncast.models.chronos.encoder import EmbeddingFlag
from horizoncast.scale import Scale
from horizoncast.series import Series
from horizoncast.service.analogs import STATISTICS, Analogs, Asked, find_analogs
from horizoncast.service.settings import Settings, load_settings

WINDOW, STEPS = 40, 10
PLACES = (100, 260, 430)
BY_STATISTICS = Asked(count=3, window=WINDOW, follow_up=STEPS, by=STATISTICS)


def shape() -> np.ndarray:
    time = np.arange(WINDOW + STEPS) / WINDOW
    return np.sin(2 * np.pi * time) + 2 * time


def planted(sessions: int = 600, scale: Scale = Scale.LEVEL) -> Series:
    """Noise around 50 with one shape in it, three times at other levels and heights, and at the end."""
    rng = np.random.default_rng(3)
    values = 50 + rng.standard_normal(sessions)
    for k, place in enumerate(PLACES):
        part = slice(place, place + WINDOW + STEPS)
        values[part] = 80 + 10 * k + (k + 1) * shape()
    values[-WINDOW:] = 20 + 3 * shape()[:WINDOW]
    dates = np.datetime64("2018-01-01", "s") + np.arange(sessions) * np.timedelta64(86400, "s")
    return Series(
        name="planted", unit="u", calendar=Calendar(kind=CalendarKind.DAILY), dates=dates, values=values,
        scale=scale,
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings("forecaster_30d", root=tmp_path, environ={})


def places_of(found: Analogs) -> list[int]:
    return sorted(int(np.searchsorted(found.series.dates, one.first)) for one in found.found)


def test_the_planted_windows_are_found_by_statistics(settings: Settings) -> None:
    series = planted()
    found = find_analogs(settings, series, BY_STATISTICS)
    assert np.abs(np.array(places_of(found)) - PLACES).max() <= 1
    assert found.flags == (EmbeddingFlag.STATISTICAL,)
    assert min(one.cosine for one in found.found) > 0.9 > found.median_cosine


def test_the_planted_windows_are_found_by_an_encoder(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt

    make_bolt(tmp_path / "model")
    asked = replace(BY_STATISTICS, by="encoder", model=str(tmp_path / "model"))
    found = find_analogs(settings, planted(), asked)
    assert np.abs(np.array(places_of(found)) - PLACES).max() <= 1
    assert found.source == "tests/bolt-tiny"
    assert found.flags == ()


def test_what_followed_is_dated_and_in_the_unit(settings: Settings) -> None:
    series = planted()
    for one in find_analogs(settings, series, BY_STATISTICS).found:
        start = int(np.searchsorted(series.dates, one.first))
        assert series.dates[start + WINDOW - 1] == one.last
        assert series.dates[start + WINDOW - 1 + STEPS] == one.followed_until < series.dates[-WINDOW]
        assert one.change == pytest.approx(series.values[start + WINDOW - 1 + STEPS] - one.path[WINDOW - 1])
        assert len(one.path) == WINDOW + STEPS


def test_on_the_log_scale_changes_are_shares(settings: Settings) -> None:
    found = find_analogs(settings, planted(scale=Scale.LOG), BY_STATISTICS)
    one = found.found[0]
    assert found.relative
    assert one.change == pytest.approx(one.path[-1] / one.path[WINDOW - 1] - 1)


def test_later_rows_change_nothing(settings: Settings) -> None:
    series = planted()
    cutoff = series.dates[480]
    values = series.values.copy()
    values[481:] *= 1000.0
    moved = replace(series, values=values)
    one, other = (find_analogs(settings, s.truncated(cutoff), BY_STATISTICS) for s in (series, moved))
    assert [vars(a) | {"path": a.path.tolist()} for a in one.found] == [
        vars(a) | {"path": a.path.tolist()} for a in other.found
    ]


def test_drawn_they_have_todays_mean_and_spread(settings: Settings) -> None:
    found = find_analogs(settings, planted(), BY_STATISTICS)
    for one in found.found:
        drawn = fitted(found, one.path)
        assert drawn[:WINDOW].mean() == pytest.approx(found.today.mean())
        assert drawn[:WINDOW].std() == pytest.approx(found.today.std())


def test_notes_say_what_the_table_is_read_against(settings: Settings) -> None:
    notes = notes_of(find_analogs(settings, planted(), BY_STATISTICS))
    text = " ".join(words for _, words in notes)
    assert "any window" in dict(notes)
    assert "statistical_features" in text
    assert "no forecast" in text


def test_too_short_a_history_and_odd_wishes_are_refused(settings: Settings) -> None:
    with pytest.raises(HistoryTooShortError, match="--window"):
        find_analogs(settings, planted(), replace(BY_STATISTICS, window=400))
    with pytest.raises(ConfigError, match="encoder, statistics"):
        Asked(by="both")
    with pytest.raises(ConfigError, match="8 to 2000"):
        Asked(window=3)

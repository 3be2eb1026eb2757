"""Which rows a service's checkpoint may learn from, and the command from beginning to end."""

import json
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.cli import main
from horizoncast.engine import ForecastEngine
from horizoncast.errors import ConfigError, HistoryTooShortError
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.chronos.folder import read_manifest
from horizoncast.models.registry import make_member
from horizoncast.series import Series
from horizoncast.service.finetuning import Asked, plan_finetuning
from horizoncast.service.settings import Settings, load_settings

CHRONOS = """
[training]
mode = "full"
learning_rate = 0.003
steps = 60
epochs = 60
check_every = 20
device = "cpu"
"""


def season(sessions: int = 1100) -> np.ndarray:
    rng = np.random.default_rng(5)
    return 50 + 5 * np.sin(2 * np.pi * np.arange(sessions) / 8) + 0.5 * rng.standard_normal(sessions)


def series_of(values: np.ndarray) -> Series:
    dates = np.datetime64("2019-01-01", "s") + np.arange(len(values)) * np.timedelta64(86400, "s")
    return Series(
        name="daily", unit="u", calendar=Calendar(kind=CalendarKind.DAILY), dates=dates, values=values
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt

    make_bolt(tmp_path / "base")
    return load_settings(
        "forecaster_7d",
        root=tmp_path,
        environ={},
        overrides={"members.chronos.model": str(tmp_path / "base")},
    )


def test_the_training_ends_at_the_banks_oldest_cutoff(settings: Settings) -> None:
    series = series_of(season())
    cutoffs = ForecastEngine(settings.engine_config()).plan(series, Horizon.parse("7d")).cutoffs
    planned = plan_finetuning(settings, series, Asked())
    assert planned.job.trained_until == cutoffs[0]
    assert (planned.cutoffs, planned.lost) == (len(cutoffs), 0)
    assert len(planned.job.values[0]) == series.index_of(cutoffs[0]) + 1
    assert planned.job.name == "tuned/daily-7d"
    assert (planned.job.context, planned.job.steps) == (180, 7)


def test_a_later_end_costs_cutoffs_and_says_how_many(settings: Settings) -> None:
    series = series_of(season())
    cutoffs = ForecastEngine(settings.engine_config()).plan(series, Horizon.parse("7d")).cutoffs
    planned = plan_finetuning(settings, series, Asked(until=cutoffs[10], name="tuned/mine", mode="head"))
    assert planned.job.trained_until == cutoffs[10]
    assert planned.lost == 10
    assert planned.job.settings.mode == "head"
    assert planned.job.output.name == "mine"


def test_ends_that_leave_nothing_are_refused(settings: Settings) -> None:
    series = series_of(season())
    with pytest.raises(ConfigError, match="before the history"):
        plan_finetuning(settings, series, Asked(until=np.datetime64("2001-01-01", "s")))
    with pytest.raises(HistoryTooShortError, match="--until"):
        plan_finetuning(settings, series_of(season(12)), Asked())


def test_the_command_and_the_member_agree_on_what_was_seen(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tuned by the command, the member answers from the end of its training on, and not before."""
    series = series_of(season())
    lines = [f"{str(d)[:10]},{v!r}" for d, v in zip(series.dates, series.values.tolist(), strict=True)]
    (tmp_path / "daily.csv").write_text("date,value\n" + "\n".join(lines) + "\n")
    (tmp_path / "daily.toml").write_text(
        'name = "daily"\nunit = "u"\nscale = "level"\nperiods = []\n'
        '[source]\ntype = "csv"\npath = "daily.csv"\nvalue_column = "value"\n[calendar]\nkind = "daily"\n'
    )
    (tmp_path / "chronos.toml").write_text(CHRONOS)
    with pytest.raises(SystemExit) as ended:
        main([
            "models", "finetune", "--service", "forecaster_7d", "--target", str(tmp_path / "daily.toml"),
            "--model", str(tmp_path / "base"), "--chronos", str(tmp_path / "chronos.toml"), "--json",
            "--root", str(tmp_path),
        ])  # fmt: skip
    captured = capsys.readouterr()
    assert not ended.value.code, captured.err
    told = json.loads(captured.out)
    assert told["verdict"]["kept"] is True
    assert told["cutoffs_lost"] == 0
    assert "step 60 of 60" in captured.err
    manifest = read_manifest(Path(told["model"]))
    cutoffs = ForecastEngine(settings.engine_config()).plan(series, Horizon.parse("7d")).cutoffs
    assert manifest.trained_until == cutoffs[0]

    member = make_member("chronos", {"model": "tuned/daily-7d", "models": str(tmp_path / "models")})
    asked = [series.last, cutoffs[0], cutoffs[0] - np.timedelta64(86400, "s")]
    answers = list(member.forecast(series, asked, Horizon.parse("7d"), LEVELS))
    assert [type(a) for a in answers] == [Forecast, Forecast, Failure]
    assert answers[0].identity.trained_until == cutoffs[0]
    assert answers[0].identity.id == "tuned/daily-7d"

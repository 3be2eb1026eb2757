"""Covariates in the training of Chronos-2: shown as in a run, learnt from, and nothing found in noise."""

from dataclasses import replace

import numpy as np
import pytest

from horizoncast.errors import NotAdmittedError
from horizoncast.models.chronos import finetuning
from horizoncast.models.chronos.beside import Beside, beside, training_input, window_input
from horizoncast.models.chronos.chronos2_training import (
    batch_rows,
    losses_of,
    predict_chronos2,
    training_mb_chronos2,
)
from horizoncast.models.chronos.finetuning import fine_tune
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import Job
from horizoncast.models.chronos.windows import split_windows
from horizoncast.series import Covariate
from support import market

torch = pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import chronos2_network, make_chronos2  # noqa: E402

LENGTH = 700
FAST = TrainingSettings(
    mode="full", learning_rate=1e-2, steps=150, epochs=50, check_every=30, patience=5, device="cpu"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chronos2") / "base"
    make_chronos2(folder, patches=2)
    yield folder
    release_pipeline()


def driven():
    """A target that is a covariate's own value of the day, and that covariate."""
    rng = np.random.default_rng(3)
    driver = rng.standard_normal(LENGTH)
    return driver + 0.1 * rng.standard_normal(LENGTH), driver


def job_of(base, tmp_path, values, columns=(), **changes):
    given = {
        "base": base,
        "name": "tuned/test",
        "values": (values,),
        "trained_until": np.datetime64("2024-06-28", "s"),
        "context": 32,
        "steps": 8,
        "models": tmp_path / "models",
        "output": tmp_path / "out",
        "columns": (columns,) if columns else (),
        "settings": FAST,
    }
    return Job(**(given | changes))


def test_what_is_known_in_advance_is_learnt_from_and_the_rest_stays_hidden(base, tmp_path):
    """The same column with and without its future: nothing of the target can be told from its past."""
    values, driver = driven()
    told, hidden = (
        fine_tune(job_of(base, tmp_path / str(known), values, (column,)))
        for known in (True, False)
        for column in [Beside(name="driver", values=driver, known_future=known)]
    )
    assert told.verdict.kept, told.verdict
    assert told.verdict.tuned_loss < 0.95 * hidden.verdict.tuned_loss, (told.verdict, hidden.verdict)


def test_in_noise_nothing_is_kept(base, tmp_path):
    """A base that knows the noise has nothing to gain from more of it, nor from a column beside it."""
    rng = np.random.default_rng(11)
    first, second, other = rng.standard_normal((3, 2 * LENGTH))
    ready = fine_tune(job_of(base, tmp_path, first, settings=replace(FAST, steps=300)))
    assert ready.verdict.kept
    column = Beside(name="other", values=other, known_future=True)
    again = replace(FAST, learning_rate=1e-3, steps=60)
    done = fine_tune(job_of(ready.folder, tmp_path / "again", second, (column,), settings=again))
    assert not done.verdict.kept, done.verdict
    assert done.folder is None


def test_the_verdict_reads_the_covariates_too(base):
    values, driver = driven()
    columns = ((Beside(name="driver", values=driver, known_future=True),),)
    split = split_windows([values], context=32, steps=8, settings=FAST)
    pipeline = get_pipeline(base).pipeline
    assert not np.array_equal(losses_of(pipeline, split.test), losses_of(pipeline, split.test, columns))


def test_a_window_sees_the_covariate_up_to_its_end_and_beyond_only_what_was_known(base):
    values, driver = driven()
    split = split_windows([values], context=32, steps=8, settings=FAST)
    window = split.test.pick(np.array([5]))
    end = int(window.ends[0])
    pipeline = get_pipeline(base).pipeline

    def answer(row, known_future):
        changed = driver.copy()
        changed[row] += 3.0
        return predict_chronos2(
            pipeline, window, ((Beside(name="d", values=changed, known_future=known_future),),)
        )

    for known_future, row, moves in (
        (True, end, True),
        (False, end, True),
        (True, end + 1, True),
        (False, end + 1, False),
        (True, end + 9, False),
        (True, end - 32, False),
    ):
        same = np.array_equal(answer(row, known_future), answer(end + 20, known_future))
        assert same is not moves, (known_future, row - end)


def test_columns_are_those_a_forecast_reads():
    """Late by their publication lag; known futures as they are; an empty one is left out."""
    series = market(120, lag=3)
    flag = Covariate(name="flag", values=(np.arange(140) % 7 == 0).astype(float), known_future=True)
    void = Covariate(name="void", values=np.full(120, np.nan))
    series = replace(series, covariates=(*series.covariates, flag, void))
    history = series.until(series.dates[99])
    columns = beside(history)
    assert [c.name for c in columns] == [*(c.name for c in series.covariates[:-2]), "flag"]
    assert [c.known_future for c in columns][-1] is True
    assert {len(c) for c in columns} == {100}
    assert np.array_equal(columns[0].values[3:], series.covariates[0].values[:97])
    assert np.array_equal(columns[-1].values, flag.values[:100])


def test_inputs_are_scaled_in_double_precision():
    """A price of 1e8 that moves by 0.1 keeps its moves."""
    rng = np.random.default_rng(1)
    small = rng.standard_normal(100)
    column = Beside(name="c", values=1e8 + 0.1 * small, known_future=True)
    whole = training_input(small, (column,), 80)
    window = window_input(small[:40], (column,), 39, 8)
    for scaled, raw in (
        (whole["past_covariates"]["c"], small[:80]),
        (window["past_covariates"]["c"], small[:40]),
    ):
        assert np.corrcoef(scaled, raw)[0, 1] > 0.999999
    assert whole["future_covariates"] == {"c": None}
    assert len(window["future_covariates"]["c"]) == 8


def test_a_training_of_chronos2_that_does_not_fit_is_refused(base, tmp_path, monkeypatch):
    values, driver = driven()
    monkeypatch.setattr(finetuning, "memory_available", lambda: 200 * 2**20)
    with pytest.raises(NotAdmittedError, match="200 MiB free"):
        fine_tune(job_of(base, tmp_path, values))
    network, own = chronos2_network(), ((Beside(name="d", values=driver),),)
    assert (batch_rows(FAST, ()), batch_rows(FAST, own)) == (32, 64)
    alone, company = (training_mb_chronos2(network, FAST, rows, 32, 8) for rows in (32, 64))
    assert alone < company
    assert training_mb_chronos2(network, replace(FAST, mode="lora"), 32, 32, 8) < alone

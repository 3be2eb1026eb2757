"""Embedding jobs: reading, cutting, training, and vectors that say what made them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from horizoncast.cli import main
from horizoncast.errors import ConfigError, DataError, SourceError, StoreError
from horizoncast.service.embedding import cut_windows, embed_side, read_job, run_embedding, train_embedding

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
JOB = """
name = "pair"
[table]
file = "table.parquet"
time = "at"
window = 16
stride = 8
[window]
channels = ["left", "other"]
by = "statistics"
[partner]
channels = ["right"]
by = "statistics"
[head]
hidden = 32
out = 16
epochs = 30
batch_size = 32
learning_rate = 0.005
"""


def table(rows: int = 1608) -> pd.DataFrame:
    """Two sensors that follow one slow number per stretch, and one that follows nothing."""
    rng = np.random.default_rng(1)
    hidden = np.repeat(rng.uniform(1, 5, rows // 8), 8)
    return pd.DataFrame(
        {
            "at": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "left": hidden + 0.05 * rng.standard_normal(rows),
            "other": rng.standard_normal(rows),
            "right": -3 * hidden + 0.05 * rng.standard_normal(rows),
        }
    )


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    table().to_parquet(tmp_path / "table.parquet")
    file = tmp_path / "job.toml"
    file.write_text(JOB)
    return file


def test_windows_are_cut_where_time_has_no_gap(job_file: Path, tmp_path: Path) -> None:
    rows = table()
    gap = rows.drop(index=range(100, 103))
    gap.sample(frac=1.0, random_state=1).to_parquet(tmp_path / "table.parquet")
    cut = cut_windows(read_job(job_file))
    spans = (cut.last - cut.first) / np.timedelta64(1, "h")
    assert (spans == 15).all()
    assert cut.columns == ("left", "other", "right")
    lost = (cut.first <= np.datetime64("2024-01-05T06")) & (cut.last >= np.datetime64("2024-01-05T04"))
    assert not lost.any()
    whole = rows.set_index("at")["left"]
    np.testing.assert_allclose(cut.values[-1, :, 0], whole[cut.first[-1] : cut.last[-1]])


def test_a_long_table_is_spread_and_averaged(tmp_path: Path) -> None:
    wide = table(200)
    long = wide.melt(id_vars="at", var_name="sensor", value_name="reading")
    twice = pd.concat([long, long.assign(at=long["at"] + pd.Timedelta("30min"), reading=long["reading"] + 2)])
    twice.to_csv(tmp_path / "table.csv", index=False)
    text = JOB.replace("table.parquet", "table.csv").replace(
        'time = "at"', 'time = "at"\nseries = "sensor"\nvalue = "reading"\nevery = 60'
    )
    (tmp_path / "job.toml").write_text(text)
    cut = cut_windows(read_job(tmp_path / "job.toml"))
    np.testing.assert_allclose(cut.values[0, :, 0], wide["left"][:16] + 1.0)


def test_a_head_finds_unseen_partners_and_says_what_it_is(job_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    job = read_job(job_file)
    done = train_embedding(job, tmp_path / "models")
    assert done.windows == 200
    assert job.gap == 1
    assert done.retrieval.top1 > 5 * done.retrieval.chance1
    assert done.trained_until == np.datetime64("2024-01-01", "s") + np.timedelta64(1607, "h")
    out = tmp_path / "vectors.parquet"
    assert run_embedding(job, tmp_path / "models", out) == 200
    written = pq.read_table(out)
    facts = json.loads(written.schema.metadata[b"horizoncast"])
    assert facts["window"]["flags"] == ["statistical_features"]
    vectors = np.stack(written["vector"].to_numpy())
    assert vectors.shape == (200, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    own = done.head.project(embed_side(job.window, cut_windows(job), tmp_path).vectors)
    np.testing.assert_allclose(vectors, own, atol=1e-6)


def test_unrelated_channels_stay_near_chance(job_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    job_file.write_text(JOB.replace('["left", "other"]', '["other"]'))
    done = train_embedding(read_job(job_file), tmp_path / "models")
    assert done.retrieval.top5 < 4 * done.retrieval.chance5


def test_by_means_takes_vectors_from_the_table(job_file: Path) -> None:
    job_file.write_text(
        JOB.replace('channels = ["right"]\nby = "statistics"', 'channels = ["right"]\nby = "means"')
    )
    job = read_job(job_file)
    cut = cut_windows(job)
    made = embed_side(job.partner, cut, Path())
    np.testing.assert_allclose(made.vectors, cut.values[:, :, 2].mean(axis=1)[:, None])
    assert made.flags == ()


def test_the_commands_with_an_encoder(
    job_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt

    make_bolt(tmp_path / "bolt")
    job_file.write_text(JOB.replace('by = "statistics"', f'by = "encoder"\nmodel = "{tmp_path / "bolt"}"', 1))

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["embed", *arguments, "--config", str(job_file), "--root", str(tmp_path), "--json"])
        return int(ended.value.code or 0)

    assert call("run") == StoreError.exit_code
    assert "embed train" in capsys.readouterr().err
    assert call("train") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sources"]["window"]["source"] == "tests/bolt-tiny"
    assert told["retrieval"]["pairs"] == 40
    out = tmp_path / "v.parquet"
    assert call("run", "--out", str(out)) == 0
    capsys.readouterr()
    make_bolt(tmp_path / "bolt", seed=3)
    assert call("run", "--out", str(out)) == StoreError.exit_code
    assert "other vectors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("stride = 8", "strides = 8", "did you mean stride"),
        ('name = "pair"', 'title = "pair"', "name"),
        ("[head]", "[heads]", "did you mean head"),
        ("hidden = 32", 'hidden = "32"', "hidden in"),
        ('time = "at"', 'time = "at"\nseries = "x"', "go together"),
        ('by = "statistics"', 'by = "guess"', "encoder, statistics or means"),
        ('[partner]\nchannels = ["right"]\nby = "statistics"', "", "lacks"),
    ],
)
def test_what_is_wrong_in_a_job_is_named(job_file: Path, old: str, new: str, hint: str) -> None:
    job_file.write_text(JOB.replace(old, new, 1))
    with pytest.raises(ConfigError, match=hint.replace("[", r"\[")):
        read_job(job_file)


def test_tables_that_cannot_be_used_are_refused(job_file: Path, tmp_path: Path) -> None:
    job_file.write_text(JOB.replace('["right"]', '["wrong"]'))
    with pytest.raises(SourceError, match="no such column"):
        cut_windows(read_job(job_file))
    job_file.write_text(JOB.replace("table.parquet", "nothing.parquet"))
    with pytest.raises(SourceError, match="cannot be read"):
        cut_windows(read_job(job_file))
    job_file.write_text(JOB)
    table(8).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(DataError, match="no window"):
        cut_windows(read_job(job_file))
    with pytest.raises(ConfigError, match="does not exist"):
        read_job(tmp_path / "nothing.toml")


@pytest.mark.parametrize("name", ["embedding_electricity", "embedding_sensors"])
def test_shipped_jobs_can_be_read(name: str) -> None:
    job = read_job(EXAMPLES / f"{name}.toml")
    assert job.head.out == 512
    assert job.window.by == "encoder"

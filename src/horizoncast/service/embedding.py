"""`embed train` and `embed run`: windows of sensor channels as vectors, and a head that finds their partners.

A job file (TOML) names a table, the channels of a window and what it is paired with; relative paths
start at its folder. Letters: N windows, T window length, C channels, D and M sizes of vectors.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, DataError, SourceError, StoreError, UnknownNameError
from horizoncast.models.chronos.encoder import ChronosEncoder, Embedded, statistical_features
from horizoncast.models.chronos.pipeline import release_pipeline
from horizoncast.models.chronos.places import find_model
from horizoncast.models.chronos.projection import Head, HeadSettings, Retrieval, train_head
from horizoncast.models.chronos.settings import table_of
from horizoncast.store.atomic import write_atomic
from horizoncast.store.checkpoints import load_checkpoint, save_checkpoint

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.datetime64]

ENCODER, STATISTICS, MEANS = "encoder", "statistics", "means"


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The table and how windows are cut from it.

    Parameters
    ----------
    file
        Parquet or CSV.
    time
        Column of the time stamps.
    series, value
        For a table in long form: the column that names the channel, and the one that holds its value.
    every
        Minutes that rows are averaged over, so that channels meet; 0 takes the rows as they are.
    window, stride
        T, and rows between the starts of two windows.
    """

    file: str
    time: str
    series: str = ""
    value: str = ""
    every: int = 0
    window: int = 96
    stride: int = 48

    def __post_init__(self) -> None:
        if bool(self.series) != bool(self.value):
            raise ConfigError("[table] series and value go together", value=self.series or self.value)
        if self.window < 8 or self.stride < 1 or self.every < 0:
            raise ConfigError(
                "[table] window, stride, every", value=(self.window, self.stride, self.every),
                allowed="at least 8, 1 and 0",
            )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SideSettings:
    """One side of the pairs.

    Parameters
    ----------
    channels
        Columns (or names in the long form's series column).
    by
        ``encoder``; ``statistics``, the 70 declared features; ``means``, each channel's mean in the
        window: for vectors that were made elsewhere and lie in the table as columns.
    model, pooling
        Of the encoder; an empty model takes the one the member would run.
    """

    channels: tuple[str, ...]
    by: str = ENCODER
    model: str = ""
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.by not in (ENCODER, STATISTICS, MEANS) or not self.channels:
            raise ConfigError(
                "channels and by",
                value=f"{len(self.channels)} channels, {self.by!r}",
                allowed=f"some, and {ENCODER}, {STATISTICS} or {MEANS}",
            )


@dataclass(frozen=True, kw_only=True)
class EmbeddingJob:
    """A job file.

    Parameters
    ----------
    name
        Of the head.
    table, window, partner, head
        Its tables.
    folder
        Where relative paths start.
    """

    name: str
    table: TableSettings
    window: SideSettings
    partner: SideSettings
    head: HeadSettings = field(default_factory=HeadSettings)
    folder: Path = field(default_factory=Path)

    @property
    def file(self) -> Path:
        """The table's file."""
        return self.folder / Path(self.table.file).expanduser()

    @property
    def gap(self) -> int:
        """Windows that overlap with the next one's end: left out between learning, stopping, measuring."""
        return -(-self.table.window // self.table.stride) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Windows of the table.

    Parameters
    ----------
    values
        (N, T, columns)
    columns
        Names of the last axis.
    first, last
        (N,) time stamps.
    """

    values: Floats
    columns: tuple[str, ...]
    first: Stamps
    last: Stamps

    def channels(self, names: tuple[str, ...]) -> Floats:
        """(N, T, C) of some columns."""
        return self.values[:, :, [self.columns.index(name) for name in names]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedHead:
    """A trained head and how well it finds partners it has never seen."""

    head: Head
    retrieval: Retrieval
    place: Path
    windows: int
    trained_until: np.datetime64
    sources: dict[str, Any]


Progress = Callable[[int, int, float], None]


def read_job(file: Path) -> EmbeddingJob:
    """Read a job file strictly.

    Raises
    ------
    ConfigError, UnknownNameError
        When it is missing, no TOML, lacks a table, or holds a key nobody knows.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("the embedding job does not exist", value=file) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file.name} is no valid TOML", value=error) from error
    hints = get_type_hints(EmbeddingJob)
    known = [name for name in hints if name != "folder"]
    made: dict[str, Any] = {"folder": file.resolve().parent}
    for key, value in values.items():
        if key not in known:
            raise UnknownNameError.of(f"key in {file.name}", key, known)
        if (key == "name") == isinstance(value, dict):
            raise ConfigError(f"{key} in {file.name} is of the wrong kind", value=value)
        made[key] = value if key == "name" else table_of(hints[key], value, f"[{key}] of {file.name}")
    lacking = [name for name in ("name", "table", "window", "partner") if name not in made]
    if lacking:
        raise ConfigError(f"{file.name} lacks", value=", ".join(lacking))
    return EmbeddingJob(**made)


def cut_windows(job: EmbeddingJob) -> Cut:
    """Read the table and cut it into windows without a gap in time.

    Raises
    ------
    SourceError
        When the file or a column cannot be read.
    DataError
        When no window is left.
    """
    columns = tuple(dict.fromkeys((*job.window.channels, *job.partner.channels)))
    table = _read(job, columns)
    stamps, values = table.index.to_numpy().astype("datetime64[s]"), table.to_numpy(dtype=np.float64)
    length, stride = job.table.window, job.table.stride
    starts = np.arange(0, len(stamps) - length + 1, stride)
    step = np.median(np.diff(stamps).astype(np.int64)) if len(stamps) > 1 else 0
    span = (stamps[starts + length - 1] - stamps[starts]).astype(np.int64) if len(starts) else starts
    cube = values[starts[:, None] + np.arange(length)] if len(starts) else np.empty((0, length, len(columns)))
    known = np.asarray(np.isfinite(cube).any(axis=1)).all(axis=1)
    whole = np.asarray(span == step * (length - 1)) & known
    if not whole.any():
        raise DataError(
            f"{job.file.name} has no window without a gap",
            value=f"{len(stamps)} rows",
            allowed=f"{length} rows at even times, every channel with a value",
        )
    starts = starts[whole]
    return Cut(values=cube[whole], columns=columns, first=stamps[starts], last=stamps[starts + length - 1])


def train_embedding(job: EmbeddingJob, models: Path, *, progress: Progress | None = None) -> TrainedHead:
    """Embed both sides, train the head, measure it on the newest pairs, and write it down.

    Raises
    ------
    DataError
        When there are too few pairs.
    """
    cut = cut_windows(job)
    window = embed_side(job.window, cut, models)
    partner = embed_side(job.partner, cut, models)
    head, found = train_head(window.vectors, partner.vectors, job.head, gap=job.gap, progress=progress)
    sources = {"window": _source(job.window, window), "partner": _source(job.partner, partner)}
    until = cut.last[-1].astype("datetime64[s]")
    facts = {
        "job": job.name,
        "sources": sources,
        "table": {"window": job.table.window, "stride": job.table.stride, "every": job.table.every},
        "retrieval": vars(found) | {"chance1": found.chance1, "chance5": found.chance5},
    }
    place = save_checkpoint(heads_below(models), head.checkpoint(job.name, until, facts))
    return TrainedHead(
        head=head, retrieval=found, place=place, windows=len(cut.first), trained_until=until, sources=sources
    )


def run_embedding(job: EmbeddingJob, models: Path, out: Path) -> int:
    """Write the vector of every window through the trained head as Parquet; returns how many.

    Raises
    ------
    StoreError
        When the head has not been trained, is damaged, or was trained on vectors of another kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = load_checkpoint(heads_below(models), job.name)
    if stored is None:
        raise StoreError(
            f"the head {job.name} has not been trained", action="horizoncast embed train --config FILE"
        )
    cut = cut_windows(job)
    window = embed_side(job.window, cut, models)
    source = _source(job.window, window)
    trained = stored.facts["sources"]["window"]
    if {k: trained[k] for k in ("source", "digest", "pooling")} != {
        k: source[k] for k in ("source", "digest", "pooling")
    }:
        raise StoreError(
            f"the head {job.name} was trained on other vectors",
            value=f"{source['source']} {source['pooling']}".strip(),
            allowed=f"{trained['source']} {trained['pooling']}".strip(),
            action="train it again",
        )
    vectors = Head.of(stored).project(window.vectors)
    made = {
        "name": job.name,
        "trained_until": str(stored.trained_until),
        "window": source,
        "retrieval": stored.facts["retrieval"],
    }
    table = pa.table(
        {
            "first": pa.array(cut.first),
            "last": pa.array(cut.last),
            "vector": pa.array(
                list(vectors.astype(np.float32)), type=pa.list_(pa.float32(), vectors.shape[1])
            ),
        }
    ).replace_schema_metadata({"horizoncast": json.dumps(made, sort_keys=True)})
    write_atomic(out, lambda handle: pq.write_table(table, handle))
    return len(vectors)


def embed_side(side: SideSettings, cut: Cut, models: Path) -> Embedded:
    """(N, D) vectors of one side of the pairs."""
    windows = cut.channels(side.channels)
    if side.by == MEANS:
        known = np.isfinite(windows)
        total = np.where(known, windows, 0.0).sum(axis=1)
        return Embedded(vectors=total / np.maximum(known.sum(axis=1), 1), source=MEANS)
    if side.by == STATISTICS:
        return statistical_features(windows)
    try:
        return ChronosEncoder(find_model(side.model, models), pooling=side.pooling).embed(windows)
    finally:
        release_pipeline()


def heads_below(models: Path) -> Path:
    """Folder of the heads; they are no models of their own."""
    return models / "heads"


def _source(side: SideSettings, made: Embedded) -> dict[str, Any]:
    return {
        "channels": list(side.channels),
        "source": made.source,
        "digest": made.digest,
        "pooling": made.pooling,
        "flags": [str(flag) for flag in made.flags],
    }


def _read(job: EmbeddingJob, columns: tuple[str, ...]) -> Any:
    """The columns by time, in order, averaged where asked."""
    import pandas as pd

    asked = job.table
    wanted = [asked.time, asked.series, asked.value] if asked.series else [asked.time, *columns]
    try:
        reader = pd.read_csv if job.file.suffix.lower() == ".csv" else pd.read_parquet
        table = reader(job.file)[wanted]
    except (OSError, ValueError) as error:
        raise SourceError("the table cannot be read", value=job.file, action=str(error)) from error
    except KeyError as error:
        raise SourceError(f"{job.file.name} has no such column", value=error) from error
    stamps = pd.to_datetime(table[asked.time], utc=True).dt.tz_localize(None)
    if asked.series:
        table = table.assign(**{asked.time: stamps})
        table = table[table[asked.series].isin(columns)]
        table = table.pivot_table(index=asked.time, columns=asked.series, values=asked.value, aggfunc="mean")
        lacking = [name for name in columns if name not in table.columns]
        if lacking:
            raise SourceError(f"{job.file.name} has no series", value=", ".join(lacking))
        table = table[list(columns)]
    else:
        table = table.drop(columns=asked.time).set_axis(stamps, axis=0).sort_index()
    if asked.every:
        table = table.resample(f"{asked.every}min").mean()
    return table

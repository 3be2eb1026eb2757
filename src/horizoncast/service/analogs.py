"""`analogs`: the past windows most like today's, and what followed them.

A look at history for people, not a forecast: a handful of windows that were chosen for being alike says
little about chances, so what followed is shown beside what follows any window of this history.

Letters in shapes: T window length, H sessions that followed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates, as_stamp
from horizoncast.errors import ConfigError
from horizoncast.models.chronos.encoder import (
    ChronosEncoder,
    Embedded,
    EmbeddingFlag,
    Pooling,
    statistical_features,
)
from horizoncast.models.chronos.likeness import candidate_rows, most_alike, windows_at
from horizoncast.models.chronos.pipeline import release_pipeline
from horizoncast.models.chronos.places import find_model
from horizoncast.scale import Scale
from horizoncast.series import Series
from horizoncast.service.settings import Settings

Floats = npt.NDArray[np.float64]

ENCODER, STATISTICS = "encoder", "statistics"
_MOST = 4000
"""Windows that are embedded at most; longer histories are looked at in even steps."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person may choose.

    Parameters
    ----------
    count
        Windows to show.
    window
        T, sessions of a window.
    follow_up
        H.
    by
        ``encoder``, or ``statistics`` where no checkpoint is at hand.
    model
        Name or folder of a model; None takes the one the member would run.
    pooling
        Of the encoder's states.
    """

    count: int = 5
    window: int = 60
    follow_up: int = 30
    by: str = ENCODER
    model: str | None = None
    pooling: str = Pooling.MEAN

    def __post_init__(self) -> None:
        if self.by not in (ENCODER, STATISTICS):
            raise ConfigError("--by", value=repr(self.by), allowed=f"{ENCODER}, {STATISTICS}")
        if not 8 <= self.window <= 2000:
            raise ConfigError("--window", value=self.window, allowed="8 to 2000 sessions")


@dataclass(frozen=True, kw_only=True, eq=False)
class Analog:
    """One past window and what followed.

    Parameters
    ----------
    first, last
        Dates of its first and last session.
    cosine
        Of its vector with today's.
    path
        (T + H,) the target in its unit.
    followed_until
        Date of the last session that followed.
    change
        From the window's last value to the end of what followed: a share on the log scale, else in units.
    """

    first: np.datetime64
    last: np.datetime64
    cosine: float
    path: Floats
    followed_until: np.datetime64
    change: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Analogs:
    """Today's window, its analogs, and what follows any window of this history.

    Parameters
    ----------
    series
        The target, ending at the cutoff.
    window, follow_up
        T and H.
    today
        (T,) today's window in the unit.
    dates
        (T + H,) of today's window and of the sessions to come.
    found
        The analogs, the most alike first.
    usual
        10, 50 and 90 % quantiles of the change over H sessions after any past window.
    median_cosine
        Of today's vector with all past windows: what being alike is measured against.
    source, flags
        What the vectors are.
    compared
        Past windows looked at.
    """

    series: Series
    window: int
    follow_up: int
    today: Floats
    dates: Dates
    found: tuple[Analog, ...]
    usual: tuple[float, float, float]
    median_cosine: float
    source: str
    compared: int
    flags: tuple[EmbeddingFlag, ...] = field(default=())

    @property
    def relative(self) -> bool:
        """Whether changes are shares rather than units."""
        return self.series.scale is Scale.LOG


def find_analogs(settings: Settings, series: Series, asked: Asked) -> Analogs:
    """Compare today's window with all whose follow-up is over.

    Raises
    ------
    HistoryTooShortError
        When there is no such window.
    UnknownNameError, StoreError, NotInstalledError
        When there is no checkpoint, or it cannot be loaded; ``statistics`` needs none.
    """
    stop, length, follow_up = len(series), asked.window, asked.follow_up
    rows = candidate_rows(stop, length, follow_up)
    rows = rows[:: -(-len(rows) // _MOST)]
    scaled = np.asarray(series.until(series.last).z)
    every = np.append(rows, stop - 1)
    made = _embedded(settings, asked, windows_at(scaled, every, length))
    today, past = made.vectors[-1], made.vectors[:-1]
    if made.source == STATISTICS:
        today, past = _standardised(today, past)
    alike = most_alike(today, past, rows, count=asked.count, apart=length)
    changes = _change(series, rows, follow_up)
    return Analogs(
        series=series,
        window=length,
        follow_up=follow_up,
        today=series.values[stop - length :],
        dates=np.concatenate([series.dates[stop - length :], series.session_dates(series.last, follow_up)]),
        found=tuple(_analog(series, one.row, one.cosine, length, follow_up) for one in alike),
        usual=(
            float(np.quantile(changes, 0.1)),
            float(np.quantile(changes, 0.5)),
            float(np.quantile(changes, 0.9)),
        ),
        median_cosine=float(np.median(_cosines(today, past))),
        source=made.source,
        compared=len(rows),
        flags=made.flags,
    )


def _embedded(settings: Settings, asked: Asked, windows: Floats) -> Embedded:
    if asked.by == STATISTICS:
        return statistical_features(_normalised(windows))
    name = asked.model
    if name is None:
        name = str(settings.members["chronos"].own_fields().get("model", ""))
    try:
        folder = find_model(name, settings.models_folder)
        return ChronosEncoder(folder, pooling=asked.pooling).embed(windows)
    finally:
        release_pipeline()


def _normalised(windows: Floats) -> Floats:
    """Every window by its own mean and standard deviation, as the encoder does by itself."""
    spread = windows.std(axis=1, keepdims=True)
    return np.asarray((windows - windows.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0))


def _standardised(today: Floats, past: Floats) -> tuple[Floats, Floats]:
    """Features on one footing: some are ten times as large as others."""
    mean, spread = past.mean(axis=0), past.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    return (today - mean) / spread, (past - mean) / spread


def _cosines(today: Floats, past: Floats) -> Floats:
    length = np.linalg.norm(past, axis=1) * np.linalg.norm(today)
    return np.asarray(past @ today / np.where(length > 0, length, 1.0))


def _change(series: Series, rows: npt.NDArray[np.int64], follow_up: int) -> Floats:
    before, after = series.values[rows], series.values[rows + follow_up]
    return np.asarray(after / before - 1.0 if series.scale is Scale.LOG else after - before)


def _analog(series: Series, row: int, cosine: float, length: int, follow_up: int) -> Analog:
    start, end = row - length + 1, row + follow_up
    return Analog(
        first=as_stamp(series.dates[start]),
        last=as_stamp(series.dates[row]),
        cosine=cosine,
        path=series.values[start : end + 1],
        followed_until=as_stamp(series.dates[end]),
        change=float(_change(series, np.array([row]), follow_up)[0]),
    )

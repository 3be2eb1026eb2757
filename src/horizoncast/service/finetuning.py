"""Fine-tuning for a service: which rows may be learnt from, with which context, under which name.

The training data end at the oldest cutoff of the bank that a run would fill today, so that the member
keeps all its cutoffs. A later end is allowed; the cutoffs before it are then lost to the member, and
said to be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from horizoncast.calendar import Dates, as_stamp
from horizoncast.engine import ForecastEngine
from horizoncast.errors import ConfigError, HistoryTooShortError
from horizoncast.horizon import Horizon
from horizoncast.models.chronos.answering import usual_of
from horizoncast.models.chronos.beside import beside
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.places import find_model
from horizoncast.models.chronos.settings import ChronosSettings, read_settings, settings_under
from horizoncast.models.chronos.tuning_job import Job
from horizoncast.models.registry import make_config
from horizoncast.series import Series
from horizoncast.service.settings import Settings

MEMBER = "chronos"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person may choose; None takes the default.

    Parameters
    ----------
    base
        Name or folder of the model to start from; the member's own by default.
    mode
        See `horizoncast.models.chronos.settings.MODES`.
    until
        Last date to learn from; the bank's oldest cutoff by default.
    name
        Of the result; ``tuned/SERIES-HORIZON`` by default.
    chronos
        File instead of ``config/chronos.toml``.
    """

    base: str | None = None
    mode: str | None = None
    until: np.datetime64 | None = None
    name: str | None = None
    chronos: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Planned:
    """A job, and what it means for the bank.

    Parameters
    ----------
    job
        See `fine_tune`.
    first
        Date of the first row learnt from.
    cutoffs, lost
        Matured cutoffs of the bank, and those before the end of the training data: the member cannot
        be asked there.
    """

    job: Job
    first: np.datetime64
    cutoffs: int
    lost: int


def plan_finetuning(settings: Settings, series: Series, asked: Asked) -> Planned:
    """Lay out a fine-tuning; nothing is loaded.

    Raises
    ------
    ConfigError
        When the date named leaves nothing to learn from, or a setting is wrong.
    HistoryTooShortError
        When the history is too short for a bank and no date was named.
    UnknownNameError, StoreError
        When the base is not on disk.
    """
    horizon = Horizon.parse(settings.horizon)
    cutoffs = ForecastEngine(settings.engine_config()).plan(series, horizon).cutoffs
    stop = training_stop(series, cutoffs, asked.until)
    member = _member(settings)
    chronos = _chronos(settings, asked)
    name = asked.name or f"tuned/{series.name}-{horizon.name}"
    until = as_stamp(series.dates[stop - 1])
    history = series.until(until)
    return Planned(
        job=Job(
            base=find_model(asked.base if asked.base is not None else member.model, settings.models_folder),
            name=name,
            values=(np.asarray(history.z),),
            observed=(series.observed_mask[:stop],),
            columns=(beside(history),),
            trained_until=until,
            context=member.context,
            steps=horizon.steps,
            models=settings.models_folder,
            output=_below_root(settings, chronos.folders.output) / name,
            settings=chronos.training,
            facts={
                "series": series.name,
                "unit": series.unit,
                "scale": str(series.scale),
                "service": settings.service,
                "horizon": horizon.steps,
                "first": as_stamp(series.dates[0]),
            },
            usual=usual_of(series, member),
        ),
        first=as_stamp(series.dates[0]),
        cutoffs=len(cutoffs),
        lost=int((cutoffs < until).sum()),
    )


def training_stop(series: Series, cutoffs: Dates, until: np.datetime64 | None) -> int:
    """Row after the last one to learn from.

    Parameters
    ----------
    cutoffs
        (W,) matured cutoffs of the bank, increasing.
    until
        Named by a person; None takes the oldest cutoff.
    """
    if until is None:
        if not len(cutoffs):
            raise HistoryTooShortError(
                f"{series.name}: the history has no validation cutoff before which to train",
                value=f"{len(series)} sessions",
                action="name the end of the training data with --until",
            )
        return series.index_of(as_stamp(cutoffs[0])) + 1
    stop = int(np.searchsorted(series.dates, until, side="right"))
    if stop == 0:
        raise ConfigError(
            "--until lies before the history",
            value=until,
            allowed=f"{series.calendar.text(as_stamp(series.dates[0]))} or later",
        )
    return stop


def _member(settings: Settings) -> ChronosConfig:
    """The member's settings, its context resolved for the service's horizon."""
    for member in settings.engine_config().members:
        if member.name == MEMBER and isinstance(member.config, ChronosConfig):
            return member.config
    made = make_config(MEMBER)
    assert isinstance(made, ChronosConfig)
    return made


def _chronos(settings: Settings, asked: Asked) -> ChronosSettings:
    root = settings.places.root
    found = read_settings(asked.chronos) if asked.chronos else settings_under(root)
    if asked.mode is None:
        return found
    return replace(found, training=replace(found.training, mode=asked.mode))


def _below_root(settings: Settings, folder: str) -> Path:
    return settings.places.root / Path(folder).expanduser()

"""What the ledger holds, as records.

Letters in shapes: H steps, Q levels. Moments and dates are text, as in the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.store.plain import Json
from horizoncast.store.records import Origin

Floats = npt.NDArray[np.float64]

ENSEMBLE = "ensemble"


class Delivery(StrEnum):
    """State of a message in the outbox."""

    PENDING = "pending"
    SENT = "sent"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Data that a run saw.

    Parameters
    ----------
    digest, series, as_of
        Digest of everything visible, the series, its last observation.
    rows
        How many observations there were.
    last_rows
        The newest (date, value) pairs, oldest first, in the unit.
    """

    digest: str
    series: str
    as_of: str
    rows: int
    last_rows: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A published run.

    Parameters
    ----------
    revision
        1 for the first run of its (service, series, as-of), one more each time it was reprocessed.
    levels
        Q quantile levels of its forecasts.
    snapshot
        Digest of the data.
    folder
        Below the root of results.
    imported
        Written before the ledger.
    derived, pruned
        When latest.json and the log were brought up to date; when its folder was deleted.
    origin, due
        See `Origin`; the due moment it was made for, None for a run that a person asked for.
    """

    run_id: str
    service: str
    series: str
    as_of: str
    revision: int
    cutoff: str
    horizon: int
    unit: str
    scale: str
    levels: tuple[float, ...]
    status: str
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    decision: Mapping[str, Json]
    started: str
    duration_s: float | None
    committed: str
    snapshot: str
    config_hash: str
    version: str
    machine: str
    folder: str
    manifest_sha256: str
    imported: bool
    derived: str | None
    pruned: str | None
    origin: Origin = Origin.LIVE
    due: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberRow:
    """One member in one run; see `horizoncast.store.records.MemberRecord`."""

    run_id: str
    member: str
    state: str
    failure_code: str | None
    failure_reason: str | None
    flags: tuple[str, ...]
    weight: float
    decided_weight: float
    would_be_weight: float
    slope: float
    rmse: float | None
    relative: float | None
    windows: int
    reason: str
    asked: int
    answered: int
    cached: int
    wall_s: float | None
    cpu_s: float | None
    peak_mb: float | None
    identity_id: str | None
    identity_revision: str | None
    identity_digest: str | None
    trained_until: str | None
    problems: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastRows:
    """The published numbers of one subject of one run, in the unit.

    Parameters
    ----------
    subject
        A member, or ``ensemble``.
    steps, dates
        (H,) leads from 1 and their dates.
    quantiles
        (H, Q), read-only.
    """

    run_id: str
    subject: str
    steps: tuple[int, ...]
    dates: tuple[str, ...]
    quantiles: Floats


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """A matured (cutoff, lead) of one subject; see `schema.SCORES`."""

    run_id: str
    subject: str
    step: int
    revision: int
    scored: str
    actual: float
    error: float
    wql: float
    pit: float
    covered_80: bool | None
    covered_95: bool | None
    session: int | None = None
    live: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A rollout decision: who changed which member's state, why, on what evidence."""

    at: str
    service: str
    series: str
    member: str
    before: str
    after: str
    who: str
    reason: str
    evidence: Json


@dataclass(frozen=True, kw_only=True)
class LedgerEvent:
    """Something a reader should know; `severity` is info, warning or error."""

    at: str
    code: str
    message: str
    severity: str
    run_id: str | None = None
    service: str | None = None
    series: str | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message for the outbox.

    Parameters
    ----------
    key
        Says what it is about, as in ``run/<run id>/mail``: a second one of the same key is not taken.
    channel
        Name of the channel that will send it.
    payload
        Plain JSON, without secrets: those are read from the settings when it is sent.
    """

    key: str
    channel: str
    payload: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """A message with what became of it."""

    id: int
    key: str
    at: str
    run_id: str | None
    channel: str
    payload: Mapping[str, Json]
    state: Delivery
    attempts: int
    due: str
    sent: str | None
    problem: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class RunEntry:
    """Everything one transaction commits for a run.

    Parameters
    ----------
    run
        Its `revision` and `committed` are set by the commit.
    forecasts
        Of the ensemble and of every member that answered.
    messages
        To be sent after the commit.
    document
        What a review tells of the run beside its rows; see `schema.DOCUMENTS`.
    """

    run: RunRow
    snapshot: Snapshot
    members: tuple[MemberRow, ...]
    forecasts: tuple[ForecastRows, ...]
    events: tuple[LedgerEvent, ...] = ()
    messages: tuple[Message, ...] = ()
    document: Mapping[str, Json] = field(default_factory=dict)

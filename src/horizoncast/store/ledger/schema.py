"""Tables of the ledger (SQLAlchemy Core), as they are at the newest version.

Moments are UTC text with milliseconds and dates are ISO text, on both databases: they sort as they
read, and no driver converts them. Numbers are 64-bit floats; NULL stands for NaN.

Quantiles are one row per (run, subject, step), the Q values packed as little-endian float64: the bits
are those of the forecast, another set of levels needs no migration, and a row of 19 levels takes 152
bytes where 19 columns would need a catalogue of their own. The levels stand once, in the run's row.
What SQL filters on (subject, step, date) is a column.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()
CASCADE = "CASCADE"

VERSIONS = Table(
    "schema_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("series", Text, nullable=False),
    Column("as_of", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("last_rows", Text, nullable=False),
    Column("recorded", Text, nullable=False),
)
"""Data a run saw: digest of everything visible at the cutoff, and its last rows as JSON
``[[date, value], ...]``, against which revisions of history are noticed."""

RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("as_of", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("cutoff", Text, nullable=False),
    Column("horizon", Integer, nullable=False),
    Column("unit", Text, nullable=False),
    Column("scale", Text, nullable=False),
    Column("levels", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("flags", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("duration_s", Double),
    Column("committed", Text, nullable=False),
    Column("snapshot", Text, ForeignKey("snapshots.digest"), nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
    Column("imported", Integer, nullable=False),
    Column("derived", Text),
    Column("pruned", Text),
    Column("origin", Text, nullable=False, server_default="live"),
    Column("due", Text),
    UniqueConstraint("service", "series", "as_of", "revision", name="one_revision"),
)
"""`derived`: when latest.json and metrics.jsonl were brought up to date with it; `pruned`: when its
folder was deleted; `folder`: below the root of results; `origin`: live, backfill or reprocess; `due`: the
due moment it was made for; lists and `decision` as JSON."""

MEMBERS = Table(
    "members",
    METADATA,
    Column("run_id", Text, ForeignKey("runs.run_id", ondelete=CASCADE), primary_key=True),
    Column("member", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("failure_code", Text),
    Column("failure_reason", Text),
    Column("flags", Text, nullable=False),
    Column("weight", Double, nullable=False),
    Column("decided_weight", Double, nullable=False),
    Column("would_be_weight", Double, nullable=False),
    Column("slope", Double, nullable=False),
    Column("rmse", Double),
    Column("relative", Double),
    Column("windows", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("answered", Integer, nullable=False),
    Column("cached", Integer, nullable=False),
    Column("wall_s", Double),
    Column("cpu_s", Double),
    Column("peak_mb", Double),
    Column("identity_id", Text),
    Column("identity_revision", Text),
    Column("identity_digest", Text),
    Column("trained_until", Text),
    Column("problems", Text, nullable=False),
)
"""What became of each member; `failure_code` is NULL when it answered the live cutoff."""

FORECASTS = Table(
    "forecasts",
    METADATA,
    Column("run_id", Text, ForeignKey("runs.run_id", ondelete=CASCADE), primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("date", Text, nullable=False),
    Column("quantiles", LargeBinary, nullable=False),
)
"""Subject: a member, or ``ensemble``, in the series' unit."""

EVENTS = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("run_id", Text, ForeignKey("runs.run_id", ondelete=CASCADE)),
    Column("service", Text),
    Column("series", Text),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Index("events_at", "at"),
)

SCORES = Table(
    "scores",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("scored", Text, nullable=False),
    Column("actual", Double, nullable=False),
    Column("error", Double, nullable=False),
    Column("wql", Double, nullable=False),
    Column("pit", Double, nullable=False),
    Column("covered_80", Integer),
    Column("covered_95", Integer),
    Column("session", Integer),
    Column("live", Integer),
    Column("told", Text),
    ForeignKeyConstraint(
        ["run_id", "subject", "step"],
        ["forecasts.run_id", "forecasts.subject", "forecasts.step"],
        ondelete=CASCADE,
    ),
)
"""A matured (cutoff, lead) of one subject. A revised actual makes another `revision`; the highest one
counts. `error` is point forecast minus actual in the unit, `wql` the mean weighted quantile loss over
the levels in the unit, `pit` in [0, 1]. `session`: index of the cutoff among the calendar's sessions;
`live`: whether the forecast was published before the lead's session ended; both NULL in rows of before
version 4, until the next run fills them in. `told`: when metrics.jsonl was brought up to date with it."""

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("run_id", Text, ForeignKey("runs.run_id", ondelete=CASCADE), primary_key=True),
    Column("document", Text, nullable=False),
)
"""What a review tells of a run beside its rows, as JSON: verdicts and scores of its replays, what changed
since the run before, parts of its uncertainty. Runs of before version 4 have none."""

TRANSITIONS = Table(
    "transitions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("member", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
)
"""Rollout decisions; the newest of a (service, series, member) is its state. Evidence is JSON."""

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("run_id", Text, ForeignKey("runs.run_id", ondelete=CASCADE)),
    Column("channel", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Text, nullable=False),
    Column("sent", Text),
    Column("problem", Text),
    UniqueConstraint("key", name="one_message"),
)
"""Messages to people and monitors, sent after the commit; state: pending, sent or given_up."""

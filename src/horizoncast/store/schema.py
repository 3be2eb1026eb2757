"""The schema of metrics.jsonl: every field of every record kind, its type, unit and meaning.

docs/metrics.md shows these tables and a test compares the two in both directions; every record is
validated against them when it is written and when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache

from horizoncast.errors import StoreError
from horizoncast.store.fields import FieldSpec, FieldType, fits
from horizoncast.store.fields import field_of as _f
from horizoncast.store.fields import later_ratio as _later

SCHEMA_VERSION = 1
"""Raised when a field is removed or changes its meaning; readers skip records of newer versions."""


class RecordKind(StrEnum):
    """What a line of the log tells."""

    RUN = "run"
    MEMBER = "member"
    FORECAST = "forecast"
    SCORE = "score"
    EVENT = "event"
    VERDICT = "verdict"
    CHANGE = "change"
    UNCERTAINTY = "uncertainty"
    OUTCOME = "outcome"


_S, _I, _N = FieldType.STRING, FieldType.INTEGER, FieldType.NUMBER
_D, _T, _B = FieldType.DATE, FieldType.TIME, FieldType.BOOLEAN

_NS = FieldType.NUMBERS

HYBRID: tuple[FieldSpec, ...] = (
    _f(
        "deployment",
        _S,
        "How chronos and autoformer become one forecast",
        of=("full", "ensemble", "selection"),
    ),
    _f("confidence", _S, "Rule of the confidence"),
    _f("reason", _S, "Why the hybrid could not be made; empty when it was"),
    _f("leads", FieldType.INTEGERS, "Steps that the lists below are for, in their order", "sessions"),
    _f("weight_chronos", _NS, "Its share at the live cutoff; null where there was none", "1", null=True),
    _f("weight_autoformer", _NS, "Likewise; the two add up to 1", "1", null=True),
    _f("log_odds", _NS, "Of the context, in favour of chronos: 0 leaves the weights alone", "1", null=True),
    _f("epistemic", _NS, "Variance: doubt about the branches themselves", "scale squared", null=True),
    _f("aleatoric", _NS, "Variance: noise that the branches expect", "scale squared", null=True),
    _f("between", _NS, "Variance: how far their medians lie apart", "scale squared", null=True),
    _f("total", _NS, "Sum of the three parts as they are written", "scale squared", null=True),
    _f("accuracy_chronos", _N, "Weight by accuracy at past cutoffs", "1", null=True),
    _f("accuracy_autoformer", _N, "Likewise", "1", null=True),
    _f("width_chronos", _N, "Width factor of the branch, before confidence is read off it", "1", null=True),
    _f("width_autoformer", _N, "Likewise", "1", null=True),
    _f("season", _N, "Strength of the season at the live cutoff, 0 to 1", "1", null=True),
    _f("trend", _N, "Strength of the trend, 0 to 1; 0 for a series without a season", "1", null=True),
    _f("volatility", _N, "Rank of the volatility among its recent past, 0 to 1", "1", null=True),
    _f("entropy", _N, "Spectral entropy of the changes: 1 is white noise", "1", null=True),
    _later("novelty", "Share of ordinary past windows that Chronos' encoder finds more familiar"),
    _f(
        "trained",
        FieldType.TEXTS,
        "Learned parts in use: the last date they have seen (`trained_until`), `digest`, the digest of each "
        "part (`gate`, `adaptation`), and the checkpoint of a `joint` fine-tuning; null without any",
        null=True,
    ),
)
"""Fields of the object `hybrid` of a run."""

COMMON: tuple[FieldSpec, ...] = (
    _f("schema", _I, "Version of this schema"),
    _f("kind", _S, "Kind of the record", of=tuple(RecordKind)),
    _f(
        "at",
        _T,
        "When the run started; for an event outside a run, when it happened; for an outcome, when scored",
    ),
    _f("run_id", _S, "The run, as its folder is called; null for an event outside a run", null=True),
    _f("service", _S, "Name of the service"),
    _f("series", _S, "Name of the target series"),
)
"""Fields that every record begins with."""

SCHEMA: dict[RecordKind, tuple[FieldSpec, ...]] = {
    RecordKind.RUN: (
        _f("unit", _S, "Unit of the target"),
        _f("scale", _S, "Scale the series is modelled in", of=("log", "level")),
        _f("horizon", _I, "H, number of steps", "sessions"),
        _f("as_of", _D, "Date the run speaks of"),
        _f("cutoff", _D, "Last observation the forecast has seen"),
        _f("last_date", _D, "Date of step H"),
        _f("status", _S, "What became of the run", of=("published", "degraded", "blocked")),
        _f("reasons", FieldType.STRINGS, "Why it is not plainly published"),
        _f("flags", FieldType.STRINGS, "Codes of what a reader of the forecast must know"),
        _f(
            "kappa",
            _N,
            "Skill factor, the sum of the slopes: 0 ships the naive's median, 1 the members'",
            "1",
        ),
        _f("width", _N, "Pooled width factor of the intervals", "1"),
        _f("adaptive", _N, "Factor beside it, from live outcomes; 1 until about 100 have matured", "1"),
        _f("best_naive", _S, "The naive that the median is shrunk toward"),
        _f("rule", _S, "Weighting rule"),
        _f("windows", _I, "Cutoffs in the decision's slice"),
        _f("n_eff", _N, "Independent windows the slice is worth", "1"),
        _f("slice_first", _D, "First cutoff of the slice; null when it is empty", null=True),
        _f("slice_last", _D, "Last cutoff of the slice; null when it is empty", null=True),
        FieldSpec(
            name="origin",
            type=_S,
            meaning="live, or backfill for a run as of a past date; null in older records",
            nullable=True,
            later=True,
        ),
        _later(
            "embedding_distance", "Cosine distance of the newest window from the nearest of the older history"
        ),
        _later("embedding_percentile", "Share of ordinary past windows that lie nearer to it"),
        FieldSpec(
            name="hybrid",
            type=FieldType.OBJECT,
            meaning="Fusion of chronos and autoformer, see below; absent where none is configured",
            nullable=True,
            later=True,
            fields=HYBRID,
        ),
        _f("duration_s", _N, "Time on the clock from start to decision", "s"),
        _f("config_hash", _S, "Digest of all settings of the run"),
        _f("data_hash", _S, "Digest of everything visible at the cutoff"),
        _f("version", _S, "Version of horizoncast"),
    ),
    RecordKind.MEMBER: (
        _f("member", _S, "Name of the member"),
        _f("state", _S, "Rollout state", of=("off", "shadow", "on")),
        _f("weight", _N, "Share it really had in the published forecast", "1"),
        _f("decided_weight", _N, "Share the decision gave it, before failures at the live cutoff", "1"),
        _f("would_be_weight", _N, "Share it would carry if it were on", "1"),
        _f("slope", _N, "How far the published median follows it away from the best naive", "1"),
        _f("rmse", _N, "Path RMSE on the slice: basis of the weight, not a score", "scale", null=True),
        _f("relative", _N, "The same as a ratio to the best naive's", "1", null=True),
        _f("windows", _I, "Cutoffs behind both"),
        _f("reason", _S, "Why it carries no weight; empty when it does"),
        _f("asked", _I, "Cutoffs asked for, the live one included"),
        _f("answered", _I, "Cutoffs answered"),
        _f("cached", _I, "Answers taken from the cache"),
        _f("seconds", _N, "Time on the clock of its process; null when nothing was computed", "s", null=True),
        _f("cpu_s", _N, "Processor time of its process", "s", null=True),
        _f("peak_mb", _N, "Peak resident set of its process", "MiB", null=True),
        _f("identity_id", _S, "Model that really ran; null when it failed at the live cutoff", null=True),
        _f("identity_revision", _S, "Version of its code or repository", null=True),
        _f("identity_digest", _S, "Digest of its settings or weights", null=True),
        _f("trained_until", _D, "Last date a learned part has seen; null when fitted anew", null=True),
        _f("flags", FieldType.STRINGS, "Codes of what a reader of its forecast must know"),
        _f("failure_code", _S, "Class of the error at the live cutoff; null when it answered", null=True),
        _f("failure_reason", _S, "Its message", null=True),
    ),
    RecordKind.FORECAST: (
        _f("step", _I, "Lead, 1 to H", "sessions"),
        _f("date", _D, "Date of the step"),
        _f("unit", _S, "Unit of the numbers"),
        _f("point", _N, "Point forecast, the median", "unit"),
        _f("lower_80", _N, "Lower end of the 80 % prediction interval", "unit", null=True),
        _f("upper_80", _N, "Upper end of the 80 % prediction interval", "unit", null=True),
        _f("lower_95", _N, "Lower end of the 95 % prediction interval", "unit", null=True),
        _f("upper_95", _N, "Upper end of the 95 % prediction interval", "unit", null=True),
    ),
    RecordKind.SCORE: (
        _f("subject", _S, "Member, or `ensemble`"),
        _f("metric", _S, "Name of the score"),
        _f("value", _N, "The score; null when it cannot be computed", "see unit", null=True),
        _f("unit", _S, "Unit of the value; `1` for ratios"),
        _f("sample", _S, "Where the forecasts come from", of=("in_sample", "pseudo_out_of_sample", "live")),
        _f("leads", FieldType.INTEGERS, "Steps the value is a mean over", "sessions"),
        _f("windows", _I, "Cutoffs behind it"),
        _f("n_eff", _N, "Independent windows they are worth", "1"),
    ),
    RecordKind.EVENT: (
        _f("code", _S, "Stable code of what happened"),
        _f("message", _S, "In words"),
        _f("severity", _S, "How bad it is", of=("info", "warning", "error")),
    ),
    RecordKind.VERDICT: (
        _f("subject", _S, "Member, or `ensemble`"),
        _f("reference", _S, "The naive it is compared with, on the same replayed cutoffs"),
        _f("code", _S, "What may be said", of=("better", "no_different", "worse", "cannot_be_told")),
        _f(
            "statistic", _N, "Of the Diebold-Mariano test; negative: the subject's loss is smaller", null=True
        ),
        _f("p_value", _N, "Two-sided p-value of it", "1", null=True),
        _f("windows", _I, "Cutoffs compared"),
        _f("n_eff", _N, "Independent windows they are worth", "1"),
    ),
    RecordKind.CHANGE: (
        _f("previous_run_id", _S, "The run it is compared with"),
        _f("previous_as_of", _D, "Date that run spoke of"),
        _f("step", _I, "Lead in this run", "sessions"),
        _f("date", _D, "Date of the step"),
        _f("previous_step", _I, "Lead of the same date in the run before", "sessions"),
        _f("measure", _S, "What of the forecast", of=("median", "half_width_80")),
        _f("unit", _S, "Unit of the numbers"),
        _f("before", _N, "As published before", "unit"),
        _f("after", _N, "As published now", "unit"),
        _f("data", _N, "Part of after minus before: new observations, nearer date", "unit"),
        _f("members", _N, "Part: members' new forecasts beyond that", "unit"),
        _f("weights", _N, "Part: new weights", "unit"),
        _f("skill", _N, "Part: new skill factor", "unit"),
        _f("width", _N, "Part: new width factors", "unit"),
    ),
    RecordKind.UNCERTAINTY: (
        _f("step", _I, "Lead, 1 to H", "sessions"),
        _f("date", _D, "Date of the step"),
        _f(
            "part", _S, "Stated by members on average, or disagreement between them", of=("within", "between")
        ),
        _f("unit", _S, "Unit of the standard deviation"),
        _f("sd", _N, "Standard deviation of the part; parts add up in variance", "unit"),
        _f("share", _N, "Share of the variance of the members' mixture", "1"),
    ),
    RecordKind.OUTCOME: (
        _f("subject", _S, "Member, or `ensemble`"),
        _f("step", _I, "Lead, 1 to H", "sessions"),
        _f("date", _D, "Date of the step"),
        _f("revision", _I, "0, and one more each time the actual was revised; the highest counts"),
        _f("session", _I, "Index of the cutoff among the calendar's sessions: differences count sessions"),
        _f("live", _B, "Whether the forecast was published before that session ended; false: in hindsight"),
        _f("unit", _S, "Unit of the numbers"),
        _f("actual", _N, "What happened", "unit"),
        _f("error", _N, "Point forecast minus actual", "unit"),
        _f("loss", _N, "Twice the pinball loss, mean over the nine deciles", "unit"),
        _f("pit", _N, "Predictive distribution at the actual, 0 to 1", "1"),
        _f("covered_80", _B, "Whether the 80 % interval held it", null=True),
        _f("covered_95", _B, "Whether the 95 % interval held it", null=True),
    ),
}
"""Fields of each kind, after the common ones."""

KEYS: dict[RecordKind, tuple[str, ...]] = {
    RecordKind.RUN: (),
    RecordKind.MEMBER: ("member",),
    RecordKind.FORECAST: ("step",),
    RecordKind.SCORE: ("subject", "metric", "sample"),
    RecordKind.EVENT: ("service", "series", "at", "code", "message"),
    RecordKind.VERDICT: ("subject", "reference"),
    RecordKind.CHANGE: ("step", "measure"),
    RecordKind.UNCERTAINTY: ("step", "part"),
    RecordKind.OUTCOME: ("subject", "step", "revision"),
}
"""With kind and run_id, what makes a record the same record when it is written again."""


def fields_of(kind: RecordKind) -> tuple[FieldSpec, ...]:
    """All fields of a kind, in the order they are written."""
    return (*COMMON, *SCHEMA[kind])


@cache
def _specs(kind: RecordKind) -> Mapping[str, FieldSpec]:
    """Fields of a kind by name: a log has tens of thousands of records."""
    return {spec.name: spec for spec in fields_of(kind)}


def identity_of(record: Mapping[str, object]) -> tuple[object, ...]:
    """Key under which a reader keeps one of several equal records; the last one written wins."""
    kind = RecordKind(str(record["kind"]))
    return (kind, record["run_id"], *(record[name] for name in KEYS[kind]))


def validate(record: object) -> None:
    """Check one record against the schema.

    Raises
    ------
    StoreError
        Naming the field, its value and what is allowed.
    """
    if not isinstance(record, Mapping):
        raise StoreError("a log record must be a JSON object", value=type(record).__name__)
    kind = record.get("kind")
    if kind not in tuple(RecordKind):
        raise StoreError("unknown kind of log record", value=repr(kind), allowed=", ".join(RecordKind))
    _check_version(record.get("schema"))
    _check_fields(record, _specs(RecordKind(kind)), f"a {kind} record")


def _check_fields(record: Mapping[str, object], specs: Mapping[str, FieldSpec], whose: str) -> None:
    """Check fields against their specs, those of an object likewise."""
    needed = {name for name, spec in specs.items() if not spec.later}
    if missing := needed - record.keys() or record.keys() - specs.keys():
        name = next(iter(missing))
        verb = "lacks the" if name in specs else "has an unknown"
        raise StoreError(f"{whose} {verb} field", value=repr(name), allowed=", ".join(specs))
    for name, spec in specs.items():
        value = record.get(name)
        if not fits(value, spec):
            allowed = " | ".join(spec.choices) or spec.type_text
            raise StoreError(f"field {name} of {whose}", value=repr(value), allowed=allowed)
        if spec.fields and isinstance(value, Mapping):
            _check_fields(value, {own.name: own for own in spec.fields}, f"{name} of {whose}")


def markdown(kind: RecordKind | None) -> str:
    """The table of a kind's own fields as docs/metrics.md shows it; None for the common fields.

    Prints what belongs into the docs after the schema has changed::

        python -c "from horizoncast.store.schema import *; print(markdown(RecordKind.RUN))"
    """
    return table_of(COMMON if kind is None else SCHEMA[kind])


def table_of(specs: tuple[FieldSpec, ...]) -> str:
    """The same for fields as they stand, those of an object among them."""
    rows = ["| field | type | unit | meaning |", "| --- | --- | --- | --- |"]
    for spec in specs:
        meaning = spec.meaning + (f": {', '.join(spec.choices)}" if spec.choices else "")
        rows.append(f"| `{spec.name}` | {spec.type_text} | {spec.unit} | {meaning} |")
    return "\n".join(rows)


def _check_version(version: object) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version != SCHEMA_VERSION:
        raise StoreError("log record of another schema version", value=version, allowed=str(SCHEMA_VERSION))

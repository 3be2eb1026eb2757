"""Forecasts, members, validation rows and scores as Parquet and CSV, and back.

Equal content gives equal bytes: no times, no paths and no host names are written.

Letters in shapes: K subjects, W cutoffs, H steps, Q levels.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.forecast import Failure, Flag, Forecast, ModelIdentity
from horizoncast.metrics import Metric, Sample, Score
from horizoncast.store.names import csv_text, encodable, from_csv_text
from horizoncast.store.plain import canonical, date_text, date_texts, parse_json
from horizoncast.store.records import MemberRecord, ValidationTable

Floats = npt.NDArray[np.float64]

_META = b"horizoncast"


def level_column(level: float) -> str:
    """Column of a quantile level.

    >>> level_column(0.025)
    'q0.025'
    """
    return f"q{level!r}"


def forecast_parquet(forecast: Forecast) -> bytes:
    """Columns step, date, point, q...; who made it stands in the schema's metadata."""
    columns = {
        "step": np.arange(1, forecast.steps + 1),
        "date": forecast.dates,
        "point": forecast.point,
        **_level_columns(forecast.quantiles, forecast.levels),
        **({} if forecast.epistemic is None else {"epistemic": forecast.epistemic}),
    }
    return _parquet(columns, {**_head(forecast), "member": forecast.member, **_made_by(forecast)})


def read_forecast_parquet(data: bytes) -> Forecast:
    """The forecast behind `forecast_parquet`, checked as on every construction."""
    columns, meta = _read_parquet(data)
    return _forecast(columns, meta, meta, meta["member"], meta["levels"])


def forecast_csv(forecast: Forecast) -> bytes:
    """Columns series, unit, step, date, point, q...; numbers in full precision."""
    header = ["series", "unit", "step", "date", "point", *(level_column(level) for level in forecast.levels)]
    names = [csv_text(forecast.series), csv_text(forecast.unit)]
    dates = date_texts(forecast.dates)
    rows = (
        [*names, h + 1, dates[h], repr(float(forecast.point[h])), *(repr(float(q)) for q in row)]
        for h, row in enumerate(forecast.quantiles)
    )
    return _csv(header, rows)


def members_parquet(members: Sequence[MemberRecord], forecast: Forecast) -> bytes:
    """One row per member and step, or one row with code and reason of a failure.

    Parameters
    ----------
    forecast
        The published one: gives series, unit, cutoff and levels.
    """
    blocks = [_member_block(member, forecast) for member in members]
    names = list(blocks[0]) if blocks else []
    if not any(isinstance(m.live, Forecast) and m.live.epistemic is not None for m in members):
        names = [name for name in names if name != "epistemic"]
    columns = {name: _column(name, [cell for block in blocks for cell in block[name]]) for name in names}
    return _parquet(columns, _head(forecast))


def read_members_parquet(data: bytes) -> dict[str, Forecast | Failure]:
    """Each member's live answer by name."""
    columns, meta = _read_parquet(data)
    names = columns.get("member", [])
    out: dict[str, Forecast | Failure] = {}
    for name in dict.fromkeys(names):
        at = [i for i, other in enumerate(names) if other == name]
        own = {key: [values[i] for i in at] for key, values in columns.items()}
        code = own["failure_code"][0]
        if code is not None:
            cutoff = np.datetime64(meta["cutoff"], "s")
            out[name] = Failure(member=name, cutoff=cutoff, code=code, reason=own["failure_reason"][0])
        else:
            made = {key: own[key][0] for key in ("id", "revision", "digest", "trained_until")}
            made["flags"] = own["flags"][0].split()
            out[name] = _forecast(own, meta, made, name, meta["levels"])
    return out


def validation_parquet(table: ValidationTable) -> bytes:
    """Columns subject, cutoff, step, date, actual, scored, q...; rows of what was not asked left out."""
    k, w, h, q = table.quantiles.shape
    keep = np.repeat(table.asked.reshape(-1), h)

    def spread(values: Any, shape: tuple[int, ...]) -> Any:
        return np.broadcast_to(np.asarray(values).reshape(shape), (k, w, h)).reshape(-1)[keep]

    subjects = np.array([encodable(name) for name in table.subjects], dtype=object)
    columns = {
        "subject": spread(subjects, (k, 1, 1)),
        "cutoff": spread(table.cutoffs, (1, w, 1)),
        "step": spread(np.arange(1, h + 1), (1, 1, h)),
        "date": spread(table.dates, (1, w, h)),
        "actual": spread(table.actuals, (1, w, h)),
        "scored": spread(table.scored, (1, w, 1)),
        **_level_columns(table.quantiles.reshape(k * w * h, q)[keep], table.levels),
    }
    meta = {
        "series": table.series,
        "unit": table.unit,
        "levels": table.levels,
        "subjects": table.subjects,
        "steps": h,
    }
    return _parquet(columns, meta)


def read_validation_parquet(data: bytes) -> ValidationTable:
    """The table behind `validation_parquet`; cutoffs that nobody was asked for are gone."""
    columns, meta = _read_parquet(data, numpy=True)
    subjects, levels, h = tuple(meta["subjects"]), tuple(meta["levels"]), int(meta["steps"])
    cutoffs, place = np.unique(columns["cutoff"].astype("datetime64[s]"), return_inverse=True)
    number = {encodable(name): i for i, name in enumerate(subjects)}
    k = np.array([number[name] for name in columns["subject"]], dtype=np.int64)
    step = columns["step"].astype(np.int64) - 1
    shape = (len(subjects), len(cutoffs), h)
    quantiles = np.full((*shape, len(levels)), np.nan)
    quantiles[k, place, step] = (
        np.stack([columns[level_column(level)] for level in levels], axis=-1) if len(k) else 0.0
    )
    asked = np.zeros(shape[:2], dtype=np.bool_)
    asked[k, place] = True
    dates = np.full(shape[1:], np.datetime64("NaT"), dtype="datetime64[s]")
    dates[place, step] = columns["date"].astype("datetime64[s]")
    actuals = np.full(shape[1:], np.nan)
    actuals[place, step] = columns["actual"]
    scored = np.zeros(shape[1], dtype=np.bool_)
    scored[place] = columns["scored"]
    return ValidationTable(
        series=meta["series"],
        unit=meta["unit"],
        subjects=subjects,
        cutoffs=cutoffs,
        dates=dates,
        levels=levels,
        actuals=actuals,
        quantiles=quantiles,
        asked=asked,
        scored=scored,
    )


_SCORE_HEADER = ["subject", "metric", "value", "unit", "sample", "leads", "windows", "n_eff"]


def scores_csv(scores: Sequence[Score]) -> bytes:
    """One row per subject and metric; an empty value is not known."""
    rows = (
        [
            csv_text(s.subject),
            s.metric.value,
            repr(float(s.value)) if np.isfinite(s.value) else "",
            csv_text(s.unit),
            s.sample.value,
            leads_text(s.leads),
            s.windows,
            repr(float(s.n_eff)),
        ]
        for s in scores
    )
    return _csv(_SCORE_HEADER, rows)


def read_scores_csv(data: bytes) -> tuple[Score, ...]:
    """The scores behind `scores_csv`."""
    rows = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
    return tuple(
        Score(
            subject=from_csv_text(row["subject"]),
            metric=Metric(row["metric"]),
            value=float(row["value"] or "nan"),
            unit=from_csv_text(row["unit"]),
            sample=Sample(row["sample"]),
            leads=_leads(row["leads"]),
            windows=int(row["windows"]),
            n_eff=float(row["n_eff"]),
        )
        for row in rows
    )


def leads_text(leads: Sequence[int]) -> str:
    """Leads as text, runs shortened; dots, because a spreadsheet reads ``1-12`` as a date.

    >>> leads_text((1, 2, 3, 5, 7, 8))
    '1..3 5 7..8'
    """
    parts: list[str] = []
    start = 0
    for i in range(1, len(leads) + 1):
        if i == len(leads) or leads[i] != leads[i - 1] + 1:
            run = leads[start:i]
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}")
            start = i
    return " ".join(parts)


def _leads(text: str) -> tuple[int, ...]:
    ends = [part.split("..") for part in text.split()]
    return tuple(lead for end in ends for lead in range(int(end[0]), int(end[-1]) + 1))


def _head(forecast: Forecast) -> dict[str, object]:
    return {
        "series": forecast.series,
        "unit": forecast.unit,
        "cutoff": forecast.cutoff,
        "levels": forecast.levels,
    }


def _made_by(forecast: Forecast) -> dict[str, object]:
    identity = forecast.identity
    return {
        "id": identity.id,
        "revision": identity.revision,
        "digest": identity.digest,
        "trained_until": None if identity.trained_until is None else date_text(identity.trained_until),
        "flags": list(forecast.flags),
    }


def _member_block(member: MemberRecord, forecast: Forecast) -> dict[str, list[Any]]:
    live = member.live
    rows = 1 if isinstance(live, Failure) else live.steps
    failed = isinstance(live, Failure)
    quantiles = np.full((rows, len(forecast.levels)), np.nan) if isinstance(live, Failure) else live.quantiles
    share = None if isinstance(live, Failure) else live.epistemic
    made = {} if isinstance(live, Failure) else _made_by(live) | {"flags": " ".join(live.flags)}
    block: dict[str, list[Any]] = {
        "member": [encodable(member.name)] * rows,
        "state": [member.state.value] * rows,
        "weight": [member.weight] * rows,
        "step": [None] if failed else list(range(1, rows + 1)),
        "date": [None] if isinstance(live, Failure) else list(live.dates),
        **{level_column(t): list(quantiles[:, q]) for q, t in enumerate(forecast.levels)},
        "epistemic": [None] * rows if share is None else list(share),
    }
    for name in ("flags", "id", "revision", "digest", "trained_until"):
        block[name] = [made.get(name)] * rows
    block["failure_code"] = [live.code if isinstance(live, Failure) else None] * rows
    block["failure_reason"] = [encodable(live.reason) if isinstance(live, Failure) else None] * rows
    return block


def _column(name: str, cells: list[Any]) -> Any:
    """Cells of all members as one array; None becomes NaN or NaT."""
    kind = {"float64": "float64", "timestamp[ms]": "datetime64[ms]"}.get(_type_of(name))
    return cells if kind is None else np.array(cells, dtype=kind)


def _forecast(
    columns: Mapping[str, Any],
    head: Mapping[str, Any],
    made: Mapping[str, Any],
    member: str,
    levels: Sequence[float],
) -> Forecast:
    until = made["trained_until"]
    share = np.asarray(columns.get("epistemic", np.nan), dtype=float)  # older files lack the column
    return Forecast(
        series=head["series"],
        unit=head["unit"],
        member=member,
        cutoff=np.datetime64(head["cutoff"], "s"),
        dates=np.array(columns["date"], dtype="datetime64[s]"),
        levels=tuple(levels),
        quantiles=np.stack([np.asarray(columns[level_column(t)], dtype=float) for t in levels], axis=-1),
        identity=ModelIdentity(
            id=made["id"],
            revision=made["revision"],
            digest=made["digest"],
            trained_until=None if until is None else np.datetime64(until, "s"),
        ),
        flags=tuple(Flag(flag) for flag in made["flags"]),
        epistemic=None if np.isnan(share).all() else share,
    )


def _level_columns(quantiles: Floats, levels: Sequence[float]) -> dict[str, Floats]:
    return {level_column(level): quantiles[:, q] for q, level in enumerate(levels)}


_TYPES = {"step": "int64", "date": "timestamp[ms]", "cutoff": "timestamp[ms]", "scored": "bool"}
_NUMBERS = ("point", "actual", "weight", "epistemic")


def _type_of(name: str) -> str:
    if name in _NUMBERS or (name.startswith("q") and name[1:2].isdigit()):
        return "float64"
    return _TYPES.get(name, "string")


def _parquet(columns: Mapping[str, Any], meta: Mapping[str, object]) -> bytes:
    """A Parquet file in memory; NaN becomes null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: pa.type_for_alias(_type_of(name)) for name in columns}
    arrays = {name: pa.array(values, type=kinds[name], from_pandas=True) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata({_META: canonical(meta).encode()})
    sink = io.BytesIO()
    floats = [name for name in columns if _type_of(name) == "float64"]
    coded = [name for name in columns if name not in floats]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=coded,
        use_byte_stream_split=floats,
    )
    return sink.getvalue()


def _read_parquet(data: bytes, *, numpy: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    meta = parse_json((table.schema.metadata or {})[_META])
    columns = {
        name: table[name].to_numpy() if numpy else _cells(table[name], _type_of(name))
        for name in table.column_names
    }
    return columns, meta


def _cells(column: Any, kind: str) -> Any:
    """Text as a list with None for null, numbers and dates as numpy arrays."""
    return column.to_pylist() if kind == "string" else column.to_numpy()


def _csv(header: Sequence[str], rows: Any) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")

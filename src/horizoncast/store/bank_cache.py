"""Rows of the bank kept between runs: a weekly run computes one or two new cutoffs.

One ``.npz`` file per service, series and member, without pickles. A row is found by a key over the
member's settings and code revision, the digest of the data up to the cutoff, the cutoff, the
horizon, the levels and the service; a changed observation changes the keys of all later cutoffs.
"""

from __future__ import annotations

import hashlib
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from horizoncast.calendar import Dates
from horizoncast.errors import ForecastError
from horizoncast.forecast import Embedding, Flag, Forecast, ModelIdentity
from horizoncast.store.atomic import write_atomic
from horizoncast.store.names import safe_name

FORMAT = 1

_UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),  # no archive, no array
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),  # arrays that are not rows
    *(RuntimeError, MemoryError),  # an encrypted or unknown archive, deep nesting, a giant array
    ForecastError,
)
"""What reading a damaged file can raise: every byte of it may be anything."""


def row_key(
    *, member_digest: str, data_digest: str, dates: Dates, levels: Sequence[float], service: str
) -> str:
    """Key of one row; the data digest covers the cutoff, the (H,) dates the horizon."""
    state = hashlib.sha256(repr((FORMAT, member_digest, data_digest, tuple(levels), service)).encode())
    state.update(np.ascontiguousarray(dates, dtype="datetime64[s]").tobytes())
    return state.hexdigest()[:32]


class BankCache:
    """Cached forecasts below one folder.

    Parameters
    ----------
    folder
        Root; files are ``<series>/<service>/<member>.npz``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, series: str, service: str, member: str) -> Path:
        """File of one member's rows; names are made safe, so that none can leave the folder."""
        parts = [safe_name(part) for part in (series, service)]
        return self.folder.joinpath(*parts, f"{safe_name(member)}.npz")

    def read(self, series: str, service: str, member: str) -> dict[str, Forecast]:
        """All cached forecasts of a member by key; an unreadable file counts as empty.

        A damaged cache costs time and nothing else: its rows are computed again.
        """
        try:
            with self.path(series, service, member).open("rb") as handle:
                _require_plain(handle)
                with np.load(handle, allow_pickle=False) as stored:
                    return _unpack({name: stored[name] for name in stored.files})
        except _UNREADABLE:
            return {}

    def write(self, series: str, service: str, member: str, rows: Mapping[str, Forecast]) -> None:
        """Replace a member's file by these rows."""
        packed = _pack(rows)
        write_atomic(self.path(series, service, member), lambda handle: np.savez(handle, **packed))


def _require_plain(handle: IO[bytes]) -> None:
    """Refuse an archive that is not as large as what it holds: ours are never compressed."""
    with zipfile.ZipFile(handle) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("compressed")
    handle.seek(0)


def _pack(rows: Mapping[str, Forecast]) -> dict[str, Any]:
    first = next(iter(rows.values()))
    heads = [
        json.dumps(
            {
                "flags": list(f.flags),
                "id": f.identity.id,
                "revision": f.identity.revision,
                "digest": f.identity.digest,
                "trained_until": None if f.identity.trained_until is None else str(f.identity.trained_until),
            }
        )
        for f in rows.values()
    ]
    shares = {} if all(f.epistemic is None for f in rows.values()) else {"epistemic": _shares(rows)}
    names = json.dumps({"series": first.series, "unit": first.unit, "member": first.member})
    return {
        "format": np.array([FORMAT]),
        "names": np.array([names]),
        "keys": np.array(list(rows)),
        "heads": np.array(heads),
        "levels": np.array(first.levels),
        "cutoffs": np.array([f.cutoff for f in rows.values()], dtype="datetime64[s]"),
        "dates": np.stack([f.dates for f in rows.values()]),
        "quantiles": np.stack([f.quantiles for f in rows.values()]),
        **shares,
        **_embeddings(rows),
    }


def _shares(rows: Mapping[str, Forecast]) -> Any:
    """(W, H) epistemic shares; NaN where a row does not know them."""
    unknown = {f.steps: np.full(f.steps, np.nan) for f in rows.values()}
    return np.stack([unknown[f.steps] if f.epistemic is None else f.epistemic for f in rows.values()])


def _embeddings(rows: Mapping[str, Forecast]) -> dict[str, Any]:
    """(W, D) vectors in single precision, which is all they have, and (W,) novelty; NaN where unknown."""
    known = [f.embedding for f in rows.values() if f.embedding is not None]
    if not known:
        return {}
    none = np.full_like(known[0].vector, np.nan)
    vectors = [none if f.embedding is None else f.embedding.vector for f in rows.values()]
    novelty = [
        np.nan if f.embedding is None or f.embedding.novelty is None else f.embedding.novelty
        for f in rows.values()
    ]
    return {"embedding": np.stack(vectors).astype(np.float32), "novelty": np.array(novelty)}


def _embedding(stored: Mapping[str, Any], row: int) -> Embedding | None:
    """Of one row; files of before it was recorded have none."""
    if "embedding" not in stored or np.isnan(stored["embedding"][row]).all():
        return None
    novelty = float(stored["novelty"][row])
    return Embedding(vector=stored["embedding"][row], novelty=None if np.isnan(novelty) else novelty)


def _unpack(stored: Mapping[str, Any]) -> dict[str, Forecast]:
    if int(stored["format"][0]) != FORMAT:
        return {}
    names = json.loads(str(stored["names"][0]))
    shares = stored.get("epistemic")  # files of before it was recorded have none
    out = {}
    for i, key in enumerate(stored["keys"]):
        head = json.loads(str(stored["heads"][i]))
        until = head["trained_until"]
        out[str(key)] = Forecast(
            series=names["series"],
            unit=names["unit"],
            member=names["member"],
            cutoff=stored["cutoffs"][i],
            dates=stored["dates"][i],
            levels=tuple(float(level) for level in stored["levels"]),
            quantiles=stored["quantiles"][i],
            identity=ModelIdentity(
                id=head["id"],
                revision=head["revision"],
                digest=head["digest"],
                trained_until=None if until is None else np.datetime64(until, "s"),
            ),
            flags=tuple(Flag(flag) for flag in head["flags"]),
            epistemic=None if shares is None or np.isnan(shares[i]).all() else shares[i],
            embedding=_embedding(stored, i),
        )
    return out

"""Runs: the one transaction that publishes, and reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Select, func, insert, select, update

from horizoncast.errors import AlreadyPublishedError, StoreError
from horizoncast.store.ledger import outbox
from horizoncast.store.ledger.codec import from_row, pack, to_row, unpack
from horizoncast.store.ledger.database import Database
from horizoncast.store.ledger.rows import (
    ENSEMBLE,
    ForecastRows,
    MemberRow,
    RunEntry,
    RunRow,
    Snapshot,
)
from horizoncast.store.ledger.schema import DOCUMENTS, EVENTS, FORECASTS, MEMBERS, RUNS, SNAPSHOTS
from horizoncast.store.plain import canonical, time_text
from horizoncast.store.points import reach
from horizoncast.store.records import Origin


class RunBook:
    """Published runs of one ledger.

    Parameters
    ----------
    database
        See `horizoncast.store.ledger.ledger.Ledger`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, entry: RunEntry, *, reprocess: bool = False) -> RunRow:
        """Publish a run: one transaction, and the moment the run exists.

        Parameters
        ----------
        reprocess
            Make another revision when its (service, series, as-of) is published already.

        Raises
        ------
        AlreadyPublishedError
            When it is, and that was not asked for, or the run id is known.
        StoreError
            When it could not be committed.
        """
        with self._database.writing() as connection:
            revision = _next_revision(connection, entry.run, reprocess=reprocess)
            run = replace(
                entry.run,
                revision=revision,
                committed=_now(),
                origin=entry.run.origin if revision == 1 else Origin.REPROCESS,
            )
            _keep_snapshot(connection, entry.snapshot)
            connection.execute(insert(RUNS), to_row(run))
            _insert(connection, entry)
            document = {"run_id": run.run_id, "document": canonical(entry.document)}
            connection.execute(insert(DOCUMENTS), document)
            outbox.add(connection, entry.messages, run_id=run.run_id, at=run.committed)
            reach("committing")
        return run

    def get(self, run_id: str) -> RunRow | None:
        """One run; None when there is none of this id."""
        found = self._read(select(RUNS).where(RUNS.c.run_id == run_id))
        return found[0] if found else None

    def all(
        self,
        *,
        service: str | None = None,
        series: str | None = None,
        since: str | None = None,
        revisions: bool = True,
    ) -> tuple[RunRow, ...]:
        """Runs by as-of, revision and commit, oldest first.

        Parameters
        ----------
        since
            First as-of.
        revisions
            False leaves only the highest revision of each (service, series, as-of).
        """
        query = select(RUNS)
        for column, value in ((RUNS.c.service, service), (RUNS.c.series, series)):
            query = query if value is None else query.where(column == value)
        query = query if since is None else query.where(RUNS.c.as_of >= since)
        found = self._read(query.order_by(RUNS.c.as_of, RUNS.c.service, RUNS.c.series, RUNS.c.revision))
        if revisions:
            return found
        return tuple({(run.service, run.series, run.as_of): run for run in found}.values())

    def latest(self, service: str, series: str) -> RunRow | None:
        """The run that counts now: newest as-of, highest revision."""
        query = select(RUNS).where(RUNS.c.service == service, RUNS.c.series == series)
        found = self._read(query.order_by(RUNS.c.as_of.desc(), RUNS.c.revision.desc()).limit(1))
        return found[0] if found else None

    def heads(self) -> tuple[RunRow, ...]:
        """The latest run of every (service, series)."""
        return tuple({(run.service, run.series): run for run in self.all()}.values())

    def published(self, service: str, series: str, as_of: str) -> int:
        """Number of revisions of an as-of; 0 means it is not published."""
        query = select(func.count()).select_from(RUNS)
        same = (RUNS.c.service == service, RUNS.c.series == series, RUNS.c.as_of == as_of)
        with self._database.reading() as connection:
            return int(connection.execute(query.where(*same)).scalar_one())

    def members(self, run_id: str) -> tuple[MemberRow, ...]:
        """What became of each member of a run."""
        query = select(MEMBERS).where(MEMBERS.c.run_id == run_id).order_by(MEMBERS.c.member)
        with self._database.reading() as connection:
            return tuple(from_row(MemberRow, row) for row in connection.execute(query).mappings())

    def member_history(self, service: str, series: str, *, since: str = "") -> tuple[MemberRow, ...]:
        """Members of all runs whose as-of is `since` or later, by as-of, highest revisions only."""
        runs = {
            run.run_id: None for run in self.all(service=service, series=series, since=since, revisions=False)
        }
        query = (
            select(MEMBERS)
            .join(RUNS)
            .where(RUNS.c.service == service, RUNS.c.series == series, RUNS.c.as_of >= since)
            .order_by(RUNS.c.as_of, RUNS.c.revision, MEMBERS.c.member)
        )
        with self._database.reading() as connection:
            rows = [from_row(MemberRow, row) for row in connection.execute(query).mappings()]
        return tuple(row for row in rows if row.run_id in runs)

    def forecasts(self, run_id: str, *, subject: str | None = None) -> tuple[ForecastRows, ...]:
        """Published numbers of a run, the ensemble first.

        Raises
        ------
        StoreError
            When the run is unknown.
        """
        run = self.get(run_id)
        if run is None:
            raise StoreError("the ledger knows no run of this id", value=run_id, action="horizoncast show")
        query = select(FORECASTS).where(FORECASTS.c.run_id == run_id)
        query = query if subject is None else query.where(FORECASTS.c.subject == subject)
        order = (FORECASTS.c.subject != ENSEMBLE, FORECASTS.c.subject, FORECASTS.c.step)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(*order)).all()
        groups: dict[str, list[tuple[int, str, bytes]]] = {}
        for row in rows:
            groups.setdefault(row.subject, []).append((row.step, row.date, bytes(row.quantiles)))
        return tuple(_forecast(run, name, group) for name, group in groups.items())

    def snapshot(self, digest: str) -> Snapshot | None:
        """Data that runs saw, by digest."""
        query = select(SNAPSHOTS).where(SNAPSHOTS.c.digest == digest)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else from_row(Snapshot, row)

    def underived(self) -> tuple[RunRow, ...]:
        """Runs whose log records and latest.json may be missing: a run died after its commit."""
        return self._read(select(RUNS).where(RUNS.c.derived.is_(None)).order_by(RUNS.c.committed))

    def mark_derived(self, run_id: str) -> None:
        """The log and latest.json now tell this run."""
        self._mark(run_id, "derived")

    def mark_pruned(self, run_id: str) -> None:
        """Its folder is gone, on purpose."""
        self._mark(run_id, "pruned")

    def _mark(self, run_id: str, column: str) -> None:
        with self._database.writing() as connection:
            connection.execute(update(RUNS).where(RUNS.c.run_id == run_id).values({column: _now()}))

    def _read(self, query: Select[tuple[object, ...]]) -> tuple[RunRow, ...]:
        with self._database.reading() as connection:
            return tuple(from_row(RunRow, row) for row in connection.execute(query).mappings())


def _next_revision(connection: Connection, run: RunRow, *, reprocess: bool) -> int:
    if connection.execute(select(RUNS.c.run_id).where(RUNS.c.run_id == run.run_id)).first():
        raise AlreadyPublishedError("this run is in the ledger already", value=run.run_id)
    same = (RUNS.c.service == run.service, RUNS.c.series == run.series, RUNS.c.as_of == run.as_of)
    newest = connection.execute(select(func.max(RUNS.c.revision)).where(*same)).scalar_one()
    if newest is not None and not reprocess:
        raise AlreadyPublishedError(
            f"{run.service} is published for {run.series} as of {run.as_of}",
            action="ask for a new revision: horizoncast run",
        )
    return int(newest or 0) + 1


def _keep_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    known = select(SNAPSHOTS.c.digest).where(SNAPSHOTS.c.digest == snapshot.digest)
    if connection.execute(known).first() is None:
        connection.execute(insert(SNAPSHOTS), to_row(snapshot) | {"recorded": _now()})


def _insert(connection: Connection, entry: RunEntry) -> None:
    if entry.members:
        connection.execute(insert(MEMBERS), [to_row(member) for member in entry.members])
    rows = [row for forecast in entry.forecasts for row in _rows(forecast)]
    if rows:
        connection.execute(insert(FORECASTS), rows)
    if entry.events:
        connection.execute(insert(EVENTS), [to_row(event) for event in entry.events])


def _rows(forecast: ForecastRows) -> list[dict[str, object]]:
    head = {"run_id": forecast.run_id, "subject": forecast.subject}
    places = zip(forecast.steps, forecast.dates, forecast.quantiles, strict=True)
    return [head | {"step": step, "date": date, "quantiles": pack(row)} for step, date, row in places]


def _forecast(run: RunRow, subject: str, group: Sequence[tuple[int, str, bytes]]) -> ForecastRows:
    steps, dates, blobs = zip(*group, strict=True)
    return ForecastRows(
        run_id=run.run_id,
        subject=subject,
        steps=steps,
        dates=dates,
        quantiles=unpack(blobs, len(run.levels)),
    )


def _now() -> str:
    return time_text(datetime.now(tz=UTC))

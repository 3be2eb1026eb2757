"""What was read and what the checks found, for people and for the manifest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from horizoncast.data.checks import Finding, Severity
from horizoncast.data.overrides import Override
from horizoncast.data.waiting import CovariateFreshness, Freshness
from horizoncast.errors import CheckError
from horizoncast.series import Scale


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What was read and what the checks found.

    Parameters
    ----------
    target, place
        Name of the target, and its source.
    rows
        Rows of the target in the source, the requested span only.
    observed, filled, absent
        Sessions with a value, sessions filled, business sessions left out.
    first, last
        Span of the sessions; None when there is none.
    stale
        Sessions of the calendar after the last observation, up to the as-of date or the clock.
    findings
        Errors first, each with file, row, value and what to do.
    scale, scale_reason
        Where the series is modelled and why; None while errors block it.
    digest
        Of all numbers of the series, covariates included; empty while errors block it.
    overrides
        Corrections that were applied.
    freshness, covariates
        How old the target and its covariates are, where a run has judged them.
    """

    target: str
    place: str
    rows: int
    observed: int = 0
    filled: int = 0
    absent: int = 0
    first: np.datetime64 | None = None
    last: np.datetime64 | None = None
    stale: int = 0
    findings: tuple[Finding, ...] = ()
    scale: Scale | None = None
    scale_reason: str = ""
    digest: str = ""
    overrides: tuple[Override, ...] = ()
    freshness: Freshness | None = None
    covariates: tuple[CovariateFreshness, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that block."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that do not."""
        return tuple(f for f in self.findings if f.severity is Severity.WARNING)

    def raise_if_blocking(self) -> None:
        """Raise one `CheckError` that lists every blocking finding."""
        if not self.errors:
            return
        lines = "".join(f"\n  [{f.code}] {f.message}" for f in self.errors)
        many = "finding blocks" if len(self.errors) == 1 else "findings block"
        raise CheckError(f"{self.target}: {len(self.errors)} {many} the forecast:{lines}")

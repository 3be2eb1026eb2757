"""Checks of values: unit slips, a last value that jumped, a stuck last value.

They compare a series with its own past. Real data does wild things (WTI at -36.98 USD on
2020-04-20, VIX up 116 % on 2018-02-05), so that an error needs a shape that only a mistake has.

Letters in shapes: n rows.
"""

from __future__ import annotations

import math

import numpy as np

from horizoncast.data.align import Ints
from horizoncast.data.checks import Column, Finding, Severity, finding_at
from horizoncast.data.target import Checks
from horizoncast.series import Bools, Floats, Scale

SLIP_FACTORS = (100.0, 1000.0)
"""Factors between usual units: cents and units, units and thousands, and their inverses."""
_SLIP_SPAN = 60
"""Rows within which a slip comes back, or within which the end of the series still counts."""


def robust_sigma(changes: Floats) -> float:
    """Spread of changes that outliers do not own: 1.4826 MAD, else the scaled mean deviation.

    >>> robust_sigma(np.array([-1.0, 0.0, 1.0]))
    1.4826
    """
    if not len(changes):
        return 0.0
    away = np.abs(changes - np.median(changes))
    mad = 1.4826 * float(np.median(away))
    return mad if mad > 0 else 1.2533 * float(np.mean(away))


def check_unit_slip(column: Column) -> list[Finding]:
    """Find steps of x100, x1000, /100 or /1000 that come back or stand at the end.

    The factor must be met closely (three robust sigmas, between 5 and 25 %) and be 2.5 times the
    third largest of the other changes, in logs, so that a bursty sensor is left alone and one past
    mistake of another kind does not switch the check off. A step that stays is a change of unit in
    the source: a warning.
    """
    rows = np.flatnonzero(column.values > 0)
    if len(rows) < 10:
        return []
    changes = np.diff(np.log(column.values[rows]))
    near = min(0.25, max(0.05, 3 * robust_sigma(changes)))
    hits = _is_slip(changes, near)
    usual = np.sort(np.abs(changes[~hits]))[-3:]
    if not len(usual) or 2.5 * float(usual[0]) > math.log(SLIP_FACTORS[0]):
        return []
    found, after = [], -1
    for step in np.flatnonzero(hits):
        if step <= after:
            continue
        back = _return_of(changes, int(step), near)
        after = len(changes) if back is None else back
        found.append(_slip(column, rows, int(step), back, float(changes[step])))
        if back is None:
            break
    return found


def _is_slip(changes: Floats, near: float) -> Bools:
    size = np.abs(changes)
    hits = [np.abs(size - math.log(factor)) <= near for factor in SLIP_FACTORS]
    return np.asarray(np.logical_or.reduce(hits))


def _return_of(changes: Floats, step: int, near: float) -> int | None:
    ahead = changes[step + 1 : step + 1 + _SLIP_SPAN]
    back = np.flatnonzero(np.abs(ahead + changes[step]) <= 2 * near)
    return step + 1 + int(back[0]) if len(back) else None


def _slip(column: Column, rows: Ints, step: int, back: int | None, change: float) -> Finding:
    factor = min(SLIP_FACTORS, key=lambda f: abs(abs(change) - math.log(f)))
    word = f"{'x' if change > 0 else '/'}{factor:g}"
    before = column.cell(int(rows[step]))
    if back is None and step + 1 < len(rows) - _SLIP_SPAN:
        text = f"{column.name} changes by {word} after {before} and stays; check its unit, or set start"
        return finding_at(column, "unit_change", Severity.WARNING, rows[step + 1 : step + 2], text)
    slipped = rows[step + 1 : None if back is None else back + 1]
    text = f"{column.name} slips by {word} after {before} ({len(slipped)} rows); correct the unit"
    return finding_at(column, "unit_slip", Severity.ERROR, slipped, text)


def check_jump(column: Column, scale: Scale, checks: Checks, *, blocks: bool = True) -> list[Finding]:
    """Judge the last change against past changes, by a robust z in the series' scale.

    Parameters
    ----------
    blocks
        False for covariates: a jump is then never more than a warning.
    """
    if len(column) < 12 or (scale is Scale.LOG and (column.values <= 0).any()):
        return []
    changes = np.diff(scale.forward(column.values))
    past, last = changes[:-1], float(changes[-1])
    sigma, record = robust_sigma(past), float(np.abs(past).max())
    away = abs(last - float(np.median(past)))
    z = math.inf if sigma == 0 else away / sigma
    if away == 0 or z <= checks.jump_warning:
        return []
    before, now = (float(value) for value in column.values[-2:])
    share = abs(now - before) / max(min(abs(before), abs(now)), 1e-300)
    extreme = z > checks.jump_error and away > checks.jump_record * record and share > checks.jump_share
    severity = Severity.ERROR if extreme and blocks else Severity.WARNING
    text = (
        f"{column.name} jumped from {column.values[-2]:g} to {column.values[-1]:g}, {z:.0f} robust sigmas "
        f"and {away / record if record else math.inf:.1f} times the largest change before; correct the row, "
        "or raise checks.jump_error when it is real"
    )
    return [finding_at(column, "jump", severity, np.array([len(column) - 1]), text)]


def check_stuck(column: Column, least: int) -> list[Finding]:
    """Equal last values, more of them than ever before in the series."""
    turns = np.concatenate([[0], np.flatnonzero(np.diff(column.values) != 0) + 1, [len(column)]])
    runs = np.diff(turns)
    longest = int(runs[:-1].max()) if len(runs) > 1 else 0
    if runs[-1] < least or runs[-1] <= longest:
        return []
    text = f"{column.name} has not moved for {runs[-1]} rows, longer than ever before; is the source alive?"
    return [
        finding_at(
            column, "stuck", Severity.WARNING, np.arange(len(column) - int(runs[-1]), len(column)), text
        )
    ]

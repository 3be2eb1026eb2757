"""How earlier forecasts did: one subject's forecasts against what happened, and its coverage by lead.

Letters in shapes: W cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.report import style
from horizoncast.report.style import Canvas, Dash, draw, dress, heading, number_ticks, printable
from horizoncast.store.plain import date_texts
from horizoncast.store.records import ValidationTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

SHARES: dict[float, tuple[str, Dash, str]] = {
    0.8: (style.BLUE, (0, ()), "o"),
    0.95: ("#D55E00", (0, (5, 1.5)), "s"),
}
"""Coverages shown, with colour, line and marker."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """Share of outcomes inside a central interval, by lead.

    Parameters
    ----------
    share
        What the interval claims, 0 to 1.
    by_lead
        (H,) observed share, NaN where no outcome is known.
    overall
        Over all leads.
    windows
        Cutoffs with a forecast and an outcome.
    """

    share: float
    by_lead: Floats
    overall: float
    windows: int


def coverage_of(table: ValidationTable, subject: str, share: float) -> Coverage:
    """Coverage of one subject's interval over every cutoff it has a forecast for.

    Raises
    ------
    UnknownNameError
        When the table has no such subject.
    StoreError
        When the interval's ends are not among the levels.
    """
    quantiles = _rows(table, subject)
    low, high = (quantiles[..., _level(table, tail)] for tail in ((1 - share) / 2, (1 + share) / 2))
    known = np.isfinite(table.actuals) & np.isfinite(low)
    hit = known & (table.actuals >= low) & (table.actuals <= high)
    count = known.sum(axis=0)
    by_lead = np.where(count > 0, hit.sum(axis=0) / np.maximum(count, 1), np.nan)
    overall = float(hit.sum() / known.sum()) if known.any() else float("nan")
    return Coverage(share=share, by_lead=by_lead, overall=overall, windows=int(known.any(axis=1).sum()))


def validation_chart(
    table: ValidationTable,
    subject: str,
    *,
    lead: int | None = None,
    width: int = 1280,
    file_format: str = "png",
) -> bytes:
    """Forecasts of one lead against what happened, and coverage at every lead.

    Parameters
    ----------
    subject
        A member, or ``ensemble``.
    lead
        1-based step of the left panel; the last by default.

    Raises
    ------
    UnknownNameError
        When the table has no such subject.
    StoreError
        When the table has no such lead.
    """
    step = (table.dates.shape[1] if lead is None else lead) - 1
    if not 0 <= step < table.dates.shape[1]:
        raise StoreError("no such lead", value=lead, allowed=f"1 to {table.dates.shape[1]}")
    covered = [coverage_of(table, subject, share) for share in SHARES]
    canvas = Canvas(width=width, height=round(width * (1.3 if width < 640 else 0.5)))

    def paint(figure: Figure) -> None:
        grid = {"height_ratios": [1.2, 1]} if canvas.narrow else {"width_ratios": [1.7, 1]}
        shape = (2, 1) if canvas.narrow else (1, 2)
        left, right = figure.subplots(*shape, gridspec_kw=grid)
        _paint_path(left, canvas, table, subject, step)
        _paint_coverage(right, canvas, covered)
        heading(figure, canvas, _finding(subject, covered[0]), _subtitle(table, subject), room=2.2)
        room = (0.55, 0.22) if canvas.narrow else (0.0, 0.14)
        figure.subplots_adjust(hspace=room[0], wspace=room[1], bottom=0.1, right=0.96)

    return draw(canvas, paint, file_format)


def _finding(subject: str, covered: Coverage) -> str:
    if not np.isfinite(covered.overall):
        return f"{printable(subject)}: not yet known"
    held = f"{100 * covered.overall:.0f} % of outcomes fell inside its 80 % interval"
    return f"{printable(subject)}: {held}, {covered.windows} cutoffs"


def _subtitle(table: ValidationTable, subject: str) -> str:
    what = f"{printable(table.series, 40)} in {printable(table.unit, 30)}"
    own = table.cutoffs[np.isfinite(_rows(table, subject)).all(axis=(1, 2))]
    if not len(own):
        return what
    cutoffs = date_texts(own)
    return f"{what}, pseudo out-of-sample, cutoffs {cutoffs[0]} to {cutoffs[-1]}"


def _paint_path(axes: Axes, canvas: Canvas, table: ValidationTable, subject: str, step: int) -> None:
    """Outcome, median and 80 % interval at one lead, by date of the outcome."""
    dress(axes, canvas)
    quantiles = _rows(table, subject)[:, step]
    shown = np.flatnonzero(np.isfinite(quantiles).all(axis=1))
    x = np.arange(len(shown))
    low, mid, high = (quantiles[shown, _level(table, tail)] for tail in (0.1, 0.5, 0.9))
    axes.fill_between(x, low, high, color=style.BANDS[0.8], linewidth=0, label="80 % interval")
    axes.plot(x, mid, color=style.BLUE, linewidth=canvas.line, label="median")
    axes.plot(x, table.actuals[shown, step], color=style.INK, linewidth=0, marker="o", ms=3, label="observed")
    texts = date_texts(table.dates[shown, step]) if len(shown) else []
    at = sorted({0, len(shown) // 2, len(shown) - 1}) if len(shown) > 2 else range(len(shown))
    axes.set_xticks(list(at), [texts[i] for i in at])
    axes.set_title(f"Forecasts {step + 1} sessions ahead", fontsize=canvas.text, loc="left", color=style.INK)
    number_ticks(axes, canvas)
    if len(shown):
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, top + 0.14 * (top - bottom))  # room for the legend above the band
        axes.legend(frameon=False, fontsize=canvas.text, ncols=3, loc="upper left", handlelength=1.4)


def _paint_coverage(axes: Axes, canvas: Canvas, covered: list[Coverage]) -> None:
    from matplotlib.ticker import MaxNLocator

    dress(axes, canvas)
    for c in covered:
        colour, dash, marker = SHARES[c.share]
        leads = np.arange(1, len(c.by_lead) + 1)
        axes.axhline(100 * c.share, color=colour, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.plot(
            leads,
            100 * c.by_lead,
            color=colour,
            linestyle=dash,
            linewidth=0.8 * canvas.line,
            marker=marker,
            markersize=3 if len(leads) <= 40 else 0,
            label=f"{100 * c.share:.0f} % interval",
        )
    known = np.concatenate([c.by_lead[np.isfinite(c.by_lead)] for c in covered])
    axes.set_ylim(min(50.0, 100 * float(known.min()) - 3 if len(known) else 50.0), 102)
    axes.set_title("Coverage by lead, %", fontsize=canvas.text, loc="left", color=style.INK)
    axes.set_xlabel("sessions ahead (dotted: claimed)", fontsize=canvas.text, color=style.MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.legend(frameon=False, fontsize=canvas.text, loc="lower left", ncols=1, handlelength=2.2)


def _rows(table: ValidationTable, subject: str) -> Floats:
    """(W, H, Q) of one subject."""
    if subject not in table.subjects:
        raise UnknownNameError.of("subject", subject, table.subjects)
    return np.asarray(table.quantiles[table.subjects.index(subject)])


def _level(table: ValidationTable, level: float) -> int:
    wanted = round(level, 6)
    if wanted not in table.levels:
        raise StoreError("no such quantile level", value=wanted, allowed=str(table.levels))
    return table.levels.index(wanted)

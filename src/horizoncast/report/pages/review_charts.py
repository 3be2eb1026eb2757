"""Charts of the weekly review: forecasts with what happened, calibration, weights, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from horizoncast.report import style
from horizoncast.report.pages.frame import WIDTH, date_ticks, days_of, legend, panel, percent_axis, plain_axes
from horizoncast.report.pages.svg import picture
from horizoncast.report.review.model import (
    Actual,
    DecisionPoint,
    ForecastPath,
    ScoreLine,
    ServiceReview,
)
from horizoncast.report.style import Canvas, dress
from horizoncast.report.texts import text

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colours = Mapping[str, str]
"""Colour of a member, the same all over the page."""

_MOST = 260
"""Observations beyond which a panel has no pixels for more."""


def colours_of(services: Sequence[ServiceReview]) -> Colours:
    """A colour for every member that any service has a decision or a cost of, by name."""
    names = {share.member for s in services for d in s.decisions for share in d.members}
    names |= {cost.member for s in services for cost in s.costs}
    return {name: style.LINES[place % len(style.LINES)] for place, name in enumerate(sorted(names))}


def outcome_picture(service: ServiceReview, name: str, language: str) -> Markup | None:
    """The newest matured forecast with what happened, and the newest one; None without any."""
    if service.latest is None and not service.matured:
        return None
    canvas = panel(268)
    words = text("review.fan.label", language, service=service.service, series=service.series)
    return picture(
        canvas, lambda figure: paint_outcome(figure, canvas, service, language), name=name, label=words
    )


def paint_outcome(figure: Figure, canvas: Canvas, service: ServiceReview, language: str) -> None:
    """Both forecasts with their 80 % interval, and what was observed."""
    then = service.matured[-1] if service.matured else None
    now = service.latest if service.latest != then else None
    axes = plain_axes(figure, canvas, unit=service.unit, legend_rows=1)
    ends = [
        _fan(axes, then, style.BANDS[0.8], style.MUTED, text("review.fan.then_band", language)),
        _fan(axes, now, style.BANDS[0.5], style.BLUE, text("review.fan.now_band", language)),
    ]
    if service.actuals:
        days, values = _drawn(service.actuals)
        axes.plot(days, values, color=style.INK, linewidth=1.5, label=text("review.fan.actual", language))
        ends.append(days)
    if then is not None:
        _outcome(axes, then)
    date_ticks(axes, np.concatenate([e for e in ends if e is not None]), language)
    legend(figure, canvas, axes, columns=3)


def _outcome(axes: Axes, then: ForecastPath) -> None:
    """What happened at the last step: a dot inside the interval, a cross outside."""
    last = then.points[-1]
    if last.actual is not None:
        outside = last.covered_80 is False
        colour, marker = (style.LINES[0], "X") if outside else (style.INK, "o")
        axes.plot(days_of([last.date]), np.array([last.actual]), marker, color=colour, markersize=6, zorder=5)


def _drawn(actuals: Sequence[Actual]) -> tuple[np.typing.NDArray[np.float64], np.typing.NDArray[np.float64]]:
    """Days and values, thinned where there are more than a panel has pixels for."""
    every = max(1, len(actuals) // _MOST)
    kept = [*actuals[::-every]][::-1]
    return days_of([a.date for a in kept]), np.array([a.value for a in kept])


def _fan(
    axes: Axes, path: ForecastPath | None, band: str, line: str, label: str
) -> np.typing.NDArray[np.float64] | None:
    """Median and 80 % interval of a forecast; returns its days."""
    if path is None:
        return None
    days = days_of([p.date for p in path.points])
    ends = [(p.lower_80, p.upper_80) for p in path.points]
    if all(low is not None and high is not None for low, high in ends):
        low, high = zip(*ends, strict=True)
        axes.fill_between(days, low, high, color=band, linewidth=0, label=label)
    axes.plot(days, [p.point for p in path.points], color=line, linewidth=1.2)
    return days


def calibration_picture(line: ScoreLine, name: str, label: str, language: str) -> Markup:
    """Coverage with two standard errors beside its promise, and the histogram of outcomes by decile.

    Replays leave no histogram on record: then coverage stands alone.
    """
    canvas = Canvas(width=WIDTH, height=220, letters=12.0)

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(2, 5))
        for axes, title in ((left, "review.calibration.inside"), (right, "review.calibration.fell")):
            dress(axes, canvas)
            axes.set_title(text(title, language), fontsize=canvas.text, color=style.MUTED, loc="left")
        _coverage(left, line)
        if line.pit:
            _histogram(right, line)
        else:
            right.remove()
        figure.subplots_adjust(left=0.165, right=0.965, top=0.87, bottom=0.12, wspace=0.4)

    return picture(canvas, paint, name=name, label=label)


def _coverage(axes: Axes, line: ScoreLine) -> None:
    for place, (promise, figure) in enumerate(((80, line.coverage_80), (95, line.coverage_95))):
        axes.plot([place - 0.35, place + 0.35], [promise] * 2, color=style.LINES[0], linewidth=2)
        if figure.value is not None:
            error = None if figure.error is None else 200 * figure.error
            axes.errorbar(
                [place], [100 * figure.value], yerr=error, fmt="o", color=style.BLUE,
                markersize=5.5, elinewidth=1.6, capsize=3,
            )  # fmt: skip
    axes.set_xlim(-0.6, 1.6)
    axes.set_xticks([0, 1], ["80\u00a0%", "95\u00a0%"])
    percent_axis(axes, 109)
    axes.set_yticks([0, 50, 100])


def _histogram(axes: Axes, line: ScoreLine) -> None:
    middle = [50 * (b.low + b.high) for b in line.pit]
    widths = [100 * (b.high - b.low) * 0.86 for b in line.pit]
    errors = [0.0 if b.error is None else 200 * b.error for b in line.pit]
    axes.bar(middle, [100 * b.share for b in line.pit], width=widths, color=style.BANDS[0.5])
    shares = [100 * b.share for b in line.pit]
    lower = [min(s, e) for s, e in zip(shares, errors, strict=True)]
    axes.errorbar(middle, shares, yerr=[lower, errors], fmt="none", ecolor=style.MUTED, elinewidth=1.2)
    axes.plot([0, 100], [100 / len(line.pit)] * 2, color=style.LINES[0], linewidth=2)
    percent_axis(axes)
    axes.set_xticks([0, 50, 100], ["0", "50", "100\u00a0%"])
    axes.get_xticklabels()[-1].set_horizontalalignment("right")


def weights_picture(
    decisions: Sequence[DecisionPoint], colours: Colours, name: str, label: str, language: str
) -> Markup:
    """Weights stacked over time, and the skill factor as a line."""
    members = sorted({s.member for d in decisions for s in d.members if s.weight > 0})
    days = days_of([d.as_of for d in decisions])
    weights = {(d.run_id, s.member): s.weight for d in decisions for s in d.members}
    columns = 2
    rows = -(-(len(members) + 1) // columns)
    canvas = panel(200 + 20 * rows)

    def paint(figure: Figure) -> None:
        axes = plain_axes(
            figure, canvas, unit=text("review.weights.axis", language), legend_rows=rows, left=0.165
        )
        stacks = [[100 * weights.get((d.run_id, m), 0.0) for d in decisions] for m in members]
        edges, spread = _steps(days, stacks)
        if members:
            colour = [colours[m] for m in members]
            axes.stackplot(edges, *spread, colors=colour, labels=members, linewidth=0, alpha=0.75)
        kappa = [100 * d.kappa for d in decisions]
        marker = "o" if len(days) == 1 else None
        words = text("review.weights.kappa", language)
        axes.plot(days, kappa, color=style.INK, linewidth=2, label=words, marker=marker, clip_on=False)
        percent_axis(axes, 103)
        axes.set_yticks([0, 50, 100])
        date_ticks(axes, days, language)
        legend(figure, canvas, axes, columns=columns)

    return picture(canvas, paint, name=name, label=label)


def _steps(
    days: np.typing.NDArray[np.float64], stacks: Sequence[Sequence[float]]
) -> tuple[np.typing.NDArray[np.float64], list[list[float]]]:
    """A decision holds until the next one: no slope between two; a single one gets a day."""
    ends = np.append(days[1:], days[-1] + (0.0 if len(days) > 1 else 1.0))
    edges = np.column_stack([days, ends]).ravel()
    return edges, [[value for value in stack for _ in (0, 1)] for stack in stacks]


def cost_picture(service: ServiceReview, colours: Colours, name: str, label: str, language: str) -> Markup:
    """Seconds and peak memory of each member over time."""
    members = sorted({c.member for c in service.costs if c.seconds is not None})
    rows = -(-len(members) // 2)
    canvas = Canvas(width=WIDTH, height=190 + 20 * rows, letters=12.0)
    parts = (("review.costs.seconds", "seconds"), ("review.costs.peak", "peak_mb"))

    def paint(figure: Figure) -> None:
        pair = figure.subplots(1, 2)
        line = canvas.text * style.DPI / 72 / canvas.height
        for axes, (title, field) in zip(pair, parts, strict=True):
            dress(axes, canvas)
            axes.set_title(text(title, language), fontsize=canvas.text, color=style.MUTED, loc="left")
            for place, member in enumerate(members):
                own = [c for c in service.costs if c.member == member and getattr(c, field) is not None]
                axes.plot(
                    days_of([c.as_of for c in own]), [getattr(c, field) for c in own], color=colours[member],
                    linestyle=style.DASHES[place % len(style.DASHES)], linewidth=1.1, label=member,
                    marker="o" if len(own) == 1 else None,
                )  # fmt: skip
            axes.set_ylim(bottom=0)
            days = days_of([c.as_of for c in service.costs if c.seconds is not None])
            date_ticks(axes, days, language, most=2)
            axes.get_xticklabels()[0].set_horizontalalignment("left")
            axes.locator_params(axis="y", nbins=4)
        figure.subplots_adjust(left=0.09, right=0.98, top=0.88, bottom=(2.2 + 1.5 * rows) * line, wspace=0.3)
        legend(figure, canvas, pair[0], columns=2)

    return picture(canvas, paint, name=name, label=label)

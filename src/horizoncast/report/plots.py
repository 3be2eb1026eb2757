"""The fan chart of a run as a picture file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from horizoncast.engine import EngineResult, MemberOutcome
from horizoncast.forecast import Forecast
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.report.fan import Fan, FanMember, paint_fan
from horizoncast.report.style import Canvas, draw, printable
from horizoncast.report.summary import summarise
from horizoncast.report.texts import ENGLISH, text
from horizoncast.store.atomic import write_atomic
from horizoncast.store.plain import date_texts
from horizoncast.store.records import MemberRecord

WIDE, PHONE = 1280, 380


def fan_chart(result: EngineResult, *, width: int = WIDE, file_format: str = "png") -> bytes:
    """History, published quantiles as bands, members' medians and the naive.

    Parameters
    ----------
    width
        Pixels; texts stay readable from 380 to 1280.
    file_format
        ``png`` or ``svg``.

    Returns
    -------
    bytes
        The file, equal for equal input.
    """
    canvas = fan_canvas(width, len(result.members))
    summary = summarise(result)
    fan = Fan(
        forecast=result.forecast,
        dates=result.series.dates,
        values=result.series.values,
        members=fan_members(result.members, result.decision.best_naive),
        point_text=summary.point_text,
        title=summary.sentence,
        subtitle=_subtitle(result, canvas),
    )
    return draw(canvas, lambda figure: paint_fan(figure, canvas, fan), file_format)


def fan_canvas(width: int, members: int) -> Canvas:
    """Size of a fan chart; on a phone the members stand in the legend and take room there."""
    return Canvas(
        width=width, height=round(0.9 * width) + 9 * members if width < 640 else round(0.56 * width)
    )


def fan_members(
    members: Iterable[MemberOutcome | MemberRecord], best_naive: str, language: str = ENGLISH
) -> tuple[FanMember, ...]:
    """Medians of the members that answered, in their order."""
    return tuple(
        FanMember(
            name=member.name,
            note=_note(member, language),
            values=member.live.point,
            is_naive=member.name == best_naive,
        )
        for member in members
        if isinstance(member.live, Forecast)
    )


def save_chart(path: Path, data: bytes) -> None:
    """Write a chart in one step."""
    write_atomic(path, lambda handle: handle.write(data))


def _note(member: MemberOutcome | MemberRecord, language: str) -> str:
    if member.state is MemberState.SHADOW:
        return text("chart.shadow", language)
    if member.name in NAIVES and member.weight == 0:
        return text("chart.naive", language)
    return f"{100 * member.weight:.0f} %"


def _subtitle(result: EngineResult, canvas: Canvas) -> str:
    cutoff = date_texts(np.concatenate([[result.forecast.cutoff], result.forecast.dates]))[0]
    words = f"last observation {cutoff}"
    if canvas.narrow:
        words = f"{printable(result.series.unit, 30)}, {words}"
    if result.status_reasons:
        words += f"; {result.status}: {'; '.join(result.status_reasons)}"
    return words

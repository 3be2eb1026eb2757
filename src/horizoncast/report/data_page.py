"""The data page of a target: one HTML file that asks the network for nothing.

Texts are escaped by jinja2; only the charts, which we draw, go in as they are. The page forbids
itself scripts and requests by its content security policy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.data.checks import day_text
from horizoncast.data.leadlag import LAGS, LeadLag
from horizoncast.data.overrides import Override
from horizoncast.data.survey import Survey
from horizoncast.report.data_plots import lead_chart, series_chart, years_chart

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data of {{ name }}</title>
<style>
:root { color-scheme: light; }
body { font: 15px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222; margin: 0 auto; max-width: 1100px;
  padding: 1.2rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p { margin: .3rem 0; max-width: 52rem; } .quiet { color: #595959; }
.verdict { display: inline-block; padding: .1rem .6rem; border-radius: .3rem; font-weight: bold; }
.good { background: #e3f1e3; } .bad { background: #fbe3d8; } .warn { background: #fdf3d0; }
ul.notes { list-style: none; padding: 0; margin: .6rem 0; }
ul.notes li { padding: .4rem .7rem; margin: .3rem 0; border-left: 4px solid #b8860b; background: #fdf9ec;
  overflow-wrap: anywhere; }
ul.notes li.error { border-color: #d55e00; background: #fdf0ea; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.tiles div { border: 1px solid #ddd; border-radius: .3rem; padding: .4rem .8rem; min-width: 8rem; }
.tiles b { display: block; font-size: 1.15rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; } td, th { padding: .2rem .9rem .2rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid #eee; font-variant-numeric: tabular-nums; }
td.number, th.number { text-align: right; white-space: nowrap; } td.day { white-space: nowrap; }
td.peak { font-weight: bold; } tr.bad td { background: #fdf0ea; }
code { font: 13px/1.4 "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
svg { width: 100%; min-width: 720px; height: auto; display: block; }
</style></head><body>
"""

_BODY = """
{% macro table(head, rows, empty) %}
{% if rows %}<div class="scroll"><table><tr>{% for h in head %}<th{% if h.number %} class="number"{% endif %}>
{{ h.name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}
<td class="{{ 'number' if head[loop.index0].number else head[loop.index0].kind }}">{{ cell }}</td>{% endfor %}
</tr>{% endfor %}</table></div>{% else %}<p class="quiet">{{ empty }}</p>{% endif %}
{% endmacro %}
<h1>Data of {{ name }}</h1>
<p class="quiet">{{ unit }} · {{ place }} · {{ calendar }} calendar · made {{ made }} UTC</p>
<p><span class="verdict {{ 'bad' if errors else ('warn' if notes else 'good') }}">
{{ 'blocked: a run would refuse this data' if errors else
   ('fit to be forecast, with warnings' if notes else 'fit to be forecast') }}</span></p>
<div class="tiles">{% for tile in tiles %}<div><b>{{ tile.value }}</b>{{ tile.name }}</div>{% endfor %}</div>
{% if errors or notes %}<ul class="notes">
{% for text in errors %}<li class="error">{{ text }}</li>{% endfor %}
{% for text in notes %}<li>{{ text }}</li>{% endfor %}</ul>{% endif %}
<div class="scroll">{{ charts.series }}</div>
<h2>Coverage</h2>
<div class="scroll">{{ charts.years }}</div>
{{ table(heads.gaps, gaps, 'Every expected session has a value.') }}
<h2>Calendar</h2>
<p>{{ calendar_text }}</p>
{% if leads %}<h2>Covariates: who leads whom</h2>
<p>Rank correlation of the target's change with each covariate's change, from 3 sessions after (-3) to 3
before (+3). Shaded: what a one-step forecast uses. A price is seldom predictable; a strong bar there is
first a question of dates.</p>
<div class="scroll">{{ charts.leads }}</div>
<div class="scroll"><table><tr><th>covariate</th>{% for lag in lags %}
<th class="number">{{ '%+d' % lag }}</th>{% endfor %}<th>what it says</th></tr>
{% for lead in leads %}<tr{% if lead.trap %} class="bad"{% endif %}><td>{{ lead.name }}</td>
{% for cell in lead.cells %}<td class="number{{ ' peak' if cell.peak }}">{{ cell.text }}</td>{% endfor %}
<td>{{ lead.text }}</td></tr>{% endfor %}</table></div>{% endif %}
<h2>Outliers</h2>
{{ table(heads.outliers, outliers, 'No change beyond eight robust sigmas.') }}
<h2>Revisions</h2>
<p>{{ revision_text }}</p>
{% if revisions %}{{ table(heads.revisions, revisions, '') }}{% endif %}
{% if attempts %}<h2>Last pulls</h2>{{ table(heads.attempts, attempts, '') }}{% endif %}
<h2>Overrides</h2>
{{ table(heads.overrides, overrides, 'No observation was corrected.') }}
<h2>Suggestions</h2>
{% if suggestions %}<p>Nothing of this was applied. A person decides, and runs the command.</p>
<ul class="notes">
{% for one in suggestions %}<li>{{ one.text }}<br><code>{{ one.command }}</code></li>{% endfor %}</ul>
{% else %}<p class="quiet">None.</p>{% endif %}
</body></html>
"""


def data_page(found: Survey, *, target_file: Path, made: np.datetime64, store: Path | None = None) -> str:
    """The page as HTML.

    Parameters
    ----------
    found
        From `survey`.
    target_file
        As commands name it.
    made
        Moment, UTC.
    store
        Folder of the stores, where commands must name it.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    charts = {"series": series_chart(found), "years": years_chart(found)}
    if found.leads:
        charts["leads"] = lead_chart(found)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.from_string(_HEAD + _BODY)
    values = {**_head_values(found), **_tables(found, target_file, store)}
    return page.render(
        **values,
        made=str(made.astype("datetime64[m]")).replace("T", " "),
        charts={name: Markup(_inline(svg)) for name, svg in charts.items()},  # noqa: S704  (we drew it)
    )


def _inline(svg: bytes) -> str:
    """The picture without the prologue of a file."""
    text = svg.decode()
    return text[text.index("<svg") :]


def _head_values(found: Survey) -> dict[str, Any]:
    report, target = found.report, found.target
    notes = [*found.warnings, *(f"[{f.code}] {f.message}" for f in report.warnings)]
    tiles = [
        (f"{report.observed}", "sessions observed"),
        (f"{found.missing}", "sessions missing"),
        (_day(report.last), "last observation"),
        (f"{report.stale}", "sessions old"),
        (f"{found.revised}", "revisions"),
        (f"{len(report.overrides)}", "overrides applied"),
    ]
    return {
        "name": target.name,
        "unit": target.unit,
        "place": report.place,
        "calendar": f"{target.calendar.kind} {target.calendar.country or ''}".strip(),
        "errors": [f"[{f.code}] {f.message}" for f in report.errors],
        "notes": notes,
        "tiles": [{"value": value, "name": name} for value, name in tiles],
        "calendar_text": _calendar_text(found),
        "revision_text": _revision_text(found),
    }


def _calendar_text(found: Survey) -> str:
    closed, recurring = found.mismatch.on_closed, found.mismatch.recurring
    words = []
    if closed:
        words.append(f"Rows on days that the calendar closes, newest first: {', '.join(map(_day, closed))}.")
    if recurring:
        words.append(f"Expected sessions without a row year after year: {', '.join(recurring)}.")
    return " ".join(words) or "Rows and calendar agree."


def _revision_text(found: Survey) -> str:
    if not found.target.source.pulled:
        return "This source is read straight from a file: revisions are not recorded."
    if not found.revised:
        return "No value has been revised since the first pull."
    return f"{found.revised} values were revised; the newest:"


def _tables(found: Survey, target_file: Path, store: Path | None) -> dict[str, Any]:
    return {
        "heads": {
            "gaps": _names("after", "before", "#sessions missing"),
            "outliers": _names("date", "#before", "#value", "#robust sigmas"),
            "revisions": _names("column", "date", "#before", "#after", "#change", "known at"),
            "attempts": _names("source", "at", "outcome", "#new", "#late", "#revised", "reason"),
            "overrides": _names("no", "column", "date", "#before", "#value", "by", "on", "why", "state"),
        },
        "lags": LAGS,
        "gaps": [(_day(g.after), _day(g.before), g.sessions) for g in found.gaps],
        "outliers": [(_day(o.date), f"{o.before:g}", f"{o.value:g}", f"{o.z:+.1f}") for o in found.outliers],
        "revisions": [
            (
                c.column,
                _day(c.date),
                f"{c.before:g}",
                f"{c.after:g}",
                f"{100 * c.share:+.2f} %",
                _day(c.known_at),
            )
            for c in found.revisions
        ],
        "attempts": [
            (a.key, _day(a.at), a.outcome, a.new, a.late, a.revised, a.reason or "") for a in found.attempts
        ],
        "overrides": [_override_row(o) for o in found.overrides],
        "leads": [_lead_row(lead, trap=lead in found.traps) for lead in found.leads],
        "suggestions": [
            {"text": f"{s.column}, {_day(s.date)}: {s.why}", "command": s.command(target_file, store)}
            for s in found.suggestions
        ],
    }


def _names(*names: str) -> list[dict[str, Any]]:
    """Heads of a table; a leading ``#`` marks numbers."""
    days = ("date", "after", "before", "at", "on", "known at")
    return [
        {"name": n.removeprefix("#"), "number": n.startswith("#"), "kind": "day" if n in days else ""}
        for n in names
    ]


def _override_row(o: Override) -> tuple[Any, ...]:
    before = "none" if o.before is None else f"{o.before:g}"
    value = "dropped" if o.value is None else f"{o.value:g}"
    holds = "holds" if o.holds_at(None) else f"reverted by {o.reverted_by}: {o.reverted_why}"
    return (o.id, o.column, _day(o.date), before, value, o.by, _day(o.at), o.why, holds)


def _lead_row(lead: LeadLag, *, trap: bool) -> dict[str, Any]:
    cells = [
        {"text": f"{r:+.2f}" if np.isfinite(r) else "-", "peak": lag == lead.peak}
        for lag, r in zip(LAGS, lead.correlations, strict=True)
    ]
    return {"name": lead.name, "cells": cells, "text": lead.text, "trap": trap}


def _day(date: np.datetime64 | None) -> str:
    return "none" if date is None else day_text(date).replace("T", " ")

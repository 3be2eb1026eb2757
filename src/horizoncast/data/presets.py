"""Providers whose answers are known: addresses, field names and formats.

Every address can be overridden by ``base_url``.
"""

from __future__ import annotations

from dataclasses import dataclass

from horizoncast.data.target import SourceType


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Defaults of a source type; what the target's file says comes first."""

    url: str = ""
    base_url: str = ""
    series: str = ""
    records: str = ""
    date_column: str = "date"
    value_column: str | None = None


_ECB = "https://www.ecb.europa.eu/stats/eurofxref"

PRESETS: dict[SourceType, Preset] = {
    # A year per call, newest first; "dolar" is the dolar observado of the Banco Central de Chile.
    SourceType.MINDICADOR: Preset(
        url="{base}/{series}/{year}",
        base_url="https://mindicador.cl/api",
        series="dolar",
        records="serie",
        date_column="fecha",
        value_column="valor",
    ),
    # The date column is "observation_date", "DATE" in older files: the first column is taken.
    SourceType.FRED_CSV: Preset(
        url="{base}?id={series}&cosd={from}", base_url="https://fred.stlouisfed.org/graph/fredgraph.csv"
    ),
    SourceType.ECB_DAILY: Preset(url="{base}/eurofxref.zip", base_url=_ECB),
    SourceType.ECB_HIST: Preset(url="{base}/eurofxref-hist.zip", base_url=_ECB),
    SourceType.STOOQ_CSV: Preset(
        url="{base}?s={series}&d1={from:%Y%m%d}&d2={to:%Y%m%d}&i=d",
        base_url="https://stooq.com/q/d/l/",
        date_column="Date",
        value_column="Close",
    ),
}


def preset_of(kind: SourceType) -> Preset:
    """The defaults of a source type; empty ones when it is no preset."""
    return PRESETS.get(kind, Preset())

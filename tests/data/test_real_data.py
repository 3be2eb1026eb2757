"""No false alarm on real data: wild values that happened are at most warnings."""

import numpy as np
import pytest

from horizoncast.data.align import stable_scale
from horizoncast.data.checks import Column, Severity
from horizoncast.data.ecb import ecb_pair
from horizoncast.data.plausible import check_jump, check_unit_slip
from horizoncast.data.sources import read_rows
from horizoncast.data.target import Checks, Source, SourceType
from support import shared_data

WILDEST = 40
"""Cutoffs right after the largest changes: where a check of the last value could go wrong."""


def alarms(dates: np.ndarray, values: np.ndarray) -> list[str]:
    seen = np.isfinite(values)
    column = Column(place="x", name="v", lines=np.arange(seen.sum()), dates=dates[seen], values=values[seen])
    scale = stable_scale(column.values)[0]
    size = np.abs(np.diff(scale.forward(column.values)))
    stops = [int(at) + 2 for at in np.argsort(-size)[:WILDEST] if at > 60]
    found = check_unit_slip(column)
    for stop in stops:
        early = column.take(np.arange(stop))
        found += check_unit_slip(early) + check_jump(early, scale, Checks())
    return [f.message for f in found if f.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("usdclp_panel_daily.csv", "usdclp wti brent vix eurusd usdbrl usdmxn usdcny usdjpy"),
        ("bike_sharing_daily.csv", "casual registered cnt temp hum windspeed"),
        ("us_macro_quarterly.csv", "realgdp realcons realinv realgovt cpi m1 tbilrate unemp infl realint"),
        ("co2_weekly.csv", "co2"),
        ("airpassengers_monthly.csv", "y"),
    ],
)
def test_wide_files(name: str, columns: str) -> None:
    source = Source(type=SourceType.CSV, path=shared_data(name))
    rows = read_rows(source, columns.split())
    assert [message for c in columns.split() for message in alarms(rows.dates, rows.column(c))] == []


def test_departments_and_sensors() -> None:
    long = (
        ("walmart_weekly.csv", SourceType.CSV, "date", "weekly_sales", "1_1 1_13 1_3 1_38 1_8 1_93 1_95"),
        ("nab_anomaly.parquet", SourceType.PARQUET, "timestamp", "value",
         "Twitter_volume_AAPL cpu_utilization_asg_misconfiguration nyc_taxi exchange-4_cpm_results "
         "ec2_request_latency_system_failure machine_temperature_system_failure occupancy_t4013 "
         "rogue_agent_key_updown rogue_agent_key_hold speed_7578 rds_cpu_utilization_e47b3b "
         "ec2_cpu_utilization_ac20cd ambient_temperature_system_failure"),
    )  # fmt: skip
    for name, kind, date, value, series in long:
        for one in series.split():
            source = Source(type=kind, path=shared_data(name), date_column=date, filter=(("unique_id", one),))
            rows = read_rows(source, [value])
            assert alarms(rows.dates, rows.column(value)) == [], one


@pytest.mark.parametrize("quote", ["TRL", "TRY", "CHF", "ISK", "BRL", "HKD", "RON", "ZAR", "KRW"])
def test_currencies_in_their_wildest_days(quote: str) -> None:
    """Turkey 2001, Iceland 2008, the franc of 2015-01-15 and their like."""
    assert alarms(*ecb_pair("USD", quote)) == []

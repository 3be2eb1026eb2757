import io
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from horizoncast.engine import EngineResult
from horizoncast.forecast import Failure
from horizoncast.policy.states import MemberState
from horizoncast.report.plots import fan_chart, save_chart
from horizoncast.report.style import printable, spread_labels
from horizoncast.report.summary import summarise
from horizoncast.series import Scale, Series
from small_runs import small_result, small_series

HOSTILE = [
    "../../x",
    "<script>alert(1)</script>",
    "=cmd",
    r"$\frac{",
    "$x^2$",
    "中文 \U0001f600",
    "a\nb",
    "",
    "x" * 300,
]


def svg_texts(data: bytes) -> list[str]:
    """Visible texts of an SVG; fails when it is no well-formed XML or holds a script."""
    root = ET.fromstring(data)
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    return ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("}text")]


def with_members(result: EngineResult, shifts: dict[str, float]) -> EngineResult:
    """The result with more members, each a tilted copy of the first."""
    first = result.members[0]
    tilt = np.arange(1, result.horizon.steps + 1)[:, None] / result.horizon.steps
    members = [
        replace(
            first,
            name=name,
            state=MemberState.SHADOW,
            live=replace(first.live, member=name, quantiles=first.live.quantiles * np.exp(shift * tilt)),
        )
        for name, shift in shifts.items()
    ]
    return replace(result, members=(*result.members, *members))


@pytest.mark.parametrize("width", [380, 1280])
def test_a_chart_has_the_width_asked_for_and_equal_bytes(width):
    result = small_result(horizon=30)
    data = fan_chart(result, width=width)
    assert data == fan_chart(result, width=width)
    image = Image.open(io.BytesIO(data))
    assert image.width == width and image.height < 1.3 * width
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert "Software" not in image.info


def test_the_title_says_the_finding_and_the_axes_their_dates_and_unit():
    result = small_result(horizon=30)
    texts = svg_texts(fan_chart(result, file_format="svg"))
    joined = " ".join(texts).replace("\u00a0", " ")
    assert summarise(result).sentence in joined
    assert "MXN per USD" in texts
    assert str(result.series.last)[:10] in texts and str(result.forecast.dates[-1])[:10] in texts
    assert {"observed", "median", "50 % interval", "80 % interval", "95 % interval"} <= set(texts)
    assert any(text.startswith("random_walk") for text in texts)


def test_svg_bytes_are_equal_and_small():
    data = fan_chart(small_result(horizon=30), file_format="svg")
    assert data == fan_chart(small_result(horizon=30), file_format="svg")
    assert len(data) < 200_000 and b"<dc:date>" not in data


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_text(name):
    result = small_result(name=name, unit=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fan_chart(result, width=380).startswith(b"\x89PNG")
        data = fan_chart(result, file_format="svg")
    joined = " ".join(svg_texts(data))
    assert printable(name, 30) in joined


def test_a_member_far_away_does_not_flatten_the_rest():
    result = small_result(horizon=30)
    texts = svg_texts(fan_chart(with_members(result, {"wild": 9.0, "low": -9.0}), file_format="svg"))
    assert "wild (shadow) \u2191" in texts and "low (shadow) \u2193" in texts
    ticks = [float(text) for text in texts if text.replace(".", "", 1).isdigit()]
    assert ticks and max(ticks) < 2 * result.series.values.max()


def test_a_failed_member_is_left_out():
    result = small_result(horizon=30)
    failure = Failure(member="seasonal_naive", cutoff=None, code="ChildError", reason="killed")
    members = (result.members[0], replace(result.members[1], live=failure))
    texts = svg_texts(fan_chart(replace(result, members=members), file_format="svg"))
    assert not any("seasonal_naive" in text for text in texts)


@pytest.mark.parametrize("factor", [0.0, 1e-9, 1e9])
def test_constant_tiny_and_huge_series_can_be_drawn(factor):
    base = small_series()
    values = base.values * factor if factor else np.full(len(base), 5.0)
    series = Series(
        name="s", unit="u", calendar=base.calendar, dates=base.dates, values=values, scale=Scale.LEVEL
    )
    result = small_result(horizon=30)
    forecast = replace(
        result.forecast, quantiles=result.forecast.quantiles * (factor or 0.0) + (factor == 0) * 5
    )
    drawn = replace(result, series=series, forecast=forecast, members=())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fan_chart(drawn).startswith(b"\x89PNG")


def test_settings_of_matplotlib_are_put_back():
    before = dict(mpl.rcParams)
    fan_chart(small_result())
    assert dict(mpl.rcParams) == before


def test_labels_are_spread_and_stay_in_order():
    placed = spread_labels([5.0, 5.0, 5.1, 0.0], 1.0, 0.0, 6.0)
    assert placed[3] < placed[0] < placed[1] < placed[2] <= 6.0
    assert min(np.diff(sorted(placed))) >= 1.0 - 1e-9


def test_a_chart_is_written_whole(tmp_path):
    data = fan_chart(small_result())
    save_chart(tmp_path / "a" / "fan.png", data)
    assert (tmp_path / "a" / "fan.png").read_bytes() == data

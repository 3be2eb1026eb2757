"""The chart of a fusion: what it stacks adds up, and it is drawn only where something is known."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fusions import a_fusion, parts_of, unmade, with_fusion
from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.report.hybrid_plot import drawable, finding_of, hybrid_chart, hybrid_files, stacked_spreads
from horizoncast.series import Scale

ABOUT = {"series": "usd_mxn", "unit": "MXN per USD", "scale": Scale.LOG}


def test_parts_reach_the_standard_deviation_and_split_it_by_shares_of_the_variance():
    fusion = a_fusion(30)
    rows = stacked_spreads(fusion)
    assert list(rows) == ["aleatoric", "between", "epistemic"]
    np.testing.assert_allclose(sum(rows.values()), fusion.uncertainty.spread, rtol=1e-12)
    share = fusion.uncertainty.epistemic / fusion.uncertainty.total
    np.testing.assert_allclose(rows["epistemic"] / fusion.uncertainty.spread, share, rtol=1e-12)


def test_a_lead_without_any_doubt_is_nothing():
    row = np.array([0.0, 1.0])
    fusion = a_fusion(2, uncertainty=HierarchicalUncertainty(epistemic=row, aleatoric=row, between=row))
    assert drawable(fusion)
    assert stacked_spreads(fusion)["between"].tolist() == [0.0, pytest.approx(np.sqrt(3) / 3)]


@pytest.mark.parametrize(
    "fusion",
    [
        unmade(),
        a_fusion(weights=np.full((2, 7), np.nan)),
        a_fusion(uncertainty=replace(parts_of(7), between=np.full(7, np.nan))),
        a_fusion(uncertainty=HierarchicalUncertainty(**dict.fromkeys(vars(parts_of(7)), np.zeros(7)))),
    ],
    ids=["unmade", "no weights", "a part not known", "no doubt"],
)
def test_nothing_is_drawn_of_what_is_not_known(fusion):
    assert not drawable(fusion)
    assert hybrid_files(with_fusion(fusion)) == {}
    assert hybrid_files(with_fusion(None)) == {}


def test_a_run_with_a_fusion_has_a_chart_for_a_screen_and_for_a_phone():
    result = with_fusion(a_fusion(30), horizon=30)
    files = hybrid_files(result)
    sizes = {name: Image.open(BytesIO(data)).size for name, data in files.items()}
    assert sizes == {"hybrid.png": (1280, 640), "hybrid_380.png": (380, 570)}
    assert files == hybrid_files(result)


@pytest.mark.parametrize(("steps", "scale"), [(1, Scale.LOG), (12, Scale.LEVEL), (168, Scale.LOG)])
@pytest.mark.parametrize("language", ["en", "es"])
def test_every_horizon_scale_and_language_is_drawn(steps, scale, language):
    about = ABOUT | {"scale": scale}
    chart = hybrid_chart(a_fusion(steps), language=language, **about)
    assert chart.startswith(b"\x89PNG")


def test_the_chart_follows_what_it_shows():
    charts = [
        hybrid_chart(fusion, **ABOUT)
        for fusion in (
            a_fusion(7),
            a_fusion(7, uncertainty=parts_of(7, scale=2.0)),
            a_fusion(7, weights=np.full((2, 7), 0.5)),
        )
    ]
    assert len(set(charts)) == 3


def test_doubt_that_no_branch_knows_of_is_not_told_as_none():
    unknown = replace(parts_of(7), epistemic=np.zeros(7))
    assert finding_of(7, None, 0.256, "en").endswith("doubt about the models is not known")
    told = finding_of(7, 0.0, 0.256, "en")
    assert told.startswith("At step 7, 0 % of the variance is doubt about the models, 26 % lies")
    fusion = a_fusion(7, uncertainty=unknown)
    small = a_fusion(7, uncertainty=replace(unknown, epistemic=np.full(7, 1e-12)))
    assert hybrid_chart(fusion, **ABOUT) != hybrid_chart(small, **ABOUT)


def test_hostile_names_are_drawn_as_text():
    chart = hybrid_chart(a_fusion(7), **ABOUT | {"series": r"$\frac{", "unit": "<b>$x_1$"})
    assert chart.startswith(b"\x89PNG")

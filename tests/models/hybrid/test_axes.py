"""Principal components of embeddings: those of the unit vectors, with a fixed sign, or none."""

import numpy as np
import pytest

from horizoncast.errors import ModelError
from horizoncast.models.hybrid.axes import AXES, NO_AXES, Axes

RNG = np.random.default_rng(3)
VECTORS = RNG.normal(size=(40, 6)) * np.array([3.0, 2.0, 1.0, 0.5, 0.2, 0.1]) + 1.0


def test_axes_are_the_principal_components_of_unit_vectors() -> None:
    found = Axes.of(VECTORS)
    plain = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    values, components = np.linalg.eigh(np.cov(plain.T))
    for axis, expected in zip(np.array(found.axes), components.T[::-1], strict=False):
        assert abs(axis @ expected) == pytest.approx(1.0)
        assert axis[np.abs(axis).argmax()] > 0
    np.testing.assert_allclose(found.centre, plain.mean(axis=0))
    np.testing.assert_allclose(np.var(found.along(VECTORS), axis=0, ddof=1), values[::-1][:AXES])


def test_length_is_nothing_and_what_is_unknown_stays_so() -> None:
    found = Axes.of(np.vstack([VECTORS, np.full(6, np.nan)]))
    assert found == Axes.of(VECTORS)
    np.testing.assert_allclose(found.along(7.0 * VECTORS), found.along(VECTORS), rtol=1e-12)
    assert np.isnan(found.along(np.full((2, 6), np.nan))).all()
    assert found.along(np.empty((3, 0))).shape == (3, AXES)


@pytest.mark.parametrize(
    "vectors",
    [VECTORS[:9], np.empty((40, 0)), np.full((40, 6), np.nan), np.ones((40, 6))],
    ids=["few", "none", "unknown", "alike"],
)
def test_too_few_or_equal_vectors_give_no_axis(vectors: np.ndarray) -> None:
    found = Axes.of(vectors)
    assert found.axes == ()
    assert np.isnan(found.along(VECTORS)).all()


def test_fewer_directions_give_fewer_axes() -> None:
    plane = RNG.normal(size=(20, 2)) @ RNG.normal(size=(2, 6))
    found = Axes.of(plane)
    assert len(found.axes) == 2
    assert np.isfinite(found.along(plane)[:, :2]).all()
    assert np.isnan(found.along(plane)[:, 2]).all()


def test_what_cannot_be_is_refused() -> None:
    found = Axes.of(VECTORS)
    with pytest.raises(ModelError, match="another size"):
        found.along(np.ones((2, 5)))
    NO_AXES.require(5)
    found.require(0)
    for broken in (
        {"centre": (0.0, 0.0), "axes": ((1.0,),)},
        {"centre": (0.0,), "axes": ((1.0,),) * 4},
        {"centre": (float("nan"),), "axes": ((1.0,),)},
    ):
        with pytest.raises(ModelError, match="axes of an embedding"):
            Axes(**broken)

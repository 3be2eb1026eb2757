"""Objects that stay what they were: read-only arrays, and pickles that are checked when they are read."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

ArrayT = TypeVar("ArrayT", bound=npt.NDArray[Any])


def sealed(array: ArrayT) -> ArrayT:
    """The same array, read-only from now on."""
    array.setflags(write=False)
    return array


def readonly(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A read-only float64 copy."""
    return sealed(np.array(values, dtype=np.float64))


def init_fields(kind: type) -> tuple[str, ...]:
    """Names of the fields that a dataclass is made from."""
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return tuple(name for name, field in fields.items() if field.init)


def reduced(item: Any) -> tuple[Any, ...]:
    """What ``__reduce__`` returns to pickle through the constructor.

    A frozen dataclass alone is neither checked nor read-only again when it is unpickled.
    """
    return _rebuild, (type(item), {name: getattr(item, name) for name in init_fields(type(item))})


def _rebuild(kind: type, values: dict[str, Any]) -> Any:
    return kind(**values)

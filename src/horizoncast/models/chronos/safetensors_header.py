"""What a safetensors file says of itself, checked against its length, without loading a number.

The format: eight bytes N, little-endian; N bytes of JSON, per tensor its dtype, shape and the two
offsets of its bytes; then the bytes, without gaps (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

from pathlib import Path

from horizoncast.errors import NotInstalledError, StoreError


def parameter_count(path: Path) -> int:
    """Numbers in a safetensors file.

    Raises
    ------
    StoreError
        When the file is missing, torn, or not of this format.
    NotInstalledError
        When the package safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            "model files need a package that is not installed",
            value=error.name,
            action="pip install 'horizoncast[neural]'",
        ) from error
    total = 0
    try:
        with safe_open(path, framework="numpy") as found:
            for name in found.keys():  # noqa: SIM118 it is no mapping
                count = 1
                for size in found.get_slice(name).get_shape():
                    count *= size
                total += count
    except (SafetensorError, OSError) as error:
        raise StoreError(
            f"{path} is not a whole safetensors file", value=error, action="fetch or train it again"
        ) from error
    return total

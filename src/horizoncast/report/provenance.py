"""Where numbers come from: versions, machine type, commit."""

from __future__ import annotations

import hashlib
import platform
import re
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from horizoncast.store.plain import canonical

SEEDS = "64 bits of sha256 over service, series, member and cutoff (models.base.seed_of)"

PACKAGES = (
    "horizoncast",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "statsmodels",
    "arch",
    "scikit-learn",
    "currencyconverter",
    "holidays",
    "matplotlib",
    "torch",
    "chronos-forecasting",
    "transformers",
)
"""Packages whose version can change a number or a file of a run."""


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue  # an optional package: its absence is the information
    return tuple(found)


def package_versions() -> dict[str, str]:
    """Version by package, installed ones only."""
    return dict(_versions())


def machine_type() -> str:
    """System, processor and C library: bytes of two runs compare where this is equal."""
    libc = " ".join(part for part in platform.libc_ver() if part)
    return ", ".join(part for part in (platform.system(), platform.machine(), _processor(), libc) if part)


def digest_of_settings(settings: object) -> str:
    """Digest of settings as plain JSON, 16 hexadecimal digits."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()[:16]


def git_commit(folder: Path | None = None) -> str | None:
    """Commit of the checkout that this package lies in; None outside a checkout.

    Read from the files below .git, so that nothing has to be started.

    Parameters
    ----------
    folder
        Top of the checkout; the one around this file by default.
    """
    top = Path(__file__).resolve().parents[3] if folder is None else folder
    if not (top / "src" / "horizoncast").is_dir():
        return None  # installed from a package; a repository further up is somebody else's
    try:
        return _head_of(_git_folder(top / ".git"))
    except OSError:
        return None


def _git_folder(path: Path) -> Path:
    """The .git folder; in a worktree .git is a file that names it."""
    if path.is_dir():
        return path
    named = Path(path.read_text(encoding="utf-8").removeprefix("gitdir:").strip())
    return named if named.is_absolute() else path.parent / named


def _head_of(git: Path) -> str | None:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return _commit(head)
    name = head.removeprefix("ref:").strip()
    common = git / "commondir"
    base = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
    for loose in (git / name, base / name):
        if loose.is_file():
            return _commit(loose.read_text(encoding="utf-8").strip())
    packed = (base / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((_commit(line.split()[0]) for line in packed if line.endswith(f" {name}")), None)


def _commit(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else None


def _processor() -> str:
    """Model name of the processor on Linux, empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")

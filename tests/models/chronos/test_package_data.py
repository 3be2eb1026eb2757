"""What pip installs holds the checkpoint that ships: all of its manifest, its card, the card's text."""

import tomllib
from pathlib import Path

from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

from horizoncast.models.chronos.folder import read_manifest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "src" / "horizoncast"


def installed_data() -> set[str]:
    """Files beside the modules that setuptools would put into a wheel, by their paths in the package."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    made = Distribution(
        {
            "packages": ["horizoncast"],
            "package_dir": {"": str(ROOT / "src")},
            "package_data": table["package-data"],
        }
    )
    command = build_py(made)
    command.ensure_finalized()
    command.manifest_files = {}
    found = command.find_data_files("horizoncast", str(PACKAGE))
    return {str(Path(name).relative_to(PACKAGE)) for name in found}


def test_the_checkpoint_that_ships_is_installed_whole() -> None:
    shipped = "models/chronos/shipped"
    listed = {f"{shipped}/{name}" for name in read_manifest(PACKAGE / shipped).files}
    wanted = listed | {f"{shipped}/manifest.json", f"{shipped}/README.md", "models/chronos/pretrain/card.md"}
    assert len(listed) == 2
    assert wanted <= installed_data()


def test_no_file_beside_the_modules_is_forgotten() -> None:
    """A template or text that only the checkout has would be missed on the first server."""
    there = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert there == installed_data()

"""The house rules that a machine can check."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "horizoncast"
MODULES = sorted(SRC.rglob("*.py"))
LIMIT = 400

MEMBER_GUARD = ("models/child.py", "run_guarded")


def module_id(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def tracked() -> list[Path]:
    """Files under version control or about to be; all files where there is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        return [p for p in ROOT.rglob("*") if p.is_file() and not any(q.startswith(".") for q in p.parts)]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# imports


def test_imports_go_down_only(monkeypatch):
    """The contracts of pyproject.toml, the exhaustive list of floors among them."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


LIGHT = ["calendar", "horizon", "errors", "resources", "policy", "policy.states"]
HEAVY = [
    "pandas",
    "scipy",
    "torch",
    "sklearn",
    "statsmodels",
    "arch",
    "matplotlib",
    "pydantic",
    "apscheduler",
]


@pytest.mark.parametrize("name", LIGHT)
def test_the_vocabulary_of_tick_stays_small(name):
    code = f"import sys, horizoncast.{name}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "horizoncast" in done.stdout.split()
    assert not set(HEAVY) & set(done.stdout.split())


def test_every_policy_module_stays_small():
    names = [p.stem for p in (SRC / "policy").glob("*.py") if p.stem != "__init__"]
    imports = "; ".join(f"import horizoncast.policy.{name}" for name in names)
    code = f"import sys; {imports}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"pandas", "scipy", "torch"} & set(done.stdout.split())


def test_holidays_do_not_pull_pandas_in():
    code = """
import sys
import numpy as np
from horizoncast.calendar import Calendar, CalendarKind
Calendar(kind=CalendarKind.BUSINESS, country="CL").future(np.datetime64("2024-06-28"), 90)
print("pandas" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


# sources


def functions(module: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every node with the name of the innermost function around it."""
    stack: list[tuple[str, ast.AST]] = [("", module)]
    while stack:
        inside, node = stack.pop()
        yield inside, node
        name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        stack += [(name, child) for child in ast.iter_child_nodes(node)]


def caught(node: ast.AST) -> list[str]:
    """Names an except clause catches; ``bare`` where it names none."""
    if not isinstance(node, ast.ExceptHandler):
        return []
    if node.type is None:
        return ["bare"]
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return [kind.id for kind in kinds if isinstance(kind, ast.Name)]


def suppressed(node: ast.AST) -> list[str]:
    """Names given to ``contextlib.suppress``."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] != "suppress":
        return []
    return [a.id for a in node.args if isinstance(a, ast.Name)]


def broad(module: ast.Module) -> list[str]:
    """Functions that catch everything."""
    too_much = {"bare", "Exception", "BaseException"}
    return [inside for inside, node in functions(module) if too_much & {*caught(node), *suppressed(node)}]


def test_the_check_for_broad_handlers_finds_them():
    text = """
def a():
    try: pass
    except: pass
def b():
    try: pass
    except (ValueError, Exception): pass
def c():
    with contextlib.suppress(BaseException): pass
def d():
    try: pass
    except ValueError: pass
"""
    assert sorted(broad(ast.parse(text))) == ["a", "b", "c"]


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_only_the_two_guards_catch_everything(path):
    """The member guard and the outermost handler of the process."""
    name, found = module_id(path), broad(tree(path))
    if name == MEMBER_GUARD[0]:
        assert found == [MEMBER_GUARD[1]]
    elif name.split("/")[0] in ("cli.py", "cli"):
        assert found in ([], ["main"])
    else:
        assert found == []


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_nothing_is_printed(path):
    calls = [n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]
    assert [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"] == []


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_modules_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LIMIT


MACHINE = re.compile(r"(?<![\w.$}~-])/(?:work|tmp/w|root)(?![\w-])")
TEXT = {
    ".py",
    ".toml",
    ".md",
    ".txt",
    ".cfg",
    ".ini",
    ".json",
    ".yml",
    ".yaml",
    ".csv",
    ".sh",
    ".service",
    ".timer",
}


def test_the_check_for_machine_paths_finds_them():
    assert MACHINE.search("x = '" + "/" + "work/main'")
    assert MACHINE.search("run " + "/" + "tmp/w/venv")
    assert not MACHINE.search("benchmarks/work/ and ~/work and /workers")


def test_no_path_of_one_machine_is_in_the_project():
    named = [p for p in tracked() if p.suffix in TEXT or p.name in ("Makefile", ".gitignore", ".env.example")]
    assert len(named) > 20
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in named
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


# requirements


def declared() -> list[Requirement]:
    """Direct dependencies and extras of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [r for group in project["optional-dependencies"].values() for r in group]
    return [Requirement(text) for text in (*project["dependencies"], *extras)]


def pinned() -> dict[str, str]:
    """Version of every ``name==version`` line of requirements.txt, by canonical name."""
    pins: dict[str, str] = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        text = line.split(" #")[0].split(" --hash")[0].rstrip("\\ ")
        if not text or text.lstrip().startswith(("#", "-")):
            continue
        requirement = Requirement(text)
        (pin,) = requirement.specifier
        assert pin.operator == "==", f"{line}: not an exact version"
        assert "*" not in pin.version, f"{line}: not an exact version"
        name = canonicalize_name(requirement.name)
        assert name not in pins, f"{line}: pinned twice"
        pins[name] = pin.version
    return pins


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_every_dependency_is_pinned_inside_its_range(requirement):
    pins, name = pinned(), canonicalize_name(requirement.name)
    assert name in pins, f"{name} is not in requirements.txt"
    assert requirement.specifier.contains(pins[name], prereleases=True)


def test_the_makefile_installs_the_torch_that_is_pinned():
    found = re.search(r"torch==(\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert found is not None
    assert found.group(1).split("+")[0] == pinned()["torch"].split("+")[0]

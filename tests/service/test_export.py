"""What calls tick: lines and units that hold no cadence."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from horizoncast.errors import ConfigError
from horizoncast.service import export
from horizoncast.service.export import UNIT, cron_lines, systemd_units

ODD = '/srv/fore cast/100%/$HOME/it\'s "here"'


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "program", lambda: [sys.executable, "-m", "horizoncast.cli"])


@pytest.mark.parametrize(("every", "minute"), [(1, "*"), (15, "*/15"), (60, "0")])
def test_a_cron_line_calls_tick_and_says_nothing_of_days(every: int, minute: str) -> None:
    (line,) = [x for x in cron_lines(Path("/srv/forecast"), every).splitlines() if not x.startswith("#")]
    assert line.split()[:5] == [minute, "*", "*", "*", "*"]
    assert line.split()[5:] == [
        sys.executable,
        "-m",
        "horizoncast.cli",
        "tick",
        "--quiet",
        "--root",
        "/srv/forecast",
    ]


def test_a_cron_line_survives_odd_paths() -> None:
    """Cron ends a command at a bare per cent sign; the shell splits at blanks."""
    line = cron_lines(Path(ODD), 15).splitlines()[-1]
    assert "%" not in line.replace("\\%", "")
    assert shlex.split(line.replace("\\%", "%"))[-1] == ODD


@pytest.mark.parametrize("every", [0, 7, 61, -5])
def test_minutes_that_do_not_divide_an_hour_are_refused(every: int) -> None:
    with pytest.raises(ConfigError, match="divide"):
        cron_lines(Path("/srv"), every)


def test_a_line_break_in_a_path_is_refused() -> None:
    for call in (lambda: cron_lines(Path("/a\nb"), 15), lambda: systemd_units(Path("/a\nb"), 15)):
        with pytest.raises(ConfigError, match="line break"):
            call()


def systemd() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze absent")
    return found


@pytest.mark.parametrize("root", ["/srv/forecast", ODD])
def test_systemd_accepts_the_units(tmp_path: Path, root: str) -> None:
    program = systemd()
    files = []
    for name, text in systemd_units(Path(root), 15, ["--config", "/etc/a b.toml"]).items():
        (tmp_path / name).write_text(text)
        files.append(str(tmp_path / name))
    done = subprocess.run(
        [program, "verify", "--man=no", *files], capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in done.stderr.splitlines() if UNIT in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("every", [1, 5, 15, 60])
def test_systemd_reads_the_timer_as_meant(every: int) -> None:
    program = systemd()
    text = systemd_units(Path("/srv"), every)[f"{UNIT}.timer"]
    (when,) = [line.split("=", 1)[1] for line in text.splitlines() if line.startswith("OnCalendar=")]
    done = subprocess.run(
        [program, "calendar", "--iterations=3", "--base-time=2026-01-01 00:00:30 UTC", when],
        capture_output=True, text=True, timeout=60, check=False, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    moments = [word for word in done.stdout.split() if word.count(":") == 2]
    assert f"00:{every:02d}:00" in moments or (every == 60 and "01:00:00" in moments)


def test_units_run_as_the_account_named() -> None:
    text = systemd_units(Path("/srv"), 15, user="forecast")[f"{UNIT}.service"]
    assert "\nUser=forecast\n" in text
    assert "User=" not in systemd_units(Path("/srv"), 15)[f"{UNIT}.service"]
    with pytest.raises(ConfigError, match="account"):
        systemd_units(Path("/srv"), 15, user="a\nExecStartPre=/bin/true")

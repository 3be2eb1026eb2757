import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from horizoncast import resources
from horizoncast.resources import (
    MIB,
    THREAD_VARIABLES,
    child_environment,
    memory_available,
    memory_kills,
    memory_limit,
    usage_now,
)

TOTAL = int(psutil.virtual_memory().total)
NO_GROUP = Path("absent")


def write(root: Path, **files: str | int) -> Path:
    """Control files in a folder, made if need be; ``memory_max`` is ``memory.max``."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("_", ".", 1)).write_text(f"{text}\n")
    return root


def groups(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "membership"
    path.write_text("\n".join(lines) + "\n")
    return path


# limits


def test_memory_checks_see_the_limit_of_a_container(tmp_path):
    """Regression: "memory checks that ignore the container's limit" (version 2, as Docker mounts it)."""
    root = write(tmp_path / "cg", memory_max=512 * MIB, memory_current=500 * MIB)
    own = groups(tmp_path, "0::/")
    assert memory_limit(root, own) == 512 * MIB
    assert memory_available(root, own) == 12 * MIB


def test_memory_checks_see_the_limit_of_a_container_version_1(tmp_path):
    write(
        tmp_path / "cg" / "memory",
        **{"memory_limit_in_bytes": 300 * MIB, "memory_usage_in_bytes": 100 * MIB},
    )
    own = groups(tmp_path, "4:memory:/docker/abc", "0::/")  # the mount is the container's own group
    assert memory_limit(tmp_path / "cg", own) == 300 * MIB
    assert memory_available(tmp_path / "cg", own) == min(200 * MIB, psutil.virtual_memory().available)


def test_the_groups_own_limit_counts_in_version_1(tmp_path):
    write(tmp_path / "cg" / "memory", memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=1)
    write(
        tmp_path / "cg" / "memory" / "batch" / "run",
        memory_limit_in_bytes=256 * MIB,
        memory_usage_in_bytes=250 * MIB,
    )
    own = groups(tmp_path, "9:name=systemd:/other", "4:cpu,memory:/batch/run", "0::/")
    assert memory_limit(tmp_path / "cg", own) == 256 * MIB
    assert memory_available(tmp_path / "cg", own) == 6 * MIB


def test_the_tightest_group_above_counts_in_version_2(tmp_path):
    root = write(tmp_path / "cg")
    write(root / "system.slice", memory_max=400 * MIB, memory_current=390 * MIB)
    write(root / "system.slice" / "forecast.service", memory_max="max", memory_current=20 * MIB)
    own = groups(tmp_path, "0::/system.slice/forecast.service")
    assert memory_limit(root, own) == 400 * MIB
    assert memory_available(root, own) == 10 * MIB


@pytest.mark.parametrize("text", ["max", "", "garbage", "9223372036854771712"])
def test_no_limit_is_the_machines_memory(tmp_path, text):
    root = write(tmp_path / "cg", memory_max=text, memory_current=1)
    assert memory_limit(root, groups(tmp_path, "0::/")) == TOTAL
    assert 0 < memory_available(root, groups(tmp_path, "0::/")) <= TOTAL


def test_no_control_groups_at_all(tmp_path):
    assert memory_limit(tmp_path, tmp_path / NO_GROUP) == TOTAL
    assert 0 < memory_available(tmp_path, tmp_path / NO_GROUP) <= TOTAL


def test_a_limit_of_zero_is_a_limit(tmp_path):
    root = write(tmp_path / "cg", memory_max=0, memory_current=0)
    assert memory_limit(root, groups(tmp_path, "0::/")) == 0


def test_a_group_over_its_limit_has_nothing_left_rather_than_less(tmp_path):
    root = write(tmp_path / "cg", memory_max=100 * MIB, memory_current=150 * MIB)
    assert memory_available(root, groups(tmp_path, "0::/")) == 0


@pytest.mark.parametrize(
    ("stat", "reclaimable"),
    [
        (f"anon 1\ninactive_file {30 * MIB}\nactive_file 7\n", 30),
        (f"cache 1\ninactive_file 0\ntotal_cache 5\ntotal_inactive_file {40 * MIB}\n", 40),
        ("anon 1\n", 0),
        ("", 0),
    ],
)
def test_file_cache_the_kernel_would_drop_counts_as_available(tmp_path, stat, reclaimable):
    """Version 1 lists the group alone first; its usage is that of the whole tree below."""
    root = write(tmp_path / "cg", memory_max=100 * MIB, memory_current=90 * MIB)
    (root / "memory.stat").write_text(stat)
    assert memory_available(root, groups(tmp_path, "0::/")) == (10 + reclaimable) * MIB


def test_this_machine_can_be_read():
    assert 0 < memory_limit() <= TOTAL
    assert 0 < memory_available() <= TOTAL


def test_usage_counts_up():
    before = usage_now(0.0, 1.0)
    sum(i * i for i in range(200_000))
    after = usage_now(0.0, 3.5)
    assert after.cpu_s > before.cpu_s
    assert after.wall_s == 3.5
    assert after.peak_mb > 10


# a process of its own


def run(code: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_an_allocation_past_the_cap_is_a_memory_error_in_that_process():
    code = """
from horizoncast.resources import limit_data
limit_data(64)
small = bytearray(16 * 2**20)
try:
    bytearray(256 * 2**20)
except MemoryError:
    print("MemoryError", len(small))
"""
    done = run(code)
    assert done.stdout.split() == ["MemoryError", str(16 * MIB)], done.stderr
    assert done.returncode == 0


def test_the_cap_counts_from_what_the_process_has_already():
    code = """
import resource
before = bytearray(200 * 2**20)
from horizoncast.resources import limit_data
limit_data(50)
print(resource.getrlimit(resource.RLIMIT_DATA)[0] // 2**20)
more = bytearray(20 * 2**20)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 250


def test_the_cap_respects_a_hard_limit():
    code = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (300 * 2**20, 300 * 2**20))
from horizoncast.resources import limit_data
limit_data(10_000)
print(resource.getrlimit(resource.RLIMIT_DATA)[0] // 2**20)
"""
    assert run(code).stdout.strip() == "300"


PARENT = """
import os, subprocess, sys, time
command = [sys.executable, "-c", sys.argv[1], str(os.getpid())]
child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
child.stdout.readline()  # the child watches from here on
print(child.pid, flush=True)
time.sleep(60)
"""
CHILD = """
import sys, time
from horizoncast.resources import die_with
die_with(int(sys.argv[1]))
print("watching", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_does_not_outlive_a_killed_parent(how):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(how)
        parent.wait(timeout=10)
        psutil.wait_procs([child], timeout=2)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.wait(timeout=10)
        parent.stdout.close()


def test_a_child_of_a_parent_that_is_gone_ends_at_once():
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait(timeout=30)
    started = time.monotonic()
    done = run(CHILD, str(gone.pid))
    assert done.returncode == 1
    assert "watching" not in done.stdout
    assert time.monotonic() - started < 20


def test_a_child_lives_while_its_parent_does():
    code = CHILD.replace("time.sleep(60)", "time.sleep(0.3)")
    assert run(code, str(os.getpid())).returncode == 0


# environment


def test_children_get_one_thread_and_the_environment_comes_back(monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with child_environment():
        assert {name: os.environ[name] for name in THREAD_VARIABLES} == THREAD_VARIABLES
    assert dict(os.environ) == before


def test_what_the_operator_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("MKL_NUM_THREADS", "")
    with child_environment():
        assert os.environ["OMP_NUM_THREADS"] == "4"
        assert os.environ["MKL_NUM_THREADS"] == ""
    assert os.environ["OMP_NUM_THREADS"] == "4"
    assert os.environ["MKL_NUM_THREADS"] == ""


def test_the_environment_comes_back_after_an_error(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with pytest.raises(RuntimeError), child_environment():
        os.environ.pop("OMP_WAIT_POLICY")
        raise RuntimeError
    assert "OMP_WAIT_POLICY" not in os.environ


def test_one_thread_is_the_default_of_every_library_we_load():
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} <= set(THREAD_VARIABLES)
    assert resources.THREAD_VARIABLES["OMP_WAIT_POLICY"] == "PASSIVE"


def test_kills_for_memory_are_counted_in_both_versions(tmp_path):
    two = tmp_path / "two" / "batch"
    two.mkdir(parents=True)
    (two / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert memory_kills(tmp_path / "two", groups(tmp_path, "0::/batch")) == 2
    one = tmp_path / "one" / "memory"
    one.mkdir(parents=True)
    (one / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    assert memory_kills(tmp_path / "one", groups(tmp_path, "4:memory:/elsewhere")) == 5
    assert memory_kills(tmp_path / "none", groups(tmp_path, "0::/")) == 0

"""Files are whole or absent, whatever goes wrong while they are written."""

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from horizoncast.errors import StoreError
from horizoncast.store.atomic import write_atomic


def put(text: bytes) -> object:
    return lambda handle: handle.write(text)


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_atomic(path, put(b"one"))
    write_atomic(path, put(b"two"))
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def fail_with(error: BaseException) -> object:
    def write(handle: IO[bytes]) -> None:
        handle.write(b"half")
        raise error

    return write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_a_store_error_and_leaves_the_old_file(tmp_path: Path, code: int) -> None:
    path = tmp_path / "c.txt"
    write_atomic(path, put(b"old"))
    with pytest.raises(StoreError, match="check space") as caught:
        write_atomic(path, fail_with(OSError(code, os.strerror(code))))
    assert os.strerror(code) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_any_other_error_passes_and_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "c.txt", fail_with(error))
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(StoreError):
        write_atomic(tmp_path / "a" / "c.txt", put(b"x"))


def test_a_folder_where_the_file_must_be(tmp_path: Path) -> None:
    (tmp_path / "c.txt").mkdir()
    with pytest.raises(StoreError):
        write_atomic(tmp_path / "c.txt", put(b"x"))
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


def test_a_name_too_long_for_the_file_system(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        write_atomic(tmp_path / ("x" * 300), put(b"x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="permissions"):
        write_atomic(tmp_path / "c.txt", put(b"x"))
    tmp_path.chmod(0o700)


def test_two_writers_of_one_file_do_not_share_their_part(tmp_path: Path) -> None:
    """Two threads of one process: the inner file is complete before the outer one is."""
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "c.txt"

    def outer(handle: IO[bytes]) -> None:
        handle.write(b"outer")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(write_atomic, path, put(b"in")).result()
        assert path.read_bytes() == b"in"

    write_atomic(path, outer)
    assert path.read_bytes() == b"outer"
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]

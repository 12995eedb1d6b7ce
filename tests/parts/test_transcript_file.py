"""The lasting transcript on real files: torn, rotated, on a disk that is full, stuck, or back again."""

import errno
import os
import stat
import threading

import pytest

from mpengine.shared.errors import MpengineError
from mpengine.shared.snapshot import Stamp
from mpengine.supervisor import transcript_file as module
from mpengine.supervisor.transcript_file import TranscriptFile
from tests.rig.waiting import wait_until


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "said.jsonl")


def line(seq, size=0, run="r"):
    return b'{"type":"transcript","is_final":true,"run":"%s","seq":%d,"text":"%s"}' % (run.encode(), seq, b"x" * size)


def opened(path, most_bytes=1_000_000, files=3):
    return TranscriptFile(path, most_bytes=most_bytes, files=files)


def written(path, *lines, **options):
    file = opened(path, **options)
    for each in lines:
        file.write(each)
    file.close()
    return file


def content(path):
    with open(path, "rb") as file:
        return file.read()


def test_lines_are_appended_and_only_their_owner_reads_them(path):
    assert written(path, line(1), line(2)).last == Stamp()
    assert written(path, line(3)).last.seq == 2
    assert content(path) == b"".join(line(seq) + b"\n" for seq in (1, 2, 3))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 2, 30, 60])
def test_a_torn_last_line_is_cut_off(path, cut):
    written(path, line(1), line(2, 100))
    os.truncate(path, os.path.getsize(path) - cut)
    file = written(path, line(3))
    assert file.last.seq == 1
    assert content(path) == line(1) + b"\n" + line(3) + b"\n"


def test_what_is_no_line_of_ours_is_left_as_it_is(path):
    with open(path, "wb") as file:
        file.write(b"\xff\nhello\n")
    assert written(path, line(1)).last == Stamp()
    assert content(path) == b"\xff\nhello\n" + line(1) + b"\n"


@pytest.mark.parametrize(("files", "expected"), [(1, [9]), (2, [8, 9]), (4, [6, 7, 8, 9])])
def test_it_is_rotated_by_size_and_so_many_files_are_kept(path, files, expected):
    written(path, *(line(seq, 1000) for seq in range(10)), most_bytes=1500, files=files)
    names = [*(f"{path}.{number}" for number in range(files - 1, 0, -1)), path]
    assert [content(name) for name in names] == [line(seq, 1000) + b"\n" for seq in expected]
    assert len(os.listdir(os.path.dirname(path))) == files


def test_the_last_line_is_found_in_the_file_before(path):
    written(path, line(1))
    os.replace(path, f"{path}.1")
    assert written(path).last.seq == 1


def test_a_path_that_cannot_be_is_one_line(tmp_path):
    with pytest.raises(MpengineError, match=r"cannot write the transcript .* \(bus.transcript\): Is a directory"):
        opened(str(tmp_path))


class Disk:
    """In place of os.write: fails, writes half, or blocks."""

    def __init__(self, monkeypatch):
        self.may_write = threading.Event()
        self.may_write.set()
        self.error = None
        self._really = os.write
        monkeypatch.setattr(module.os, "write", self._write)
        monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.01)

    def _write(self, fd, data):
        assert self.may_write.wait(20)
        if self.error is not None:
            self._really(fd, data[: len(data) // 2])
            if self.error == "short":
                return len(data) // 2
            raise OSError(self.error, os.strerror(self.error))
        return self._really(fd, data)


@pytest.fixture
def disk(monkeypatch):
    disk = Disk(monkeypatch)
    yield disk
    disk.may_write.set()


def notices(file, count=1):
    found = []
    wait_until(lambda: found.extend(file.notices()) or len(found) >= count, 20, "a notice")
    return found


def test_on_a_full_disk_it_is_told_once_and_goes_on_when_there_is_room(path, disk):
    file = opened(path)
    disk.error = "short"
    for seq in (1, 2, 3):
        file.write(line(seq))
    (full,) = notices(file)
    assert (full.code, full.message.rpartition(": ")[2]) == ("transcript_stuck", "No space left on device; trying on")
    disk.error = None
    (again,) = notices(file)
    assert (again.code, again.message.rpartition("; ")[2]) == ("transcript_again", "0 lines are missing")
    file.close()
    assert content(path) == b"".join(line(seq) + b"\n" for seq in (1, 2, 3))


def test_a_stuck_disk_holds_up_nothing_and_what_is_dropped_is_told(path, disk, monkeypatch):
    monkeypatch.setattr(module, "_MOST_WAITING", 5)
    file = opened(path)
    disk.may_write.clear()
    for seq in range(1, 9):
        file.write(line(seq))
    (stuck,) = notices(file)
    assert "does not follow" in stuck.message
    disk.may_write.set()
    (again,) = notices(file)
    assert again.message.endswith("3 lines are missing")
    file.close()
    assert content(path) == b"".join(line(seq) + b"\n" for seq in (1, 2, 3, 4, 5))


def test_the_end_waits_for_a_stuck_disk_only_so_long(path, disk, monkeypatch):
    monkeypatch.setattr(module, "_CLOSE_LIMIT_S", 0.05)
    file = opened(path)
    disk.may_write.clear()
    file.write(line(1))
    file.close()
    assert content(path) == b""
    disk.may_write.set()
    file._writer.join(20)


def test_the_end_on_a_full_disk_comes_all_the_same(path, disk):
    file = opened(path)
    disk.error = errno.EIO
    file.write(line(1))
    file.close()
    assert not file._writer.is_alive()

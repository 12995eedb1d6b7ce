"""The lasting transcript on real files: torn, rotated, on a disk that is full, stuck, or back again."""

import contextlib
import errno
import itertools
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from mpengine.shared.errors import ConfigError, ExitCode, MpengineError
from mpengine.shared.messages import Stamp
from mpengine.supervisor.bus import transcript_file as module
from mpengine.supervisor.bus.transcript_file import TranscriptFile
from tests.rig.small_disk import fill
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
    """What the file holds; nothing in the middle of a rotation, when there is none of this name."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


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


# Two engines


REFUSED = r"bus.transcript: .*said\.jsonl is being written by another engine; name another file, or stop that engine"


def test_a_file_that_another_engine_writes_is_refused_and_left_as_it_is(path):
    first = opened(path)
    first.write(line(1))
    with pytest.raises(ConfigError, match=REFUSED) as refusal:
        opened(path)
    assert refusal.value.exit_code == ExitCode.CONFIG
    first.close()
    assert content(path) == line(1) + b"\n"
    assert written(path).last.seq == 1


@pytest.mark.parametrize("files", [1, 3])
def test_a_file_that_was_rotated_is_refused_too(path, files):
    first = opened(path, most_bytes=1500, files=files)
    for seq in range(4):
        first.write(line(seq, 1000))
    wait_until(lambda: content(path).startswith(line(3, 1000)), 30, "the rotation")
    with pytest.raises(ConfigError, match=REFUSED):
        opened(path)
    first.close()
    written(path)


def test_who_starts_in_the_middle_of_a_rotation_is_refused(path, monkeypatch):
    """The file has its new name already, and there is none of the old name."""
    first, refused = opened(path, most_bytes=1500), []

    def open_now(at, *arguments):
        monkeypatch.undo()
        with pytest.raises(ConfigError, match=REFUSED):
            opened(path)
        refused.append(at)
        return os.open(at, *arguments)

    first.write(line(1, 1000))
    wait_until(lambda: content(path), 30, "the first line")
    monkeypatch.setattr(module.os, "open", open_now)
    first.write(line(2, 1000))
    first.close()
    assert refused == [path]
    assert content(path) == line(2, 1000) + b"\n"
    assert first.notices() == []


def test_who_opened_it_before_a_rotation_and_locks_it_behind_is_refused(path, monkeypatch):
    """By then, what it has opened is the file before, which nobody holds."""
    first, really = opened(path, most_bytes=1500), os.open
    first.write(line(1, 1000))
    wait_until(lambda: content(path), 30, "the first line")

    def open_before(at, *arguments):
        monkeypatch.undo()
        fd = really(at, *arguments)
        first.write(line(2, 1000))
        wait_until(lambda: content(path).startswith(line(2, 1000)), 30, "the rotation")
        return fd

    monkeypatch.setattr(module.os, "open", open_before)
    with pytest.raises(ConfigError, match=REFUSED):
        opened(path)
    first.close()


def test_it_is_free_when_its_engine_was_killed_whatever_that_had_started(path):
    script = f"""
import subprocess, sys
from mpengine.supervisor.bus.transcript_file import TranscriptFile
file = TranscriptFile({path!r}, most_bytes=1000, files=2)
child = subprocess.Popen(["cat"], stdout=subprocess.DEVNULL, close_fds=False)
print(child.pid, flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        child = int(holder.stdout.readline())
        with pytest.raises(ConfigError, match=REFUSED):
            opened(path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        written(path, line(1))
        os.kill(child, 0)  # lives
    assert content(path) == line(1) + b"\n"


def test_where_files_cannot_be_locked_it_is_written_all_the_same(path, monkeypatch):
    def flock(_fd, _how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    written(path, *(line(seq, 1000) for seq in range(3)), most_bytes=1500)
    assert content(path) == line(2, 1000) + b"\n"


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
    wait_until(lambda: found.extend(file.notices()) or len(found) >= count, 30, "a notice")
    return found


def test_on_a_full_disk_it_is_told_once_and_goes_on_when_there_is_room(path, disk):
    file = opened(path)
    disk.error = "short"
    for seq in (1, 2, 3):
        file.write(line(seq))
    (full,) = notices(file)
    assert (full.code, full.message.rpartition(": ")[2]) == ("transcript_stuck", "No space left on device; retrying")
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
    assert "too slow" in stuck.message
    disk.may_write.set()
    (again,) = notices(file)
    assert again.message.endswith("3 lines are missing")
    file.close()
    assert content(path) == b"".join(line(seq) + b"\n" for seq in (1, 2, 3, 4, 5))


def test_on_a_disk_that_is_really_full_no_line_is_lost_nor_torn(small_disk, monkeypatch):
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.01)
    path = str(small_disk / "said.jsonl")
    file = opened(path, most_bytes=9000, files=2)
    file.write(line(0, 1000))
    wait_until(lambda: content(path), 30, "the first line")
    filler = fill(small_disk)
    lines = [line(seq, 1000) for seq in range(1, 12)]
    for each in lines:
        file.write(each)
    (full,) = notices(file)
    assert (full.code, full.message.rpartition(": ")[2]) == ("transcript_stuck", "No space left on device; retrying")
    filler.unlink()
    (again,) = notices(file)
    assert (again.code, again.message.rpartition("; ")[2]) == ("transcript_again", "0 lines are missing")
    file.close()
    found = content(f"{path}.1") + content(path)
    assert found == b"".join(each + b"\n" for each in [line(0, 1000), *lines])


def test_on_a_disk_that_is_really_full_it_can_be_opened_and_goes_on_behind_its_last_line(small_disk, monkeypatch):
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.01)
    path = str(small_disk / "said.jsonl")
    written(path, line(1))
    filler = fill(small_disk)
    file = opened(path)
    assert file.last.seq == 1
    file.write(line(2, 8000))
    assert notices(file)[0].code == "transcript_stuck"
    filler.unlink()
    assert notices(file)[0].code == "transcript_again"
    file.close()
    assert content(path) == line(1) + b"\n" + line(2, 8000) + b"\n"


def test_the_end_on_a_full_disk_comes_all_the_same(path, disk):
    file = opened(path)
    disk.error = errno.EIO
    file.write(line(1))
    file.close()
    assert [notice.code for notice in file.notices()] == ["transcript_stuck"]
    opened(path).close()  # nobody holds it


# Renamed or removed by somebody else


def until_written(file, path, *lines):
    """Write these, and wait until they are all that the file at `path` holds."""
    for each in lines:
        file.write(each)
    wait_until(lambda: content(path) == b"".join(each + b"\n" for each in lines), 30, f"the lines in {path}")


@pytest.mark.parametrize("name", ["said.jsonl.1", "said.jsonl-20261128"])
def test_a_renamed_file_is_followed_by_a_new_one(path, name):
    """As logrotate does, with or without `dateext`, and without a signal."""
    file, renamed = opened(path), os.path.join(os.path.dirname(path), name)
    until_written(file, path, line(1))
    os.replace(path, renamed)
    until_written(file, path, line(2), line(3))
    assert content(renamed) == line(1) + b"\n"
    file.close()
    assert file.notices() == []


def test_a_removed_file_is_made_again(path):
    file = opened(path)
    until_written(file, path, line(1))
    os.unlink(path)
    until_written(file, path, line(2))
    file.close()


def test_a_line_that_is_written_while_the_file_is_removed_is_in_the_next_one(path, monkeypatch):
    file, really = opened(path), os.write
    until_written(file, path, line(1))

    def write_late(fd, data):
        monkeypatch.undo()
        os.unlink(path)
        return really(fd, data)

    monkeypatch.setattr(module.os, "write", write_late)
    file.write(line(2))
    wait_until(lambda: content(path) == line(2) + b"\n", 30, "the line in the next file")
    file.close()


def test_a_file_that_somebody_cut_off_is_written_from_its_start(path):
    """As logrotate does with `copytruncate`."""
    file = opened(path, most_bytes=2500)
    until_written(file, path, line(1, 1000), line(2, 1000))
    os.truncate(path, 0)
    until_written(file, path, line(3, 1000), line(4, 1000))
    file.close()
    assert os.listdir(os.path.dirname(path)) == ["said.jsonl"]


def test_a_file_that_another_engine_took_meanwhile_is_left_to_it(path, disk):
    first = opened(path)
    until_written(first, path, line(1))
    os.replace(path, f"{path}-old")
    second = opened(path)
    first.write(line(2))
    (stuck,) = notices(first)
    assert stuck.message.endswith("another process is writing it; retrying")
    second.close()
    (again,) = notices(first)
    assert again.message.endswith("0 lines are missing")
    first.close()
    assert content(path) == line(2) + b"\n"


def test_of_many_lines_none_is_lost_or_doubled_however_often_the_file_is_renamed(path):
    file, count = opened(path), 2000
    done = threading.Event()

    def rename():
        for number in itertools.count():
            if done.is_set():
                return
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, f"{path}-{number}")

    renaming = threading.Thread(target=rename)
    renaming.start()
    try:
        for seq in range(count):
            file.write(line(seq))
        wait_until(file.all_written, 60, "all lines")
    finally:
        done.set()
        renaming.join()
    file.close()
    directory = os.path.dirname(path)
    found = [each for name in os.listdir(directory) for each in content(os.path.join(directory, name)).splitlines()]
    assert sorted(found) == sorted(line(seq) for seq in range(count))


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_anything_but_a_file_in_its_place_is_one_line(path, put):
    put(path)
    with pytest.raises(
        MpengineError, match=r"cannot write the transcript .*: not a regular file; name another one, or remove it"
    ):
        opened(path)

"""The window's file: on a disk that is slow, full of work, or broken, nobody waits for it."""

import errno
import os
import threading

import pytest

from mpengine.capture import window_file
from mpengine.capture.window import Window
from mpengine.capture.window_file import WindowFile, WrittenBehind, is_in_memory, open_file
from mpengine.shared.errors import WindowError
from mpengine.shared.window_layout import Slot
from tests.pure.support import RUN
from tests.rig.waiting import scaled, wait_until
from tests.rig.window_slots import position_of


class SlowDisk:
    """Takes writes, in order, once it is let; until then whoever writes waits."""

    def __init__(self, monkeypatch):
        self.written = []
        self.error = None
        self._may_write = threading.Semaphore(0)
        self._has_written = threading.Semaphore(0)
        self._really = os.pwrite
        monkeypatch.setattr(window_file, "is_in_memory", lambda _: False)  # also where tests lie on a tmpfs
        monkeypatch.setattr(window_file.os, "pwrite", self._pwrite)

    def let(self, writes):
        """Let so many writes happen, whenever they come."""
        self._may_write.release(writes)

    def write_one(self):
        """Let one write happen, and wait until it has."""
        self._may_write.release()
        self.wait_for_write()

    def wait_for_write(self):
        """Wait until a write has happened that nobody has waited for."""
        assert self._has_written.acquire(timeout=scaled(30))

    def _pwrite(self, fd, data, offset):
        assert self._may_write.acquire(timeout=scaled(30))
        if self.error is not None:
            raise self.error
        self.written.append((offset, bytes(data)))
        try:
            return self._really(fd, data, offset)
        finally:
            self._has_written.release()


@pytest.fixture
def disk(monkeypatch):
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.let(1000)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "mic.window")


def test_a_write_does_not_wait_and_is_read_at_once(disk, path):
    file = WrittenBehind(path, most_bytes=1000)
    file.write(b"abcd", 10)
    assert (file.read(4, 10), file.read(2, 10), disk.written) == (b"abcd", b"ab", [])
    disk.let(1)
    file.close()
    assert disk.written == [(10, b"abcd")]


def test_of_two_writes_to_a_place_the_later_is_read_before_and_after(disk, path):
    file = WrittenBehind(path, most_bytes=1000)
    file.write(b"one", 0)
    file.write(b"two", 0)
    assert file.read(3, 0) == b"two"
    disk.write_one()
    assert file.read(3, 0) == b"two"
    disk.write_one()
    assert file.read(3, 0) == b"two"
    file.close()


def test_it_is_behind_while_as_much_waits_as_may(disk, path):
    file = WrittenBehind(path, most_bytes=10)
    file.write(bytes(5), 0)
    assert not file.is_behind
    file.write(bytes(5), 5)
    assert file.is_behind
    disk.write_one()
    wait_until(lambda: not file.is_behind, 30, "room in the queue")
    disk.let(1)
    file.close()


def test_what_waits_at_the_end_is_written(path):
    file = WrittenBehind(path, most_bytes=100_000)
    for number in range(1000):
        file.write(bytes([number % 256]), number)
    file.close()
    with open(path, "rb") as written:
        assert written.read() == bytes(number % 256 for number in range(1000))


def test_the_end_waits_for_a_stuck_disk_only_so_long(disk, path, monkeypatch):
    monkeypatch.setattr(window_file, "_CLOSE_LIMIT_S", 0.05)
    file = WrittenBehind(path, most_bytes=1000)
    file.write(b"abcd", 0)
    file.close()
    assert disk.written == []
    with pytest.raises(WindowError, match="written by another process"):  # it still is
        WindowFile(path)
    monkeypatch.undo()
    disk.let(1)
    file.close()
    WindowFile(path).close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_told_by_the_next_write(disk, path, number):
    disk.error = OSError(number, os.strerror(number))
    file = WrittenBehind(path, most_bytes=1000)
    file.write(b"abcd", 0)
    disk.let(1)

    def is_told():
        try:
            file.write(b"efgh", 4)
        except WindowError as error:
            assert str(error) == f"cannot write the replay window {path}: {os.strerror(number)}"  # noqa: PT017  later
            return True
        return False

    wait_until(is_told, 30, "the failure to be told")
    file.close()


@pytest.mark.parametrize("method", ["pread", "pwrite"])
def test_a_file_in_memory_that_fails_is_told_at_once(path, monkeypatch, method):
    file = WindowFile(path)

    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(window_file.os, method, fails)
    with pytest.raises(WindowError, match=os.strerror(errno.EIO)):
        file.read(4, 0) if method == "pread" else file.write(b"abcd", 0)
    file.close()


def test_a_write_cut_short_is_an_error(path, monkeypatch):
    file = WindowFile(path)
    monkeypatch.setattr(window_file.os, "pwrite", lambda *_: 2)
    with pytest.raises(WindowError, match="only 2 of 4 bytes"):
        file.write(b"abcd", 0)
    file.close()


def test_on_a_slow_disk_the_window_is_whole_for_its_process_and_right_in_the_file_at_each_step(disk, path):
    disk.let(1)
    window = Window(path, run=RUN, sample_rate=16000, channels=1, block_samples=8, seconds=0.002)  # four slots
    disk.wait_for_write()  # what it is
    for number in range(7):
        window.append(number * 8, bytes([number]) * 16, number)
    assert [window.read(each) for each in range(3, 7)] == [Slot(n * 8, n, bytes([n]) * 16) for n in range(3, 7)]
    # Seven slots, seven heads, three tails: after each of them, what the file has is right for whoever comes then.
    for _ in range(7 + 7 + 3):
        disk.write_one()
        in_file = bytearray(os.path.getsize(path))
        for offset, data in disk.written:
            in_file[offset : offset + len(data)] = data
        tail, head = (int.from_bytes(in_file[at : at + 8], "little") for at in (1024, 2048))
        for sequence in range(tail, head):
            at = position_of(path, sequence)
            assert int.from_bytes(in_file[at : at + 8], "little") == sequence
            assert in_file[at + 32 : at + 48] == bytes([sequence]) * 16
    window.close()


# Where it stands


MOUNTS = "22 1 {device} / /somewhere rw,relatime shared:5 - {kind} none rw\n"


@pytest.mark.parametrize(("kind", "expected"), [("tmpfs", True), ("ramfs", True), ("ext4", False), ("overlay", False)])
def test_the_kind_of_file_system_tells_whether_it_is_in_memory(tmp_path, kind, expected):
    device = os.stat(tmp_path).st_dev
    mounts = tmp_path / "mountinfo"
    other = MOUNTS.format(device="0:99999", kind="tmpfs" if kind == "ext4" else "ext4")
    mounts.write_text(other + MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind))
    assert is_in_memory(str(tmp_path / "mic.window"), str(mounts)) is expected


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "22 1 0:1 - \n"])
def test_where_the_system_does_not_tell_it_is_a_disk(tmp_path, text):
    mounts = tmp_path / "mountinfo"
    if text is not None:
        mounts.write_text(text)
    assert not is_in_memory(str(tmp_path / "mic.window"), str(mounts))


def test_on_a_disk_a_thread_writes(path, monkeypatch):
    monkeypatch.setattr(window_file, "is_in_memory", lambda _: False)
    file = open_file(path, most_bytes=10)
    assert isinstance(file, WrittenBehind)
    file.close()


# A name that vanishes


def heard(window):
    """What can be read of it."""
    return [window.read(sequence) for sequence in range(window.tail, window.head)]


def window_at(path):
    return Window(path, run=RUN, sample_rate=16000, channels=1, block_samples=320, seconds=60)


@pytest.fixture(params=["in memory", "on a disk"])
def window(request, monkeypatch, path):
    monkeypatch.setattr(window_file, "is_in_memory", lambda _: request.param == "in memory")
    return window_at(path)


@pytest.mark.parametrize("becomes", ["nothing", "another file", "damaged"])
def test_a_window_whose_name_vanished_is_written_again_whole(window, path, becomes):
    for number in range(100):
        window.append(number * 320, bytes([number]) * 640, number)
    window.acknowledge(10 * 320)
    if becomes == "damaged":
        os.rename(path, f"{path}.old")
        with open(path, "wb") as file:
            file.write(b"x" * 20_000_000)
    else:
        os.unlink(path)
    if becomes == "another file":
        with open(path, "xb"):
            pass
    window.make_again()
    for number in range(100, 150):
        window.append(number * 320, bytes([number]) * 640, number)
    before = heard(window)
    window.close()
    successor = window_at(path)
    assert heard(successor) == before
    assert [slot.first_sample for slot in before] == [number * 320 for number in range(10, 150)]
    successor.close()


def test_a_window_whose_name_is_there_is_not_written_again(window, path):
    before = os.stat(path)
    window.append(0, bytes(640), 0)
    window.make_again()
    window.close()
    assert os.path.samestat(before, os.stat(path))


def test_without_room_the_window_goes_on_in_the_old_file(path, monkeypatch):
    monkeypatch.setattr(window_file, "is_in_memory", lambda _: True)
    window = window_at(path)
    window.append(0, b"ab" * 320, 0)
    os.unlink(path)

    def allocate(_fd, _size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(window_file, "_allocate", allocate)
    with pytest.raises(WindowError, match=r"cannot write the replay window .* again: No space left on device"):
        window.make_again()
    assert not os.path.exists(path)
    window.append(320, b"cd" * 320, 1)
    assert [slot.pcm[:2] for slot in heard(window)] == [b"ab", b"cd"]
    window.close()


def test_a_thread_that_found_no_room_says_so_the_next_time_and_tries_again(path, monkeypatch):
    monkeypatch.setattr(window_file, "is_in_memory", lambda _: False)
    really = window_file._allocate
    window = window_at(path)
    window.append(0, b"ab" * 320, 0)
    os.unlink(path)

    def allocate(_fd, _size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(window_file, "_allocate", allocate)
    window.make_again()
    wait_until(lambda: not window._file._is_asked and window._file._failure, 30, "the thread's try")
    monkeypatch.setattr(window_file, "_allocate", really)
    with pytest.raises(WindowError, match=r"again: No space left on device"):
        window.make_again()
    window.close()
    successor = window_at(path)
    assert [slot.pcm[:2] for slot in heard(successor)] == [b"ab"]
    successor.close()


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_anything_but_a_file_in_its_place_is_one_line(path, put):
    put(path)
    with pytest.raises(WindowError, match=r"cannot open the replay window .*: (not a regular file; |Is a directory)"):
        WindowFile(path)

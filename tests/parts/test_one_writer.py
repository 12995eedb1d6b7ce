"""Files that one process alone writes: their locks, and the thread that writes them."""

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from mpengine.shared import one_writer
from mpengine.shared.one_writer import Writer
from tests.rig.waiting import scaled, wait_until

# Locks


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


@pytest.fixture
def opened(path):
    """Opens the file, as another process would: a lock belongs to what was opened."""
    descriptors = []

    def open_it():
        descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return descriptors[-1]

    yield open_it
    for descriptor in descriptors:
        os.close(descriptor)


def test_of_two_who_open_a_file_one_has_it(path, opened):
    assert not one_writer.is_held(path)
    one_writer.lock(opened())
    assert one_writer.is_held(path)
    with pytest.raises(BlockingIOError, match="another process is writing it"):
        one_writer.lock(opened())
    with pytest.raises(BlockingIOError):
        one_writer.lock(opened(), is_optional=True)


def test_it_is_free_when_its_process_was_killed(path, opened):
    script = f"import os, sys; from mpengine.shared import one_writer; fd = os.open({path!r}, os.O_RDWR)\n"
    script += "one_writer.lock(fd); print(flush=True); input()"
    opened()
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert one_writer.is_held(path)
        holder.kill()
        holder.wait()
    one_writer.lock(opened())


def test_who_can_wait_has_it_after_the_other_one(path, opened):
    other, fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), opened()
    one_writer.lock(other)
    thread = threading.Thread(target=one_writer.lock, args=(fd,), kwargs={"waits": True})
    thread.start()
    assert thread.is_alive()
    os.close(other)
    thread.join(scaled(30))
    assert not thread.is_alive()
    assert one_writer.is_held(path)


def test_who_only_looks_is_in_nobodys_way(path, opened):
    looking = opened()
    fcntl.flock(looking, fcntl.LOCK_SH)  # as `is_held` does, for a moment
    assert not one_writer.is_held(path)


def test_what_is_not_there_is_held_by_nobody(path):
    assert not one_writer.is_held(path)


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that has none."""

    def flock(_fd, _how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_it_is_an_error_where_they_are_needed(path, opened):
    fd = opened()
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        one_writer.lock(fd)
    one_writer.lock(fd, is_optional=True)
    assert not one_writer.is_held(path)


# The thread that writes


class Disk:
    """Takes items once it is let."""

    def __init__(self):
        self.items = []
        self.answers = []
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, item):
        assert self.may_write.wait(scaled(30))
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        if answer:
            self.items.append(item)
        return answer


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.may_write.set()


def test_items_are_written_in_order_and_all_before_the_end(disk):
    writer = Writer(disk.write, name="writer")
    items = [bytes([number % 256]) * 3 for number in range(1000)]
    for item in items:
        writer.put(item)
    assert writer.close(scaled(30))
    assert disk.items == items


def test_what_waits_is_counted_until_it_is_written(disk):
    writer = Writer(disk.write, name="writer", size=lambda item: len(item[1]))
    disk.may_write.clear()
    writer.put((7, b"abc"))
    writer.put((8, b"de"))
    assert (writer.waiting, writer.waiting_bytes, disk.items) == (2, 5, [])
    disk.may_write.set()
    wait_until(lambda: (writer.waiting, writer.waiting_bytes) == (0, 0), 30, "an empty queue")
    assert writer.close(scaled(30))
    assert disk.items == [(7, b"abc"), (8, b"de")]


def test_what_was_not_written_is_tried_again_before_what_follows(disk):
    disk.answers = [False, False]
    writer = Writer(disk.write, name="writer", again_s=0.001)
    writer.put(b"one")
    writer.put(b"two")
    wait_until(lambda: disk.items == [b"one", b"two"], 30, "both")
    assert writer.close(scaled(30))


def test_the_end_does_not_wait_for_the_next_try_and_is_the_last_one(disk):
    disk.answers = [False] * 3
    writer = Writer(disk.write, name="writer", again_s=3600)
    writer.put(b"one")
    wait_until(lambda: len(disk.answers) == 2, 30, "the first try")
    assert writer.close(scaled(30))
    assert (disk.items, writer.waiting) == ([], 1)
    assert len(disk.answers) >= 1


def test_the_end_waits_for_a_stuck_disk_only_so_long(disk):
    writer = Writer(disk.write, name="writer")
    disk.may_write.clear()
    writer.put(b"one")
    assert not writer.close(0.01)
    disk.may_write.set()
    assert writer.close(scaled(30))
    assert disk.items == [b"one"]


def test_what_a_write_raises_ends_it_and_is_raised_by_whoever_puts_more_in(disk):
    disk.answers = [OSError(errno.EIO, "broken")]
    writer = Writer(disk.write, name="writer")
    writer.put(b"one")
    assert writer.close(scaled(30))
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            writer.put(b"two")
    assert disk.items == []


def test_a_user_may_hold_the_lock_around_several_calls(disk):
    writer = Writer(disk.write, name="writer")
    with writer.changed:
        writer.put(b"one")
        assert (writer.waiting, disk.items) == (1, [])
    assert writer.close(scaled(30))
    assert disk.items == [b"one"]

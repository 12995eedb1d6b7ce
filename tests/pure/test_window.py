"""The replay window: a ring in a file that outlives the process which writes it."""

import contextlib
import errno
import os
import signal
import struct
import subprocess
import sys
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpengine.capture import window_file
from mpengine.capture.window import Losses, Window
from mpengine.shared.errors import ConfigError, WindowError
from mpengine.shared.ranges import Range
from mpengine.shared.window_layout import Slot
from tests.pure.support import ENVIRONMENT, RUN, in_fresh_interpreter, within
from tests.rig.window_slots import damage, position_of, slot_bytes

BLOCK = 320
BYTES = 2 * BLOCK
SHAPE = {"run": RUN, "sample_rate": 16000, "channels": 1, "block_samples": BLOCK}
SLOTS = 50
SECONDS = SLOTS * BLOCK / 16000


@pytest.fixture(params=["in memory", "on a disk"])
def place(request, monkeypatch):
    """Where the file stands; on a disk a thread writes it."""
    monkeypatch.setattr(window_file, "is_in_memory", lambda _: request.param == "in memory")
    return request.param


@pytest.fixture
def path(tmp_path, place):
    return str(tmp_path / "mic.window")


@pytest.fixture
def open_window(path):
    """Opens the window at `path`; what was opened is closed after the test."""
    opened = []

    def open_it(**shape):
        opened.append(Window(path, **{**SHAPE, "seconds": SECONDS, **shape}))
        return opened[-1]

    yield open_it
    for each in opened:
        with contextlib.suppress(OSError):  # closed by the test
            each.close()


def audio(number):
    """A block that says which one it is."""
    return struct.pack("<q", number) * (BYTES // 8)


def fill(window, blocks, first=0):
    """Append `blocks` blocks from block number `first` on; what was forgotten."""
    numbers = range(first, first + blocks)
    return [window.append(number * BLOCK, audio(number), number) for number in numbers]


def contents(window):
    """What can be read, in order."""
    slots = [window.read(sequence) for sequence in range(window.tail, min(window.head, window.tail + 10 * SLOTS))]
    return [slot for slot in slots if slot is not None]


def is_right(slot):
    """Whether a slot holds what `fill` put there."""
    return slot == Slot(slot.arrival_ns * BLOCK, slot.arrival_ns, audio(slot.arrival_ns))


# Appending and reading


def test_what_is_appended_is_read(open_window):
    window = open_window()
    window.append(1000, b"abcd", 77)
    assert window.read(0) == Slot(1000, 77, b"abcd")


def test_a_new_window_is_empty(open_window):
    window = open_window()
    assert (window.tail, window.head, window.end_sample, window.last()) == (0, 0, 0, None)


def test_the_end_is_behind_the_last_sample(open_window):
    window = open_window()
    window.append(1000, bytes(BYTES), 0)
    assert window.end_sample == 1000 + BLOCK


def test_samples_are_counted_of_each_channel(open_window):
    window = open_window(channels=2)
    window.append(0, bytes(4 * 100), 0)
    assert window.end_sample == 100


@pytest.mark.parametrize("sequence", [-1, 3, 4, 10**12])
def test_what_was_not_appended_is_not_read(open_window, sequence):
    window = open_window()
    fill(window, 3)
    assert window.read(sequence) is None


@pytest.mark.parametrize("blocks", [1, SLOTS - 1, SLOTS, SLOTS + 1, 3 * SLOTS + 7])
def test_the_window_holds_the_last_blocks(open_window, blocks):
    window = open_window()
    fill(window, blocks)
    kept = contents(window)
    assert [slot.first_sample for slot in kept] == [n * BLOCK for n in range(blocks)][-SLOTS:]
    assert all(is_right(slot) for slot in kept)


def test_a_full_window_says_so(open_window):
    window = open_window()
    fill(window, SLOTS - 1)
    assert window.room > 0
    fill(window, 1, SLOTS - 1)
    assert window.room == 0


def test_what_has_to_be_forgotten_is_named(open_window):
    window = open_window()
    forgotten = fill(window, SLOTS + 2)
    assert forgotten[:SLOTS] == [None] * SLOTS
    assert forgotten[SLOTS:] == [Range(0, BLOCK), Range(BLOCK, 2 * BLOCK)]


def test_a_window_with_acknowledged_room_forgets_nothing(open_window):
    window = open_window()
    fill(window, SLOTS)
    window.acknowledge(2 * BLOCK)
    assert fill(window, 2, SLOTS) == [None, None]


# Finding and acknowledging


@pytest.mark.parametrize(
    ("sample", "sequence"),
    [(0, 5), (5 * BLOCK - 1, 5), (5 * BLOCK, 5), (6 * BLOCK - 1, 5), (6 * BLOCK, 6), (10 * BLOCK, 10), (10**9, 10)],
)
def test_a_sample_is_found_in_its_slot_or_the_next(open_window, sample, sequence):
    window = open_window()
    fill(window, 10)
    window.acknowledge(5 * BLOCK)
    assert window.find(sample) == sequence


def test_a_sample_in_a_gap_is_found_behind_it(open_window):
    window = open_window()
    fill(window, 2)
    fill(window, 2, first=100)
    assert window.find(50 * BLOCK) == 2


@pytest.mark.parametrize(
    ("sample", "tail"), [(0, 0), (BLOCK - 1, 0), (BLOCK, 1), (2 * BLOCK + 1, 2), (10 * BLOCK, 10), (10**9, 10)]
)
def test_acknowledging_forgets_whole_slots_only(open_window, sample, tail):
    window = open_window()
    fill(window, 10)
    window.acknowledge(sample)
    assert window.tail == tail


def test_acknowledging_less_than_before_changes_nothing(open_window):
    window = open_window()
    fill(window, 10)
    window.acknowledge(5 * BLOCK)
    window.acknowledge(2 * BLOCK)
    assert window.tail == 5


def test_the_last_slot_is_known_though_it_is_acknowledged(open_window):
    window = open_window()
    fill(window, 3)
    window.acknowledge(3 * BLOCK)
    assert (contents(window), window.last().first_sample) == ([], 2 * BLOCK)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000)), max_size=20))
def test_it_is_a_list_of_which_the_end_is_kept(tmp_path, steps):
    (tmp_path / "w").unlink(missing_ok=True)
    window = Window(str(tmp_path / "w"), **SHAPE, seconds=8 * BLOCK / 16000)
    model, count = [], 0
    for blocks, acknowledged in steps:
        fill(window, blocks, count)
        model = (model + [n * BLOCK for n in range(count, count + blocks)])[-8:]
        count += blocks
        window.acknowledge(acknowledged)
        model = [first for first in model if first + BLOCK > acknowledged]
        assert [slot.first_sample for slot in contents(window)] == model
    window.close()


# Opening again


def test_a_window_goes_on_where_its_process_ended(open_window):
    first = open_window()
    fill(first, SLOTS + 10)
    first.acknowledge(20 * BLOCK)
    kept = contents(first)
    first.close()
    second = open_window()
    assert (contents(second), second.end_sample) == (kept, (SLOTS + 10) * BLOCK)


def test_the_end_is_known_though_all_is_acknowledged(open_window):
    first = open_window()
    fill(first, 10)
    first.acknowledge(10 * BLOCK)
    first.close()
    assert open_window().end_sample == 10 * BLOCK


@pytest.mark.parametrize(
    "change",
    [{"run": b"another!"}, {"sample_rate": 8000}, {"channels": 2}, {"block_samples": 160}, {"seconds": 2 * SECONDS}],
    ids=lambda change: next(iter(change)),
)
def test_a_window_of_another_run_or_shape_is_made_anew(open_window, change):
    first = open_window()
    fill(first, 10)
    first.close()
    second = open_window(**change)
    assert (contents(second), second.end_sample) == ([], 0)


def test_nothing_of_the_run_before_can_be_read_in_a_new_one(open_window):
    first = open_window()
    fill(first, SLOTS)
    first.close()
    second = open_window(run=b"another!")
    second.append(0, b"ab", 0)
    assert contents(second) == [Slot(0, 0, b"ab")]


def test_the_file_is_the_users_alone(open_window, path):
    before = os.umask(0)
    try:
        open_window()
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_the_whole_file_is_allocated_at_the_start(open_window, path):
    open_window()
    size = os.stat(path).st_size
    assert size >= SLOTS * BYTES
    assert os.stat(path).st_blocks * 512 >= size


def test_a_second_writer_is_refused(open_window, path):
    first = open_window()
    fill(first, 3)
    with pytest.raises(WindowError, match=r"mic\.window is written by another process"):
        open_window()
    assert len(contents(first)) == 3


def test_a_symlink_in_its_place_is_refused(open_window, path, tmp_path):
    (tmp_path / "target").write_bytes(b"precious")
    os.symlink(tmp_path / "target", path)
    with pytest.raises(WindowError, match="cannot open the replay window"):
        open_window()
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_a_missing_directory_is_a_window_error(path):
    with pytest.raises(WindowError, match="No such file or directory"):
        Window(f"{path}/none/w", **SHAPE, seconds=SECONDS)


# No room


LIMITED = """
import resource, sys
from mpengine.capture.window import Window
from mpengine.shared.errors import ConfigError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Window(sys.argv[1], run=bytes(8), sample_rate=16000, channels=1, block_samples=320, seconds=60)
except ConfigError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_so_large_is_an_error_and_no_signal(path):
    printed = in_fresh_interpreter(LIMITED, path)
    assert "no room for the replay window of 2 MB" in printed
    assert "buffer.seconds" in printed
    assert os.stat(path).st_size == 0


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_that_says_what_to_do(open_window, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ConfigError, match=r"buffer\.seconds: .*No space left on device.*buffer\.directory"):
        open_window()


def test_after_a_full_disk_the_window_can_be_made(open_window, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(ConfigError):
            open_window()
    window = open_window()
    fill(window, 1)
    assert len(contents(window)) == 1


# Damage


@pytest.mark.parametrize("at", range(0, 32 + BYTES, 25))
def test_a_damaged_slot_is_not_read(open_window, path, at):
    first = open_window()
    fill(first, 3)
    first.close()
    with open(path, "rb") as file:
        byte = file.read()[position_of(path, 1) + at]
    damage(path, 1, bytes([byte ^ 0x40]), at=at)
    second = open_window()
    assert at < slot_bytes(path)
    assert [slot and slot.arrival_ns for slot in map(second.read, range(3))] == [0, None, 2]


def test_what_lies_behind_a_damaged_slot_is_still_found(open_window, path):
    first = open_window()
    fill(first, 10)
    first.close()
    damage(path, 5, bytes(BYTES))
    second = open_window()
    assert second.find(6 * BLOCK) in {5, 6}
    second.acknowledge(6 * BLOCK)
    assert [slot.arrival_ns for slot in contents(second)] == [6, 7, 8, 9]


def use(window):
    """Do all that capture does with a window: nothing that is read is wrong, and what comes now is kept."""
    assert all(is_right(slot) for slot in contents(window))
    window.find(5 * BLOCK)
    window.acknowledge(3 * BLOCK)
    fill(window, 3, first=10**6)
    assert all(is_right(slot) for slot in contents(window))
    assert [slot.arrival_ns for slot in contents(window)][-3:] == [10**6, 10**6 + 1, 10**6 + 2]


def test_a_damaged_file_never_gives_a_wrong_sample(open_window, path):
    chance = Random(20)
    first = open_window()
    fill(first, SLOTS + 10)
    first.close()
    with open(path, "rb") as file:
        whole = file.read()
    cursors = range(1024, 2056)  # damage of these is the next test's
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 3, 50))):
            length = chance.choice((1, 8, 300, 5000))
            at = chance.randrange(len(whole) - length)
            if at + length <= cursors.start or cursors.stop <= at:
                damaged[at : at + length] = chance.randbytes(length)
        with open(path, "wb") as file:
            file.write(damaged)
        window = open_window()
        with within(5):
            use(window)
        window.close()


@pytest.mark.parametrize(
    ("tail", "head"),
    [
        (0, 2**64 - 1),
        (0, 2**40),
        (2**40, 2**40 + 2**30),
        (2**64 - 1, 2**64 - 1),
        (100, 10),
        (2**40, 10),
        (0, SLOTS + 1),
    ],
)
def test_damaged_cursors_are_an_error_or_no_harm(open_window, path, tail, head):
    first = open_window()
    fill(first, SLOTS)
    first.close()
    with open(path, "r+b") as file:
        for offset, cursor in ((1024, tail), (2048, head)):
            file.seek(offset)
            file.write(struct.pack("<Q", cursor))
    with within(1):
        try:
            window = open_window()
        except WindowError:
            return
        use(window)


@pytest.mark.parametrize("size", [0, 1, 40, 1030, 2050, 4096, 5000, 20000])
def test_a_file_cut_short_is_an_error_or_no_harm(open_window, path, size):
    first = open_window()
    fill(first, SLOTS)
    first.close()
    os.truncate(path, size)
    try:
        window = open_window()
    except WindowError:
        return
    use(window)


@pytest.mark.parametrize("seed", range(5))
def test_a_file_of_arbitrary_bytes_is_made_anew(open_window, path, seed):
    with open(path, "wb") as file:
        file.write(Random(seed).randbytes(50_000))
    assert contents(open_window()) == []


# A killed writer


WRITER = """
import os, struct, sys
from mpengine.capture import window_file
from mpengine.capture.window import Window
window_file.is_in_memory = lambda _: sys.argv[2] == "in memory"
window = Window(sys.argv[1], run=bytes(range(8)), sample_rate=16000, channels=1, block_samples=320, seconds=1.0)
number = window.end_sample // 320
while True:
    window.append(number * 320, struct.pack("<q", number) * 80, number)
    if number % 7 == 0:
        window.acknowledge(max(0, number - 30) * 320)
    os.write(1, b".")
    number += 1
"""


def kill_a_writer_after(blocks, path, place):
    """Let a process write at least so many blocks, and kill it while it writes on."""
    command = [sys.executable, "-S", "-c", WRITER, path, place]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, bufsize=0) as writer:
        for _ in range(blocks):
            assert writer.stdout.read(1)
        writer.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_window_in_which_every_sample_is_right(open_window, path, place):
    chance = Random(5)
    written = 0
    for _ in range(200 if place == "in memory" else 30):
        blocks = chance.randrange(1, 200)
        kill_a_writer_after(blocks, path, place)
        window = open_window()
        slots = [window.read(sequence) for sequence in range(window.tail, window.head)]
        assert len(slots) <= SLOTS
        assert all(slot is not None and is_right(slot) for slot in slots)
        assert [slot.arrival_ns for slot in slots] == list(range(window.tail, window.head))
        if place == "in memory":  # on a disk, what waited for the thread is gone
            assert window.head >= written + blocks
        written = window.head
        window.close()


# What the full window drops, joined into ranges.


@pytest.fixture
def losses():
    return Losses()


def test_a_dropped_block_waits_for_its_neighbours(losses):
    assert losses.dropped(Range(0, 320)) == []
    assert losses.dropped(Range(320, 640)) == []
    assert losses.flush() == [Range(0, 640)]


def test_a_block_elsewhere_ends_the_range_before(losses):
    losses.dropped(Range(0, 320))
    assert losses.dropped(Range(1000, 1320)) == [Range(0, 320)]
    assert losses.flush() == [Range(1000, 1320)]


def test_nothing_is_told_when_nothing_is_lost(losses):
    assert losses.flush() == []


def test_what_waits_is_told_once(losses):
    losses.dropped(Range(0, 320))
    losses.flush()
    assert losses.flush() == []

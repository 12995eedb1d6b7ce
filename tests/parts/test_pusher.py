"""The sending end of the frames socket, against a real PULL: order, grants, holes, the end mark."""

import os

import pytest
import zmq

from mpengine.capture.pusher import Pusher
from mpengine.capture.window import Range, Slot, Window
from mpengine.shared import frames
from tests.rig.waiting import wait_until

RUN = bytes(8)
BLOCK = 320


class Ends:
    """A window, its pusher and the peer that pulls."""

    def __init__(self, directory):
        self.window = Window(
            str(directory / "w"), run=RUN, sample_rate=16000, channels=1, block_samples=BLOCK, seconds=60
        )
        self.context = zmq.Context()
        self.holes = []
        endpoint = f"ipc://{directory}/frames"
        self.pusher = Pusher(
            self.context,
            endpoint,
            self.window,
            run=RUN,
            block_s=0.02,
            sample_bytes=2,
            hole=lambda lost, reason: self.holes.append((lost, reason)),
        )
        self.pull = self.context.socket(zmq.PULL)
        self.pull.connect(endpoint)

    def fill(self, count, first=0):
        for number in range(count):
            at = first + number * BLOCK
            self.window.append(at, (at // BLOCK % 30000).to_bytes(2, "little") * BLOCK, at)

    def is_written(self):
        """Wait until what a thread writes (on a disk) is in the file."""
        wait_until(lambda: not getattr(self.window._file, "_waiting", None), 10, "the window in its file")

    def received(self, count):
        """`count` frames, sent as the socket takes them."""
        got = []
        while len(got) < count:
            self.pusher.socket.poll(20, zmq.POLLOUT)  # as the work loop does: it lets libzmq see the room there is
            self.pusher.pump()
            assert self.pull.poll(5000), f"only {len(got)} frames"
            got.append(frames.unpack(self.pull.recv()))
        return got

    def close(self):
        self.pull.close(0)
        self.pusher.socket.close(0)
        self.context.term()
        self.window.close()


@pytest.fixture
def ends(tmp_path):
    made = Ends(tmp_path)
    yield made
    made.close()


def test_nothing_is_sent_before_it_is_granted(ends):
    ends.fill(10)
    ends.pusher.pump()
    assert not ends.pusher.is_blocked
    assert not ends.pull.poll(50)


def test_everything_comes_in_order_from_the_granted_sample_on(ends):
    ends.fill(200)
    ends.pusher.resume(3, 10 * BLOCK)
    got = ends.received(190)
    assert [frame.first_sample for frame in got] == [number * BLOCK for number in range(10, 200)]
    assert {frame.session for frame in got} == {3}
    assert ends.holes == []


def test_a_grant_in_the_middle_of_a_block_begins_there(ends):
    ends.fill(3)
    ends.pusher.resume(1, BLOCK + 100)
    first, second = ends.received(2)
    assert (first.first_sample, len(first.pcm) // 2) == (BLOCK + 100, BLOCK - 100)
    assert second.first_sample == 2 * BLOCK


def test_the_end_mark_comes_last_in_every_session(ends):
    ends.fill(2)
    ends.pusher.end(2 * BLOCK)
    for session in (1, 2):
        ends.pusher.resume(session, 0)
        assert [(frame.first_sample, frame.is_last) for frame in ends.received(3)] == [
            (0, False),
            (BLOCK, False),
            (2 * BLOCK, True),
        ]
    ends.pusher.pump()
    assert not ends.pull.poll(50)


def test_the_latest_block_need_not_be_read_again(ends):
    ends.pusher.resume(1, 0)
    ends.fill(1)
    assert ends.pusher.socket.poll(5000, zmq.POLLOUT)
    ends.pusher.pump(Slot(0, 0, b"ab" * BLOCK))
    assert bytes(ends.received(1)[0].pcm) == b"ab" * BLOCK


def test_a_torn_slot_is_a_hole_and_is_told(ends):
    ends.fill(10)
    ends.is_written()
    for sequence in (4, 5):
        os.pwrite(ends.window._file._fd, b"torn", 4096 + sequence * ends.window._slot_bytes + 100)
    ends.pusher.resume(1, 0)
    got = ends.received(8)
    assert [frame.first_sample // BLOCK for frame in got] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert ends.holes == [(Range(4 * BLOCK, 6 * BLOCK), "window_damaged")]


def test_what_the_full_window_has_dropped_is_a_hole_when_it_is_wanted_again(ends):
    ends.fill(60 * 50 + 7)
    ends.pusher.resume(1, 0)
    assert ends.received(1)[0].first_sample == 7 * BLOCK
    assert ends.holes == [(Range(0, 7 * BLOCK), "window_full")]


def test_a_gap_in_the_clock_is_a_hole_too(ends):
    ends.fill(2)
    ends.fill(2, first=10 * BLOCK)
    ends.pusher.resume(1, 0)
    ends.received(4)
    assert [lost for lost, _ in ends.holes] == [Range(2 * BLOCK, 10 * BLOCK)]

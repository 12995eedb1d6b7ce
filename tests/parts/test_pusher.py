"""The sending end of the frames socket, against a real PULL: order, grants, gaps, the end mark."""

import random

import pytest
import zmq

from mpengine.capture.gate import Gate
from mpengine.capture.pusher import Pusher
from mpengine.capture.window import Window
from mpengine.shared import frames
from mpengine.shared.ranges import Range, Ranges
from mpengine.shared.window_layout import Left, Slot, left_in
from tests.rig.waiting import scaled, wait_until
from tests.rig.window_slots import damage

RUN = bytes(8)
BLOCK = 320


class Ends:
    """A window, its pusher and the peer that pulls."""

    def __init__(self, directory):
        self.path = str(directory / "w")
        self.window = Window(self.path, run=RUN, sample_rate=16000, channels=1, block_samples=BLOCK, seconds=60)
        self.context = zmq.Context()
        self.missing = []
        endpoint = f"ipc://{directory}/frames"
        self.pusher = Pusher(
            self.context,
            endpoint,
            self.window,
            run=RUN,
            block_s=0.02,
            sample_bytes=2,
            missing=lambda lost, reason: self.missing.append((lost, reason)),
        )
        self.pull = self.context.socket(zmq.PULL)
        self.pull.connect(endpoint)
        wait_until(lambda: self.pusher.socket.poll(20, zmq.POLLOUT), 30, "the peer's connection")

    def fill(self, count, first=0):
        for number in range(count):
            at = first + number * BLOCK
            self.window.append(at, (at // BLOCK % 30000).to_bytes(2, "little") * BLOCK, at)

    def until_written(self, count):
        """Wait until so many blocks are in the file: on a disk a thread writes them."""
        whole = Left(RUN.hex(), pytest.approx(count * BLOCK / 16000))
        wait_until(lambda: left_in(self.path) == whole, 30, "the window in its file")

    def received(self, count):
        """Frames, sent as the socket takes them, until there are so many blocks in them; an end mark counts as one."""
        got = []
        while sum(max(1, len(blocks_of(frame))) for frame in got) < count:
            self.pusher.socket.poll(20, zmq.POLLOUT)  # as the work loop does: it lets libzmq see the room there is
            self.pusher.pump()
            assert self.pull.poll(scaled(30) * 1000), f"only {len(got)} frames"
            got.append(frames.unpack(self.pull.recv()))
        return got

    def push(self):
        """Have the socket take what it has room for."""
        self.pusher.socket.poll(20, zmq.POLLOUT)
        return self.pusher.pump()

    def close(self):
        self.pull.close(0)
        self.pusher.socket.close(0)
        self.context.term()
        self.window.close()


def blocks_of(frame):
    """The numbers of the blocks that a frame holds, the first of which may have been cut."""
    end = frame.first_sample + len(frame.pcm) // 2
    return list(range(frame.first_sample // BLOCK, -(-end // BLOCK)))


def got_pcm(got):
    """What they hold."""
    return [bytes(frame.pcm) for frame in got]


def numbers(got):
    """The numbers of the blocks in all of them."""
    return [number for frame in got for number in blocks_of(frame)]


@pytest.fixture
def ends(tmp_path):
    made = Ends(tmp_path)
    yield made
    made.close()


def test_nothing_is_sent_before_it_is_granted(ends):
    ends.fill(10)
    assert not ends.pusher.pump()
    assert not ends.pull.poll(50)


def test_everything_comes_in_order_from_the_granted_sample_on(ends):
    ends.fill(200)
    ends.pusher.granted(3, 10 * BLOCK)
    got = ends.received(190)
    assert numbers(got) == list(range(10, 200))
    assert b"".join(got_pcm(got)) == b"".join(number.to_bytes(2, "little") * BLOCK for number in range(10, 200))
    assert {frame.grant for frame in got} == {3}
    assert ends.missing == []


def test_a_grant_in_the_middle_of_a_block_begins_there(ends):
    ends.fill(3)
    ends.pusher.granted(1, BLOCK + 100)
    (frame,) = ends.received(2)
    assert (frame.first_sample, len(frame.pcm) // 2) == (BLOCK + 100, 2 * BLOCK - 100)


def test_blocks_that_wait_together_go_out_together_but_no_longer_than_a_tenth_of_a_second(ends):
    ends.fill(12)
    ends.pusher.granted(1, 0)
    assert [blocks_of(frame) for frame in ends.received(12)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


def test_a_block_that_comes_alone_goes_out_alone_and_at_once(ends):
    ends.pusher.granted(1, 0)
    for number in range(3):
        ends.fill(1, first=number * BLOCK)
        assert [blocks_of(frame) for frame in ends.received(1)] == [[number]]


def test_what_finds_no_room_waits_for_it_in_the_window(ends):
    ends.fill(2000)
    ends.pusher.granted(1, 0)
    assert ends.push()
    got = ends.received(2000)
    assert numbers(got) == list(range(2000))
    assert not ends.push()


def test_the_end_mark_comes_last_under_every_grant(ends):
    ends.fill(2)
    ends.pusher.end(2 * BLOCK)
    for grant in (1, 2):
        ends.pusher.granted(grant, 0)
        got = ends.received(3)
        assert [(frame.first_sample, frame.is_last) for frame in got] == [(0, False), (2 * BLOCK, True)]
        assert len(got[0].pcm) == 2 * 2 * BLOCK
    ends.pusher.pump()
    assert not ends.pull.poll(50)


def test_the_latest_block_need_not_be_read_again(ends):
    ends.pusher.granted(1, 0)
    ends.fill(1)
    assert ends.pusher.socket.poll(scaled(30) * 1000, zmq.POLLOUT)
    ends.pusher.pump([Slot(0, 0, b"ab" * BLOCK)])
    assert bytes(ends.received(1)[0].pcm) == b"ab" * BLOCK


def test_the_latest_blocks_follow_upon_those_that_are_read(ends):
    ends.fill(2)
    ends.pusher.granted(1, 0)
    ends.fill(2, first=2 * BLOCK)
    assert ends.pusher.socket.poll(scaled(30) * 1000, zmq.POLLOUT)
    ends.pusher.pump([Slot(2 * BLOCK, 0, b"cc" * BLOCK), Slot(3 * BLOCK, 0, b"dd" * BLOCK)])
    (frame,) = ends.received(4)
    zeros, ones = bytes(2) * BLOCK, b"\1\0" * BLOCK
    assert bytes(frame.pcm) == zeros + ones + b"cc" * BLOCK + b"dd" * BLOCK


def test_a_torn_slot_is_a_gap_and_is_told(ends):
    ends.fill(10)
    ends.until_written(10)
    for sequence in (4, 5):
        damage(ends.path, sequence, b"torn", at=100)
    ends.pusher.granted(1, 0)
    got = ends.received(8)
    assert [blocks_of(frame) for frame in got] == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert ends.missing == [(Range(4 * BLOCK, 6 * BLOCK), "window_damaged")]


def test_no_empty_frame_goes_out_behind_damage(ends):
    """A search that meets damage may begin before what is asked for."""
    ends.fill(20)
    ends.until_written(20)
    for sequence in (9, 10):
        damage(ends.path, sequence, b"torn")
    ends.pusher.granted(1, 17 * BLOCK + 100)
    (frame,) = ends.received(3)
    assert (frame.first_sample, len(frame.pcm) // 2) == (17 * BLOCK + 100, 3 * BLOCK - 100)


def test_what_the_full_window_has_dropped_is_a_gap_when_it_is_wanted_again(ends):
    ends.fill(60 * 50 + 7)
    ends.pusher.granted(1, 0)
    assert ends.received(1)[0].first_sample == 7 * BLOCK
    assert ends.missing == [(Range(0, 7 * BLOCK), "window_full")]


def test_a_gap_in_the_clock_is_a_gap_too(ends):
    ends.fill(2)
    ends.fill(2, first=10 * BLOCK)
    ends.pusher.granted(1, 0)
    assert [blocks_of(frame) for frame in ends.received(4)] == [[0, 1], [10, 11]]
    assert [lost for lost, _ in ends.missing] == [Range(2 * BLOCK, 10 * BLOCK)]


# What needs no result


def test_silence_that_was_acknowledged_is_not_sent_and_is_no_gap(ends):
    ends.fill(100)
    ends.pusher.granted(1, 0, [Range(10 * BLOCK, 40 * BLOCK), Range(60 * BLOCK, 90 * BLOCK)])
    assert numbers(ends.received(40)) == [*range(10), *range(40, 60), *range(90, 100)]
    assert ends.missing == []


def test_a_block_that_is_only_partly_to_be_skipped_is_sent(ends):
    ends.fill(100)
    ends.pusher.granted(1, 0, [Range(10 * BLOCK - 1, 12 * BLOCK - 1), Range(60 * BLOCK + 1, 62 * BLOCK + 1)])
    assert numbers(ends.received(98)) == [number for number in range(100) if number not in {10, 61}]
    assert ends.missing == []


def test_skipping_may_begin_with_the_first_and_end_with_the_last_block(ends):
    ends.fill(100)
    ends.pusher.end(100 * BLOCK)
    ends.pusher.granted(1, 5 * BLOCK, [Range(5 * BLOCK, 95 * BLOCK), Range(96 * BLOCK, 100 * BLOCK)])
    *got, mark = ends.received(2)
    assert numbers(got) == [95]
    assert mark.is_last
    assert ends.missing == []


def test_blocks_that_come_later_may_be_to_be_skipped_too(ends):
    """A file is read again."""
    ends.fill(5)
    ends.pusher.granted(1, 0, [Range(3 * BLOCK, 8 * BLOCK)])
    assert numbers(ends.received(3)) == [0, 1, 2]
    ends.fill(5, first=5 * BLOCK)
    assert numbers(ends.received(2)) == [8, 9]
    assert ends.missing == []


def test_skipped_audio_that_the_window_has_dropped_is_no_gap_but_what_lies_between_is(ends):
    ends.fill(60 * 50 + 20)
    ends.pusher.granted(1, 0, [Range(5 * BLOCK, 8 * BLOCK), Range(10 * BLOCK, 30 * BLOCK)])
    assert ends.received(1)[0].first_sample == 30 * BLOCK
    lost = [Range(0, 5 * BLOCK), Range(8 * BLOCK, 10 * BLOCK)]
    assert ends.missing == [(each, "window_full") for each in lost]


def test_damage_before_skipped_audio_is_told(ends):
    ends.fill(20)
    ends.until_written(20)
    for sequence in (8, 9):
        damage(ends.path, sequence, b"torn", at=100)
    ends.pusher.granted(1, 0, [Range(10 * BLOCK, 15 * BLOCK)])
    assert numbers(ends.received(13)) == [*range(8), *range(15, 20)]
    assert ends.missing == [(Range(8 * BLOCK, 10 * BLOCK), "window_damaged")]


def test_the_next_grant_skips_nothing_unless_it_says_so(ends):
    ends.fill(20)
    ends.pusher.granted(1, 0, [Range(5 * BLOCK, 20 * BLOCK)])
    assert numbers(ends.received(5)) == list(range(5))
    ends.pusher.granted(2, 0)
    assert numbers(ends.received(20)) == list(range(20))


def test_without_an_end_mark_any_more_none_is_sent(ends):
    ends.fill(2)
    ends.pusher.end(2 * BLOCK)
    ends.pusher.granted(1, 0)
    ends.received(3)
    ends.pusher.end(None)
    ends.pusher.granted(2, 0)
    assert [frame.is_last for frame in ends.received(2)] == [False]
    ends.push()
    assert not ends.pull.poll(50)


# The silence gate


def test_what_is_held_waits_behind_a_quiet_mark(ends):
    ends.fill(10)
    ends.pusher.granted(1, 0)
    ends.pusher.hold(8 * BLOCK)
    *audio, mark = ends.received(9)
    assert numbers(audio) == list(range(8))
    assert (mark.is_quiet, mark.is_last, mark.first_sample) == (True, False, 8 * BLOCK)
    ends.fill(5, first=10 * BLOCK)
    assert not ends.push()  # the mark comes once, and nobody waits for room
    assert not ends.pull.poll(50)
    ends.pusher.release()
    assert numbers(ends.received(7)) == list(range(8, 15))


def test_what_is_gated_is_never_sent_and_is_no_gap(ends):
    ends.fill(20)
    ends.pusher.granted(1, 0)
    ends.pusher.hold(5 * BLOCK)
    ends.received(6)
    ends.pusher.gated(Range(5 * BLOCK, 10 * BLOCK))
    assert not ends.push()
    assert ends.pusher.has_pushed(9)
    assert not ends.pusher.has_pushed(10)
    ends.pusher.gated(Range(10 * BLOCK, 14 * BLOCK))
    ends.pusher.release()
    assert numbers(ends.received(6)) == list(range(14, 20))
    assert ends.missing == []


def test_each_grant_has_its_quiet_mark_and_gets_nothing_that_was_gated(ends):
    ends.fill(20)
    ends.pusher.granted(1, 0)
    ends.pusher.hold(5 * BLOCK)
    ends.pusher.gated(Range(5 * BLOCK, 15 * BLOCK))
    assert ends.received(6)[-1].is_quiet
    ends.pusher.granted(2, 3 * BLOCK)
    *audio, mark = ends.received(3)
    assert numbers(audio) == [3, 4]
    assert (mark.is_quiet, mark.grant) == (True, 2)


def test_all_is_pushed_when_only_what_is_held_is_left(ends):
    ends.fill(10)
    ends.pusher.hold(8 * BLOCK)
    assert not ends.pusher.has_pushed_all
    ends.pusher.granted(1, 0)
    assert not ends.pusher.has_pushed_all
    ends.received(9)
    assert ends.pusher.has_pushed_all
    ends.pusher.release()
    assert not ends.pusher.has_pushed_all


def test_gated_audio_that_the_window_has_dropped_is_no_gap(ends):
    ends.fill(50)
    ends.pusher.granted(1, 0)
    ends.pusher.hold(50 * BLOCK)
    ends.received(51)
    ends.fill(60 * 50 + 50, first=50 * BLOCK)
    ends.pusher.gated(Range(50 * BLOCK, 60 * 50 * BLOCK))
    ends.pusher.release()
    assert ends.received(1)[0].first_sample == 60 * 50 * BLOCK
    assert ends.missing == []


@pytest.mark.parametrize("seed", range(4))
def test_every_sample_is_either_sent_or_gated_and_that_once(ends, seed):
    chance, gate = random.Random(seed), Gate(sample_rate=16000, channels=1, hang_over_s=1.0)
    sent, gated, first = Ranges(), Ranges(), 0
    ends.pusher.granted(1, 0)

    def tell():
        for silent in gate.take_gated():
            ends.pusher.gated(silent)
            assert gated.cut(*silent) == [silent]
            gated.join(*silent)

    while first < 40 * 16000 or gate.closed_at is not None:
        is_loud, blocks = chance.random() < 0.5, chance.randrange(20, 200)
        for number in range(blocks if first < 40 * 16000 else 1):
            pcm = (b"\x00\x20\x00\xe0" if is_loud else bytes(4)) * (BLOCK // 2)
            ends.window.append(first, pcm, first)
            was_closed = gate.closed_at is not None
            gate.add(first, pcm)
            first += BLOCK
            if gate.closed_at is not None and not was_closed:
                ends.pusher.hold(gate.closed_at)
            elif gate.closed_at is None and was_closed:
                tell()
                ends.pusher.release()
            elif number % 50 == 0:
                tell()
            ends.pusher.pump()
            while ends.pull.poll(0):
                frame = frames.unpack(ends.pull.recv())
                place = Range(frame.first_sample, frame.first_sample + len(frame.pcm) // 2)
                assert sent.cut(*place) == ([place] if len(frame.pcm) else [])
                sent.join(*place)
    while not ends.pusher.has_pushed_all or ends.pull.poll(200):
        ends.push()
        while ends.pull.poll(20):
            frame = frames.unpack(ends.pull.recv())
            sent.join(frame.first_sample, frame.first_sample + len(frame.pcm) // 2)
    assert list(gated) != []
    assert [part for each in gated for part in sent.cut(*each)] == list(gated)
    assert Ranges([*sent, *gated]).cut(0, first) == []

"""The run's sample clock against a device whose true clock is known."""

from random import Random

import pytest

from mpengine.capture.clock import Missing, SampleClock
from mpengine.capture.source import Block

RATE = 16000
BLOCK = 320
BLOCK_NS = 20_000_000
ORIGIN_NS = 5_000_000_000_000
PCM = bytes(2 * BLOCK)


class Recording:
    """A device, its true sample count, and the clock under test; `indexes` are pairs (true, given)."""

    def __init__(self, ppm=0.0, **clock):
        self.true = 0
        self.waiting = []  # true first samples of the blocks that the clock still holds
        self.indexes = []
        self.missing = []
        self._ns_per_sample = 1e9 / RATE * (1 + ppm * 1e-6)
        self.clock = new_clock(**clock)

    def lose(self, samples):
        self.true += samples

    def time_ns(self):
        """When the last sample of the device so far could be read at the earliest."""
        return ORIGIN_NS + round(self.true * self._ns_per_sample)

    def block(self, *, late_ns=0, at_ns=None, lost_before=0, overflowed=False):
        """The next block arrives: on time, late, or when the device is read at last."""
        self.waiting.append(self.true)
        self.true += BLOCK
        arrival_ns = self.time_ns() + late_ns if at_ns is None else max(at_ns, self.time_ns())
        self._take(self.clock.add(Block(PCM, arrival_ns, lost_before, overflowed)))

    def blocks(self, count, chance=None, jitter_ns=0):
        for _ in range(count):
            self.block(late_ns=chance.randrange(jitter_ns) if chance else 0)

    def settle(self):
        self._take(self.clock.settle())

    def restart(self):
        """Another process goes on with what the window knows: the last index and its arrival."""
        self.settle()
        arrival_ns = self.clock.arrival_ns(self.clock.next_sample)
        self.clock = new_clock(next_sample=self.clock.next_sample)
        self.clock.continue_from(self.clock.next_sample, arrival_ns)
        self.clock.interrupted("capture_restart")

    def _take(self, placed):
        for each in placed:
            self.indexes.append((self.waiting.pop(0), each.first_sample))
            if each.missing is not None:
                self.missing.append(each.missing)

    @property
    def worst(self):
        """How far an index was from the truth."""
        return max(abs(true - given) for true, given in self.indexes)

    @property
    def missing_samples(self):
        return sum(each.end - each.first for each in self.missing)


def new_clock(**options):
    return SampleClock(sample_rate=RATE, sample_bytes=2, block_samples=BLOCK, **options)


@pytest.fixture
def recording():
    return Recording()


# Counting


def test_blocks_are_counted(recording):
    recording.blocks(100)
    assert [given for _, given in recording.indexes] == list(range(0, 100 * BLOCK, BLOCK))


def test_it_goes_on_where_it_is_told():
    clock = new_clock(next_sample=7000)
    assert clock.add(Block(PCM, ORIGIN_NS))[0].first_sample == 7000
    assert clock.next_sample == 7000 + BLOCK


def test_samples_are_counted_of_each_channel():
    clock = SampleClock(sample_rate=RATE, sample_bytes=4, block_samples=BLOCK)
    clock.add(Block(bytes(4 * 100), ORIGIN_NS))
    assert clock.next_sample == 100


def test_a_block_passes_at_once_while_nothing_is_missing(recording):
    recording.block()
    assert not recording.waiting


def test_jitter_is_no_gap(recording):
    recording.blocks(1000, Random(1), 200_000_000)
    assert (recording.missing, recording.worst) == ([], 0)


def test_a_burst_after_a_stall_is_no_gap(recording):
    recording.blocks(100)
    stalled_until = recording.time_ns() + 20 * 10**9
    for _ in range(1000):
        recording.block(at_ns=stalled_until)
    recording.blocks(100)
    assert (recording.missing, recording.worst) == ([], 0)


def test_a_device_that_delivers_in_bursts_is_not_held_up(recording):
    """An idle PulseAudio null sink hands over two seconds at once, every two seconds."""
    for burst in range(1, 30):
        for _ in range(100):
            recording.block(at_ns=ORIGIN_NS + burst * 2 * 10**9)
        assert len(recording.waiting) <= 1
    assert (recording.missing, recording.worst) == ([], 0)


def test_a_latency_that_grows_by_a_few_ms_is_no_gap(recording):
    recording.blocks(100)
    for _ in range(1000):
        recording.block(late_ns=30_000_000)
    assert (recording.missing, recording.worst) == ([], 0)


def test_a_loss_behind_a_stall_is_a_gap_though_nobody_flagged_it(recording):
    recording.blocks(100)
    recording.lose(3 * RATE)
    recording.blocks(100)
    assert abs(recording.missing_samples - 3 * RATE) <= BLOCK
    assert recording.worst <= BLOCK


@pytest.mark.parametrize("lost", [3_200, 4_000, 12_000])
def test_what_is_lost_without_a_flag_or_a_stall_is_a_gap_some_seconds_later(recording, lost):
    chance = Random(7)
    recording.blocks(1000, chance, 50_000_000)
    recording.lose(lost + BLOCK)
    recording.blocks(550, chance, 50_000_000)
    assert recording.missing_samples == pytest.approx(lost, abs=2 * BLOCK)
    true, given = recording.indexes[-1]
    assert abs(true - given) <= 2 * BLOCK
    recording.blocks(3000, chance, 50_000_000)
    assert len(recording.missing) == 1


def test_a_device_that_gives_too_few_samples_all_the_time_is_found_out_again_and_again(recording):
    for _ in range(600):
        recording.blocks(10)
        recording.lose(64)  # 2 %
    assert recording.missing_samples == pytest.approx(600 * 64, abs=RATE // 2)
    assert {each.reason for each in recording.missing} == {"overflow"}


def test_a_crystal_that_is_off_makes_no_gap_of_its_drift():
    recording = Recording(ppm=100)
    recording.blocks(15_000)
    recording.block(overflowed=True)
    recording.blocks(20)
    assert recording.missing == []


# Losses that the source counts


def test_what_the_source_knows_to_have_lost_is_missing_exactly(recording):
    recording.blocks(10)
    recording.lose(777)
    recording.block(lost_before=777)
    assert recording.missing == [Missing(10 * BLOCK, 10 * BLOCK + 777, "overflow", 0)]
    assert recording.worst == 0


# Losses of unknown length


@pytest.mark.parametrize("lost", [400, 1600, 16_000, 320_000])
def test_an_overflow_is_as_long_as_the_clock_says(recording, lost):
    recording.blocks(100, Random(2), 5_000_000)
    recording.lose(lost)
    recording.block(overflowed=True)
    recording.blocks(20, Random(3), 5_000_000)
    assert len(recording.missing) == 1
    assert recording.missing_samples == pytest.approx(lost, abs=BLOCK)
    assert recording.worst <= BLOCK


def test_a_gap_says_where_it_is_why_and_how_sure_it_is(recording):
    recording.blocks(100)
    recording.lose(1600)
    recording.block(overflowed=True)
    recording.blocks(20)
    assert recording.missing == [Missing(100 * BLOCK, 100 * BLOCK + 1600, "overflow", BLOCK)]


@pytest.mark.parametrize("lost", [0, 1, 150])
def test_an_overflow_that_lost_less_than_half_a_block_is_no_gap(recording, lost):
    recording.blocks(100)
    recording.lose(lost)
    recording.block(overflowed=True)
    recording.blocks(20)
    assert recording.missing == []


def test_after_an_overflow_blocks_wait_a_moment_and_none_is_lost(recording):
    recording.blocks(100)
    recording.lose(1600)
    recording.block(overflowed=True)
    assert len(recording.waiting) == 1
    recording.blocks(20)
    assert (recording.waiting, len(recording.indexes)) == ([], 121)


def test_an_overflow_with_jitter_on_the_first_block_is_not_overestimated(recording):
    recording.blocks(100)
    recording.lose(1600)
    recording.block(late_ns=300_000_000, overflowed=True)
    recording.blocks(20)
    assert recording.missing_samples == 1600


def test_every_overflow_counts_though_they_come_close_together(recording):
    recording.blocks(100)
    recording.lose(1600)
    recording.block(overflowed=True)
    recording.blocks(2)
    recording.lose(3200)
    recording.block(overflowed=True)
    recording.blocks(30)
    assert recording.missing_samples == pytest.approx(4800, abs=BLOCK)
    assert recording.worst <= BLOCK


def test_an_overflow_that_the_source_counted_too_is_counted_once(recording):
    recording.blocks(100)
    recording.lose(1600)
    recording.block(lost_before=1600, overflowed=True)
    recording.blocks(20)
    assert recording.missing_samples == pytest.approx(1600, abs=BLOCK)


def test_an_overflow_ahead_of_a_long_backlog_is_not_as_long_as_the_backlog(recording):
    """The driver dropped a second, and hands over the next second at once: only the first is lost."""
    recording.blocks(100)
    stalled_until = recording.time_ns() + 2 * 10**9
    recording.lose(RATE)
    recording.block(at_ns=stalled_until, overflowed=True)
    for _ in range(49):
        recording.block(at_ns=stalled_until)
    recording.blocks(50)
    recording.settle()
    assert recording.missing_samples == pytest.approx(RATE, abs=BLOCK)
    assert recording.worst <= BLOCK


def test_a_stall_whose_backlog_never_comes_is_a_gap_though_nobody_flagged_it(recording):
    recording.blocks(100)
    recording.lose(RATE)
    recording.blocks(500)
    recording.settle()
    assert recording.missing_samples == pytest.approx(RATE, abs=BLOCK)
    assert abs(recording.indexes[-1][0] - recording.indexes[-1][1]) <= BLOCK


# Restarts


@pytest.mark.parametrize("away", [400, 1600, 16_000, 3_200_000])
def test_the_gap_of_a_restart_is_the_time_that_passed(recording, away):
    recording.blocks(100, Random(4), 5_000_000)
    recording.restart()
    recording.lose(away)
    recording.blocks(20, Random(5), 5_000_000)
    assert [each.reason for each in recording.missing] == ["capture_restart"]
    assert recording.missing_samples == pytest.approx(away, abs=BLOCK)
    assert recording.worst <= BLOCK


def test_a_restart_that_lost_nothing_is_no_gap(recording):
    recording.blocks(100)
    recording.restart()
    recording.blocks(20)
    assert (recording.missing, recording.worst) == ([], 0)


def test_the_first_start_of_a_run_is_no_gap(recording):
    recording.clock.interrupted("capture_restart")
    recording.blocks(20)
    assert (recording.missing, recording.worst) == ([], 0)


def test_a_pause_is_a_gap_with_its_own_reason(recording):
    recording.blocks(100)
    recording.clock.interrupted("paused")
    recording.lose(16_000)
    recording.block(overflowed=True)
    recording.blocks(20)
    assert recording.missing == [Missing(100 * BLOCK, 100 * BLOCK + 16_000, "paused", BLOCK)]


def test_closing_the_device_places_what_was_still_held(recording):
    recording.blocks(100)
    recording.lose(1600)
    recording.block(overflowed=True)
    recording.block()
    recording.settle()
    assert (recording.waiting, recording.missing_samples, recording.worst) == ([], 1600, 0)


def test_settling_with_nothing_held_places_nothing(recording):
    recording.blocks(10)
    assert recording.clock.settle() == []


# The way back to time


def test_a_sample_arrived_when_the_envelope_says(recording):
    recording.blocks(500, Random(6), 5_000_000)
    assert recording.clock.arrival_ns(100 * BLOCK) == pytest.approx(ORIGIN_NS + 100 * BLOCK_NS, abs=200_000)


def test_before_the_first_block_no_sample_has_a_time(recording):
    assert recording.clock.arrival_ns(0) is None


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_every_index_is_within_a_block_of_the_truth(seed):
    """Jitter, stalls, overflows and restarts of any length, each with a while of peace behind it."""
    chance = Random(seed)
    recording = Recording()
    for _ in range(30):
        recording.blocks(chance.randrange(10, 60), chance, 8_000_000)
        match chance.choice(("stall", "overflow", "known", "restart")):
            case "stall":
                until = recording.time_ns() + chance.randrange(5 * 10**9)
                while recording.time_ns() < until:
                    recording.block(at_ns=until)
            case "overflow":
                recording.lose(chance.choice((0, 50, 500, 5000, 50_000)))
                recording.block(late_ns=chance.randrange(8_000_000), overflowed=True)
            case "known":
                lost = chance.randrange(1, 5000)
                recording.lose(lost)
                recording.block(lost_before=lost)
            case "restart":
                recording.restart()
                recording.lose(chance.randrange(80_000))
    recording.blocks(20, chance, 8_000_000)
    assert recording.waiting == []
    assert recording.worst <= BLOCK
    assert all(each.first < each.end for each in recording.missing)


# A source that knows when


def exact(arrival_ns, **loss):
    return Block(PCM, arrival_ns, is_exact=True, **loss)


def test_where_the_arrival_is_exact_two_blocks_are_enough_after_a_restart():
    clock = new_clock(next_sample=16000)
    clock.continue_from(16000, 10 * 1_000_000_000)
    clock.interrupted("capture_restart")
    begin_ns = 10 * 1_000_000_000 + 1_000_000_000 // 4
    assert clock.add(exact(begin_ns + BLOCK_NS)) == []
    placed = clock.add(exact(begin_ns + 2 * BLOCK_NS))
    assert [each.first_sample for each in placed] == [20000, 20000 + BLOCK]
    assert (placed[0].missing.first, placed[0].missing.end) == (16000, 20000)


def test_flagged_losses_that_never_end_hold_nothing_back_for_long():
    clock = new_clock()
    arrival_ns, held = 1_000_000_000, 0
    for number in range(2000):
        lost = number and not number % 3
        arrival_ns += BLOCK_NS * (4 if lost else 1)
        placed = clock.add(Block(PCM, arrival_ns, 0, bool(lost)))
        held = held + 1 - len(placed)
        assert held * BLOCK <= 1.1 * RATE


def test_a_successor_goes_on_behind_what_the_window_lost():
    """The window ends before what had been captured: its last arrival belongs to its own end."""
    clock = new_clock(next_sample=32000)
    clock.continue_from(16000, 10 * 1_000_000_000)
    clock.interrupted("capture_restart")
    placed = [each for n in (1, 2) for each in clock.add(exact(12 * 1_000_000_000 + n * BLOCK_NS))]
    assert placed[0].first_sample == 16000 + 2 * RATE
    assert (placed[0].missing.first, placed[0].missing.end) == (32000, 48000)


def test_a_device_that_is_often_late_is_followed_without_drift_over_many_restarts():
    """The first blocks are exact, and many of the others are late: nothing adds up over a hundred restarts."""
    chance = Random(3)
    true_ns, clock, index = ORIGIN_NS, new_clock(), 0
    for _ in range(100):
        for number in range(200):
            true_ns += BLOCK_NS
            is_exact = number < 4
            late_ns = chance.randrange(100_000 if is_exact or chance.random() < 0.1 else 40_000_000)
            for placed in clock.add(Block(PCM, true_ns + late_ns, is_exact=is_exact)):
                index = placed.first_sample + BLOCK
        for placed in clock.settle():
            index = placed.first_sample + BLOCK
        assert abs(index - (true_ns - ORIGIN_NS) * RATE // 10**9) <= BLOCK // 4
        arrival_ns, before = clock.arrival_ns(index), clock
        clock = new_clock(next_sample=before.next_sample)
        clock.continue_from(before.next_sample, arrival_ns)
        clock.interrupted("capture_restart")
        true_ns += chance.randrange(50_000_000, 400_000_000)

"""What goes into which file of a recording."""

import pytest

from mpengine.recorder.tape import LONGEST_SILENCE_S, Audio, Begin, Cause, End, Lack, Silence, Tape
from mpengine.shared.ranges import Range
from tests.pure.support import pcm

RATE = 1000
NS = 1_000_000  # a sample of that rate


def tape(*, most=10_000, position=None, channels=1):
    return Tape(sample_rate=RATE, channels=channels, most_samples=most, position=position)


def take(made, first, end, *, follows=True):
    return made.take(first, pcm(first, end), end * NS, follows=follows)


def test_the_first_audio_begins_a_file_where_it_begins():
    made = tape()
    assert take(made, 500, 520, follows=False) == [Begin(500, 500 * NS, None), Audio(pcm(500, 520))]
    assert take(made, 520, 540) == [Audio(pcm(520, 540))]
    assert made.end() == [End()]
    assert made.end() == []


def test_a_file_that_is_full_ends_inside_of_a_block():
    made = tape(most=30)
    take(made, 0, 20)
    assert take(made, 20, 40) == [Audio(pcm(20, 30)), End(), Begin(30, 30 * NS, None), Audio(pcm(30, 40))]


def test_a_block_may_fill_several_files():
    made = tape(most=8)
    begins = [action.first for action in take(made, 0, 20) if isinstance(action, Begin)]
    assert begins == [0, 8, 16]
    assert made.is_open


@pytest.mark.parametrize(("follows", "cause"), [(True, Cause.NOT_CAPTURED), (False, Cause.NOT_READ)])
def test_silence_stands_for_what_is_missing(follows, cause):
    made = tape()
    take(made, 0, 20)
    assert take(made, 50, 60, follows=follows) == [Silence(Lack(Range(20, 50), cause)), Audio(pcm(50, 60))]


def test_a_long_gap_ends_the_file_and_is_told_by_the_next_one():
    made = tape(most=1_000_000)
    take(made, 0, 20)
    first = 20 + LONGEST_SILENCE_S * RATE
    assert [type(each) for each in take(made, first, first + 20)] == [Silence, Audio]
    again = first + 20 + LONGEST_SILENCE_S * RATE + 1
    lack = Lack(Range(first + 20, again), Cause.NOT_CAPTURED)
    assert take(made, again, again + 10) == [End(), Begin(again, again * NS, lack), Audio(pcm(again, again + 10))]


def test_a_gap_that_reaches_beyond_the_file_ends_it():
    made = tape(most=40)
    take(made, 0, 20)
    lack = Lack(Range(20, 40), Cause.NOT_CAPTURED)
    assert take(made, 40, 45)[:2] == [End(), Begin(40, 40 * NS, lack)]


def test_a_gap_behind_a_file_that_has_ended_is_told_by_the_next_one():
    made = tape()
    take(made, 0, 20)
    made.end()
    assert take(made, 30, 40)[0] == Begin(30, 30 * NS, Lack(Range(20, 30), Cause.NOT_CAPTURED))


def test_it_goes_on_behind_earlier_recordings():
    made = tape(position=30)
    assert take(made, 0, 20, follows=False) == []
    assert take(made, 20, 40) == [Begin(30, 30 * NS, None), Audio(pcm(30, 40))]


def test_what_no_longer_can_be_had_is_told():
    made = tape(position=30)
    lack = Lack(Range(30, 100), Cause.NOT_READ)
    assert take(made, 100, 110, follows=False) == [Begin(100, 100 * NS, lack), Audio(pcm(100, 110))]


def test_audio_that_comes_again_is_left_out():
    made = tape()
    take(made, 0, 40)
    assert take(made, 0, 20, follows=False) == []
    assert take(made, 20, 40) == []
    assert take(made, 30, 60) == [Audio(pcm(40, 60))]


def test_channels_stay_together():
    made = tape(most=3, channels=2)
    stereo = pcm(0, 8)  # four samples of two channels
    parts = [action.pcm for action in made.take(0, stereo, 4 * NS, follows=False) if isinstance(action, Audio)]
    assert parts == [stereo[:12], stereo[12:]]

"""Which finals were published already."""

from random import Random

import pytest

from mpengine.shared.messages import Word
from mpengine.supervisor.decide.results import Ledger
from tests.pure.support import result as heard

S = 16000


def words(*places):
    """Words w0, w1, ... at (first, end)."""
    return tuple(word(f"w{n}", first, end) for n, (first, end) in enumerate(places))


def word(text, first, end, **fields):
    return Word(word=text, start_s=first / S, end_s=end / S, **fields)


def range_of(transcript):
    return transcript.start_s * S, transcript.end_s * S


def test_a_final_behind_the_acknowledged_position_is_news():
    final = heard(1000, 2000)
    assert Ledger(S, 1000).fresh(final) is final.transcript


@pytest.mark.parametrize(("first", "end"), [(0, 500), (0, 1000), (500, 1000), (1000, 1000)])
def test_a_final_that_ends_at_or_before_it_is_none(first, end):
    assert Ledger(S, 1000).fresh(heard(first, end)) is None


def test_of_a_final_that_overlaps_it_the_words_before_are_cut():
    final = heard(0, 2000, text="W0, w1 w2.", words=words((0, 900), (900, 1300), (1300, 2000)))
    fresh = Ledger(S, 1000).fresh(final)
    assert (fresh.text, [word.word for word in fresh.words], range_of(fresh)) == (
        "w1 w2",
        ["w1", "w2"],
        (1000, 2000),
    )


@pytest.mark.parametrize(
    ("first", "end", "stays"),
    [(900, 1100, True), (899, 1100, False), (900, 1101, True), (0, 2000, True), (0, 1999, False)],
)
def test_the_middle_of_a_word_decides(first, end, stays):
    fresh = Ledger(S, 1000).fresh(heard(0, 2000, words=words((first, end), (1500, 2000))))
    assert ("w0" in [word.word for word in fresh.words]) is stays


def test_the_text_that_is_left_keeps_its_punctuation():
    places = (
        word("one", 0, 500, punctuated_word="One,"),
        word("two", 1000, 1500, punctuated_word="Two,"),
        word("three", 1500, 2000, punctuated_word="three."),
    )
    fresh = Ledger(S, 1000).fresh(heard(0, 2000, text="One, Two, three.", words=places))
    assert fresh.text == "Two, three."


def test_a_text_of_which_no_word_is_cut_stays_as_it_was():
    fresh = Ledger(S, 1000).fresh(heard(900, 2000, text="W0 - w1!", words=words((950, 1500), (1500, 2000))))
    assert (fresh.text, range_of(fresh)) == ("W0 - w1!", (1000, 2000))


def test_a_final_of_which_every_word_is_cut_is_none():
    assert Ledger(S, 1000).fresh(heard(0, 1100, words=words((0, 500), (500, 900)))) is None


def test_an_overlapping_final_without_words_is_kept_and_its_start_clamped():
    fresh = Ledger(S, 1000).fresh(heard(0, 2000, text="no words"))
    assert (fresh.text, range_of(fresh)) == ("no words", (1000, 2000))


def test_what_is_cut_keeps_everything_else():
    final = heard(
        0,
        2000,
        acknowledges=2000,
        speech_final=True,
        confidence=0.5,
        words=words((1200, 2000)),
        channel=1,
        language="de",
        replayed=True,
    )
    fresh = Ledger(S, 1000).fresh(final)
    kept = ("connection", "is_final", "speech_final", "confidence", "channel", "language", "replayed")
    assert {name: getattr(fresh, name) for name in kept} == {name: getattr(final.transcript, name) for name in kept}


def test_an_interim_is_always_news():
    interim = heard(0, 500, is_final=False)
    assert Ledger(S, 1000).fresh(interim) is interim.transcript


def test_being_news_settles_nothing():
    ledger = Ledger(S)
    ledger.fresh(heard(0, 1000, acknowledges=1000))
    assert ledger.acknowledged == 0


@pytest.mark.parametrize(
    ("acknowledges", "told", "position"),
    [(None, None, 1000), (0, None, 1000), (999, None, 1000), (1000, None, 1000), (1001, 1001, 1001)],
)
def test_the_position_only_moves_forward(acknowledges, told, position):
    ledger = Ledger(S, 1000)
    assert ledger.settle(heard(0, 2000, acknowledges=acknowledges)) == told
    assert ledger.acknowledged == position


def test_what_was_transcribed_is_as_far_as_any_result_went():
    ledger = Ledger(S)
    ledger.fresh(heard(0, 2000, is_final=False))
    ledger.fresh(heard(0, 1000))
    assert ledger.transcribed == 2000


@pytest.mark.parametrize("seed", range(20))
def test_over_any_replays_every_word_is_published_exactly_once(seed):
    """Words tile the time; a recogniser cuts them into finals, and after a loss begins again at the acknowledged."""
    chance, ledger, published = Random(seed), Ledger(S), []
    places, at = [], 0
    while at < 200_000:
        end = at + chance.randrange(1000, 8000)
        places.append((at, end))
        at = end
    position = 0
    while position < len(places):
        count = chance.randrange(1, 6)
        piece = places[position : position + count]
        numbered = tuple(word(str(position + n), first, end) for n, (first, end) in enumerate(piece))
        final = heard(piece[0][0], piece[-1][1], words=numbered, acknowledges=piece[-1][1])
        fresh = ledger.fresh(final)
        published += [each.word for each in fresh.words] if fresh else []
        ledger.settle(final)
        position += len(piece)
        if chance.random() < 0.3:  # the connection is lost; what comes again overlaps
            position = max(0, position - chance.randrange(4))
    assert published == [str(n) for n in range(len(places))]


def test_each_channel_has_its_own_finals():
    """Audio is acknowledged when all channels have theirs; what one of them said is published once all the same."""
    ledger = Ledger(S)
    first = heard(0, 100, acknowledges=0)
    assert ledger.fresh(first) is first.transcript
    ledger.settle(first)
    assert ledger.acknowledged == 0
    assert ledger.fresh(heard(0, 100, acknowledges=0)) is None  # sent again: the connection was lost in between
    other = heard(0, 100, channel=1, acknowledges=100)
    assert ledger.fresh(other) is other.transcript
    assert ledger.settle(other) == 100

"""Where what was heard belongs on the run's sample clock, and what the supervisor is told of it."""

from random import Random

import pytest

from mpengine.dialects.base import Ignored, LeftOut, Malformed, Ready, Said, ServiceError, Unknown
from mpengine.shared import control
from mpengine.shared.frames import Frame
from mpengine.shared.messages import CreditsLow, ErrorKind, SpeechStarted, UtteranceEnd
from mpengine.streaming.actions import Mention, Tell
from mpengine.streaming.placing import Estimate, Placing, UntimedFinals
from tests.pure.support import RUN, hypothesis, pcm, weight, word

S = 16000


def new_placing(sent_before=0, connection=3, channels=1):
    placing = Placing(sample_rate=S, sample_bytes=2 * channels, hold_s=3.0, sent_before=sent_before)
    placing.connected(connection)
    return placing


@pytest.fixture
def placing():
    return new_placing()


def frame(first, end, grant=3):
    return Frame(RUN, grant, first, memoryview(pcm(first, end)))


def send(placing, *ranges):
    for first, end in ranges:
        placing.sending(frame(first, end), 100.0)


def final(start_s, end_s, text="words", **fields):
    return hypothesis(text, True, start_s, end_s - start_s, **fields)


def told(placing, said, now=100.0):
    """The one message that the supervisor is told."""
    (action,) = placing.said(said, now)
    return action.message


# What is sent


def test_a_frame_is_sent_as_it_is(placing):
    assert placing.sending(frame(1000, 1320), 100.0) == pcm(1000, 1320)


@pytest.mark.parametrize(
    ("first", "end", "fresh"),
    [(0, 320, (0, 0)), (0, 640, (0, 0)), (320, 960, (640, 960)), (640, 960, (640, 960)), (900, 960, (900, 960))],
)
def test_samples_that_went_out_on_this_connection_are_skipped(placing, first, end, fresh):
    send(placing, (0, 640))
    assert placing.sending(frame(first, end), 100.0) == pcm(*fresh)


def test_on_another_connection_they_are_sent_again(placing):
    send(placing, (0, 640))
    placing.connected(4)
    assert placing.sending(frame(0, 640), 100.0) == pcm(0, 640)


def test_samples_are_skipped_of_every_channel():
    placing = new_placing(channels=2)
    placing.sending(Frame(RUN, 3, 0, pcm(0, 640)), 100.0)
    assert placing.sending(Frame(RUN, 3, 160, pcm(320, 960)), 100.0) == pcm(640, 960)


def test_progress_is_that_of_the_connection_and_the_highest_of_all(placing):
    send(placing, (0, 3200))
    placing.connected(4)
    assert (placing.beat(100.0).sent, placing.beat(100.0).highest_sent) == (0, 3200)
    send(placing, (0, 320))
    assert (placing.beat(100.0).sent, placing.beat(100.0).highest_sent) == (320, 3200)


def test_what_a_connection_sent_ends_where_its_own_audio_ends(placing):
    send(placing, (0, 3200))
    assert placing.sent_until == 3200
    placing.connected(4)
    assert placing.sent_until == 0
    send(placing, (320, 640))
    assert placing.sent_until == 640


def test_samples_sent_a_second_time_are_counted(placing):
    send(placing, (0, 3200))
    placing.connected(4)
    send(placing, (1600, 2400), (2400, 4000))
    assert placing.beat(100.0).replayed == 1600


def test_what_an_earlier_process_had_sent_counts_too():
    placing = new_placing(sent_before=3200)
    send(placing, (1600, 4800))
    assert placing.beat(100.0) == control.StreamBeat(sent=4800, highest_sent=4800, replayed=1600)


# Times


def test_seconds_of_the_connection_become_samples_of_the_run(placing):
    send(placing, (5 * S, 8 * S))
    heard = told(placing, final(1.0, 2.0))
    assert (heard.first, heard.end, heard.acknowledges) == (6 * S, 7 * S, 7 * S)
    assert (heard.transcript.connection, heard.transcript.start_s, heard.transcript.end_s) == (3, 6.0, 7.0)


def test_a_gap_in_what_was_sent_is_skipped_in_what_was_heard(placing):
    send(placing, (0, S), (2 * S, 3 * S))
    heard = told(placing, final(0.5, 1.5))
    assert (heard.first, heard.end, heard.transcript.estimated) == (S // 2, 2 * S + S // 2, False)


def test_at_a_gap_an_end_is_before_and_a_start_behind(placing):
    send(placing, (0, S), (3 * S, 4 * S))
    assert told(placing, final(0.0, 1.0)).end == S
    assert told(placing, final(1.0, 2.0)).first == 3 * S


def test_words_have_places_of_their_own(placing):
    send(placing, (0, S), (2 * S, 3 * S))
    marks = {"confidence": 0.5, "punctuated_word": "A", "speaker": 1}
    words = (word("a", 0.0, 1.0, **marks), word("b", 1.0, 2.0))
    placed = told(placing, final(0.0, 2.0, words=words)).transcript.words
    assert placed == (word("a", 0.0, 1.0, **marks), word("b", 2.0, 3.0))


def test_an_utterance_end_that_comes_behind_its_final_is_still_before_the_gap(placing):
    send(placing, (0, S), (3 * S, 4 * S))
    told(placing, final(0.0, 1.0))
    assert told(placing, Said(UtteranceEnd(at_s=1.0))).message.at_s == 1.0


def test_what_is_heard_beyond_what_was_sent_ends_with_it(placing):
    send(placing, (0, S))
    heard = told(placing, final(0.5, 1.2))
    assert (heard.first, heard.end, heard.acknowledges) == (S // 2, S, S)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.9, 0.1), (0.5, -3.0), (-2.0, -1.0)])
def test_nothing_ends_before_it_starts(placing, start_s, end_s):
    send(placing, (0, S))
    heard = told(placing, final(start_s, end_s))
    assert heard.first <= heard.end


def test_text_and_marks_are_passed_on(placing):
    send(placing, (0, S))
    said = hypothesis("Hallo", True, 0.0, 1.0, speech_final=True, confidence=0.5, channel=0, language="de")
    heard = told(placing, said).transcript
    assert (heard.text, heard.is_final, heard.speech_final, heard.confidence, heard.language, heard.estimated) == (
        "Hallo",
        True,
        True,
        0.5,
        "de",
        False,
    )


# Times that cannot be true


@pytest.mark.parametrize(
    ("before", "start_s", "end_s"),
    [
        ((0.0, 1.0), 1.0, 1.0),  # no length
        ((0.0, 1.0), 0.0, 1.0),  # a clock that stands still
        ((0.0, 2.0), 0.5, 1.5),  # that goes back
        ((0.0, 2.0), 0.0, 3.0),  # that begins again
        ((0.0, 1.0), 2.0, 9.0),  # beyond the audio sent
        ((0.0, 1.0), -3.0, 3.0),
        ((0.0, 1.0), 3.0, 2.0),
        ((0.0, 0.0), 0.0, 0.0),  # a clock at 0 for ever
        ((1.0, 2.0), 1.0, 2.0),
    ],
)
def test_they_are_estimated_by_the_audio_that_was_sent(placing, before, start_s, end_s):
    placing.sending(frame(5 * S, 7 * S), 100.0)
    told(placing, final(*before, "one"), now=100.0)
    placing.sending(frame(7 * S, 10 * S), 105.0)
    heard = told(placing, final(start_s, end_s, "two"), now=110.0)
    first = 7 * S if before[1] in {0.0, 2.0} else 6 * S
    assert (heard.first, heard.end, heard.transcript.estimated) == (first, 10 * S, True)
    assert heard.acknowledges == 7 * S  # sent when the final before came
    assert not heard.is_repeated


@pytest.mark.parametrize(
    "times",
    [
        [(0.0, 1.0), (0.9, 2.0), (1.8, 3.0)],  # windows overlap
        [(2.0, 3.0), (0.0, 1.0), (1.0, 2.0)],  # late, but at times of which nothing was heard
        [(0.0, 1.0), (0.0, 2.0)],
    ],
)
def test_times_with_half_of_news_are_believed(placing, times):
    send(placing, (0, 4 * S))
    for number, (start_s, end_s) in enumerate(times):
        heard = told(placing, final(start_s, end_s, f"word {number}"))
        assert (heard.first, heard.end, heard.transcript.estimated) == (start_s * S, end_s * S, False)


def test_behind_times_that_are_true_an_empty_final_without_length_acknowledges_nothing(placing):
    placing.sending(frame(0, 2 * S), 100.0)
    told(placing, final(0.0, 1.0), now=100.0)
    placing.sending(frame(2 * S, 4 * S), 105.0)
    assert told(placing, final(1.0, 1.0, ""), now=110.0).acknowledges is None


def test_empty_finals_acknowledge_what_they_cover_however_they_overlap(placing):
    send(placing, (0, 4 * S))
    finals = [final(0.0, end_s, "") for end_s in (1.0, 1.1, 1.2, 3.0)]
    assert [told(placing, each).acknowledges for each in finals] == [S, round(1.1 * S), round(1.2 * S), 3 * S]
    assert not told(placing, final(0.0, 2.0, "late")).transcript.estimated


def test_a_guess_begins_where_the_final_with_times_before_it_ended(placing):
    send(placing, (0, 4 * S))
    told(placing, final(0.0, 3.0))
    heard = told(placing, hypothesis("words", is_final=True))
    assert (heard.first, heard.end) == (3 * S, 4 * S)


def test_the_same_text_and_times_are_a_repetition_on_each_channel(placing):
    send(placing, (0, 4 * S))
    twice = [final(0.0, 1.0, "yes"), final(0.0, 1.0, "yes", channel=1)] * 2
    heard = [told(placing, each) for each in (*twice, final(1.0, 2.0, "yes"), final(1.0, 2.0, "no"))]
    assert [each.is_repeated for each in heard] == [False, False, True, True, False, False]
    assert heard[2].acknowledges is None


def test_without_times_or_length_nothing_is_a_repetition(placing):
    send(placing, (0, 4 * S))
    for said in [hypothesis("yes", is_final=True)] * 2 + [final(0.0, 0.0, "yes")] * 2:
        assert not told(placing, said).is_repeated


@pytest.mark.parametrize("other", [hypothesis("no", is_final=True), final(1.0, 1.0, "no"), final(1.0, 2.0, "")])
def test_after_any_other_final_nothing_is_a_repetition(placing, other):
    send(placing, (0, 4 * S))
    heard = [told(placing, each) for each in (final(0.0, 1.0, "yes"), other, final(0.0, 1.0, "yes"))]
    assert not any(each.is_repeated for each in heard)


def test_on_another_connection_it_is_none(placing):
    send(placing, (0, S))
    told(placing, final(0.0, 1.0))
    placing.connected(4)
    send(placing, (0, S))
    assert not told(placing, final(0.0, 1.0)).is_repeated


@pytest.mark.slow
def test_many_holes_are_remembered_in_little():
    placing = new_placing()
    send(placing, (0, 4 * S))
    placing._timeline.sent_samples(4 * S, 10_000 * S)
    for second in range(0, 10_000, 2):
        told(placing, final(float(second), second + 1.0, f"word {second}"))
    assert weight(placing._heard) < 60_000


# Wide gaps


def test_a_final_with_words_on_both_sides_becomes_two(placing):
    send(placing, (0, 2 * S), (100 * S, 104 * S))
    words = (word("it", 0.5, 1.0), word("was", 1.0, 2.1), word("late", 2.2, 3.0, punctuated_word="late."))
    said = final(0.0, 3.5, "It was -  late.", words=(word("It", 0.5, 1.0), *words[1:]), speech_final=True)
    before, after = [action.message for action in placing.said(said, 100.0)]
    assert [each.transcript.text for each in (before, after)] == ["It was -", "late."]
    assert [(each.first, each.end) for each in (before, after)] == [(0, 2 * S), (100 * S, round(101.5 * S))]
    assert [(each.start_s, each.end_s) for each in before.transcript.words] == [(0.5, 1.0), (1.0, 2.0)]
    assert [(each.start_s, each.end_s) for each in after.transcript.words] == [(100.2, 101.0)]
    assert [each.transcript.speech_final for each in (before, after)] == [False, True]
    assert [each.acknowledges for each in (before, after)] == [None, round(101.5 * S)]
    assert not before.transcript.estimated
    assert not after.transcript.estimated


@pytest.mark.parametrize(
    ("words", "place", "is_estimated"),
    [
        ((), (100, 101), True),
        ((word("one", 0.5, 1.5),), (0, 2), False),
        ((word("one", 2.5, 2.8),), (100, 101), False),
    ],
)
def test_otherwise_it_lies_on_the_side_of_its_words_or_the_last_one(placing, words, place, is_estimated):
    send(placing, (0, 2 * S), (100 * S, 104 * S))
    heard = told(placing, final(0.0, 3.0, "one", words=words))
    assert (heard.first, heard.end) == (place[0] * S, place[1] * S)
    assert heard.transcript.estimated is is_estimated


def test_without_times_it_lies_on_the_last_side(placing):
    placing.sending(frame(0, S), 100.0)
    placing.sending(frame(100 * S, 101 * S), 101.0)
    heard = told(placing, hypothesis("words", is_final=True), now=101.0)
    assert (heard.first, heard.end) == (100 * S, 101 * S)


def test_words_of_a_guess_lie_on_the_last_side(placing):
    send(placing, (0, S), (100 * S, 102 * S))
    words = (word("a", 0.0, 0.0), word("b", 0.0, 0.0))
    heard = told(placing, hypothesis("a b", is_final=True, words=words), now=101.0)
    assert [(each.start_s, each.end_s) for each in heard.transcript.words] == [(100.0, 101.0), (101.0, 102.0)]
    assert (heard.transcript.text, heard.first, heard.end) == ("a b", 100 * S, 102 * S)


def test_a_text_with_other_words_is_not_split(placing):
    send(placing, (0, S), (100 * S, 101 * S))
    words = (word("one", 0.2, 0.8), word("three", 1.2, 1.8))
    heard = told(placing, final(0.0, 2.0, "one two three", words=words))
    assert (heard.transcript.text, heard.first, heard.end) == ("one two three", 100 * S, 101 * S)
    assert heard.transcript.estimated


@pytest.mark.parametrize("text", ["\u00bfQu\u00e9 tal?", "\u00abqu\u00e9\u00bb - TAL", "\u2013 Que\u0301 tal"])
def test_no_sign_of_a_text_is_lost_over_a_gap(placing, text):
    send(placing, (0, S), (100 * S, 101 * S))
    words = (word("Que\u0301" if "\u0301" in text else "Qu\u00e9", 0.2, 0.8), word("tal", 1.2, 1.8))
    said = placing.said(final(0.0, 2.0, text, words=words), 100.0)
    assert " ".join(action.message.transcript.text for action in said) == text


def test_no_side_is_forgotten_of_several(placing):
    send(placing, (0, S), (10 * S, 11 * S), (11 * S + 8000, 12 * S + 8000), (20 * S, 21 * S))
    words = tuple(word(f"w{n}", n + 0.2, n + 0.8) for n in range(4))
    said = placing.said(final(0.0, 4.0, "w0 w1 w2 w3", words=words), 100.0)
    assert [action.message.transcript.text for action in said] == ["w0", "w1 w2", "w3"]


# The end of an interim


@pytest.mark.parametrize("end", [hypothesis("", False, 0.0, 1.0), hypothesis(" ", False)])
def test_an_interim_that_shrinks_to_nothing_is_told_once(placing, end):
    send(placing, (0, S))
    told(placing, hypothesis("Yeah", False, 0.0, 1.0))
    assert told(placing, end).transcript.text.strip() == ""
    assert placing.said(end, 100.0) == []


def test_behind_a_final_there_is_none(placing):
    send(placing, (0, S))
    told(placing, hypothesis("Yeah", False, 0.0, 1.0))
    told(placing, final(0.0, 1.0))
    assert placing.said(hypothesis("", False, 0.0, 1.0), 100.0) == []


# What is covered


def test_an_interim_covers_nothing(placing):
    send(placing, (0, S))
    assert told(placing, hypothesis("words", False, 0.0, 1.0)).acknowledges is None


def test_what_is_covered_is_rounded_down(placing):
    send(placing, (0, S))
    heard = told(placing, final(0.0, 0.50006))  # sample 8000.96
    assert (heard.end, heard.acknowledges) == (8001, 8000)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_blank_final_covers_what_it_spans(placing, text):
    send(placing, (0, S))
    assert told(placing, final(0.0, 1.0, text)).acknowledges == S


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_blank_interim_is_not_told(placing, text):
    send(placing, (0, S))
    assert placing.said(hypothesis(text, False, 0.0, 1.0), 100.0) == []


def test_of_two_channels_the_slower_one_counts():
    placing = new_placing(channels=2)
    placing.sending(Frame(RUN, 3, 0, bytes(4 * 4 * S)), 100.0)
    acknowledged = [
        told(placing, final(0.0, end_s, channel=channel, channels=2)).acknowledges
        for channel, end_s in ((0, 1.0), (1, 2.0), (0, 3.0), (1, 4.0))
    ]
    assert acknowledged == [0, S, 2 * S, 3 * S]


def test_all_is_covered_once_finals_reach_the_end_of_what_was_sent(placing):
    send(placing, (5 * S, 6 * S))
    assert not placing.is_covered
    told(placing, hypothesis("words", False, 0.0, 1.0))
    assert not placing.is_covered
    told(placing, final(0.0, 0.998))
    assert not placing.is_covered
    told(placing, final(0.998, 0.9995))  # a time may be off by a millisecond
    assert placing.is_covered
    send(placing, (6 * S, 7 * S))
    assert not placing.is_covered


def test_of_two_channels_both_must_be_covered():
    placing = new_placing(channels=2)
    placing.sending(Frame(RUN, 3, 0, bytes(4 * S)), 100.0)
    told(placing, final(0.0, 1.0, channel=0, channels=2))
    assert not placing.is_covered
    told(placing, final(0.0, 1.0, channel=1, channels=2))
    assert placing.is_covered


def test_of_two_channels_without_times_the_slower_one_counts():
    placing = new_placing(channels=2)
    for second in range(10):
        placing.sending(Frame(RUN, 3, second * S, bytes(4 * S)), 100.0 + second)
        quick = told(placing, hypothesis("quick", is_final=True, channels=2), now=100.0 + second)
        assert quick.acknowledges == 0
    slow = told(placing, hypothesis("slow", is_final=True, channel=1, channels=2), now=110.0)
    assert (slow.first, slow.end, slow.acknowledges) == (0, 10 * S, 0)
    placing.sending(Frame(RUN, 3, 10 * S, bytes(4 * S)), 120.0)
    slow = told(placing, hypothesis("slow", is_final=True, channel=1, channels=2), now=120.0)
    assert (slow.first, slow.acknowledges) == (10 * S, 7 * S)


def test_finals_without_times_leave_open_whether_all_is_covered(placing):
    send(placing, (0, S))
    for now in (200.0, 300.0):
        told(placing, hypothesis("words", is_final=True), now=now)
    send(placing, (S, 2 * S))
    told(placing, hypothesis("words", is_final=True), now=400.0)
    assert not placing.is_covered


def test_another_connection_must_be_covered_anew(placing):
    send(placing, (0, S))
    told(placing, final(0.0, 1.0))
    placing.connected(4)
    send(placing, (S // 2, S))
    assert not placing.is_covered


def test_a_channel_that_was_heard_before_the_loss_must_be_heard_again():
    placing = new_placing(channels=2)
    placing.sending(Frame(RUN, 3, 0, bytes(4 * S)), 100.0)
    told(placing, final(0.0, 1.0, channel=0, channels=2))
    placing.connected(4)
    placing.sending(Frame(RUN, 4, 0, bytes(4 * S)), 101.0)
    assert told(placing, final(0.0, 1.0, channel=1, channels=2)).acknowledges == 0


def test_a_final_must_arrive_and_an_interim_may_be_dropped(placing):
    send(placing, (0, S))
    assert isinstance(placing.said(final(0.0, 1.0), 100.0)[0], Tell)
    assert isinstance(placing.said(hypothesis("words", False, 0.0, 1.0), 100.0)[0], Mention)


# Replays


@pytest.mark.parametrize(("start_s", "end_s", "replayed"), [(0.0, 1.0, True), (1.5, 2.5, True), (2.0, 3.0, False)])
def test_what_was_sent_before_is_marked_as_replayed(placing, start_s, end_s, replayed):
    send(placing, (0, 2 * S))
    placing.connected(4)
    send(placing, (0, 4 * S))
    assert told(placing, final(start_s, end_s)).transcript.replayed is replayed


def test_on_the_first_connection_nothing_is_replayed(placing):
    send(placing, (0, 2 * S))
    assert told(placing, final(0.0, 1.0)).transcript.replayed is False


# Without times


def test_a_final_without_times_is_estimated_from_what_was_sent(placing):
    placing.sending(frame(5 * S, 7 * S), 100.0)
    heard = told(placing, hypothesis("words", is_final=True), now=101.0)
    assert (heard.first, heard.end, heard.transcript.estimated) == (5 * S, 7 * S, True)


def test_it_acknowledges_what_had_been_sent_when_the_one_before_it_came(placing):
    placing.sending(frame(0, S), 100.0)
    told(placing, hypothesis("one", is_final=True), now=100.0)
    placing.sending(frame(S, 2 * S), 150.0)
    assert told(placing, hypothesis("two", is_final=True), now=160.0).acknowledges == S


def test_it_is_replayed_as_long_as_it_may_be_about_replayed_audio(placing):
    send(placing, (0, 2 * S))
    placing.connected(4)
    placing.sending(frame(0, 4 * S, grant=4), 200.0)
    said = hypothesis("words", is_final=True)
    heard = [told(placing, said, now=now).transcript for now in (200.5, 201.0, 202.0, 204.0, 205.0)]
    assert [each.replayed for each in heard] == [True, True, True, False, False]


def test_no_word_lies_far_from_its_transcript(placing):
    send(placing, (0, 9 * S))
    words = (word("as", 0.1, 0.5), word("of", 4.9, 5.0), word("now", 5.0, 6.1), word("then", 8.0, 8.5))
    for heard in (final(5.0, 6.0, "as of now then", words=words), hypothesis("as of", False, 5.0, 1.0, words=words)):
        placed = told(placing, heard).transcript.words
        assert [(each.start_s, each.end_s) for each in placed] == [(5.0, 5.0), (4.9, 5.0), (5.0, 6.1), (6.0, 6.0)]


def test_a_word_never_ends_before_it_starts(placing):
    send(placing, (0, S))
    (heard,) = told(placing, final(0.0, 1.0, "one", words=(word("one", 0.75, 0.5),))).transcript.words
    assert (heard.start_s, heard.end_s) == (0.75, 0.75)


def test_a_start_without_a_duration_is_no_time(placing):
    send(placing, (0, S))
    assert told(placing, hypothesis("words", True, start_s=0.0), now=101.0).transcript.estimated is True


def test_a_final_before_any_audio_acknowledges_nothing():
    placing = new_placing(sent_before=777)
    heard = told(placing, hypothesis("words", is_final=True))
    assert (heard.first, heard.end, heard.acknowledges, heard.transcript.estimated) == (777, 777, None, True)


def test_another_connection_estimates_anew(placing):
    placing.sending(frame(0, S), 100.0)
    told(placing, hypothesis("one", is_final=True), now=100.0)
    placing.connected(4)
    placing.sending(frame(0, S), 200.0)
    assert told(placing, hypothesis("two", is_final=True), now=201.0).acknowledges == 0


# Everything else


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Said(SpeechStarted(at_s=1.0)), control.Said(connection=3, message=SpeechStarted(at_s=3.0))),
        (Said(UtteranceEnd(at_s=1.0)), control.Said(connection=3, message=UtteranceEnd(at_s=1.0))),
        (
            Said(SpeechStarted(at_s=1.0, channel=1)),
            control.Said(connection=3, message=SpeechStarted(at_s=3.0, channel=1)),
        ),
        (
            Said(UtteranceEnd(at_s=9.0, channel=1)),
            control.Said(connection=3, message=UtteranceEnd(at_s=4.0, channel=1)),
        ),
        (ServiceError("busy", "later"), control.Fault(code="busy", message="later", kind=ErrorKind.SERVICE)),
        (
            Said(CreditsLow(seconds_remaining=5.0)),
            control.Said(connection=3, message=CreditsLow(seconds_remaining=5.0)),
        ),
    ],
)
def test_the_supervisor_is_told_of(placing, said, message):
    send(placing, (0, S), (3 * S, 4 * S))
    assert placing.said(said, 100.0) == [Tell(message)]


@pytest.mark.parametrize("said", [Ready(), Ignored("nothing in it"), Unknown("no JSON")])
def test_the_supervisor_is_not_told_of(placing, said):
    assert placing.said(said, 100.0) == []


def test_a_malformed_message_is_told_once_on_each_connection(placing):
    malformed = Malformed("Results: expected `float`")
    assert told(placing, malformed).code == "malformed_message"
    assert placing.said(malformed, 100.0) == []
    placing.connected(4)
    assert "Results" in told(placing, malformed).message


def test_fields_that_are_left_out_are_told_once_on_each_connection(placing):
    left_out = LeftOut("Results: `$.start`")
    assert told(placing, left_out) == control.Fault(
        code="malformed_message",
        message="left out what does not fit in a message of type Results: `$.start`; its text and all other fields are "
        "kept",
    )
    assert placing.said(left_out, 100.0) == []
    placing.connected(4)
    assert "Results" in told(placing, left_out).message


def test_a_message_that_is_lost_is_told_after_fields_that_were_left_out(placing):
    told(placing, LeftOut("Results: `$.start`"))
    assert "dropped" in told(placing, Malformed("Results: `$.channel`")).message


def test_each_final_without_a_text_is_told_with_its_place_on_the_runs_clock(placing):
    send(placing, (0, S), (3 * S, 4 * S))
    first = told(placing, Malformed("Results: `$.channel`", is_final=True, span_s=(0.0, 1.0)))
    second = told(placing, Malformed("Results: `$.channel`", is_final=True, span_s=(1.0, 1.5)))
    third = told(placing, Malformed("Results: `$.channel`", is_final=True))
    assert first.message.endswith("`$.channel`; the words from 0.00 to 1.00 s are lost")
    assert second.message.endswith("`$.channel`; the words from 3.00 to 3.50 s are lost")
    assert third.message.endswith("`$.channel`; the words of a final are lost")


def test_of_very_many_such_finals_twenty_are_told(placing):
    malformed = Malformed("Results: `$.channel`", is_final=True)
    messages = [told(placing, malformed).message for _ in range(20)]
    assert [message.endswith("not told") for message in messages] == [False] * 19 + [True]
    assert placing.said(malformed, 100.0) == []


def test_words_without_times_in_a_transcript_without_times_share_its_place(placing):
    placing.sending(frame(0, S), 100.0)
    told(placing, hypothesis("one", is_final=True), now=101.0)
    placing.sending(frame(S, 3 * S), 102.0)
    words = (word("a", 0.0, 0.0), word("b", 0.0, 0.0))
    heard = told(placing, hypothesis("a b", is_final=True, words=words), now=103.0).transcript
    assert [(each.word, each.start_s, each.end_s) for each in heard.words] == [("a", 1.0, 2.0), ("b", 2.0, 3.0)]


def test_channels_without_a_count_are_covered_once_those_that_have_spoken_are(placing):
    send(placing, (0, 4 * S))
    assert told(placing, hypothesis("a", True, 0.0, 2.0, channel=1)).acknowledges == 2 * S
    assert told(placing, hypothesis("b", True, 0.0, 1.0, channel=2)).acknowledges == S
    assert told(placing, hypothesis("c", True, 1.0, 2.0, channel=2)).acknowledges == 2 * S


def test_after_a_loss_channels_without_a_count_must_be_heard_again():
    placing = new_placing(channels=2)
    placing.sending(Frame(RUN, 3, 0, bytes(8 * S)), 100.0)
    for channel in (0, 1, 7):  # the engine sends no channel 7
        told(placing, hypothesis("a", True, 0.0, 2.0, channel=channel))
    placing.connected(4)
    placing.sending(Frame(RUN, 4, 0, bytes(8 * S)), 101.0)
    assert told(placing, hypothesis("a", True, 0.0, 2.0)).acknowledges == 0
    assert told(placing, hypothesis("b", True, 0.0, 1.0, channel=1)).acknowledges == S


# What a final without times covers.


RATE = 16000
BLOCK = 320
BLOCK_S = 0.02


class Sending:
    """Live audio from `first` on, as it is sent from second 100 on."""

    def __init__(self, hold_s=3.0, first=0):
        self.finals = UntimedFinals(hold_s, first)
        self.first, self.now, self.end = first, 100.0, first

    def until(self, seconds):
        while self.now < 100.0 + seconds - 1e-9:
            self.now += BLOCK_S
            self.end += BLOCK
            if self.now >= self.finals.next_step:
                self.finals.sent(self.end, self.now)

    def final(self):
        return self.finals.final(0, self.end, self.now)

    def seconds(self, sample):
        return (sample - self.first) / RATE


def test_the_first_final_covers_what_was_sent_and_acknowledges_nothing():
    sending = Sending(first=48_000)
    sending.until(10)
    assert sending.final() == Estimate(48_000, sending.end, 48_000)


def test_a_final_begins_where_the_one_before_it_came():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(8)
    assert sending.final()[:2] == (5 * RATE, 8 * RATE)


def test_a_final_acknowledges_what_had_been_sent_when_the_one_before_it_came():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(60)
    assert sending.final().acknowledges == 5 * RATE


def test_a_final_never_acknowledges_what_was_sent_within_the_hold():
    sending = Sending()
    sending.until(10)
    sending.final()
    sending.until(11)
    acknowledged = sending.seconds(sending.final().acknowledges)
    assert acknowledged <= 8.0
    assert acknowledged == pytest.approx(8.0, abs=0.2)


def test_two_finals_at_once_acknowledge_no_more_than_one():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(20)
    first = sending.final()
    assert sending.final().acknowledges <= 17 * RATE
    assert first.acknowledges == 5 * RATE


def test_without_a_hold_only_the_final_before_counts():
    sending = Sending(hold_s=0.0)
    sending.until(5)
    sending.final()
    sending.until(6)
    assert sending.final().acknowledges == 5 * RATE


def test_an_interim_lies_behind_the_last_final_and_settles_nothing():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(7)
    assert sending.finals.interim(0, sending.end) == Estimate(5 * RATE, 7 * RATE, 5 * RATE)
    assert sending.final().first == 5 * RATE


def test_a_final_before_any_audio_covers_nothing():
    assert UntimedFinals(3.0, 777).final(0, 777, 100.0) == Estimate(777, 777, 777)


def test_an_hour_without_finals_is_remembered_in_little():
    sending = Sending()
    sending.until(60)
    before = weight(sending.finals)
    sending.until(3600)
    assert weight(sending.finals) < 1.5 * before < 10_000


@pytest.mark.parametrize("seed", range(10))
def test_what_is_acknowledged_never_goes_back_and_keeps_both_bounds(seed):
    chance, sending = Random(seed), Sending()
    sent, before, at_last = [(100.0, 0)], 0, 0
    for _ in range(60):
        for _ in range(chance.randrange(300)):
            sending.until(sending.now - 100.0 + BLOCK_S)
            sent.append((sending.now, sending.end))
        final = sending.final()
        held = max(end for at, end in sent if at <= max(100.0, sending.now - 3.0 + 1e-9))
        assert before <= final.acknowledges <= min(held, at_last)
        before, at_last = final.acknowledges, sending.end

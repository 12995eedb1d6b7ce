"""The recogniser's ears: real speech and real pocketsphinx, no server."""

import difflib
import math
import os
import random
import struct
from itertools import pairwise

import pytest

pytest.importorskip("pocketsphinx", reason="needs mpengine-stt[local]")

from mpengine.recogniser.speech import BLANK, FRAME, HOLD, Heard, SpeechRecogniser
from mpengine.recogniser.words import SpokenWord, WordDecoder, widest_gap
from tests.rig.speech import SENTENCES, pcm

pytestmark = pytest.mark.slow  # all of them together: it is much to hear

RATE = 16000
# Where the voice that spoke them says that the words begin, in seconds (flite -psdur), and the sentences end.
WORDS_BEGIN = [
    [0.47, 0.72, 1.29, 1.65, 1.95, 2.24],
    [3.71, 3.91, 4.23, 4.60, 4.98, 5.21, 5.48],
    [7.14, 7.39, 7.61, 7.72, 8.15, 8.50, 8.63, 8.70, 8.88],
    [10.19, 10.47, 10.68, 10.98, 11.24, 11.68, 11.98, 12.37, 12.61, 13.00],
]
SENTENCES_END = [2.71, 6.11, 9.11, 13.39]


SPEECH = pcm()
FIRST_SENTENCE = SPEECH[: 2 * 54000]  # and half a second of silence behind it


def listen(recogniser: SpeechRecogniser, pcm: bytes, samples: int) -> list[Heard]:
    heard = []
    for first in range(0, len(pcm), 2 * samples):
        heard += recogniser.feed(pcm[first : first + 2 * samples])
    return heard + recogniser.finish()


def finals(heard: list[Heard]) -> list[Heard]:
    return [one for one in heard if one.is_final]


def samples(seconds: float) -> int:
    index = round(seconds * RATE)
    assert math.isclose(seconds, index / RATE, abs_tol=1e-6), "not a whole sample"
    return index


def assert_tiles(heard: list[Heard], pcm: bytes) -> None:
    covered = 0
    for final in finals(heard):
        assert samples(final.start_s) == covered
        covered = samples(final.end_s)
        assert covered > samples(final.start_s)
        for word in final.words:
            assert final.start_s <= word.start <= word.end <= final.end_s + 1e-9
    assert covered == len(pcm) // 2


@pytest.fixture(scope="module")
def heard_at_once() -> list[Heard]:
    return listen(SpeechRecogniser(), SPEECH, len(SPEECH))


def test_the_right_words(heard_at_once):
    assert [final.text for final in finals(heard_at_once) if final.text] == SENTENCES


def test_finals_tile_the_timeline(heard_at_once):
    assert_tiles(heard_at_once, SPEECH)


@pytest.mark.parametrize("chunk", [37, 320, RATE], ids=["37 samples", "20 ms", "1 s"])
def test_chunks_make_no_difference(heard_at_once, chunk):
    heard = listen(SpeechRecogniser(), SPEECH[: 2 * 56000], chunk)
    count = len(heard) - 1  # the last one ends where the audio does
    assert sum(one.is_final for one in heard[:count]) == 1
    assert heard[:count] == heard_at_once[:count]
    assert count > 5


def test_word_times_are_true(heard_at_once):
    spoken = [final for final in finals(heard_at_once) if final.text]
    for final, begins, end in zip(spoken, WORDS_BEGIN, SENTENCES_END, strict=True):
        assert [word.start for word in final.words] == pytest.approx(begins, abs=0.25)
        assert final.words[-1].end == pytest.approx(end, abs=0.25)
        assert " ".join(word.word for word in final.words) == final.text


def test_confidence_is_the_words_mean_and_only_in_finals(heard_at_once):
    for one in heard_at_once:
        if one.is_final and one.text:
            known = [word.confidence for word in one.words]
            assert all(0 < value <= 1 for value in known)
            assert one.confidence == pytest.approx(sum(known) / len(known), abs=1e-3)
        else:
            assert one.confidence is None
            assert all(word.confidence is None for word in one.words)


def test_interims_come_before_their_final_and_change():
    recogniser, before_final = SpeechRecogniser(decoder=shared_decoder()), []
    received = 0
    for first in range(0, len(SPEECH), 640):
        heard = recogniser.feed(SPEECH[first : first + 640])
        received += 320
        for one in heard:
            assert samples(one.end_s) <= received
        if finals(heard):
            break
        before_final += heard
    texts = [one.text for one in before_final]
    assert len(texts) >= 5
    assert all(texts)
    assert all(left != right for left, right in pairwise(texts))
    assert {one.start_s for one in before_final} == {heard[0].start_s}
    assert "go forward" in texts[-1]


def test_silence_is_acknowledged_by_blanks_that_stay_behind():
    silence = bytes(2 * RATE * 10)
    recogniser, covered, received = SpeechRecogniser(decoder=shared_decoder()), 0.0, 0
    for first in range(0, len(silence), 640):
        received += 320
        for one in recogniser.feed(silence[first : first + 640]):
            assert one.is_final
            assert (one.text, one.words, one.confidence) == ("", [], None)
            assert one.end_s <= received / RATE - 0.5
            covered = one.end_s
        assert received / RATE - covered <= (BLANK + HOLD + 1) * FRAME / RATE
    (last,) = recogniser.finish()
    assert samples(last.end_s) == len(silence) // 2


@pytest.mark.parametrize("loudness", [30, 1000, 12000])
def test_noise_harms_nothing(loudness):
    source = random.Random(loudness)
    noise = struct.pack(f"<{RATE}h", *(source.randint(-loudness, loudness) for _ in range(RATE)))
    assert_tiles(listen(SpeechRecogniser(decoder=shared_decoder()), noise, 1000), noise)


def test_finish_on_nothing_is_nothing():
    recogniser = SpeechRecogniser(decoder=shared_decoder())
    assert recogniser.finish() == []
    assert recogniser.feed(b"") == []
    assert recogniser.finish() == []


@pytest.mark.parametrize("cut_at", [1, 479, 481, 9600, 9999, 20000, 54000])
def test_finish_covers_everything_wherever_the_audio_ends(cut_at):
    pcm = SPEECH[: 2 * cut_at]
    heard = listen(SpeechRecogniser(decoder=shared_decoder()), pcm, 320)
    assert_tiles(heard, pcm)
    if pcm == FIRST_SENTENCE:
        assert finals(heard)[0].text == SENTENCES[0]


def shared_decoder(kept: list[WordDecoder] = []) -> WordDecoder:  # noqa: B006 (meant to be kept)
    if not kept:
        kept.append(WordDecoder())
    return kept[0]


def test_a_decoder_outlives_a_stream_that_broke_off_mid_word():
    decoder = shared_decoder()
    SpeechRecogniser(decoder=decoder).feed(SPEECH[: 2 * 30000])
    heard = listen(SpeechRecogniser(decoder=decoder), FIRST_SENTENCE, 320)
    assert finals(heard)[0].text == SENTENCES[0]
    assert finals(heard)[0].start_s == 0


def test_a_short_word_is_speech():
    word = SPEECH[2 * samples(12.37) : 2 * samples(12.61)]  # "eight", alone
    pcm = bytes(RATE) + word + bytes(RATE * 2)
    (interesting,) = [one for one in finals(listen(SpeechRecogniser(decoder=shared_decoder()), pcm, 320)) if one.text]
    assert interesting.words[0].start == pytest.approx(0.5, abs=0.25)


def test_speech_without_a_pause_is_cut_between_words(monkeypatch):
    longest_s, earliest_s = 4.5, 2.4
    monkeypatch.setattr("mpengine.recogniser.speech.LONGEST", 150)
    monkeypatch.setattr("mpengine.recogniser.speech.EARLIEST_CUT", 80)
    spoken = list(zip(WORDS_BEGIN, SENTENCES_END, strict=True))[1:]
    pcm = b"".join(SPEECH[2 * samples(begins[0] - 0.02) : 2 * samples(end + 0.02)] for begins, end in spoken)
    heard = finals(listen(SpeechRecogniser(decoder=shared_decoder()), pcm, 320))
    assert_tiles(heard, pcm)
    assert len(heard) > 1
    assert earliest_s <= heard[0].duration_s <= longest_s
    found, wanted = " ".join(one.text for one in heard).split(), " ".join(SENTENCES[1:]).split()
    assert difflib.SequenceMatcher(None, found, wanted).ratio() > 0.85


def test_the_cut_is_the_widest_late_gap():
    words = [SpokenWord("a", 0, 50, None), SpokenWord("b", 90, 150, None), SpokenWord("c", 160, 200, None)]
    assert widest_gap(words, 0, 300) == (1, 70)
    assert widest_gap(words, 100, 300) == (2, 155)
    assert widest_gap(words, 180, 300) == (3, 300)
    assert widest_gap([], 0, 300) == (0, 300)


def test_what_it_cannot_hear_is_refused():
    with pytest.raises(ValueError, match="16000 Hz"):
        SpeechRecogniser(sample_rate=8000)
    with pytest.raises(ValueError, match="half a sample"):
        SpeechRecogniser(decoder=shared_decoder()).feed(b"\0\0\0")


def test_pocketsphinx_logs_nothing(capfd):
    listen(SpeechRecogniser(), FIRST_SENTENCE[:32000], 320)
    os.write(2, b"seen")
    assert capfd.readouterr() == ("", "seen")

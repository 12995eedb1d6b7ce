"""What is told of the level: each thing once, with the time that it takes, and once that it is over."""

import pytest

from mpengine.shared import control
from mpengine.shared.messages import ErrorCode
from mpengine.supervisor.decide.level_notices import LevelNotices

S = 16000


class Ear:
    """Hears levels, one after the other."""

    def __init__(self):
        self.notices = LevelNotices(S)
        self.at = 0

    def hears(self, seconds, *, every_s=0.25, rms=-50.0, peak=-35.0, zeros=False, clipped=0.0, dc=0.0):
        """What is told in so many seconds of that level: the code, and after how many seconds."""
        told = []
        for number in range(1, round(seconds / every_s) + 1):
            first, self.at = self.at, self.at + round(every_s * S)
            level = control.LevelHeard(
                first=first,
                end=self.at,
                rms_dbfs=-120.0 if zeros else rms,
                peak_dbfs=-120.0 if zeros else peak,
                digital_silence=zeros,
                clipped=clipped,
                dc=dc,
            )
            told += [(notice, number * every_s) for notice in self.notices.heard(level)]
        return told

    def codes(self, seconds, **level):
        return [(notice.code, at_s) for notice, at_s in self.hears(seconds, **level)]


ZEROS = {"zeros": True}
SOFT = {"rms": -92.0, "peak": -90.3}
CLIPS = {"rms": -3.0, "peak": 0.0, "clipped": 0.2}
LOUD = {"rms": -20.0, "peak": -6.0}
OFFSET = {"dc": -0.3}
CASES = [
    (ZEROS, 10.0, ErrorCode.DIGITAL_SILENCE, {}, 0.25, ErrorCode.DIGITAL_SILENCE_OVER),
    (SOFT, 60.0, ErrorCode.NEARLY_SILENT, {}, 1.0, ErrorCode.NEARLY_SILENT_OVER),
    (CLIPS, 2.0, ErrorCode.CLIPPING, LOUD, 10.0, ErrorCode.CLIPPING_OVER),
    (OFFSET, 10.0, ErrorCode.DC_OFFSET, {}, 10.0, ErrorCode.DC_OFFSET_OVER),
]


def test_of_a_room_with_speech_nothing_is_told():
    ear = Ear()
    for _ in range(20):
        assert ear.codes(5, rms=-60.0, peak=-50.0, dc=0.004) == []
        assert ear.codes(5, **LOUD, dc=-0.01) == []


@pytest.mark.parametrize("every_s", [0.25, 0.4])
@pytest.mark.parametrize(("bad", "after_s", "code", "good", "over_s", "over"), CASES, ids=[c[2].value for c in CASES])
def test_it_is_told_once_and_when_it_is_over(bad, after_s, code, good, over_s, over, every_s):
    ear = Ear()
    for _ in range(2):
        ((told, at_s),) = ear.codes(200, every_s=every_s, **bad)
        assert (told, at_s) == (code, pytest.approx(after_s, abs=1.01 * every_s))
        ((told, at_s),) = ear.codes(200, every_s=every_s, **good)
        assert (told, at_s) == (over, pytest.approx(over_s, abs=1.01 * every_s))


@pytest.mark.parametrize(("bad", "after_s", "code", "good", "over_s", "over"), CASES, ids=[c[2].value for c in CASES])
def test_a_device_that_is_opened_again_is_judged_anew_but_not_told_again(bad, after_s, code, good, over_s, over):
    ear = Ear()
    assert ear.codes(after_s - 0.5, **bad) == []
    ear.notices.opened()
    assert ear.codes(after_s - 0.25, **bad) == []
    assert [told for told, _ in ear.codes(0.5, **bad)] == [code]
    ear.notices.opened()
    assert ear.codes(2 * after_s, **bad) == []
    assert [told for told, _ in ear.codes(2 * over_s, **good)] == [over]


def test_zeros_are_not_told_as_nearly_silent_too():
    assert [code for code, _ in Ear().codes(300, zeros=True)] == [ErrorCode.DIGITAL_SILENCE]


def test_a_blow_against_the_microphone_is_no_clipping():
    ear = Ear()
    for _ in range(10):
        assert ear.codes(0.5, **CLIPS) == []
        assert ear.codes(5, **LOUD) == []


def test_a_voice_that_clips_at_each_word_is_told_though_it_pauses():
    ear = Ear()
    told = []
    for _ in range(10):
        told += ear.codes(0.75, **CLIPS) + ear.codes(0.5, rms=-55.0, peak=-45.0)
    assert [code for code, _ in told] == [ErrorCode.CLIPPING]


def test_only_sound_shows_that_clipping_is_over():
    ear = Ear()
    ear.hears(5, **CLIPS)
    assert ear.codes(600, rms=-60.0, peak=-50.0) == []
    assert [code for code, _ in ear.codes(10, **LOUD)] == [ErrorCode.CLIPPING_OVER]


def test_an_offset_that_comes_and_goes_with_the_sound_is_none():
    ear = Ear()
    for _ in range(20):
        assert ear.codes(5, dc=0.1) == []
        assert ear.codes(0.25, dc=0.0) == []


@pytest.mark.parametrize(("bad", "words"), [(CLIPS, "20.0% of its last samples"), (OFFSET, "30% of full scale")])
def test_the_words_have_the_figure(bad, words):
    ((notice, _),) = Ear().hears(20, **bad)
    assert words in notice.words
    assert not notice.is_over

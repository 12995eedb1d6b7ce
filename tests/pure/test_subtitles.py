"""SubRip and WebVTT: what is written for each message, and how a file is gone on with."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.cli.cues import Cues
from mpengine.cli.subtitles import Continued, Subtitles
from mpengine.client.known import Hole
from mpengine.shared import messages
from tests.pure.test_cues import any_final
from tests.rig.subtitles import read_srt, read_vtt


def said(text, start_s=1.0, end_s=2.5, **more):
    return messages.Transcript(text=text, is_final=True, start_s=start_s, end_s=end_s, **{"run": "r", "seq": 7} | more)


def subtitles(*, is_vtt):
    return Subtitles(Cues(), is_vtt=is_vtt)


def written(*several, is_vtt):
    made = subtitles(is_vtt=is_vtt)
    return made.header + "".join(made.show(message) for message in several)


def test_subrip():
    assert written(said("one"), said("two", 3700.0, 3702.0), is_vtt=False) == (
        "1\n00:00:01,000 --> 00:00:02,500\none\n\n2\n01:01:40,000 --> 01:01:42,000\ntwo\n\n"
    )


def test_webvtt():
    assert written(said("one"), said("two", 3700.0, 3702.0, seq=9), is_vtt=True) == (
        "WEBVTT\n\nNOTE run r begins at 0 ms\n\n"
        "r:7.1\n00:00:01.000 --> 00:00:02.500\none\n\nr:9.1\n01:01:40.000 --> 01:01:42.000\ntwo\n\n"
    )


def test_a_run_of_months_has_more_hours_than_two_digits():
    (cue,) = read_srt(written(said("late", 1e7, 1e7 + 1), is_vtt=False).encode())
    assert cue.start_ms == 10**10


@pytest.mark.parametrize("is_vtt", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        None,
        messages.Transcript(text="so", is_final=False),
        messages.Transcript(text=" ", is_final=True),
        messages.Status(state="running"),
        messages.Error(source="streaming", code="x", message="lost"),
        messages.Gap(start_s=1.0, end_s=1.0, samples=0, reason="paused"),
        Hole(topic="gap", run="r", first_seq=1),
    ],
    ids=str,
)
def test_what_was_not_said_is_not_written(message, is_vtt):
    assert subtitles(is_vtt=is_vtt).show(message) == ""


GAP = messages.Gap(start_s=61.0, end_s=63.5, samples=40_000, reason="a-->b\n\n&")
HOLE = Hole(topic="transcript.final", run="r", first_seq=1)


def test_what_is_lost_is_a_note_in_webvtt_and_nothing_in_subrip():
    assert written(GAP, HOLE, is_vtt=False) == ""
    assert written(GAP, HOLE, is_vtt=True) == (
        "WEBVTT\n\nNOTE 2.5 s lost at 00:01:01.000: a--&gt;b  &amp;\n\nNOTE results lost\n\n"
    )


@pytest.mark.parametrize(
    ("text", "srt", "vtt"),
    [
        ("a --> b", "a → b", "a --&gt; b"),
        ("<i>a</i> &amp;", "<i>a</i> &amp;", "&lt;i&gt;a&lt;/i&gt; &amp;amp;"),
        ("a\n\nb", "a b", "a b"),
        ("a\u2028\x0bb", "a\ufffd\ufffdb", "a\ufffd\ufffdb"),
        ("1984", "1984", "1984"),
    ],
)
def test_no_text_is_taken_for_something_else(text, srt, vtt):
    assert [cue.text for cue in read_srt(written(said(text), is_vtt=False).encode())] == [srt]
    assert [cue.text for cue in read_vtt(written(said(text), is_vtt=True).encode())[0]] == [vtt]


# Going on


def gone_on(existing, *several, is_vtt):
    made = subtitles(is_vtt=is_vtt)
    continued = made.go_on(existing)
    rest = "".join(made.show(message) for message in several)
    return existing[: continued.kept_bytes] + continued.mend.encode() + rest.encode(), continued.since


@pytest.mark.parametrize("is_vtt", [False, True])
def test_an_empty_file_is_begun(is_vtt):
    assert gone_on(b"", said("one"), is_vtt=is_vtt) == (written(said("one"), is_vtt=is_vtt).encode(), None)


def test_subrip_goes_on_with_the_next_number_and_behind_the_last_cue():
    whole, since = gone_on(written(said("one"), is_vtt=False).encode(), said("two", 5.0, 6.0), is_vtt=False)
    assert [(cue.text, cue.start_ms) for cue in read_srt(whole)] == [("one", 1000), ("two", 5000)]
    assert since is None
    whole, _ = gone_on(whole, said("of another run", 0.5, 2.0, run="s"), is_vtt=False)
    assert read_srt(whole)[-1].start_ms == 6500


def test_webvtt_goes_on_with_the_same_run_on_its_clock_and_says_where():
    before = written(said("one"), said("two", 0.5, 1.5, run="s", seq=3), is_vtt=True).encode()
    whole, since = gone_on(before, said("three", 2.0, 3.0, run="s", seq=5), is_vtt=True)
    assert since == ("s", 3)
    assert [(cue.text, cue.start_ms) for cue in read_vtt(whole)[0]] == [("one", 1000), ("two", 3000), ("three", 4500)]
    assert read_vtt(whole)[1] == ["run r begins at 0 ms", "run s begins at 2500 ms"]


def test_webvtt_goes_on_with_another_run_behind_the_last_cue():
    whole, since = gone_on(written(said("one"), is_vtt=True).encode(), said("two", 5.0, 6.0, run="s"), is_vtt=True)
    assert since == ("r", 7)
    assert read_vtt(whole)[0][-1].start_ms == 7500


@pytest.mark.parametrize("is_vtt", [False, True])
def test_whatever_was_torn_off_at_the_end_the_rest_is_kept_and_mended(is_vtt):
    several = [said("one"), said("two and some more", 3.0, 4.0, seq=8), said("größer", 5.0, 6.0, seq=9)]
    whole = written(*several, is_vtt=is_vtt).encode()
    for end in range(len(written(*several[:1], is_vtt=is_vtt)), len(whole)):
        mended, _ = gone_on(whole[:end], said("new", 8.0, 9.0, seq=10), is_vtt=is_vtt)
        complete = whole[:end].count(b"\n\n") - 2 * is_vtt
        text = mended.decode(errors="replace")
        assert text.endswith("new\n\n")
        assert "one\n\n" in text
        assert ("two and some more\n\n" in text) == (complete >= 2 or b"some more" in whole[:end])


def test_a_file_of_somebody_else_keeps_all_its_cues():
    foreign = b"1\r\n00:00:01,000 --> 00:00:02,000\r\nHi\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\nthere\r\n"
    whole, _ = gone_on(foreign, said("new", 5.0, 6.0), is_vtt=False)
    assert whole == foreign + b"\n3\n00:00:05,000 --> 00:00:06,000\nnew\n\n"


@given(st.binary(max_size=300) | st.text("WEBVT\nNOTE :.->0123,", max_size=300).map(str.encode))
def test_any_file_can_be_gone_on_with(existing):
    for is_vtt in (False, True):
        whole, _ = gone_on(existing, said("new"), is_vtt=is_vtt)
        assert whole.endswith(b"new\n\n")


@given(st.lists(any_final(), max_size=5))
def test_any_finals_make_files_that_players_take(finals):
    numbered = [msgspec.structs.replace(each, seq=seq) for seq, each in enumerate(finals, 1)]
    read_srt(written(*numbered, is_vtt=False).encode())
    read_vtt(written(*numbered, is_vtt=True).encode())


def test_nothing_is_said_of_an_empty_file():
    assert subtitles(is_vtt=True).go_on(b"\n") == Continued(0, "WEBVTT\n\n")

"""SubRip and WebVTT: what is written for each message, and how a file is gone on with."""

import shutil
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.client.position import Hole
from mpengine.formats.base import NOW, START, Ending, Place, Position, Style
from mpengine.formats.subtitles import SubRip, WebVtt
from mpengine.shared import messages
from tests.pure.test_cues import any_final
from tests.rig.subtitles import read_srt, read_vtt
from tests.rig.waiting import scaled


def said(text, start_s=1.0, end_s=2.5, **more):
    return messages.Transcript(text=text, is_final=True, start_s=start_s, end_s=end_s, **{"run": "r", "seq": 7} | more)


def subtitles(*, is_vtt):
    return (WebVtt if is_vtt else SubRip)(Style(), Place.FILE)


def written(*several, is_vtt):
    made = subtitles(is_vtt=is_vtt)
    return (made.header + b"".join(made.show(b"", message) for message in several)).decode()


def test_subrip():
    assert written(said("one"), said("two", 3700.0, 3702.0), is_vtt=False) == (
        "1\n00:00:01,000 --> 00:00:02,500\none\n\n2\n01:01:40,000 --> 01:01:42,000\ntwo\n\n"
    )


def test_webvtt():
    assert written(said("one"), said("two", 3700.0, 3702.0, seq=9), is_vtt=True) == (
        "WEBVTT\n\nNOTE run r begins at 0 ms\n\n"
        "r:7.1/1\n00:00:01.000 --> 00:00:02.500\none\n\nr:9.1/1\n01:01:40.000 --> 01:01:42.000\ntwo\n\n"
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
    assert subtitles(is_vtt=is_vtt).show(b"", message) == b""


GAP = messages.Gap(start_s=61.0, end_s=63.5, samples=40_000, reason="a-->b\n\n&")
HOLE = Hole(topic="transcript.final", run="r", first_seq=1)


def test_what_is_lost_is_a_note_in_webvtt_and_nothing_in_subrip():
    assert written(GAP, HOLE, is_vtt=False) == ""
    assert written(GAP, HOLE, is_vtt=True) == (
        "WEBVTT\n\nNOTE 2.5 s lost at 00:01:01.000: a--&gt;b  &amp;\n\nNOTE r:end results lost\n\n"
    )


def test_a_gap_is_on_the_clock_of_its_run():
    gap = messages.Gap(start_s=1.0, end_s=2.0, samples=16_000, reason="device", run="s", seq=3)
    assert written(said("one"), gap, is_vtt=True).endswith(
        "\n\nNOTE run s begins at 2500 ms\n\nNOTE s:3 1.0 s lost at 00:00:03.500: device\n\n"
    )


@pytest.mark.parametrize("reason", ["paused", "stopped"])
def test_time_without_a_capture_is_no_loss_and_the_file_is_continued_behind_it(reason):
    gap = messages.Gap(start_s=1.0, end_s=2.0, samples=16_000, reason=reason, run="s", seq=3)
    text = written(said("one"), gap, is_vtt=True)
    assert text.endswith(f"NOTE s:3 1.0 s {reason} at 00:00:03.500\n\n")
    assert mended(subtitles(is_vtt=True), text.encode())[1].later == {3}


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


def mended(made, existing):
    """The file, and from where on."""
    ending = made.go_on([existing])
    return existing[: len(existing) - ending.torn_bytes] + ending.mend, ending.position


def gone_on(existing, *several, is_vtt):
    made = subtitles(is_vtt=is_vtt)
    whole, position = mended(made, existing)
    for message in several:
        whole = whole[: made.take_back(message)] + made.show(b"", message)
    return whole, position.since


@pytest.mark.parametrize("is_vtt", [False, True])
def test_an_empty_file_is_begun(is_vtt):
    assert gone_on(b"", said("one"), is_vtt=is_vtt) == (written(said("one"), is_vtt=is_vtt).encode(), "start")


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


@pytest.mark.slow
@given(st.lists(any_final(), max_size=5))
def test_any_finals_make_files_that_players_take(finals):
    numbered = [msgspec.structs.replace(each, seq=seq) for seq, each in enumerate(finals, 1)]
    srt = read_srt(written(*numbered, is_vtt=False).encode())
    vtt, _ = read_vtt(written(*numbered, is_vtt=True).encode())
    assert [(cue.start_ms, cue.end_ms) for cue in srt] == [(cue.start_ms, cue.end_ms) for cue in vtt]


@pytest.mark.parametrize("existing", [b"", b"\n", b"WE", b"WEBVTT\n", b"WEBVTT\n\n"])
def test_a_file_without_anything_is_begun_anew_and_from_the_start(existing):
    assert subtitles(is_vtt=True).go_on([existing]) == Ending(len(existing), b"WEBVTT\n\n", START)


@pytest.mark.parametrize("existing", [b"1", b"1\n", b"1\n00:00:01,0", b"1\n00:00:01,000 --> 00:00:02,000\n"])
def test_subrip_without_a_whole_cue_is_begun_anew_and_from_the_start(existing):
    assert subtitles(is_vtt=False).go_on([existing]) == Ending(len(existing), b"", START)


def test_what_somebody_else_has_written_and_says_no_position_is_gone_on_with_from_the_start():
    foreign = b"WEBVTT - by hand\n\n00:01.000 --> 00:02.000\nHi\n\n"
    assert subtitles(is_vtt=True).go_on([foreign]) == Ending(0, b"", START)


def test_a_run_of_which_nothing_was_written_yet_is_heard_from_its_start():
    whole = written(said("one"), said("two", run="s"), is_vtt=True)
    assert gone_on(whole[: whole.index("s:7.1")].encode(), is_vtt=True)[1] == ("s", 0)


# Torn at any byte, with and without what the engine remembers

LONG = " ".join(f"größer{number}" for number in range(18)) + " & <so>."


def gap(seq, at_s, run="r"):
    return messages.Gap(start_s=at_s, end_s=at_s + 1, samples=16_000, reason="dévice & co", run=run, seq=seq)


STORY = [
    said("one two three", seq=10),
    said(LONG, 3.0, 30.0, seq=20),
    gap(25, 30.0),
    Hole(topic="transcript.final", run="r", first_seq=26, last_seq=28),
    gap(29, 31.0),
    said("größer.", 32.0, 33.0, seq=30),
    gap(31, 33.5),
    Hole(topic="transcript.final", run="r", first_seq=32),
    gap(2, 0.0, "s"),
    said(LONG, 1.0, 20.0, run="s", seq=3),
    gap(4, 21.0, "s"),
]


def history(position):
    """What a subscriber hands over that begins at `position`, if everything is still to be had."""
    if position.since == "start":
        return STORY
    run, since = position.since
    told = [message for message in STORY if run == "r" or message.run == "s"]
    return [each for each in told if each.run != run or _last_seq(each) > since]


def _last_seq(message):
    last_seq = message.last_seq if isinstance(message, Hole) else message.seq
    return 10**9 if last_seq is None else last_seq


def heard_again(existing):
    made = subtitles(is_vtt=True)
    whole, position = mended(made, existing)
    for message in history(position):
        if not position.holds(message):
            whole = whole[: made.take_back(message)] + made.show(b"", message)
    return whole


@pytest.mark.slow
def test_webvtt_torn_at_any_byte_becomes_what_it_would_have_been():
    whole = written(*STORY, is_vtt=True).encode()
    assert len(read_vtt(whole)[0]) > 8
    for end in range(len(whole) + 1):
        assert heard_again(whole[:end]) == whole, end


@pytest.mark.slow
def test_so_it_does_if_it_is_torn_or_left_again_before_the_final_comes():
    whole = written(*STORY, is_vtt=True).encode()
    for end in range(len(whole) + 1):
        once, _ = mended(subtitles(is_vtt=True), whole[:end])
        read_vtt(once)
        assert mended(subtitles(is_vtt=True), once)[0] == once
        assert heard_again(once) == whole, end


@pytest.mark.slow
def test_webvtt_torn_at_any_byte_keeps_what_the_engine_does_not_remember():
    whole = written(*STORY, is_vtt=True).encode()
    for end in range(len(whole) + 1):
        again, _ = gone_on(whole[:end], said("new", 5.0, 6.0, run="t", seq=1), is_vtt=True)
        cues, notes = read_vtt(again)
        assert [cue.text for cue in cues].count("new") == 1
        kept = read_vtt(whole[: whole[:end].rfind(b"\n\n") + 2])[0] if end > 10 else []
        assert cues[: len(kept)] == kept
        torn = [cue.name for cue in cues if not cue.name.startswith("t:")][-1:]
        number, of_number = torn[0].split(".")[1].split("/") if torn else "11"
        is_whole = number == of_number and len(cues) == len(kept) + 1
        last_seq = torn and torn[0].split(".")[0].split(":")[1]
        is_told = any(note.endswith(" is torn") for note in notes)
        assert is_told == (not is_whole), (end, last_seq)


@pytest.mark.parametrize("message", [gap(25, 30.0), Hole(topic="transcript.final", run="r", first_seq=20, last_seq=24)])
def test_a_torn_final_behind_which_something_stands_is_not_touched_again(message):
    whole = written(said("one", seq=10), said(LONG, 3.0, 30.0, seq=20), is_vtt=True).encode()
    made = subtitles(is_vtt=True)
    begun, position = mended(made, whole[:-40])
    assert position.since == ("r", 19)
    begun += made.show(b"", message) if made.take_back(message) is None else b""
    assert made.take_back(said(LONG, 3.0, 30.0, seq=20)) is None
    again, position = mended(subtitles(is_vtt=True), begun)
    assert (again, position.since) == (begun, ("r", 20))
    assert position.holds(message)


def test_subrip_torn_at_any_byte_is_valid_and_has_nothing_twice():
    finals = [message for message in STORY if isinstance(message, messages.Transcript)]
    whole = written(*finals, is_vtt=False).encode()
    cues = read_srt(whole)
    for end in range(len(whole) + 1):
        again, _ = gone_on(whole[:end], said("new", 90.0, 91.0, run="s", seq=4), is_vtt=False)
        found = read_srt(again)
        assert found[-1].text == "new"
        for cue, before in zip(found[:-1], cues, strict=False):
            assert before._replace(text=cue.text) == cue
            assert before.text.startswith(cue.text)
        assert all(cue.text == before.text for cue, before in zip(found[:-2], cues, strict=False))


def test_a_gap_that_stands_before_a_final_of_a_lower_number_comes_once():
    """The final was lost on its way: the file does not know it, and may not pass over it."""
    out_of_order = [said("one", seq=10), gap(15, 3.0)]
    made = subtitles(is_vtt=True)
    _, position = mended(made, written(*out_of_order, is_vtt=True).encode())
    assert position == Position(("r", 10), frozenset({15}))
    assert position.holds(gap(15, 3.0))
    assert not position.holds(gap(15, 3.0, run="s"))
    assert not position.holds(said("two", seq=12))


def test_where_no_position_can_be_said_it_goes_on_from_now():
    assert subtitles(is_vtt=False).go_on([written(said("one"), is_vtt=False).encode()]) == Ending(0, b"", NOW)


# What a player says


def packets(file):
    """The times of the cues that ffprobe finds; it must not complain."""
    words = ["ffprobe", "-v", "warning", "-show_entries", "packet=pts_time", "-of", "csv=p=0", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=scaled(30), check=True)
    assert done.stderr == ""
    return [round(1000 * float(line.rstrip(","))) for line in done.stdout.split()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe (apt-get install ffmpeg)")
@pytest.mark.parametrize("is_vtt", [False, True])
def test_a_player_takes_it_wherever_it_was_torn(tmp_path, is_vtt):
    whole = written(*STORY, is_vtt=is_vtt).encode()
    file = tmp_path / ("a.vtt" if is_vtt else "a.srt")
    for end in [*range(0, len(whole), 97), len(whole)]:  # a player takes its time to start
        again, _ = gone_on(whole[:end], said("new", 90.0, 91.0, run="s", seq=5), is_vtt=is_vtt)
        file.write_bytes(again)
        cues = read_vtt(again)[0] if is_vtt else read_srt(again)
        assert packets(file) == [cue.start_ms for cue in cues], end

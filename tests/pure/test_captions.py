"""Live captions: what is written for each message."""

import json

import pytest

from mpengine.client.position import Hole
from mpengine.formats import captions
from mpengine.formats.base import Style
from mpengine.formats.captions import Captions
from mpengine.formats.jsonl import inert, line
from mpengine.shared import messages
from mpengine.shared.text import fitting, harmless

CLEAR, DIM, PLAIN = "\r\x1b[J", "\x1b[?7l\x1b[2m", "\x1b[0m\x1b[?7h\r"
UNDIMMED, PLAIN_AGAIN = "\x1b[?7l", "\x1b[?7h\r"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(captions, "_columns", lambda: 20)


def interim(text, channel=0):
    return messages.Transcript(text=text, is_final=False, channel=channel)


def final(text, channel=0):
    return messages.Transcript(text=text, is_final=True, channel=channel)


def shown(*several, is_live=True, **style):
    captions = Captions(Style(**style), is_live=is_live)
    return [captions.show(message) for message in several]


def test_on_a_terminal_an_interim_is_rewritten_in_place():
    assert shown(interim("so"), interim("so it")) == [f"{CLEAR}{DIM}so{PLAIN}", f"{CLEAR}{DIM}so it{PLAIN}"]


def test_on_a_terminal_a_final_takes_the_place_of_the_interim():
    assert shown(interim("so"), final("So it is.")) == [f"{CLEAR}{DIM}so{PLAIN}", f"{CLEAR}So it is.\n"]


def test_a_final_without_an_interim_clears_nothing():
    assert shown(final("One."), final("Two.")) == ["One.\n", "Two.\n"]


def test_piped_every_result_is_a_line():
    assert shown(interim("so"), final("So it is."), is_live=False) == ["... so\n", "So it is.\n"]


def test_without_colour_there_is_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(interim("so")) == [f"{CLEAR}{UNDIMMED}so{PLAIN_AGAIN}"]


def test_a_gap_is_shown_with_its_length_and_reason():
    gap = messages.Gap(start_s=1.0, end_s=3.5, samples=40_000, reason="overflow")
    assert shown(gap) == ["[2.5 s lost:\noverflow]\n"]  # 20 columns
    assert shown(gap, is_live=False) == ["[2.5 s lost: overflow]\n"]


@pytest.mark.parametrize("reason", ["paused", "stopped"])
def test_time_without_a_capture_is_not_shown_as_lost(reason):
    assert shown(messages.Gap(start_s=1.0, end_s=3.5, samples=40_000, reason=reason)) == [f"[2.5 s {reason}]\n"]


def test_an_interim_that_is_taken_back_is_cleared():
    assert shown(interim("so"), interim(""))[1:] == [CLEAR]
    assert shown(interim("so"), interim(""), is_live=False) == ["... so\n", ""]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_the_end_of_an_interim_leaves_that_of_another_channel(is_interrupted):
    text = "yes" if is_interrupted else ""
    end = messages.Transcript(text=text, is_final=False, channel=1, interrupted=is_interrupted)
    assert shown(interim("yes", 1), interim("so"), end)[2:] == [""]


def test_behind_the_final_of_another_channel_an_interim_is_drawn_again():
    so = f"{CLEAR}{DIM}so{PLAIN}"
    assert shown(interim("so"), final("Yes.", 1), interim("", 1), final("So."))[1:] == [
        f"{CLEAR}Yes.\n{so}",
        "",
        f"{CLEAR}So.\n",
    ]


def test_a_gap_without_samples_is_not_shown():
    assert shown(messages.Gap(start_s=1.0, end_s=1.0, samples=0, reason="paused")) == [""]


def test_an_error_is_shown():
    assert shown(messages.Error(source="streaming", code="x", message="HTTP 401")) == ["[HTTP 401]\n"]


def test_what_interrupts_an_interim_takes_a_line_of_its_own():
    error = messages.Error(source="streaming", code="x", message="lost")
    assert shown(interim("so"), error, final("So."))[1:] == [f"{CLEAR}[lost]\n", "So.\n"]


@pytest.mark.parametrize(
    "message",
    [
        messages.Status(state="running"),
        messages.Level(rms_dbfs=-20.0, peak_dbfs=-10.0, digital_silence=False),
        messages.UtteranceEnd(at_s=1.0),
        messages.SpeechStarted(at_s=1.0),
        messages.Metadata(data={}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_no_concern_of_a_reader_is_not_shown(message):
    assert shown(message) == [""]


def test_an_interim_that_was_interrupted_is_taken_back():
    interrupted = messages.Transcript(text="so", is_final=False, interrupted=True)
    assert shown(interim("so"), interrupted, final("So."))[1:] == [CLEAR, "So.\n"]


def test_piped_an_interim_that_was_interrupted_is_not_shown_again():
    interrupted = messages.Transcript(text="so", is_final=False, interrupted=True)
    assert shown(interim("so"), interrupted, is_live=False)[1:] == [""]


def test_an_interim_stands_open_until_a_line_ends_it():
    captions = Captions(Style(), is_live=True)
    captions.show(interim("so"))
    assert captions.finish() == f"{CLEAR}{DIM}so{PLAIN}\n"
    captions.show(interim("so"))
    captions.show(final("So."))
    assert (captions.again(), captions.finish()) == ("", "")


def test_an_interim_is_drawn_again_as_it_fits_now(monkeypatch):
    captions = Captions(Style(), is_live=True)
    captions.show(interim("so it is"))
    monkeypatch.setattr("mpengine.formats.captions._columns", lambda: 6)
    assert captions.again() == f"{CLEAR}{DIM}it is{PLAIN}"


@pytest.mark.parametrize(
    ("hole", "text"),
    [
        (Hole(topic="transcript.final", run="r", first_seq=3, last_seq=9), "[results lost]\n"),
        (
            Hole(topic="transcript.final", run="r", first_seq=3),
            "[the last results of the previous engine may be lost]\n",
        ),
        (Hole(topic="gap", run="r", first_seq=3, last_seq=9), ""),
    ],
)
def test_lost_results_are_told(hole, text):
    assert shown(hole, is_live=False) == [text]


@pytest.mark.parametrize(
    ("clock", "text"),
    [
        (None, "So.\n"),
        ("run", "1:02:03.4 So.\n"),
        ("utc", "2001-09-09T01:46:40Z So.\n"),
        ("both", "1:02:03.4 2001-09-09T01:46:40Z So.\n"),
    ],
)
def test_finals_have_their_time(clock, text):
    said = messages.Transcript(text="So.", is_final=True, start_s=3723.44, start_time_ns=10**18)
    assert shown(said, clock=clock, is_live=False) == [text]
    assert shown(interim("so"), clock=clock, is_live=False) == ["... so\n"]


def test_a_time_that_is_none_stops_nothing():
    said = messages.Transcript(text="So.", is_final=True, start_time_ns=10**30)
    assert shown(said, clock="utc", is_live=False) == ["- So.\n"]


def test_names_stand_before_what_is_said():
    words = [messages.Word(word=word, start_s=at, end_s=at, speaker=at // 2) for at, word in enumerate("abc")]
    said = messages.Transcript(text="A, b. C?", is_final=True, words=tuple(words), user_name="Ann\n")
    assert shown(said, with_names=True, is_live=False) == ["Ann #0: A, b.\nAnn #1: C?\n"]
    nobody = messages.Transcript(text="so", is_final=False)
    assert shown(nobody, with_names=True, is_live=False) == ["... so\n"]


def test_a_long_interim_is_cut_to_the_terminal():
    (line,) = shown(interim("a" * 30 + "b" * 10))
    assert line == f"{CLEAR}{DIM}{'a' * 9}{'b' * 10}{PLAIN}"


@pytest.mark.parametrize(
    ("text", "columns", "kept"),
    [
        ("short", 20, "short"),
        ("", 20, ""),
        ("exactly19characters", 20, "exactly19characters"),
        ("exactly20characters!", 20, "xactly20characters!"),
        ("the newest words", 6, "words"),
        ("日本語", 7, "日本語"),
        ("日本語", 6, "本語"),
        ("日本語", 5, "本語"),
        ("a日b本", 5, "b本"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301"),
        ("e\u0301", 1, ""),
        ("日\u0301本", 4, "本"),
        ("日\u0301本", 5, "日\u0301本"),
        ("कि", 2, ""),
        ("aकि", 3, "कि"),
        ("a❤\ufe0f", 2, "❤\ufe0f"),
        ("\u0301\u0301", 20, ""),
        ("\uff21\uff22", 4, "\uff22"),
        ("abc", 1, ""),
        ("abc", 0, ""),
    ],
)
def test_of_a_text_the_end_is_kept_that_fits(text, columns, kept):
    assert fitting(text, columns) == kept


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("plain, größer 日本語 🙂", "plain, größer 日本語 🙂"),
        ("e\u0301 👩\u200d💻 \u200f", "e\u0301 👩\u200d💻 \u200f"),
        ("\x1b[2J\x1b]0;title\x07", "\ufffd[2J\ufffd]0;title\ufffd"),
        ("\x9b2J\x7f\x00\x08", "\ufffd2J\ufffd\ufffd\ufffd"),
        ("two\nlines\r\tand a tab", "two lines  and a tab"),
        ("\u2028\u2029\u202e\u2066\ud800", "\ufffd" * 5),
        ("", ""),
    ],
)
def test_text_from_outside_does_nothing_to_a_terminal(text, shown_as):
    assert harmless(text) == shown_as


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    "message",
    [
        interim("\x1b[2J"),
        final("\x1b[2J"),
        messages.Error(source="streaming", code="x", message="\x1b[2J"),
        messages.Gap(start_s=0.0, end_s=1.0, samples=16000, reason="\x1b[2J"),
    ],
)
def test_no_escape_sequence_comes_through(message, is_live):
    (text,) = shown(message, is_live=is_live)
    assert "\ufffd[2J" in text
    assert "\x1b[2J" not in text


def test_an_interruption_of_what_was_not_shown_shows_nothing():
    interrupted = messages.Transcript(text="so", is_final=False, interrupted=True)
    assert shown(interrupted) == [""]


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (b'{"type": "of tomorrow", "n": 1e2}', b'{"type": "of tomorrow", "n": 1e2}\n'),
        (b'{\n"a":\r\n1\r}', b'{ "a": 1 }\n'),
        ('{"a":"\u2028größer"}'.encode(), '{"a":"\u2028größer"}\n'.encode()),
        (b'{"a":"\xff"}', b""),
        (b'{"a":"\x1b[2J"}', b""),
        (b'{"a":' * 100_000, b""),
        (b"[1]", b""),
        (b"no json", b""),
        (b"", b""),
    ],
)
def test_a_message_is_one_line_of_json_as_it_came_or_none(body, written):
    assert line(body) == written


@pytest.mark.parametrize(
    ("text", "inert_text"),
    [
        ('{"a":"größer 日本語 🙂"}', '{"a":"größer 日本語 🙂"}'),
        ('{"a\x9b":"\x9b31m\x7f\u2028\u202e\u2066"}', r'{"a\u009b":"\u009b31m\u007f\u2028\u202e\u2066"}'),
    ],
)
def test_a_line_for_a_terminal_is_the_same_json_and_does_nothing_to_it(text, inert_text):
    assert inert(line(text.encode())) == f"{inert_text}\n".encode()
    assert json.loads(inert_text) == json.loads(text)

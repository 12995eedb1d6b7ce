"""Up to where a file of lines holds what an engine has said, and what is mended at its end."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.client.position import Hole
from mpengine.formats.base import NOW, START, Ending, Position
from mpengine.formats.captions import end_of_text
from mpengine.formats.jsonl import end_of_lines
from mpengine.shared import messages


def line(kind, seq, run="r", **more):
    return json.dumps({"type": kind, "run": run, "seq": seq} | more).encode() + b"\n"


def final(seq, run="r"):
    return line("transcript", seq, run, is_final=True)


def hole(last_seq, run="r", topic="transcript.final"):
    return (
        json.dumps({"type": "hole", "topic": topic, "run": run, "first_seq": 1, "last_seq": last_seq}).encode() + b"\n"
    )


def pieces(data, piece_bytes=7):
    """As a file is read from its end."""
    for end in range(len(data), 0, -piece_bytes):
        yield data[max(0, end - piece_bytes) : end]


def position(*lines):
    ending = end_of_lines(pieces(b"".join(lines)))
    assert (ending.torn_bytes, ending.mend) == (0, b"")
    return ending.position


def test_it_is_that_of_the_last_final():
    assert position(final(3), final(5)) == Position(("r", 5))


@pytest.mark.parametrize("kind", ["level", "status", "speech_started", "of tomorrow"])
def test_what_the_engine_does_not_remember_says_nothing(kind):
    """A final that was lost on its way may be missing before it; it is asked for again."""
    assert position(final(5), line(kind, 9)) == Position(("r", 5))


def test_nor_does_an_interim():
    assert position(final(5), line("transcript", 9, is_final=False)) == Position(("r", 5))


def test_metrics_say_that_nothing_before_them_is_missing():
    assert position(final(5), line("level", 8), line("metrics", 9), line("level", 10)) == Position(("r", 9))


def test_what_may_come_again_behind_it_is_known():
    found = position(line("gap", 4), final(5), line("gap", 7), line("error", 8), hole(9), hole(None, topic="gap"))
    assert found == Position(("r", 5), frozenset({7, 8}), frozenset({("transcript.final", 9), ("gap", None)}))
    assert found.holds(messages.Gap(start_s=0, end_s=1, samples=1, reason="x", run="r", seq=7))
    assert not found.holds(messages.Gap(start_s=0, end_s=1, samples=1, reason="x", run="s", seq=7))
    assert not found.holds(messages.Gap(start_s=0, end_s=1, samples=1, reason="x", run="r", seq=9))
    assert found.holds(Hole(topic="transcript.final", run="r", first_seq=6, last_seq=9))
    assert not found.holds(Hole(topic="transcript.final", run="r", first_seq=6, last_seq=10))
    assert not found.holds(None)


def test_of_another_run_everything_counts():
    assert position(final(5), line("status", 1, "s")) == Position(("s", 0))
    assert position(final(5), line("gap", 2, "s"), line("status", 3, "s")) == Position(("s", 0), frozenset({2}))


@pytest.mark.parametrize("data", [b"", b"\n", b"[1]\n", b'{"a": 1}\n', b"\xff\n"])
def test_where_no_run_is_known_it_is_the_start(data):
    assert end_of_lines(pieces(data)) == Ending(0, b"", START)


def test_a_last_line_without_its_end_is_kept_if_it_is_whole():
    data = final(3) + final(5)[:-1]
    assert end_of_lines(pieces(data)) == Ending(0, b"\n", Position(("r", 5)))


def test_a_file_torn_at_any_byte_goes_on_with_what_it_holds():
    story = [final(3), line("metrics", 4), line("gap", 6), final(8), final(2, "s"), line("status", 3, "s")]
    found = [START] + [position(*story[: number + 1]) for number in range(len(story))]
    whole = b"".join(story)
    for end in range(len(whole) + 1):
        ending = end_of_lines(pieces(whole[:end]))
        mended = whole[: end - ending.torn_bytes] + ending.mend
        assert whole.startswith(mended)
        assert mended[-1:] in {b"", b"\n"}
        assert ending.position == found[mended.count(b"\n")]


def test_no_more_is_read_than_it_takes():
    def endless():
        yield b"and so on\n" + final(5) + line("level", 6) * 3
        raise AssertionError

    assert end_of_lines(endless()).position == Position(("r", 5))


@given(st.lists(st.binary(max_size=9)), st.integers(1, 20))
def test_it_is_the_same_however_it_is_read(parts, piece_bytes):
    data = b"\n".join([final(3), *parts])
    assert end_of_lines(pieces(data, piece_bytes)) == end_of_lines([data])


@pytest.mark.parametrize(
    ("last", "ending"),
    [
        (b"", Ending(0, b"", START)),
        (b"So.\n", Ending(0, b"", NOW)),
        (b"So", Ending(0, b"\n", NOW)),
        ("grö".encode()[:-1], Ending(1, b"\n", NOW)),
        ("So.\nö".encode()[:-1], Ending(1, b"", NOW)),
        ("🙂".encode()[:-1], Ending(3, b"", START)),
    ],
)
def test_text_is_gone_on_with_on_a_line_of_its_own(last, ending):
    assert end_of_text(last) == ending

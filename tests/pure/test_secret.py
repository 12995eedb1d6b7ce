"""Secrets: how they are read from their files, and that no piece of one stays in a text."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.shared.secret import StrikeOut, read_secret
from tests.pure.support import within

KEY = "0123456789abcdefghij"
LONG_TOKEN = "".join(f"{number:05}" for number in range(10_000))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"invalid token {KEY}", "invalid token ***"),
        (f"{KEY}{KEY}", "******"),
        (f"invalid token {KEY[:8]}", "invalid token ***"),
        (f"…{KEY[-8:]} is invalid", "…*** is invalid"),
        (f"{KEY[3:12]}|{KEY[5:]}", "***|***"),
        (f"ends with {KEY[-7:]}", f"ends with {KEY[-7:]}"),
        (KEY[:7], KEY[:7]),
        ("", ""),
        ("nothing of it", "nothing of it"),
    ],
)
def test_each_piece_of_eight_characters_is_struck_out(text, left):
    assert StrikeOut(KEY)(text) == left


@pytest.mark.parametrize(("spares_short", "left"), [(False, "a *** b"), (True, "a KEY b")])
def test_a_short_secret_is_struck_out_as_a_whole_or_not_at_all(spares_short, left):
    strike_out = StrikeOut("KEY", spares_short=spares_short)
    assert strike_out("a KEY b") == left
    assert strike_out("a KE b") == "a KE b"
    assert any(part in b"a KEY b" for part in strike_out.parts) is not spares_short


def test_a_long_token_is_struck_out_too():
    strike_out, rest = StrikeOut(LONG_TOKEN), LONG_TOKEN[:7]
    assert strike_out(f"a {LONG_TOKEN[777:]} b {LONG_TOKEN[4:12]} c {rest}") == f"a *** b *** c {rest}"
    assert any(part in b"anything" for part in strike_out.parts)


def test_several_secrets_are_struck_out():
    assert StrikeOut(KEY, "TOKEN", "")(f"{KEY[2:11]} and TOKEN") == "*** and ***"


def test_without_a_secret_nothing_is():
    assert StrikeOut().parts == ()
    assert StrikeOut("")(KEY) == KEY


texts = st.text(st.sampled_from("abcß\n"), max_size=60)


@given(secret=st.text(st.sampled_from("abcß"), min_size=1, max_size=24), text=texts, data=st.data())
def test_no_piece_stays_and_the_quick_look_misses_none(secret, text, data):
    first = data.draw(st.integers(0, len(secret)))
    text += secret[first : data.draw(st.integers(first, len(secret)))] + data.draw(texts)
    strike_out, chars = StrikeOut(secret), min(8, len(secret))
    left = strike_out(text)
    pieces = {secret[first : first + chars] for first in range(len(secret) - chars + 1)}
    assert not any(piece in part for part in left.split("***") for piece in pieces)
    if left != text:
        assert any(part in text.encode() for part in strike_out.parts)
    else:
        assert not any(piece in text for piece in pieces)


@pytest.mark.slow
@pytest.mark.parametrize("text", [KEY * 50_000, KEY[:7] * 150_000, "a" * 1_000_000], ids=["whole", "nearly", "other"])
@pytest.mark.parametrize("secret", [KEY, "a" * 40, LONG_TOKEN], ids=["key", "one letter", "token"])
def test_a_long_text_takes_no_long_time(secret, text):
    strike_out = StrikeOut(secret)
    with within(5):
        quick = any(part in text.encode() for part in strike_out.parts)
        left = strike_out(text)
    assert quick or left == text


# Files


@pytest.mark.parametrize("content", [b"a-key", b"  a-key \r\n", b"a-key\n", b"\xef\xbb\xbfa-key\r\n"])
def test_a_secret_is_read_without_a_byte_order_mark_and_the_spaces_around_it(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    assert read_secret(str(tmp_path / "key")) == "a-key"


def test_a_pipe_without_a_writer_is_an_empty_file(tmp_path):
    os.mkfifo(tmp_path / "key")
    with within(5):
        assert read_secret(str(tmp_path / "key")) == ""


def test_a_pipe_is_read_to_its_end_when_its_writer_takes_its_time():
    script = "read -r _; printf a-; echo key"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        path = f"/dev/fd/{writer.stdout.fileno()}"
        with pytest.raises(BlockingIOError):
            read_secret(path)
        writer.stdin.close()
        assert read_secret(path, wait_s=10.0) == "a-key"


def test_an_endless_file_is_read_to_the_limit_only():
    with within(5), pytest.raises(OSError, match="no key has more than"):
        read_secret("/dev/zero")


@pytest.mark.parametrize(("content", "error"), [(None, OSError), (b"\xff\xfe", UnicodeDecodeError)])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path, content, error):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(error):
        read_secret(str(tmp_path / "key"))

"""What somebody may have meant."""

import pytest

from mpengine.shared.guess import did_you_mean, nearest, nearest_name

KEYS = ["device", "sample_rate", "channels", "channel", "block_ms", "latency", "quiet_ms"]
NAMES = ["Blue Yeti Stereo Microphone: USB Audio", "RØDE NT-USB Mini: USB Audio", "HD-Audio Generic: ALC257 Analog"]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("blok_ms", "block_ms"),
        ("Block-MS", "block_ms"),
        ("rate", "sample_rate"),
        ("chanel", "channel"),
        ("latncy", "latency"),
        ("ms", None),  # a part of two of them
        ("colour", None),
        ("", None),
        ("___", None),
        ("x" * 10_000, None),
    ],
)
def test_the_nearest_word(word, found):
    assert nearest(word, KEYS) == found


def test_letters_of_all_alphabets_count():
    assert nearest("Микрофн", ["Микрофон", "Камера"]) == "Микрофон"


@pytest.mark.parametrize(
    ("text", "found"),
    [("Yetti", 0), ("blue yety", 0), ("Rode", 1), ("rode nt usb", 1), ("ALC257", 2), ("Jabra", None), ("USB Audio", 0)],
)
def test_a_name_is_found_by_a_part_of_it(text, found):
    assert nearest_name(text, NAMES) == (None if found is None else NAMES[found])


def test_a_suggestion_ends_a_sentence_and_is_left_out_where_there_is_none():
    assert did_you_mean("lokal", ["local", "byok"]) == '; did you mean "local"?'
    assert did_you_mean("colour", ["local", "byok"]) == ""
    assert did_you_mean("local", ["local"]) == ""

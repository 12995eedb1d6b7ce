"""On which line a key of a TOML text stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.shared.config.lines import explained, line_of

TEXT = '''\
# [audio] is below
"top" = 1
[remote]   # a comment with ] and =
mode = "byok"
parameters = { "keyterm" = ["a = 1", "]"], endpointing = 300 }
text = """
[audio]
block_ms = 1 "" \\""" x
""" # the end
raw = \'\'\'
device = 'x'
\'\'\'

[ audio ]
device = [
    "USB = [",  # block_ms = 2
    "other",
]
block_ms\t=\t20
'latency' = 0.5

[remote.more]
endpointing = 5
[[bus]]
query."deep" = 1
'''
LINES = {
    "top": 2,
    "remote": 3,
    "remote.mode": 4,
    "remote.parameters": 5,
    "remote.parameters.keyterm": 5,
    "remote.parameters[...]": 5,
    "remote.text": 6,
    "remote.raw": 10,
    "audio": 14,
    "audio.device": 15,
    "audio.device[1]": 15,
    "audio.block_ms": 19,
    "audio.latency": 20,
    "remote.more": 22,
    "remote.more.endpointing": 23,
    "bus": 24,
    "bus.query": 25,
    "bus.query.deep": 25,
    "audio.gate": None,
    "engine": None,
    "": None,
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("path", "line"), LINES.items())
def test_a_key_is_found_on_its_line(path, line, end):
    tomllib.loads(TEXT)
    assert line_of(TEXT.replace("\n", end), path) == line


@given(st.text(alphabet="ab.=[]{}\"'#\\\n ", max_size=60))
def test_no_text_keeps_it_from_an_answer(text):
    found = line_of(text, "a.b")
    assert found is None or 1 <= found <= text.count("\n") + 1


@given(st.text(alphabet="ab.=[]{}\"'#\\\n t1", max_size=40))
def test_each_trouble_of_the_library_is_explained_in_one_line(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        number, why = explained(text, str(error))
        assert number is None or 1 <= number <= text.count("\n") + 1
        assert why
        assert "\n" not in why


def test_a_trouble_without_a_line_is_told_as_it_is():
    assert explained("a = 1", "Exceeds the limit for integer string conversion") == (
        None,
        "Exceeds the limit for integer string conversion",
    )


def test_no_value_is_told_because_it_may_be_a_secret():
    for value in ("S3cr3t", '"S3cr3t', "S3cr3t'", "'S3cr3t"):
        text = f"[remote]\nbyok_api_key = {value}\n"
        with pytest.raises(tomllib.TOMLDecodeError) as caught:
            tomllib.loads(text)
        number, why = explained(text, str(caught.value))
        assert number == 2
        assert "S3cr3t" not in why

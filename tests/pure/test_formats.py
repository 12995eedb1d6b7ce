"""What every output format keeps to, whoever adds one."""

import pytest

from mpengine import formats
from mpengine.client.position import Hole
from mpengine.formats import FORMATS
from mpengine.formats.base import NOW, START, Ending, Format, Place, Style
from mpengine.shared import messages
from tests.pure.support import in_fresh_interpreter

EVERY = pytest.mark.parametrize("name", FORMATS)
FINAL = messages.Transcript(text="So\x1b[2J.", is_final=True, start_s=1.0, end_s=2.0, run="r", seq=3)


def made(name, place=Place.FILE):
    return formats.load(name)(Style(), place)


@EVERY
def test_it_is_found_by_its_name_and_by_that_of_a_file(name):
    assert issubclass(formats.load(name), Format)
    assert formats.name_for(f"some.dir/talk.{name}") == name
    assert formats.name_for(f"TALK.{name.upper()}") == name


@pytest.mark.parametrize("path", ["", "talk", "talk.txt", "talk.srt/", "talk.srt.txt", ".vtt"])
def test_a_file_that_does_not_say_its_format_is_text(path):
    assert formats.name_for(path) == "text"


@EVERY
@pytest.mark.parametrize("place", Place)
def test_a_final_is_shown_everywhere_and_does_nothing_to_a_terminal(name, place):
    shown = made(name, place).show(messages.encode(FINAL), FINAL)
    assert b"so" in shown.lower()
    assert b"\x1b" not in shown


@EVERY
@pytest.mark.parametrize("message", [None, Hole(topic="x", run="r", first_seq=1), messages.Status(state="running")])
def test_whatever_comes_is_whole_bytes(name, message):
    assert isinstance(made(name).show(b"{}", message), bytes)


@EVERY
def test_an_empty_file_is_begun_with_the_header_and_from_the_start(name):
    form = made(name)
    assert form.go_on(iter([])) == Ending(0, form.header, START)
    assert form.since in {NOW, START}


@EVERY
def test_its_file_is_gone_on_with_and_nothing_is_taken_back_of_a_whole_one(name):
    first, second = made(name), made(name)
    written = first.go_on(iter([])).mend + first.show(messages.encode(FINAL), FINAL)
    assert second.go_on(iter([written])).torn_bytes == 0
    assert second.take_back(FINAL) is None


def test_to_name_the_formats_loads_none_of_them():
    script = "import sys; from mpengine.cli import parser_for; parser_for('listen'); print(*sorted(sys.modules))"
    loaded = [name for name in in_fresh_interpreter(script).split() if "formats" in name]
    assert loaded == ["mpengine.formats", "mpengine.formats.base"]

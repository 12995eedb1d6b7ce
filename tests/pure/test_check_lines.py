"""The lines of `mpengine check`: their looks, and the exit code that they make."""

import pytest

from mpengine.cli.check.lines import MARKS, Look, drawn, exit_code, failed, ok, skipped, summary
from mpengine.shared.errors import ExitCode

ROOM = ok("room", "the window needs 10 MB, and /run/user/1000/mpengine/default has 2 MB free", "set buffer.directory")


def test_a_pipe_gets_a_line_a_check_without_escapes():
    assert drawn(ROOM, Look()) == f"✓ room               {ROOM.text} → set buffer.directory"
    assert drawn(failed("dns", "no such host", "see the network"), Look()) == (
        "✗ DNS                no such host → see the network"
    )
    assert drawn(skipped("runtime_directory", "it needs the configuration"), Look()) == (
        f"{MARKS[2]} runtime directory  it needs the configuration"
    )


def test_a_terminal_gets_lines_wrapped_below_each_other():
    assert drawn(ROOM, Look(columns=64)).splitlines() == [
        "✓ room               the window needs 10 MB, and",
        "                     /run/user/1000/mpengine/default has 2 MB",
        "                     free",
        "                     → set buffer.directory",
    ]


@pytest.mark.parametrize("columns", [10, 30, 59])
def test_on_a_narrow_terminal_the_name_has_a_line_of_its_own(columns):
    first, *others = drawn(ROOM, Look(columns=columns)).splitlines()
    assert first == "✓ room"
    assert all(line.startswith("    ") for line in others)
    assert " ".join(" ".join(others).split()) == f"{ROOM.text} → set buffer.directory"


def test_where_the_signs_cannot_be_written_there_are_others():
    line = drawn(failed("key", "refused", "put in another one"), Look(is_ascii=True))
    assert line == "x key                refused -> put in another one"
    assert drawn(skipped("key", "-"), Look(is_ascii=True)).isascii()


def test_colours_stand_around_the_mark_alone():
    plain, coloured = (drawn(ROOM, Look(columns=80, has_colours=each)) for each in (False, True))
    assert coloured == plain.replace("✓", "\x1b[32m✓\x1b[0m")


def test_what_others_have_written_does_nothing_to_the_terminal():
    assert "\x1b" not in drawn(failed("key", "\x1b]0;bad\x07", "a\nb"), Look(columns=80))
    assert len(drawn(failed("key", "a\nb", "c\nd"), Look()).splitlines()) == 1


def test_the_exit_code_is_that_of_the_first_check_that_has_failed():
    lines = [ok("configuration", ""), failed("level", "", "speak"), failed("key", "", "mend", 4), skipped("room", "")]
    assert exit_code(lines) == ExitCode.CRASH
    assert exit_code(lines[2:]) == ExitCode.ACCOUNT
    assert exit_code([lines[0], lines[3]]) == ExitCode.OK
    assert summary(lines) == "to mend: level, key"
    assert summary(lines[:1]) == "nothing stands in the way"


def test_programs_get_four_texts():
    assert failed("tls", "not trusted", "remote.ca_file").entry() == {
        "check": "tls",
        "result": "failed",
        "text": "not trusted",
        "mend": "remote.ca_file",
    }

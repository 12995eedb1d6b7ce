"""The arguments of the commands: what the help says, and which values are refused."""

import pytest

from mpengine import cli
from mpengine.cli.run import _values


def _refused(capsys, *arguments):
    """The last line of the usage error."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    return capsys.readouterr().err.splitlines()[-1]


def _helped(capsys, *arguments):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*arguments, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_without_a_command_the_help_is_printed_as_an_error(capsys):
    assert cli.main([]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert "Run an engine" not in written.err
    assert "run an engine until it is stopped" in " ".join(written.err.split())


def test_the_help_points_to_the_keys_of_the_configuration(capsys):
    assert "`mpengine help configuration` has all keys" in _helped(capsys)


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_time_to_wait_is_a_number_of_seconds_in_range(capsys, seconds):
    assert _refused(capsys, "stop", f"--timeout={seconds}").endswith("expected 0 to 86400 seconds")


def test_the_help_of_listen_says_what_decides_the_format(capsys):
    shown = _helped(capsys, "listen")
    assert "text (captions), jsonl (every message" in shown
    assert "by default the ending of FILE decides, otherwise text" in shown


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ((), {}),
        (("--name", "7"), {"engine.name": "7"}),
        (("--set", "engine.name=a", "--name", "desk"), {"engine.name": "desk"}),
        (("--name", "desk", "--set", "audio.block_ms=40"), {"engine.name": "desk", "audio.block_ms": 40}),
    ],
)
def test_the_name_of_an_engine_to_run_overrides_the_file(arguments, values):
    given = cli._parser().parse_args(["run", *arguments])
    assert _values(given.set, given.name) == values

"""The arguments of the commands: what the help says, and which values are refused."""

import contextlib

import pytest

import mpengine
from mpengine import cli
from mpengine.cli.run import _values
from tests.pure.support import in_fresh_interpreter


def _refused(capsys, *arguments):
    """The one line of the error."""
    assert cli.main(arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    return written.err.removesuffix("\n")


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


def test_the_short_help_shows_how_to_begin_and_every_command(capsys):
    cli.main([])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 45
    assert max(map(len, cli.EXAMPLES.splitlines())) < 80
    assert any(line.startswith("  mpengine run --local ") for line in lines)
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= set(cli.COMMANDS)


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version_is_asked_for_by_a_word_or_by_an_option(capsys, word):
    with contextlib.suppress(SystemExit):
        assert cli.main([word]) == 0
    assert capsys.readouterr() == (f"mpengine {mpengine.__version__}\n", "")


def test_the_help_points_to_the_keys_of_the_configuration(capsys):
    assert "`mpengine help configuration` has all keys" in _helped(capsys)


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_time_to_wait_is_a_number_of_seconds_in_range(capsys, seconds):
    assert _refused(capsys, "stop", f"--timeout={seconds}").endswith("expected 0 to 86400 seconds")


def test_the_help_of_listen_says_what_decides_the_format(capsys):
    shown = _helped(capsys, "listen")
    assert "text (captions), jsonl (every message" in shown
    assert "by default the ending of the output file decides, otherwise text" in shown


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
    given = cli.parser_for("run").parse_args(["run", *arguments])
    assert _values(given.set, given.name) == values


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_only_the_module_of_the_command_is_loaded(name):
    script = f"import sys; from mpengine.cli import parser_for; parser_for({name!r}); print(*sys.modules)"
    loaded = {word for word in in_fresh_interpreter(script).split() if word.startswith("mpengine.cli.")}
    modules = {other: f"mpengine.cli.{cli._MODULES.get(other, other)}" for other in cli.COMMANDS}
    assert loaded & set(modules.values()) == {modules[name]}

"""`mpengine help` in a pipe and on a terminal, with and without a pager."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mpengine
from mpengine import cli
from mpengine.cli.help import laid_out, topics
from mpengine.shared import standard_streams
from tests.rig.processes import spawned
from tests.rig.terminal import Terminal
from tests.rig.waiting import scaled

DOCS = Path(mpengine.__file__).parent / "docs"
COMMAND = [sys.executable, "-m", "mpengine", "help"]
WIRE = (DOCS / "wire.md").read_text(encoding="utf-8")
LAID_OUT = laid_out(WIRE, 80)


def _help(*arguments, **environment):
    """The command with its output in a pipe."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=scaled(30),
        check=False,
    )


@pytest.fixture
def terminal():
    """Runs the command on a terminal of 24 rows."""
    with contextlib.ExitStack() as stack:

        def run(*arguments, **environment):
            return stack.enter_context(contextlib.closing(Terminal([*COMMAND, *arguments], **environment)))

        yield run


def _executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


# In a pipe


def test_without_a_topic_each_page_is_listed_with_its_first_sentence():
    done = _help()
    assert (done.returncode, done.stderr) == (0, "")
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[2:])
    assert listed.keys() == {path.stem for path in DOCS.glob("*.md")}
    assert list(listed)[-3:] == ["development", "costs", "changes"]
    assert listed["costs"] == (DOCS / "costs.md").read_text(encoding="utf-8").splitlines()[2]


@pytest.mark.parametrize("columns", [40, 50, 80])
def test_the_list_of_pages_is_broken_at_words(capsys, monkeypatch, columns):
    assert cli.main(["help"]) == 0
    words = capsys.readouterr().out.split()
    monkeypatch.setattr(standard_streams, "columns_of", lambda _: columns)
    assert cli.main(["help"]) == 0
    shown = capsys.readouterr().out
    assert shown.split() == words
    assert max(map(len, shown.splitlines())) < columns


@pytest.mark.parametrize("topic", ["wire", "wi", "WIRE"])
def test_a_page_goes_into_a_pipe_as_it_is_and_past_the_pager(topic):
    done = _help(topic, PAGER="false")
    assert (done.returncode, done.stdout, done.stderr) == (0, WIRE, "")


def test_a_pipe_of_another_encoding_gets_the_page_with_question_marks():
    done = _help("wire", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == WIRE.encode("ascii", errors="replace").decode()


@pytest.mark.parametrize("topic", ["weather", "", "../docs/wire", "wire.md"])
def test_an_unknown_topic_is_an_error_that_lists_the_topics(topic):
    done = _help(topic)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f'mpengine: no page is about "{topic}"; the topics are: api, captions, ')
    assert done.stderr.count("\n") == 1


def test_an_unknown_topic_that_is_nearly_one_gets_its_name():
    done = _help("Configuraton")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith('; did you mean "configuration"?\n')


def test_a_command_has_its_help_under_its_name():
    done = _help("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: mpengine status ")
    assert _help("statsu").stderr.endswith('; did you mean "status"?\n')


def test_the_beginning_of_several_topics_lists_these():
    done = _help("co")
    expected = 'mpengine: "co" is the beginning of several topics; the topics are: configuration, costs\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_a_reader_that_has_gone_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with spawned([*COMMAND, "wire"], stdout=writer, stderr=subprocess.PIPE) as process:
            assert (process.wait(scaled(30)), process.stderr.read()) == (0, b"")
    finally:
        os.close(writer)


def test_a_reader_that_goes_in_the_middle_is_no_error():
    with spawned([*COMMAND, "wire"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(10) == WIRE.encode()[:10]
        process.stdout.close()
        assert (process.wait(scaled(30)), process.stderr.read()) == (0, b"")


# On a terminal


def test_a_page_is_shown_by_the_users_pager_with_its_arguments(terminal, tmp_path):
    pager = _executable(tmp_path / "my pager", '#!/bin/sh\nread -r first\necho "PAGED $1 $first"\ncat >/dev/null\n')
    shown = terminal("wire", PAGER=f"'{pager}' --loud")
    assert shown.wait_for_end() == 0
    assert shown.lines == ["PAGED --loud # Wire"]


def test_a_pager_that_is_left_early_is_no_error(terminal, tmp_path):
    pager = _executable(tmp_path / "pager", "#!/bin/sh\nexec echo left\n")
    shown = terminal("wire", PAGER=str(pager))
    assert shown.wait_for_end() == 0
    assert shown.lines == ["left"]


INTERRUPTED = """#!{python}
import os, signal
def interrupted(*_):  # it may come while the line below is still being printed
    os.write(1, b"interrupted\\n")
    os._exit(0)
signal.signal(signal.SIGINT, interrupted)
print("ready", flush=True)
signal.pause()
"""


def test_ctrl_c_is_for_the_pager(terminal, tmp_path):
    pager = _executable(tmp_path / "pager", INTERRUPTED.format(python=sys.executable))
    shown = terminal("costs", PAGER=str(pager))
    shown.wait_for(lambda lines: "ready" in lines)
    shown.press(b"\x03")
    assert shown.wait_for_end() == 0
    assert "interrupted" in shown.lines[-1]
    assert b"Traceback" not in shown.written


@pytest.mark.parametrize("pager", ["", "no-such-pager-here", "'"], ids=["none", "not there", "no command"])
def test_without_a_pager_the_page_is_printed(terminal, pager):
    shown = terminal("wire", PAGER=pager)
    assert shown.wait_for_end(30) == 0
    assert shown.written.decode().replace("\r\n", "\n") == LAID_OUT


def test_a_terminal_that_can_do_nothing_gets_the_page_without_a_pager(terminal):
    shown = terminal("wire", TERM="dumb", PAGER="false")
    assert shown.wait_for_end(30) == 0
    assert shown.written.decode().replace("\r\n", "\n") == LAID_OUT


@pytest.mark.parametrize("arguments", [[], ["transcribe", "talk.wav"]], ids=["help", "error"])
def test_short_help_and_errors_are_broken_at_words_on_a_narrow_terminal(arguments):
    command, nothing = [*COMMAND[:-1], *arguments], {"XDG_CONFIG_HOME": "/none", "DEEPGRAM_API_KEY": ""}
    in_a_pipe = subprocess.run(
        command, env={**os.environ, **nothing}, stderr=subprocess.PIPE, text=True, timeout=scaled(30), check=False
    ).stderr
    with contextlib.closing(Terminal(command, rows=80, columns=50, **nothing)) as narrow:
        assert narrow.wait_for_end() == 2
        assert len(narrow.lines) > len(in_a_pipe.splitlines())
        assert " ".join(narrow.lines).split() == in_a_pipe.split()


def test_an_unknown_topic_on_a_terminal_is_one_error(terminal):
    shown = terminal("weather")
    assert shown.wait_for_end() == 2
    assert shown.lines[0].startswith('mpengine: no page is about "weather"')


# The layout for a terminal

PAGE = """# Page

Words that stand
on two lines, see [wire](wire.md).

![A picture](picture.svg)

| key | | meaning |
| --- | --- | --- |
| `a` | 1 | the first of them |
| `b` |  | [other](wire.md) |

| word | meaning |
| --- | --- |
| c | long enough for two lines |

* an item that goes on
  on the next line
* another one

```
| code   stays as it is, however long the line |


![so does this](code.svg)
```
"""
ON_26_COLUMNS = """# Page

Words that stand on two
lines, see wire (help
wire).

`a`
    1
    meaning: the first of
      them
`b`
    meaning: other (help
      wire)

c
    long enough for two
      lines

* an item that goes on on
  the next line
* another one

```
| code   stays as it is, however long the line |


![so does this](code.svg)
```
"""


def test_a_page_is_laid_out_for_the_width_of_the_terminal():
    assert laid_out(PAGE, 26) == ON_26_COLUMNS


@pytest.mark.parametrize("topic", topics())
def test_only_code_and_long_words_are_wider_than_the_terminal(topic):
    parts = laid_out((DOCS / f"{topic}.md").read_text(encoding="utf-8"), 60).split("```")
    lines = [line for part in parts[::2] for line in part.splitlines()]
    assert [line for line in lines if len(line) > 60 and " " in line.strip()] == []
    assert not any(line.startswith(("|", "![")) for line in lines)

"""The programs on the page api: each passes mypy --strict, and runs beside an engine (a fake one)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mpengine
from tests.rig.fake_engine import FakeEngine
from tests.rig.waiting import scaled

PAGE = Path(mpengine.__file__).parent / "docs" / "api.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
SAID = ("go forward", "and then turn left")


def _message(kind, seq, **fields):
    return {"type": kind, "run": "r", "boot": "b", "seq": seq, **fields}


HISTORY = (
    _message("transcript", 1, text=SAID[0], is_final=True, start_s=0.5, end_s=1.5),
    _message("gap", 2, start_s=1.5, end_s=2.0, samples=8000, reason="overflow"),
    _message("transcript", 3, prev=1, text=SAID[1], is_final=True, start_s=2.0, end_s=3.0),
)


@pytest.fixture
def engine(usual_place):
    """It has two finals and a gap in its history, and says that it has stopped."""
    with FakeEngine(usual_place, greeting=[_message("status", 4, state="stopped", children={})], history=HISTORY) as it:
        it.status["device"] = "USB"
        yield it


def started(program):
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=scaled(30), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_finals(engine):
    with started(PROGRAMS[0]) as process:  # it goes on for ever
        try:
            assert [process.stdout.readline() for _ in SAID] == [
                "    0.50 go forward\n",
                "    2.00 and then turn left\n",
            ]
        finally:
            process.kill()


def test_every_kind_of_message(engine):
    assert run(PROGRAMS[1]) == [SAID[0], "[0.5 s of audio are lost: overflow]", SAID[1]]


def test_beside_other_work(engine):
    assert run(PROGRAMS[2]) == []


def test_in_asyncio(engine):
    assert run(PROGRAMS[3]) == [f"final {text}" for text in SAID]


def test_questions_and_commands(usual_place, engine):
    os.symlink(engine.query.removeprefix("ipc://"), usual_place / "command")
    assert run(PROGRAMS[4]) == ["running USB"]
    assert engine.asked == ["status", "set_user_name"]


def test_without_an_engine_the_answer_is_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (line,) = run(PROGRAMS[4])
    assert line.startswith('no engine called "default" answers')


def test_the_page_has_each_public_name():
    assert set(mpengine.__all__) <= set(re.findall(r"`([A-Za-z]+)`", PAGE.read_text(encoding="utf-8")))


def test_no_program_of_the_page_is_left_out():
    assert len(PROGRAMS) == 5


@pytest.mark.slow
def test_each_program_passes_mypy_strict(tmp_path):
    """From a folder that is not the repository's: the types come from the installed package, by its `py.typed`."""
    for number, program in enumerate(PROGRAMS):
        (tmp_path / f"program_{number}.py").write_text(program)
    (tmp_path / "wrong.py").write_text("from mpengine import Transcript\nTranscript(text=1, is_final=True)\n")
    words = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"), "."]
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "MYPYPATH"}}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=scaled(300), check=False
    )
    assert done.stdout.splitlines() == [
        'wrong.py:2: error: Argument "text" to "Transcript" has incompatible type "int"; expected "str"  [arg-type]',
        "Found 1 error in 1 file (checked 6 source files)",
    ]

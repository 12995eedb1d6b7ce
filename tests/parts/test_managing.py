"""`mpengine list`, `pause`, `resume` and `rename`, beside engines of which there are only the sockets."""

import contextlib
import fcntl
import json
import os

import pytest

from mpengine import cli
from mpengine.cli import engines, pausing
from mpengine.shared import whereabouts
from mpengine.shared.whereabouts import Whereabouts
from tests.rig.fake_engine import FakeEngine


class Obedient(FakeEngine):
    """One that obeys, or refuses with a `refusal`; it `opens` its device as it is told."""

    def __init__(self, directory, *, refusal=None, opens=True):
        super().__init__(directory)
        self.heard, self._refusal, self._opens = [], refusal, opens
        self.status |= {"name": "default", "pid": 4711, "mode": "byok", "device": "USB", "endpoint": "wss://there"}

    def answer(self, kind):
        if kind == "status":
            return super().answer(kind)
        self.heard.append(kind)
        if self._refusal is not None:
            return {"type": "error", "source": "supervisor", "code": "bad_command", "message": self._refusal}
        if kind in {"pause", "resume"}:
            self.status["paused"] = kind == "pause"
            if self._opens:
                self.status["device"] = "USB" if kind == "resume" else None
        return {"type": "ok"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Makes the runtime directory of an engine, as a process that lives, or one that does not."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("MPENGINE_CURVE_SERVER_KEY", "MPENGINE_CURVE_CLIENT_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.ExitStack() as stack:

        def make(name="default", *, lives=True):
            directory = tmp_path / "mpengine" / name
            directory.mkdir(parents=True)
            file = stack.enter_context(open(directory / "lock", "w"))
            if lives:
                fcntl.flock(file, fcntl.LOCK_EX)
            return directory

        yield make


def said(capsys, *words):
    code = cli.main(words)
    written = capsys.readouterr()
    return code, written.out, written.err


# Lists


def test_without_an_engine_the_list_says_how_to_start_one(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nothing"))
    advice = "mpengine: no engine of this user is running; start one with: mpengine run\n"
    assert said(capsys, "list") == (0, "", advice)
    assert said(capsys, "list", "--json") == (0, "[]\n", "")


def test_each_engine_has_a_line_and_what_is_left_of_one_has_one_too(capsys, place, monkeypatch):
    monkeypatch.setattr(engines, "_ANSWER_LIMIT_S", 0.2)
    directory = place()
    whereabouts.write(str(place("gone", lives=False)), Whereabouts(name="gone", pid=99))
    whereabouts.write(str(place("mute")), Whereabouts(name="mute", pid=98))
    (place("rest", lives=False) / "journal").touch()
    place("over", lives=False)
    place("no name", lives=False)
    with Obedient(directory) as fake:
        fake.status |= {"state": "degraded", "reason": "no\x1b[2J route"}
        code, out, err = said(capsys, "list")
        entries = json.loads(said(capsys, "list", "--json")[1])
    assert (code, err) == (0, "")
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "NAME STATE PID DEVICE RECOGNISER",
        "default degraded (no\ufffd[2J route) 4711 USB wss://there (byok)",
        "gone killed (it was killed; its next start goes on with what it left) - - -",
        "mute silent (it does not answer) 98 - -",
        "rest stopped (its run is not over; its next start goes on with it) - - -",
    ]
    assert [(entry["name"], entry["state"], entry["pid"]) for entry in entries] == [
        ("default", "degraded", 4711),
        ("gone", "killed", None),
        ("mute", "silent", 98),
        ("rest", "stopped", None),
    ]
    assert entries[0]["directory"] == str(directory)
    assert (entries[0]["device"], entries[0]["recogniser"], entries[0]["mode"]) == ("USB", "wss://there", "byok")


# Commands


@pytest.mark.parametrize("command", ["stop", "status", "pause", "listen --exit-on-stop", "web"])
def test_an_empty_name_means_no_engine(capsys, place, command):
    with Obedient(place()) as fake:
        assert said(capsys, *command.split(), "--name", "") == (
            2,
            "",
            "mpengine: engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -\n",
        )
    assert fake.heard == []


def test_an_engine_that_runs_and_does_not_answer_is_no_missing_one(capsys, place):
    place()
    code, _, err = said(capsys, "pause")
    assert (code, "; ask again, or end its process" in err, "start one" in err) == (1, True, False)
    assert err.startswith('mpengine: the engine "default" runs, but has not answered at ipc://')


def test_a_pause_is_told_when_the_microphone_is_closed_and_a_resume_when_it_is_open(capsys, place):
    with Obedient(place()) as fake:
        paused = "paused: the microphone is closed; `mpengine resume` opens it again\n"
        assert said(capsys, "pause") == (0, paused, "")
        assert said(capsys, "pause") == (0, paused, "")
        assert said(capsys, "resume") == (0, "resumed: USB is open\n", "")
        assert fake.heard == ["pause", "pause", "resume"]


def test_a_microphone_that_does_as_it_likes_is_told(capsys, place, monkeypatch):
    monkeypatch.setattr(pausing, "_LIMIT_S", 0.2)
    with Obedient(place(), opens=False) as fake:
        refusal = 'mpengine: "default" is to pause, but USB is still open after 0.2 s\n'
        assert said(capsys, "pause") == (1, "", refusal)
        fake.status |= {"device": None, "reason": '"USB" has gone'}
        advice = 'mpengine: "default" goes on, but no device is open after 0.2 s: "USB" has gone\n'
        assert said(capsys, "resume") == (1, "", advice)


def test_a_speaker_gets_another_name(capsys, place):
    with Obedient(place()) as fake:
        assert said(capsys, "rename", "Ann\x1b") == (0, 'from now on the speaker is called "Ann\ufffd"\n', "")
        assert fake.heard == ["set_user_name"]


@pytest.mark.parametrize("name", ["x" * 201, "\udcff"])
def test_a_name_that_cannot_be_is_refused_before_anybody_is_asked(capsys, place, name):
    assert said(capsys, "rename", name) == (2, "", "mpengine: NAME: expected a name of at most 200 letters\n")


@pytest.mark.parametrize("words", [("pause",), ("resume",), ("rename", "Ann")])
def test_a_refusal_is_one_line(capsys, place, words):
    with Obedient(place(), refusal="not here"):
        assert said(capsys, *words) == (1, "", "mpengine: not here\n")


def test_an_absence_is_one_line(capsys, place):
    code, out, err = said(capsys, "pause", "--name", "nobody")
    assert (code, out) == (1, "")
    assert err.endswith("; start one with: mpengine run --name nobody\n")


@pytest.mark.parametrize("words", [("pause",), ("resume",), ("rename", "Ann"), ("stop",), ("status",), ("listen",)])
def test_each_command_to_an_engine_takes_a_configuration(words, tmp_path):
    path = os.fspath(tmp_path / "mic.toml")
    assert cli.parser_for(words[0]).parse_args([*words, "--config", path]).config == path

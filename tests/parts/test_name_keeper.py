"""The names of an engine on a real file system: kept young, made again, or given up."""

import os
import shutil

import pytest

from mpengine.shared import whereabouts
from mpengine.shared.errors import RuntimeDirError
from mpengine.shared.runtime import RuntimeDir
from mpengine.shared.whereabouts import Whereabouts
from mpengine.supervisor.bus.journal import Identity, Journal
from mpengine.supervisor.decide.actions import Publish
from mpengine.supervisor.decide.names import LOOK_S, TOUCH_S
from mpengine.supervisor.name_keeper import NameKeeper
from tests.pure.support import of_kind

LONG_AGO_S = 1_000_000_000


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = RuntimeDir("mic")
    directory.lock()
    yield directory
    directory.unlock()


@pytest.fixture
def journal(directory):
    journal = Journal.create(f"{directory.path}/journal", Identity("00", "b", 16000, 1, "portaudio"))
    yield journal
    journal.close(remove=False)


@pytest.fixture
def keeper(directory, journal):
    says = Whereabouts(name="mic", pid=os.getpid(), public_key="k" * 40)
    keeper = NameKeeper(directory, journal, window_path=f"{directory.path}/mic.window", bound={}, says=says, now=0.0)
    yield keeper
    keeper.close()


def said(actions):
    return [action.message.message for action in of_kind(actions, Publish)]


def test_all_names_are_touched_once_a_minute_and_left_alone_meanwhile(directory, keeper):
    paths = [directory.path, os.path.dirname(directory.path), directory.lock_path, f"{directory.path}/journal"]

    def ages():
        return {os.stat(path).st_mtime > LONG_AGO_S for path in paths}

    for path in reversed(paths):
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    assert keeper.look(LOOK_S, capture=None) == []
    assert ages() == {False}
    assert keeper.look(TOUCH_S, capture=None) == []
    assert ages() == {True}


def test_nothing_is_looked_at_between_two_looks(directory, keeper):
    os.unlink(directory.lock_path)
    assert keeper.look(LOOK_S - 0.1, capture=None) == []
    (text,) = said(keeper.look(LOOK_S, capture=None))
    assert text == f"vanished from {directory.path}: lock. All is made again, and who was connected still is"
    assert keeper.look(2 * LOOK_S, capture=None) == []


def test_the_file_with_the_endpoints_is_made_again_and_goes_at_the_end(directory, keeper):
    said_first = whereabouts.read(directory.path)
    assert said_first.public_key == "k" * 40
    os.unlink(f"{directory.path}/endpoints")
    (text,) = said(keeper.look(LOOK_S, capture=None))
    assert text.startswith(f"vanished from {directory.path}: endpoints. All is made again")
    assert whereabouts.read(directory.path) == said_first
    assert keeper.look(2 * LOOK_S, capture=None) == []
    keeper.close()
    assert whereabouts.read(directory.path) is None
    keeper.close()


def test_a_file_with_the_endpoints_of_somebody_else_is_left_at_the_end(directory, keeper):
    whereabouts.write(directory.path, Whereabouts(name="mic", pid=1))
    keeper.close()
    assert whereabouts.read(directory.path).pid == 1


def test_a_file_with_the_endpoints_that_finds_no_room_is_told_and_tried_again(directory, keeper, monkeypatch):
    really = whereabouts.write

    def write(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whereabouts, "write", write)
    os.unlink(f"{directory.path}/endpoints")
    (text,) = said(keeper.look(LOOK_S, capture=None))
    assert "Made again but for the file with the endpoints (No space left on device)" in text
    monkeypatch.setattr(whereabouts, "write", really)
    assert said(keeper.look(2 * LOOK_S, capture=None)) == []
    assert whereabouts.read(directory.path).name == "mic"


def test_a_journal_that_finds_no_room_is_told_once_and_tried_again(directory, journal, keeper, monkeypatch):
    really = journal.write_again

    def write_again():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "write_again", write_again)
    os.unlink(f"{directory.path}/journal")
    (text,) = said(keeper.look(LOOK_S, capture=None))
    assert "Made again but for the journal (No space left on device): a kill may cost results" in text
    assert said(keeper.look(2 * LOOK_S, capture=None)) == []
    monkeypatch.setattr(journal, "write_again", really)
    assert said(keeper.look(3 * LOOK_S, capture=None)) == []
    assert os.path.exists(f"{directory.path}/journal")
    assert keeper.look(4 * LOOK_S, capture=None) == []


def test_a_directory_that_vanishes_again_and_again_ends_the_engine(directory, keeper):
    for number in range(1, 33, 2):
        shutil.rmtree(directory.path)
        assert said(keeper.look(number * LOOK_S, capture=None))
        assert keeper.look((number + 1) * LOOK_S, capture=None) == []
        assert keeper.are_ours
    shutil.rmtree(directory.path)
    with pytest.raises(RuntimeDirError, match=r"once more; the engine ends\. Find out who removes them"):
        keeper.look(33 * LOOK_S, capture=None)
    assert not keeper.are_ours

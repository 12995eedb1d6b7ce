"""The relay's notes and the transcript files that it reads: whole after every end, and for one relay alone."""

import os
import shutil

import pytest

from mpengine.relay.position import Position
from mpengine.relay.state_file import StateFile
from mpengine.relay.transcript import lines_of
from mpengine.shared.errors import MpengineError

THERE = Position(run="r", through=7, topics={"gap": 3}, over=5, ended=("gap",))


@pytest.fixture
def note(tmp_path):
    file = StateFile(str(tmp_path / "a" / "b"), "desk")
    yield file
    file.close()


def test_a_note_is_read_again(note):
    assert note.position is None
    note.write(Position(run="q"))
    note.write(THERE)
    assert note._read() == THERE


def test_a_folder_that_somebody_removes_is_made_again(note, tmp_path):
    shutil.rmtree(tmp_path / "a")
    note.write(THERE)
    assert note._read() == THERE
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    with pytest.raises(MpengineError, match="another relay"):
        StateFile(str(tmp_path / "a" / "b"), "desk")


def test_an_end_in_the_middle_of_a_writing_leaves_the_old_note(note, monkeypatch):
    note.write(THERE)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("the power is gone")))
    with pytest.raises(OSError, match="power"):
        note.write(Position(run="s"))
    monkeypatch.undo()
    assert note._read() == THERE


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff" * 9, b'{"run":7}'])
def test_a_broken_note_is_told_and_not_used(tmp_path, note, body):
    (tmp_path / "a" / "b" / "desk.json").write_bytes(body)
    assert note._read() is None
    assert "is no note of a relay" in note.complaint


def test_another_relay_for_the_same_engine_is_refused_and_for_another_one_not(tmp_path, note):
    with pytest.raises(MpengineError, match='another relay hands "desk"'):
        StateFile(str(tmp_path / "a" / "b"), "desk")
    StateFile(str(tmp_path / "a" / "b"), "door").close()


def test_a_link_in_the_place_of_a_note_is_not_followed(tmp_path, note):
    (tmp_path / "a" / "b" / "desk.json.new").symlink_to(tmp_path / "elsewhere")
    note.write(THERE)
    assert note._read() == THERE
    assert not (tmp_path / "a" / "b" / "desk.json").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_all_files_of_a_transcript_are_read_the_oldest_first(tmp_path):
    for name, text in (("t", "5\n6\nhalf"), ("t.1", "3\n4\n"), ("t.2", "1\n2\n"), ("t.old", "0\n")):
        (tmp_path / name).write_text(text)
    assert list(lines_of(str(tmp_path / "t"))) == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_a_rotation_while_it_is_read_loses_no_line(tmp_path):
    path = tmp_path / "t"
    path.write_text("3\n4\n")
    (tmp_path / "t.1").write_text("1\n2\n")
    lines = lines_of(str(path))
    found = [next(lines)]
    path.rename(tmp_path / "t.1")
    path.write_text("5\n")
    assert [*found, *lines] == [b"1", b"2", b"3", b"4"]


def test_no_transcript_at_all_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(lines_of(str(tmp_path / "t")))

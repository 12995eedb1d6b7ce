"""Which run a supervisor serves: a new one, the one before, or a new one that says what was left."""

import os

import pytest

from mpengine.capture.window import Window
from mpengine.shared.config import Config
from mpengine.shared.errors import RuntimeDirError
from mpengine.supervisor import run_files
from mpengine.supervisor.bus.journal import Journal, OpenDevice
from mpengine.supervisor.run_files import RunFiles

LOCAL = {"remote": {"mode": "local"}}


@pytest.fixture
def opened(tmp_path):
    """Opens the files of an engine; they are closed, and stay."""

    def open_them(tables=LOCAL, progress=(0, 0)):
        files = RunFiles(Config.parse(tables), str(tmp_path))
        captured, acknowledged = progress
        if captured:
            files.journal.progress(captured=captured, sent=captured, connection=1)
            files.journal.acknowledge(acknowledged)
        files.close(is_done=False)
        return files

    return open_them


def test_without_a_journal_a_run_is_new(opened):
    files = opened()
    assert (files.recovered, files.abandoned) == (None, "")


def test_a_run_whose_files_are_there_goes_on(opened):
    first = opened(progress=(48_000, 16_000))
    second = opened()
    assert second.run == first.run
    assert (second.recovered.captured, second.recovered.acknowledged) == (48_000, 16_000)


@pytest.mark.parametrize(("wanted", "remembered"), [("USB", "usb:1-2"), ("Other", ""), (None, "")])
def test_the_device_of_a_run_is_remembered_while_the_same_one_is_wanted(tmp_path, wanted, remembered):
    def tables(device):
        return LOCAL | ({"audio": {"device": device}} if device else {})

    first = RunFiles(Config.parse(tables("USB")), str(tmp_path))
    assert first.remembered == ""
    for identity in ("usb:1-1", "usb:1-2"):
        first.journal.append(OpenDevice(identity, first.wanted_device))
    first.close(is_done=False)
    second = RunFiles(Config.parse(tables(wanted)), str(tmp_path))
    second.close(is_done=False)
    assert second.run == first.run
    assert second.remembered == remembered


@pytest.mark.parametrize("change", [{"audio": {"block_ms": 40}}, {"buffer": {"seconds": 120}}])
def test_another_window_is_a_new_run_that_says_what_was_left(opened, change):
    first = opened(progress=(48_000, 16_000))
    second = opened(LOCAL | change)
    assert second.run != first.run
    assert "2.0 s of audio without a result" in second.abandoned


@pytest.mark.parametrize(
    "change", [{"audio": {"block_ms": 40}}, {"audio": {"paced": False}}, {"buffer": {"seconds": 120}}, {}]
)
def test_the_run_of_a_file_goes_on_with_another_window_and_after_a_restart_of_the_machine(
    opened, tmp_path, monkeypatch, change
):
    file = LOCAL | {"audio": {"source": str(tmp_path / "talk.wav")}}
    first = opened(file, progress=(48_000, 16_000))
    monkeypatch.setattr(run_files, "_machine_boot", lambda: "another")
    second = opened({table: {**file.get(table, {}), **keys} for table, keys in (file | change).items()})
    assert (second.run, second.recovered.acknowledged) == (first.run, 16_000)


def test_the_run_of_a_microphone_does_not_outlive_the_machine(opened, monkeypatch):
    first = opened(progress=(48_000, 16_000))
    monkeypatch.setattr(run_files, "_machine_boot", lambda: "another")
    assert opened().run != first.run


def test_the_journal_may_stand_elsewhere(tmp_path):
    (tmp_path / "runtime").mkdir()
    path = tmp_path / "journal-of-talk"
    for recovers in (False, True):
        files = RunFiles(Config.parse(LOCAL), str(tmp_path / "runtime"), str(path))
        assert (files.recovered is not None) is recovers
        assert files.journal.path == str(path)
        files.close(is_done=False)
    assert list((tmp_path / "runtime").iterdir()) == []


def test_a_journal_that_cannot_be_read_is_told_and_replaced(opened, tmp_path):
    (tmp_path / "journal").write_bytes(b"what is this")
    assert "cannot be read" in opened().abandoned
    assert opened().recovered is not None


def test_when_all_is_done_nothing_stays(tmp_path):
    files = RunFiles(Config.parse(LOCAL), str(tmp_path))
    (tmp_path / "default.window").write_bytes(b"x")
    files.close(is_done=True)
    assert list(tmp_path.iterdir()) == []


def test_a_window_without_its_journal_is_named_with_what_it_holds(opened, tmp_path):
    """As after a restart of the machine: the window stood on a disk, the journal in the runtime directory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    window = Window(
        str(disk / "default.window"), run=bytes(8), sample_rate=16000, channels=1, block_samples=320, seconds=60
    )
    for number in range(100):
        window.append(number * 320, bytes(640), number)
    window.acknowledge(50 * 320)
    window.close()
    files = opened(LOCAL | {"buffer": {"directory": str(disk)}})
    assert "(0000000000000000) had 1.0 s of audio without a result" in files.abandoned


@pytest.mark.parametrize("content", [b"", b"x" * 10_000, bytes(10_000)])
def test_what_is_no_window_is_not_named(opened, tmp_path, content):
    (tmp_path / "default.window").write_bytes(content)
    assert opened().abandoned == ""


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
@pytest.mark.parametrize("name", ["journal", "default.window"])
def test_anything_but_a_file_in_place_of_journal_and_window_is_one_line(tmp_path, name, put):
    put(tmp_path / name)
    with pytest.raises(RuntimeDirError, match=rf"cannot open the .*{name}: (not a regular file; |Is a directory)"):
        RunFiles(Config.parse(LOCAL), str(tmp_path))


def test_an_acknowledgement_that_cannot_be_abandons_the_run_in_words(opened, tmp_path):
    first = opened(progress=(16_000, 8_000))
    journal, _ = Journal.recover(str(tmp_path / "journal"))
    journal._set(acknowledged=16_001)
    journal.close(remove=False)
    second = opened()
    assert second.run != first.run
    assert "is damaged, or another version wrote it" in second.abandoned

"""The recorder at a window that this test writes: what was overwritten, full disks, leftovers, retention."""

import contextlib
import errno
import json
import os
import signal
import time

import pytest

from mpengine.capture.window import Window
from mpengine.capture.window_file import WindowFile
from mpengine.recorder import process
from mpengine.recorder.encoders import Wav
from mpengine.recorder.process import Options, Recorder
from mpengine.recorder.recording import Recording, written
from mpengine.recorder.shelf import Shelf
from mpengine.recorder.window_reader import WindowReader
from mpengine.shared.errors import MpengineError
from mpengine.shared.messages import Gap, Status
from tests.pure.support import RUN, pcm
from tests.rig import small_disk as disks
from tests.rig.recordings import faults_of_flac, has_flac, modes, taped
from tests.rig.window_slots import damage

RATE, BLOCK, SECONDS = 16000, 320, 2
SLOTS = SECONDS * RATE // BLOCK
NOW_NS = 1_800_000_000_000_000_000
DAY_NS = 86_400_000_000_000


class Bus:
    """The subscriber's place: messages that a test puts there."""

    def __init__(self):
        self.messages = []

    def poll(self, timeout_s=0.0):
        return bool(self.messages)

    def receive(self, timeout_s=None):
        return self.messages.pop(0)


class Engine:
    """Writes a window as capture does, and nothing else."""

    def __init__(self, directory, *, run=RUN, seconds=SECONDS):
        self.path = os.path.join(directory, "desk.window")
        self.window = Window(self.path, run=run, sample_rate=RATE, channels=1, block_samples=BLOCK, seconds=seconds)

    def writes(self, first, end):
        for begin in range(first, end, BLOCK):
            stop = min(begin + BLOCK, end)
            self.window.append(begin, pcm(begin, stop), time.monotonic_ns())

    def close(self):
        if self.window is not None:
            self.window.close()
        self.window = None


@pytest.fixture
def engine(tmp_path, monkeypatch):
    # Without a thread that writes: all that this test has written is there.
    monkeypatch.setattr("mpengine.capture.window.open_file", lambda path, most_bytes: WindowFile(path))
    made = Engine(tmp_path)
    yield made
    made.close()


class Rig:
    """One recorder after the other, in one folder."""

    def __init__(self, tmp_path, window):
        self.folder, self.window, self.bus = tmp_path / "tapes", window, Bus()
        self.options = {"encoder": Wav, "segment_s": 600.0}
        self.stack = contextlib.ExitStack()

    def start(self, **options):
        self.stack = contextlib.ExitStack()
        given = Options(name="desk", output=str(self.folder), **(self.options | options))
        shelf = Shelf(str(self.folder), "desk")
        self.stack.callback(shelf.close)
        self.recorder = Recorder(given, shelf, self.bus)
        self.recorder._reader = WindowReader(lambda: self.window)
        return self

    def step(self):
        self.recorder._listen(0.0)
        return self.recorder._step()

    def stop(self):
        """As a signal has it."""
        self.recorder._ends = True
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = self.recorder.run()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        self.stack.close()
        return code

    def kill(self):
        """What it has not written is gone. Its descriptors too."""
        if self.recorder._segment is not None and self.recorder._segment._fd >= 0:
            os.close(self.recorder._segment._fd)
        self.recorder._reader.close()
        self.stack.close()

    def files(self):
        return taped(self.folder)

    def about(self):
        (path,) = self.folder.glob("*.json")
        return json.loads(path.read_text())


@pytest.fixture
def rig(tmp_path, engine):
    made = Rig(tmp_path, engine.path)
    yield made
    made.stack.close()


# The window


def test_it_reads_what_finals_have_covered(engine):
    engine.writes(0, 40 * BLOCK)
    engine.window.acknowledge(40 * BLOCK)
    assert engine.window.read(0) is None
    reader = WindowReader(lambda: engine.path)
    look = reader.look()
    assert [slot.first_sample for slot in look.slots] == [number * BLOCK for number in range(40)]
    assert [slot.follows for slot in look.slots] == [False] + [True] * 39
    assert reader.look().slots == []
    engine.writes(40 * BLOCK, 41 * BLOCK)
    assert [slot.pcm for slot in reader.look().slots] == [pcm(40 * BLOCK, 41 * BLOCK)]
    reader.close()


def test_what_was_overwritten_is_not_followed(engine):
    reader = WindowReader(lambda: engine.path)
    engine.writes(0, BLOCK)
    assert len(reader.look().slots) == 1
    engine.writes(BLOCK, (SLOTS + 11) * BLOCK)
    slots = reader.look().slots
    assert len(slots) == SLOTS
    assert (slots[0].first_sample, slots[0].follows, slots[1].follows) == (11 * BLOCK, False, True)
    reader.close()


def test_a_damaged_slot_is_left_out(engine):
    engine.writes(0, 3 * BLOCK)
    damage(engine.path, 1, b"damage", at=100)
    reader = WindowReader(lambda: engine.path)
    assert [(slot.first_sample, slot.follows) for slot in reader.look().slots] == [(0, False), (2 * BLOCK, False)]
    reader.close()


def test_no_window_is_no_error_and_another_kind_of_file_is(tmp_path):
    assert WindowReader(lambda: str(tmp_path / "none")).look() is None
    (tmp_path / "text").write_text("hello")
    reader = WindowReader(lambda: str(tmp_path / "text"))
    assert reader.look() is None
    reader.close()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        WindowReader(lambda: str(tmp_path / "fifo")).look()


def test_a_window_that_is_made_again_goes_on_where_it_was(engine):
    engine.writes(0, 2 * BLOCK)
    reader = WindowReader(lambda: engine.path)
    assert len(reader.look().slots) == 2
    os.unlink(engine.path)
    engine.writes(2 * BLOCK, 3 * BLOCK)
    assert [slot.first_sample for slot in reader.look().slots] == [2 * BLOCK]
    assert reader.is_nameless
    engine.window.make_again()
    engine.writes(3 * BLOCK, 4 * BLOCK)
    ends = [slot.end_sample for slot in reader.look().slots]
    assert ends[-1] == 4 * BLOCK  # the earlier ones come again: the tape leaves them out
    assert not reader.is_nameless
    reader.close()


def test_a_file_that_stays_no_window_is_told_once(engine, rig, caplog):
    with open(engine.path, "r+b") as file:
        file.write(b"mpwindow\7")
    rig.start()
    for _ in range(30):
        rig.step()
    rig.stop()
    assert caplog.text.count("no window of this version") == 1


# Recording


def test_it_records_from_the_oldest_sample_on_and_touches_nothing(engine, rig):
    engine.writes(0, (SLOTS + 5) * BLOCK)
    before = os.stat(engine.path)
    rig.start().step()
    assert rig.stop() == 0
    (file,) = rig.files()
    assert (file.first, file.end, file.about["is_whole"]) == (5 * BLOCK, (SLOTS + 5) * BLOCK, True)
    assert file.pcm == pcm(5 * BLOCK, (SLOTS + 5) * BLOCK)
    assert file.about["missing"] == []
    after = os.stat(engine.path)
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (after.st_mtime_ns, after.st_size, after.st_ino)
    assert modes(rig.folder) == {0o600}
    assert rig.folder.stat().st_mode & 0o777 == 0o700


def test_the_name_tells_when_the_first_sample_was_there(engine, rig):
    engine.writes(0, BLOCK)
    before_ns = time.time_ns()
    rig.start().step()
    rig.stop()
    about = rig.about()
    assert before_ns - 5_000_000_000 < about["start_time_ns"] <= before_ns
    stamp = about["start"].replace("-", "").replace(":", "")
    assert about["file"] == f"desk-{stamp}.wav"


def test_gaps_are_silence_with_the_engines_reason(engine, rig):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    gap = Gap(run=RUN.hex(), start_s=2 * BLOCK / RATE, end_s=5 * BLOCK / RATE, samples=3 * BLOCK, reason="overflow")
    elsewhere = Gap(run="another", start_s=0, end_s=9, samples=9 * RATE, reason="device")
    rig.bus.messages = [gap, elsewhere]
    engine.writes(5 * BLOCK, 6 * BLOCK)
    rig.step()
    rig.stop()
    (file,) = rig.files()
    assert file.pcm == pcm(0, 2 * BLOCK) + bytes(2 * 3 * BLOCK) + pcm(5 * BLOCK, 6 * BLOCK)
    (missing,) = file.about["missing"]
    assert missing == {
        "first_sample": 2 * BLOCK,
        "end_sample": 5 * BLOCK,
        "start_s": 0.04,
        "end_s": 0.1,
        "cause": "not_captured",
        "reasons": ["overflow"],
    }


def test_what_could_not_be_read_in_time_is_told(engine, rig, caplog):
    engine.writes(0, BLOCK)
    rig.start().step()
    engine.writes(BLOCK, (SLOTS + 11) * BLOCK)
    with caplog.at_level("WARNING", "mpengine"):
        rig.step()
    rig.stop()
    (file,) = rig.files()
    (missing,) = file.about["missing"]
    assert (missing["first_sample"], missing["end_sample"], missing["cause"]) == (BLOCK, 11 * BLOCK, "not_read")
    assert file.pcm[2 * BLOCK : 2 * 11 * BLOCK] == bytes(2 * 10 * BLOCK)
    assert "missing" in caplog.text


def test_a_stopped_engine_ends_the_file_and_the_next_run_begins_another(engine, rig, tmp_path):
    engine.writes(0, BLOCK)
    rig.start().step()
    rig.bus.messages = [Status(state="stopped")]
    rig.step()
    assert rig.about()["is_whole"]
    engine.close()
    other = Engine(tmp_path, run=RUN[::-1])
    other.writes(0, 2 * BLOCK)
    rig.bus.messages = [Status(state="running")]
    rig.step()
    rig.stop()
    other.close()
    assert {file.about["run"]: file.pcm for file in rig.files()} == {
        RUN.hex(): pcm(0, BLOCK),
        RUN[::-1].hex(): pcm(0, 2 * BLOCK),
    }


def test_the_last_audio_of_a_window_that_was_removed_is_recorded(engine, rig):
    engine.writes(0, BLOCK)
    rig.start().step()
    engine.writes(BLOCK, 3 * BLOCK)
    os.unlink(engine.path)
    rig.bus.messages = [Status(state="stopped")]
    rig.step()
    rig.step()
    assert rig.recorder._reader._fd < 0  # the window's memory is free now
    rig.stop()
    assert [file.pcm for file in rig.files()] == [pcm(0, 3 * BLOCK)]


def test_two_files_of_one_moment_have_two_names(engine, rig, monkeypatch):
    monkeypatch.setattr(process, "file_name", lambda engine, time_ns: "desk-same")
    engine.writes(0, 9 * BLOCK)
    rig.start(segment_s=3 * BLOCK / RATE).step()
    rig.stop()
    assert [file.path.name for file in rig.files()] == ["desk-same.wav", "desk-same-2.wav", "desk-same-3.wav"]
    assert b"".join(file.pcm for file in rig.files()) == pcm(0, 9 * BLOCK)


def test_a_file_that_somebody_removes_is_followed_by_another(engine, rig, caplog):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    for path in rig.folder.glob("desk-*"):
        path.unlink()
    rig.folder.joinpath(".desk.lock").unlink()
    rig.folder.rmdir()
    engine.writes(2 * BLOCK, 3 * BLOCK)
    rig.step()
    engine.writes(3 * BLOCK, 4 * BLOCK)
    rig.step()
    rig.stop()
    assert [file.pcm for file in rig.files()] == [pcm(2 * BLOCK, 4 * BLOCK)]
    assert "file_removed" in caplog.text


def test_a_folder_that_somebody_moves_keeps_its_file_whole_and_the_next_file_is_in_a_new_one(engine, rig, caplog):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    engine.writes(2 * BLOCK, 3 * BLOCK)
    rig.step()
    moved = rig.folder.rename(rig.folder.with_name("moved"))
    rig.step()
    engine.writes(3 * BLOCK, 5 * BLOCK)
    rig.step()
    assert rig.stop() == 0
    assert [file.pcm for file in taped(moved)] == [pcm(0, 3 * BLOCK)]
    assert [(file.first, file.pcm) for file in rig.files()] == [(3 * BLOCK, pcm(3 * BLOCK, 5 * BLOCK))]
    assert caplog.text.count("file_removed") == 1


def test_a_second_recorder_is_refused_in_the_new_folder_too(engine, rig):
    engine.writes(0, BLOCK)
    rig.start().step()
    rig.folder.rename(rig.folder.with_name("moved"))
    engine.writes(BLOCK, 2 * BLOCK)
    rig.step()
    rig.step()
    with pytest.raises(MpengineError, match="another mpengine record"):
        Shelf(str(rig.folder), "desk")
    rig.stop()


def test_audio_that_waits_while_the_folder_is_moved_goes_into_the_next_file(engine, rig, monkeypatch):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    engine.writes(3 * BLOCK, 5 * BLOCK)  # behind a gap, which the JSON is to tell
    monkeypatch.setattr(rig.recorder._shelf, "note", refuse)
    rig.step()
    assert rig.recorder._actions
    monkeypatch.undo()
    moved = rig.folder.rename(rig.folder.with_name("moved"))
    rig.step()
    rig.stop()
    assert [file.pcm for file in taped(moved)] == [pcm(0, 2 * BLOCK)]
    (file,) = rig.files()
    assert (file.first, file.pcm) == (2 * BLOCK, bytes(2 * BLOCK) + pcm(3 * BLOCK, 5 * BLOCK))
    assert file.missing() == [(2 * BLOCK, 3 * BLOCK)]


def test_what_somebody_puts_in_the_place_of_the_file_stays(engine, rig):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    (open_file,) = rig.folder.glob("*.wav")
    open_file.rename(open_file.with_name("mine.wav"))
    open_file.write_text("another")
    rig.step()
    engine.writes(2 * BLOCK, 3 * BLOCK)
    rig.step()
    rig.stop()
    assert open_file.read_text() == "another"
    assert [file.pcm for file in rig.files()] == [pcm(2 * BLOCK, 3 * BLOCK)]


def test_a_file_that_somebody_makes_under_its_name_has_it_take_another(engine, rig, monkeypatch):
    monkeypatch.setattr(process, "file_name", lambda engine, time_ns: "desk-same")
    engine.writes(0, BLOCK)
    rig.start()
    monkeypatch.setattr(rig.recorder._shelf, "note", note_and_take_the_name(rig.recorder._shelf))
    rig.step()
    rig.stop()
    assert (rig.folder / "desk-same.wav").read_text() == "taken"
    assert [(file.path.name, file.pcm) for file in rig.files()] == [("desk-same-2.wav", pcm(0, BLOCK))]
    assert not (rig.folder / "desk-same.json").exists()


def refuse(_found):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def note_and_take_the_name(shelf):
    """The recorder's first note, behind which somebody makes a file of the name."""
    note = shelf.note

    def noted(found):
        note(found)
        if found.file == "desk-same.wav":
            with open(shelf.path(found.file), "w") as file:
                file.write("taken")

    return noted


# Kills


def test_after_a_kill_it_goes_on_where_it_was(engine, rig):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    rig.kill()
    (left,) = rig.folder.glob("*.wav")
    with left.open("ab") as file:
        file.write(b"\1")  # half a sample
    engine.writes(2 * BLOCK, 4 * BLOCK)
    rig.start().step()
    rig.stop()
    assert [(file.first, file.pcm) for file in rig.files()] == [
        (0, pcm(0, 2 * BLOCK)),
        (2 * BLOCK, pcm(2 * BLOCK, 4 * BLOCK)),
    ]
    assert all(file.about["is_whole"] for file in rig.files())


@pytest.mark.parametrize("torn_bytes", [0, 1, 500])
def test_a_killed_recorders_flac_is_valid_at_once_and_mended(engine, rig, torn_bytes):
    pytest.importorskip("soundfile", reason="the extra `record` is not installed")
    from mpengine.recorder.flac import Flac  # noqa: PLC0415

    engine.writes(0, SLOTS * BLOCK)
    rig.start(encoder=Flac).step()
    rig.kill()
    (left,) = rig.folder.glob("*.flac")
    if has_flac():
        assert faults_of_flac([left]) == {}
    size = left.stat().st_size
    os.truncate(left, size - torn_bytes)
    engine.writes(SLOTS * BLOCK, (SLOTS + 1) * BLOCK)
    rig.start(encoder=Flac).step()
    rig.stop()
    first, second = rig.files()
    assert first.end == second.first == len(first.pcm) // 2
    assert (SLOTS * BLOCK - first.end) < 2 * 4096 + BLOCK
    assert first.pcm + second.pcm == pcm(0, (SLOTS + 1) * BLOCK)
    if has_flac():
        assert faults_of_flac([first.path, second.path]) == {}


def test_a_file_without_audio_is_removed_and_one_that_cannot_be_read_is_kept(rig):
    pytest.importorskip("soundfile", reason="the extra `record` is not installed")
    rig.start()
    for name, size in (("desk-a.flac", 60), ("desk-b.flac", 3 << 20)):
        found = Recording(
            engine="desk", run="r", file=name, sample_rate=RATE, channels=1, first_sample=0, end_sample=RATE,
            start_s=0, end_s=1, start_time_ns=NOW_NS, start="",
        )  # fmt: skip
        (rig.folder / name).write_bytes(b"fLaC" + bytes(size))
        (rig.folder / name).with_suffix(".json").write_bytes(written(found))
    rig.stop()
    rig.start().stop()
    assert rig.about()["file"] == "desk-b.flac"
    assert rig.about()["is_damaged"]
    assert {path.name for path in rig.folder.glob("*.flac")} == {"desk-b.flac"}


def test_a_json_whose_file_was_never_made_is_removed(engine, rig):
    engine.writes(0, BLOCK)
    rig.start()
    rig.recorder._take(rig.recorder._reader.look())
    begin = rig.recorder._actions[0]
    rig.recorder._begin(begin.first, begin.arrival_ns, None)
    assert [path.suffix for path in rig.folder.glob("desk-*")] == [".json"]
    rig.kill()
    rig.start().step()
    rig.stop()
    assert [(file.first, file.pcm) for file in rig.files()] == [(0, pcm(0, BLOCK))]


def test_a_file_that_cannot_be_mended_keeps_nothing_from_being_recorded_and_is_mended_later(engine, rig, caplog):
    engine.writes(0, 2 * BLOCK)
    rig.start().step()
    rig.kill()
    (torn,) = rig.folder.glob("*.wav")
    elsewhere = torn.rename(rig.folder / "elsewhere")
    torn.symlink_to(elsewhere)  # the recorder follows no links
    engine.writes(2 * BLOCK, 3 * BLOCK)
    rig.start().step()
    assert caplog.text.count("cannot_mend") == 1
    torn.unlink()
    elsewhere.rename(torn)
    rig.recorder._sweep_at = 0.0
    rig.step()
    rig.stop()
    first, second = rig.files()
    assert first.about["is_whole"]
    assert (first.first, first.pcm) == (0, pcm(0, 2 * BLOCK))
    assert second.pcm.endswith(pcm(2 * BLOCK, 3 * BLOCK))


def test_what_was_lost_while_no_recorder_ran_is_told_by_the_next_file(engine, rig):
    engine.writes(0, BLOCK)
    rig.start().step()
    rig.stop()
    engine.writes(BLOCK, (SLOTS + 11) * BLOCK)
    rig.start().step()
    rig.stop()
    _, second = rig.files()
    assert second.first == 11 * BLOCK
    assert second.missing() == [(BLOCK, 11 * BLOCK)]


def test_a_json_that_was_half_written_is_removed(rig):
    rig.start().stop()
    stays = {"desk-2-20281128T161502.250Z.json.new", "mine.json.new", "desk-20281128Tmine.json.new"}
    for name in ("desk-20281128T161502.250Z.json.new", "desk-20281128T161502.250Z-2.json.new", *stays):
        (rig.folder / name).write_text("{")
    rig.start().stop()
    assert {path.name for path in rig.folder.glob("*.new")} == stays


def test_a_second_recorder_of_the_same_folder_is_refused(rig):
    rig.start()
    with pytest.raises(MpengineError, match="another mpengine record"):
        Shelf(str(rig.folder), "desk")
    Shelf(str(rig.folder), "door").close()


@pytest.mark.skipif(not disks.SmallDisk.is_possible(), reason="no file system can be mounted here")
def test_a_full_disk_costs_nothing_while_the_window_has_room(engine, rig, small_disk, caplog):
    rig.folder = small_disk / "tapes"
    engine.writes(0, BLOCK)
    rig.start().step()
    filler = disks.fill(small_disk)
    engine.writes(BLOCK, (SLOTS // 2) * BLOCK)
    with caplog.at_level("INFO", "mpengine"):
        for _ in range(3):
            rig.step()
        assert caplog.text.count("waiting_for_the_disk ") == 1
        assert rig.recorder._segment is not None
        size = len(b"".join(piece.data for piece in rig.recorder._segment._pieces))
        assert size <= 2 * SLOTS * BLOCK
        filler.unlink()
        rig.step()
    assert "waiting_for_the_disk_is_over" in caplog.text
    assert rig.stop() == 0
    (file,) = rig.files()
    assert file.pcm == pcm(0, (SLOTS // 2) * BLOCK)


# Retention


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(str(tmp_path / "tapes"), "desk")
    yield made
    made.close()


def put(shelf, name, *, age_days, size=1000, is_whole=True, engine="desk", at_ns=NOW_NS):
    found = Recording(
        engine=engine, run="r", file=f"{name}.wav", sample_rate=RATE, channels=1, first_sample=0, end_sample=RATE,
        start_s=0, end_s=1, start_time_ns=at_ns - int(age_days * DAY_NS), start="", is_whole=is_whole,
    )  # fmt: skip
    with open(shelf.path(found.file), "wb") as file:
        file.write(bytes(size))
    shelf.note(found)


def reread(shelf):
    fresh = Shelf.__new__(Shelf)
    fresh.directory, fresh._engine = shelf.directory, shelf._engine
    fresh.recordings = sorted(fresh._found(), key=lambda each: each.start_time_ns)
    return fresh


def left(shelf, **limits):
    reread(shelf).sweep(now_ns=NOW_NS, **({"keep_days": None, "keep_mb": None} | limits))
    return {name.removesuffix(".wav") for name in os.listdir(shelf.directory) if name.endswith(".wav")}


def test_what_is_too_old_goes(shelf):
    for age in (1, 3, 5):
        put(shelf, f"desk-{age}", age_days=age)
    assert left(shelf) == {"desk-1", "desk-3", "desk-5"}
    assert left(shelf, keep_days=4) == {"desk-1", "desk-3"}
    assert not os.path.exists(shelf.path("desk-5.json"))


def test_the_oldest_go_until_the_rest_fits(shelf):
    for age in (1, 2, 3, 4):
        put(shelf, f"desk-{age}", age_days=age, size=1_000_000)
    assert left(shelf, keep_mb=2.5) == {"desk-1", "desk-2"}


def test_one_that_cannot_be_removed_is_told_and_others_go(shelf):
    for age in (1, 2, 3):
        put(shelf, f"desk-{age}", age_days=age, size=1_000_000)
    os.unlink(shelf.path("desk-3.wav"))
    os.mkdir(shelf.path("desk-3.wav"))
    fresh = reread(shelf)
    done, failures = fresh.sweep(now_ns=NOW_NS, keep_days=1.5, keep_mb=None)
    assert [each.file for each in done] == ["desk-2.wav"]
    assert [text.partition(":")[0] for text in failures] == ["desk-3.wav"]
    assert os.path.isdir(shelf.path("desk-3.wav"))


def test_a_folder_that_cannot_be_read_is_told(shelf, monkeypatch):
    shelf.close()
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        with pytest.raises(MpengineError, match="cannot read the folder"):
            Shelf(shelf.directory, "desk")
    shelf.__init__(shelf.directory, "desk")  # that one has let go of its lock


def test_what_is_open_or_of_another_engine_or_of_nobody_stays(shelf):
    put(shelf, "desk-open", age_days=9, is_whole=False)
    put(shelf, "desk-2-x", age_days=9, engine="desk-2")
    put(shelf, "desk-old", age_days=9)
    with open(shelf.path("desk-mine.wav"), "wb"):
        pass
    with open(shelf.path("desk-mine.json"), "w") as file:
        file.write('{"file": "../../passwd"}')
    assert left(shelf, keep_days=1, keep_mb=0.0) == {"desk-open", "desk-2-x", "desk-mine"}


def test_a_time_before_the_clock_was_set_says_nothing_of_an_age(shelf):
    put(shelf, "desk-1970", age_days=0, at_ns=100_000_000_000)
    assert left(shelf, keep_days=1) == {"desk-1970"}

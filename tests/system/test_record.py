"""`mpengine record` beside a whole engine: each position of the audio is in a file or in a told gap, whoever is killed.

MPENGINE_RECORD_SECONDS makes those with kills longer, MPENGINE_RECORD_SEED repeats them.
"""

import array
import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("soundfile", reason="the extra `record` is not installed")

from tests.rig.configs import byok, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.oracle import CodeOracle, Oracle, speech
from tests.rig.position_code import coded, heard
from tests.rig.processes import spawn, spawned
from tests.rig.recordings import Recording, faults_of_flac, has_flac, modes, taped

SECONDS = int(os.environ.get("MPENGINE_RECORD_SECONDS", "18"))
SEED = int(os.environ.get("MPENGINE_RECORD_SEED", "0")) or random.randrange(1, 10_000)
RATE = 16000
FITS_S = 0.1
EDGE_S = 0.05  # so much sound beside a loss tells no position
KILLED = ("recorder", "capture", "recorder", "streaming", "supervisor", "recorder")
QUICK = {"supervisor": {"backoff_s": 0.1, "backoff_ceiling_s": 0.5}, "buffer": {"catch_up": 20.0}}
CUE = re.compile(r"(\S+) --> (\S+)\n(\d+)")

pytestmark = pytest.mark.slow


def captured_s(running, seconds):
    """Wait until so much of the run has been captured."""
    metrics = lambda m: m["type"] == "metrics" and m["captured_s"] >= seconds  # noqa: E731
    return running.bus.wait_for(metrics, seconds + 60)


def placed(files):
    """The audio of all files, each sample at its index; and which samples are told to be missing."""
    whole = bytearray(2 * files[-1].end)
    known, told = bytearray(files[-1].end), bytearray(files[-1].end)
    for each in files:
        assert len(each.pcm) == 2 * (each.end - each.first), each.path
        assert not any(known[each.first : each.end]), f"{each.path} begins before the end of another one"
        known[each.first : each.end] = b"\1" * (each.end - each.first)
        whole[2 * each.first : 2 * each.end] = each.pcm
        for first, end in each.missing():
            assert not any(whole[2 * first : 2 * end]), f"{each.path} has sound in a told gap"
            told[first:end] = known[first:end] = b"\1" * (end - first)
    assert known.find(0) < 0, f"sample {known.find(0)} is in no file and in no told gap"
    return bytes(whole), told


def beside(running):
    """The environment of a program that is none of the engine's."""
    return {key: value for key, value in running.environment.items() if key != "MPENGINE_RIG"}


def steps_in(pcm):
    """Where each position is spoken, in samples: position by position."""
    found, before, at = {}, 0, 0
    for level, run in itertools.groupby(array.array("h", pcm)):
        if level < 0 and before == -level:
            found[-level - 1000] = at
        before = level
        at += sum(1 for _ in run)
    return found


def cues_in(text):
    """The start of each cue in seconds, the position that is its first word, and whether it has waited for the end of
    the cue before it, as one behind a short cue does."""
    before = ""
    for start, end, word in CUE.findall(text):
        hours, minutes, seconds = start.replace(",", ".").split(":")
        yield int(hours) * 3600 + int(minutes) * 60 + float(seconds), int(word), start == before
        before = end


def test_every_position_is_in_a_file_through_kills_of_everything(engine, tmp_path):
    audio = speech(SECONDS * 10)
    source = {"audio": {"source": str(write_wav(tmp_path / "in.wav", audio)), "paced": True}}
    chance, srt = random.Random(SEED), tmp_path / "words.srt"
    with FakeDeepgram(responder=Oracle(SEED)) as server:
        running = engine(byok(server) | source | QUICK)
        listen = [sys.executable, "-m", "mpengine", "listen", "--name", running.name, "--output", str(srt)]
        listener = spawn(listen, env=beside(running), stdin=subprocess.DEVNULL)
        arguments = ["--name", running.name, "--segment", "0.1"]
        with Recording(tmp_path / "tapes", beside(running), *arguments) as recorder:
            try:
                # An engine that ends well removes its window: the last recorder must be there before.
                step_s = (SECONDS - 6) / (len(KILLED) + 1)
                for number, who in enumerate(KILLED, 1):
                    captured_s(running, number * step_s + chance.random() * 0.5)
                    if who == "recorder":
                        recorder.kill()
                        if number == 1 and has_flac():  # as it was left
                            assert faults_of_flac(recorder.directory.glob("*.flac")) == {}
                        recorder.start()
                    elif who == "supervisor":
                        running.kill()
                        running.assert_nothing_left()
                        running.start()
                    else:
                        running.signal_child(who)
                assert running.wait(SECONDS + 60) == 0
                last = len(audio) // 2
                recorder.wait_for(lambda: f'_sample": {last}' in all_json(recorder.directory), "the last sample")
                assert recorder.stop() == 0
            finally:
                listener.terminate()
                listener.wait()
    files = taped(tmp_path / "tapes")
    assert len({each.about["run"] for each in files}) == 1, f"seed {SEED}"
    assert all(each.about["is_whole"] for each in files)
    assert max(each.end - each.first for each in files) <= 6 * RATE
    assert modes(tmp_path / "tapes") == {0o600}
    assert (tmp_path / "tapes").stat().st_mode & 0o777 == 0o700
    whole, told = placed(files)
    assert not any(told), f"seed {SEED}: a file waits, so nothing is missing"
    assert whole == audio
    if has_flac():
        assert faults_of_flac(each.path for each in files) == {}
    steps, cues = steps_in(whole), list(cues_in(srt.read_text()))
    assert len(steps) == SECONDS * 10
    assert len(cues) > SECONDS / 4
    late = [(start_s - steps[position] / RATE, has_waited) for start_s, position, has_waited in cues]
    at_once = [late_s for late_s, has_waited in late if not has_waited]
    assert len(at_once) > len(cues) / 2
    assert max(map(abs, at_once)) < FITS_S, f"seed {SEED}: {late}"
    assert all(-FITS_S < late_s < 1.0 for late_s, _ in late), f"seed {SEED}: {late}"


def all_json(directory):
    return "".join(path.read_text() for path in directory.glob("*.json"))


def test_silence_stands_for_a_gap_and_time_goes_on_true(cards, engine, tmp_path):
    cards.add("mic", period_steps=True)
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | QUICK | {"audio": {"device": "mic"}}, cards)
        with Recording(tmp_path / "tapes", beside(running), "--name", running.name) as recorder:
            running.wait_for_state("running")
            captured_s(running, 2.0)
            running.signal_child("capture")
            gap = running.bus.wait_for(lambda m: m["type"] == "gap", 60)
            captured_s(running, gap["end_s"] + 2.0)
            running.query({"type": "pause"})
            running.bus.wait_for(lambda m: m["type"] == "status" and m["device"] is None and m["seq"] > gap["seq"])
            running.query({"type": "resume"})
            pause = running.bus.wait_for(lambda m: m["type"] == "gap" and m["reason"] == "paused", 60)
            captured_s(running, pause["end_s"] + 2.0)
            assert running.stop() == 0
            recorder.wait_for(lambda: '"is_whole": true' in all_json(recorder.directory), "the end of the file")
            assert recorder.stop() == 0
    (file,) = taped(tmp_path / "tapes")
    assert file.first == 0
    whole, _ = placed([file])
    told = {(each["first_sample"], each["end_sample"]): each for each in file.about["missing"]}
    for message in (gap, pause):
        each = told[round(message["start_s"] * RATE), round(message["end_s"] * RATE)]
        assert (each["cause"], each["reasons"]) == ("not_captured", [message["reason"]])
    stretches = heard(whole, RATE)
    missing = sum(end - first for first, end in told)
    assert sum(each.last - each.first for each in stretches) > file.end - missing - RATE // 10
    offsets = [each.offset for each in stretches]
    assert max(offsets) - min(offsets) < FITS_S * RATE, offsets
    if has_flac():
        assert faults_of_flac([file.path]) == {}


class Kills:
    """Ends one process after the other, or several at once."""

    def __init__(self, running, recorder):
        self.running, self.recorder = running, recorder
        self.ways = [self.capture, self.streaming, self.supervisor, self.tape, self.zygote, self.all, self.all_but_it]

    def capture(self):
        self.running.signal_child("capture")

    def streaming(self):
        self.running.signal_child("streaming")

    def zygote(self):
        os.kill(self.running.zygote_pid(), signal.SIGKILL)

    def supervisor(self):
        self.running.kill()
        self.running.assert_nothing_left()
        self.running.start()

    def tape(self):
        self.recorder.kill()
        self.recorder.start()

    def all(self):
        self.recorder.kill()
        self.supervisor()
        self.recorder.start()

    def all_but_it(self):
        """The recorder is there alone, for a moment, and is killed while the engine starts."""
        self.supervisor()
        self.tape()


@pytest.mark.parametrize("kind", ["card", pytest.param("sound server", marks=pytest.mark.long)])
def test_what_a_microphone_gives_is_in_a_file_or_in_a_told_gap_through_kills_of_everything(
    cards, microphone, engine, tmp_path, kind
):
    if kind == "card":
        cards.add("mic", period_steps=True)
        device, environment = "mic", cards
    else:
        microphone.play(coded(0, (SECONDS + 120) * RATE, RATE))
        device, environment = microphone.name, microphone
    chance, srt = random.Random(SEED), tmp_path / "words.srt"
    with FakeDeepgram(responder=CodeOracle(SEED)) as server, contextlib.ExitStack() as stack:
        running = engine(byok(server) | QUICK | {"audio": {"device": device}}, environment)
        listen = [sys.executable, "-m", "mpengine", "listen", "--name", running.name, "--output", str(srt)]
        listener = stack.enter_context(spawned(listen, env=beside(running), stdin=subprocess.DEVNULL))
        arguments = ["--name", running.name, "--segment", "0.1"]
        recorder = stack.enter_context(Recording(tmp_path / "tapes", beside(running), *arguments))
        ways = Kills(running, recorder).ways * max(1, SECONDS // 18)
        chance.shuffle(ways)
        print(f"seed {SEED}: {[each.__name__ for each in ways]}")
        at_s = 0.0
        for kill in [*ways, lambda: None]:
            at_s = captured_s(running, at_s + chance.uniform(0.8, 1.8))["captured_s"]
            kill()
        gaps = running.told("gap")
        assert running.stop() == 0
        recorder.wait_for(lambda: '"is_whole": false' not in all_json(recorder.directory), "the end of the last file")
        assert recorder.stop() == 0
        listener.terminate()
        listener.wait()
        sent = heard(server.connections[-1].audio, RATE)[-1]
    files = taped(tmp_path / "tapes")
    assert len({each.about["run"] for each in files}) == 1, f"seed {SEED}"
    if has_flac():
        assert faults_of_flac(each.path for each in files) == {}
    whole, told = placed(files)
    lost = bytearray(len(told))
    for gap in gaps:
        first, end = round(gap["start_s"] * RATE), round(gap["end_s"] * RATE)
        lost[first:end] = b"\1" * (end - first)
    assert lost == told, f"seed {SEED}: {[each.about for each in files]}, {gaps}"
    causes = {each["cause"] for file in files for each in file.about["missing"]}
    assert causes == {"not_captured"}, f"seed {SEED}"
    # Between two stretches the device's clock has moved on without us: there a gap was told, about as long.
    stretches = heard(whole, RATE)
    for before, after in itertools.pairwise(stretches):
        assert any(told[int(before.last) : int(after.first) + 1]), f"seed {SEED}: {before}, {after}"
    offsets = [each.offset for each in stretches]
    print(f"{len(gaps)} gaps, {sum(told) / RATE:.2f} s; offsets {[round(each - offsets[0]) for each in offsets]}")
    assert max(offsets) - min(offsets) < FITS_S * RATE, f"seed {SEED}: {stretches}"
    # Nothing else is in the files, and the last of it is the last that was sent.
    in_stretches = sum(told.count(0, int(each.first), int(each.last)) for each in stretches)
    assert in_stretches > told.count(0) - EDGE_S * RATE * (len(gaps) + 1), f"seed {SEED}: {stretches}"
    assert abs(stretches[-1].last + stretches[-1].offset - sent.last - sent.offset) < 1, f"seed {SEED}"
    cues = list(cues_in(srt.read_text()))
    assert len(cues) > SECONDS / 4
    for start_s, position, has_waited in cues:
        near = min(stretches, key=lambda each: max(each.first - start_s * RATE, start_s * RATE - each.last))
        late_s = start_s + (near.offset - position) / RATE
        assert -FITS_S < late_s < (1.0 if has_waited else FITS_S), f"seed {SEED}: {late_s} at {start_s}, {stretches}"

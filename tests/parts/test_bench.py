"""The benchmark's parts: that what it measures with, and what it measures against, does what it says."""

import array
import json
import os
import sys
import threading
import time
import wave
from pathlib import Path

import pytest
import websocket

from mpengine.recogniser.speech import HeardWord
from mpengine.shared.messages import Transcript
from mpengine.shared.ranges import Range, Ranges
from tests.bench import gate, sidecars, usage
from tests.bench.common import Bench
from tests.bench.file import silence
from tests.bench.server import SinkServer
from tests.bench.subjects import Baseline, Floor, Place, Program, compile_floor, wait_for_audio
from tests.bench.watch import WriteTimes
from tests.rig import MS, VirtualMicrophone, wait_until
from tests.rig.configs import noise
from tests.rig.live_bus import LiveBus
from tests.rig.processes import spawned


@pytest.fixture
def server():
    with SinkServer(interim_s=0.5, final_s=1.0) as running:
        yield running


def test_processor_time_is_the_kernels():
    def spin() -> None:
        ends = time.thread_time() + 0.2
        while time.thread_time() < ends:
            pass

    before, began = usage.snapshot({os.getpid(): "me"}), time.process_time()
    spin()
    after, took = usage.snapshot({os.getpid(): "me"}), time.process_time() - began
    difference = usage.used(before, after)
    assert difference.cpu / 100 * difference.seconds == pytest.approx(took, rel=0.1)
    assert difference.cpu_by_process.keys() == {"me"}


def test_threads_are_told_by_their_names():
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait, daemon=True)
    thread.start()
    try:
        assert thread.native_id in usage.snapshot({os.getpid(): "me"}).threads
    finally:
        ends.set()
        thread.join()


def test_memory_of_this_process():
    memory = usage.memory([os.getpid()])
    assert 1 < memory.uss <= memory.pss <= memory.rss < 4000
    assert 1 < memory.anonymous < memory.pss
    distinct = usage.distinct_mb([os.getpid()])
    assert distinct is None or distinct == pytest.approx(memory.rss, rel=0.2)


def test_tree_holds_the_descendants():
    assert usage.tree(os.getpid())[os.getpid()]
    assert usage.descriptors([os.getpid()]) >= 3


def test_server_notes_and_answers(server: SinkServer, tmp_path: Path):
    server.keep_audio(True)
    port = server.listen(tls=False)
    ws = websocket.create_connection(f"ws://127.0.0.1:{port}/v1/listen", timeout=5000 * MS)
    pcm = noise(1.25)
    for at in range(0, len(pcm), 8000):
        ws.send_binary(pcm[at : at + 8000])
    results = [json.loads(ws.recv()) for _ in range(2)]
    assert [(each["start"], each["duration"], each["is_final"]) for each in results] == [(0, 0.5, False), (0, 1, True)]
    ws.send('{"type": "CloseStream"}')
    last = [json.loads(ws.recv()) for _ in range(2)]
    assert [each["type"] for each in last] == ["Results", "Metadata"]
    assert (last[0]["start"], last[0]["duration"], last[1]["duration"]) == (1, 0.25, 1.25)
    assert ws.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_CLOSE
    ws.shutdown()
    (connection,) = server.connections(port)
    assert (connection.frames, connection.audio_bytes, connection.mask_errors) == (5, len(pcm), 0)
    server.save(str(tmp_path))
    assert (tmp_path / "0.pcm").read_bytes() == pcm
    times = array.array("q", (tmp_path / "0.times").read_bytes())
    assert times[1::2].tolist() == [4000, 8000, 12000, 16000, 20000]
    assert sorted(times[::2]) == times[::2].tolist()


def test_server_takes_frames_however_they_are_cut(server: SinkServer):
    port = server.listen(tls=False)
    ws = websocket.create_connection(f"ws://127.0.0.1:{port}/", timeout=5000 * MS)
    frames = b"".join(websocket.ABNF.create_frame(noise(s), 2).format() for s in (0.001, 0.02, 3.0))
    for at in range(0, len(frames), 701):
        ws.sock.sendall(frames[at : at + 701])
    wait_until(lambda: server.connections(port)[0].frames == 3, 30, "three frames")
    assert server.connections(port)[0].audio_bytes == 2 * (16 + 320 + 48000)
    ws.shutdown()


def test_server_speaks_tls_with_an_authority_of_its_own(server: SinkServer):
    port = server.listen(tls=True)
    options = {"ca_certs": server.ca_file}
    ws = websocket.create_connection(f"wss://127.0.0.1:{port}/", timeout=5000 * MS, sslopt=options)
    ws.send_binary(noise(0.5))
    assert json.loads(ws.recv())["type"] == "Results"
    ws.shutdown()


def play_and_compare(subject: Program, microphone: VirtualMicrophone, tmp_path: Path, tolerance: int) -> None:
    """Noise that is played arrives sample by sample, within `tolerance`."""
    server = subject.server
    server.keep_audio(True)
    sound = noise(1.0)
    with subject:
        wait_for_audio(subject)
        microphone.play_and_wait(sound)
        arrived = server.connections(subject.port)[-1].audio_bytes
        wait_for_audio(subject, arrived / 32000 + 0.5)
        server.save(str(tmp_path))
    (connection,) = server.connections(subject.port)
    assert connection.mask_errors == 0
    played = array.array("h", sound)
    heard = array.array("h", (tmp_path / f"{connection.number}.pcm").read_bytes())
    begin = next(at for at in range(len(heard)) if all(abs(heard[at + n] - played[n]) <= tolerance for n in range(50)))
    assert max(abs(a - b) for a, b in zip(heard[begin:], played, strict=False)) <= tolerance
    assert len(heard) - begin >= len(played)


def test_baseline_delivers_what_is_played(microphone: VirtualMicrophone, server: SinkServer, tmp_path: Path):
    # Full scale is 32767 there: the float round trip is not exact, nor is the origin engine's.
    place = Place(microphone.name, microphone.environment)
    play_and_compare(Baseline(place, server), microphone, tmp_path, tolerance=2)


def test_floor_delivers_what_is_played(microphone: VirtualMicrophone, server: SinkServer, tmp_path: Path):
    if reason := compile_floor():
        pytest.skip(reason)
    place = Place(microphone.name, microphone.environment)
    play_and_compare(Floor(place, server), microphone, tmp_path, tolerance=0)


class Ends(Program):
    kind = "ends"

    @property
    def command(self) -> list[str | Path]:
        return [sys.executable, "-c", "import sys; sys.exit('no such device')"]


def test_a_subject_that_ends_is_not_waited_for(server: SinkServer):
    with Ends(Place("", {}), server) as subject, pytest.raises(AssertionError, match="ended with 1: no such device"):
        wait_for_audio(subject)


def test_writes_to_a_file_are_noticed(tmp_path: Path):
    file = tmp_path / "mark"
    file.write_bytes(bytes(8))
    with WriteTimes(file) as writes, file.open("r+b", buffering=0) as opened:
        began_ns = time.monotonic_ns()
        for count in (1, 2):
            time.sleep(0.05)
            opened.write(b"x")
            opened.write(b"y")  # at once: belongs to the one before
            wait_until(lambda count=count: len(writes.times_ns) >= count, 30, "a write")
    assert len(writes.times_ns) == 2
    assert began_ns < writes.times_ns[0] < writes.times_ns[1] < time.monotonic_ns()


def test_a_plain_subscriber_notes_when_finals_come(tmp_path: Path):
    began_ns, heard = time.monotonic_ns(), tmp_path / "finals"
    final = Transcript(text="words", is_final=True, start_s=1.0, end_s=1.5)
    with (
        LiveBus(tmp_path, "desk") as engine,
        heard.open("wb") as file,
        spawned([sys.executable, "-m", "tests.bench.sidecars", engine.where["publish"], "desk"], stdout=file),
    ):

        def noted() -> list[tuple[int, float, float]]:
            engine.publish(final)
            return sidecars.finals_in(heard)

        got_ns, *rest = wait_until(noted, 30, "a final", every=0.05)[0]
    assert rest == [1.0, 1.5]
    assert began_ns < got_ns < time.monotonic_ns()


def test_long_recordings_take_no_room(tmp_path: Path):
    file = silence(tmp_path / "silence.wav", 3600)
    with wave.open(str(file)) as recording:
        assert (recording.getframerate(), recording.getnframes()) == (16000, 3600 * 16000)
    assert file.stat().st_blocks * 512 < 1_000_000


def test_each_turn_another_subject_is_first():
    bench = Bench(kinds=("a", "b", "c"))
    assert [bench.order(turn) for turn in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


@pytest.mark.slow
def test_drawings(tmp_path: Path):
    plot = pytest.importorskip("tests.bench.plot", exc_type=ImportError)
    bench = Bench()
    bench.figures.add("cpu", "whole tree", "%", 1.0, 2.0)
    bench.samples |= {"delay_ms": {"engine": [1.0, 2.0]}, "outage": {"points": [(0.0, 1.0)], "outage_s": 20.0}}
    content = {"figures": bench.figures.plain(), "samples": bench.samples}
    drawn = plot.draw(content, tmp_path / "all")
    assert [file.name for file in drawn] == ["costs.svg", "delay.svg", "outage.svg"]
    assert plot.draw(content, tmp_path / "delay.svg") == [tmp_path / "delay.svg"]
    assert all("</svg>" in file.read_text() for file in [*drawn, tmp_path / "delay.svg"])


def test_a_scene_of_the_gate_has_its_rooms_in_stretches_and_speech_in_some_blocks():
    made = gate.scene({"noise": 1, "music": 2}, 30)
    assert {room: len(stretches) for room, stretches in made.rooms.items()} == {"noise": 1, "music": 2}
    stretches = sorted(stretch for each in made.rooms.values() for stretch in each)
    assert [stretch.first for stretch in stretches] == [0, 30 * gate.RATE, 60 * gate.RATE]
    assert stretches[-1].end == len(made.samples)
    assert 0.05 < made.voice.mean() < gate.SHARE


def test_what_is_kept_back_of_a_stretch_counts_from_its_beginning():
    back = Ranges([(0, 120), (150, 160), (190, 300)])
    assert list(gate.kept_of(back, Range(100, 200))) == [(0, 20), (50, 60), (90, 100)]
    assert list(gate.kept_of(Ranges(), Range(100, 200))) == []


def test_words_differ_where_the_other_transcript_has_none_of_them_near_their_time():
    said = [HeardWord("go", 1.0, 1.2), HeardWord("forward", 1.3, 1.9)]
    assert gate.others(said, said) == 0
    assert gate.others(said, [HeardWord("go", 1.1, 1.3), HeardWord("four", 1.3, 1.6), HeardWord("ward", 1.6, 1.9)]) == 3
    assert gate.others(said, [HeardWord("go", 2.0, 2.2), HeardWord("forward", 1.3, 1.9)]) == 2

"""A second reader on the frames socket: what it takes is noticed, told, and sent again from the window."""

import threading
from contextlib import contextmanager

import zmq

from tests.rig.configs import byok, noise, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.waiting import scaled


@contextmanager
def thief(running):
    """A program of the same user that reads frames as fast as they come; gives what it has taken."""
    taken, has_ended = [], threading.Event()

    def take():
        with zmq.Context() as context, context.socket(zmq.PULL) as pull:
            pull.setsockopt(zmq.LINGER, 0)
            pull.setsockopt(zmq.RECONNECT_IVL, 10)
            pull.connect(f"ipc://{running.runtime}/frames")
            while not has_ended.is_set():
                if pull.poll(50):
                    taken.append(pull.recv())

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield taken
    finally:
        has_ended.set()
        thread.join(scaled(30))


def test_a_second_reader_of_the_frames_costs_no_sample_and_is_told_once(engine, tmp_path):
    """It is there from the first frame to the end of the file: nearly every second frame goes to it."""
    audio = noise(6)
    with FakeDeepgram(holds_upgrades=True) as server:
        source = {"source": str(write_wav(tmp_path / "a.wav", audio))}
        running = engine(byok(server) | {"audio": source})
        with thief(running) as taken:
            listen_first(running, server)
            assert running.wait(timeout=60) == 0
        assert len(taken) > 5
        assert bytes(server.audio) == audio
        assert running.bus.of_type("gap") == []
    errors = [error["code"] for error in running.bus.of_type("error")]
    assert errors == ["frames_missed"]
    assert running.log_text().count("frames_missed") == 1
    assert len(server.connections) == 1

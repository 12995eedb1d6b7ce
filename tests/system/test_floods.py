"""Peers that send, connect and subscribe without end: no process grows, questions are answered, all is as before.

The floods are small. MPENGINE_TEST_FLOODS=large makes them as large as an attacker would, and prints the figures.
"""

import contextlib
import json
import os
import sys
import threading
import time

import pytest
import zmq

from tests.rig.configs import managed, noise, write_wav
from tests.rig.crowd import Crowd
from tests.rig.processes import spawn
from tests.rig.proxy import FakeProxy
from tests.rig.server import reserve_port
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

pytestmark = pytest.mark.slow

IS_LARGE = os.environ.get("MPENGINE_TEST_FLOODS") == "large"
MOST_MB = 100
SOURCE_S = 600  # beyond each test on the slowest machine: at its end the engine stops
STATUS = b'{"type":"status"}'


def sized(small, large):
    return large if IS_LARGE else small


class Watch:
    """The largest resident size of each process of an engine, and the longest wait for an answer, meanwhile."""

    def __init__(self, running):
        self._running = running
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(f"ipc://{running.runtime}/query")
        self._ask()
        self.longest_s = 0.0
        self.largest_mb = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rig-watch")

    def _ask(self):
        begin = time.monotonic()
        self._socket.send_multipart([b"", STATUS])
        assert self._socket.poll(scaled(PATIENCE_S) * 1000), self._running.log_tail()
        self._socket.recv_multipart()
        return time.monotonic() - begin

    def _watch(self):
        while not self._is_over.wait(0.05):
            self.longest_s = max(self.longest_s, self._ask())
            for info in self._running.process_tree():
                with contextlib.suppress(OSError), open(f"/proc/{info.pid}/status") as file:
                    kb = next((line.split()[1] for line in file if line.startswith("VmRSS")), 0)
                    name = info.command.split("mpengine")[-1].strip(". ").split(" ")[0] or "supervisor"
                    self.largest_mb[name] = max(self.largest_mb.get(name, 0), round(int(kb) / 1000))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()
        self._socket.close()
        self._context.term()
        if IS_LARGE:
            print(f"\n{os.environ['PYTEST_CURRENT_TEST']}: {self.longest_s:.2f} s, {self.largest_mb}", file=sys.stderr)


@pytest.fixture
def peer():
    with FakeProxy(echoing=True) as server:
        yield server


@pytest.fixture
def running(engine, peer, tmp_path):
    source = str(write_wav(tmp_path / "noise.wav", noise(SOURCE_S)))
    command = ("sh", "-c", f'ulimit -n {sized(256, 1024)}; exec "$@"', "sh", sys.executable, "-m", "mpengine", "run")
    running = engine(managed(peer) | {"audio": {"source": source}}, command=command)
    running.wait_for_state("running")
    return running


def goes_on(running):
    """Finals come, new programs are let in, and nobody was restarted."""
    before = len(running.bus.finals())
    wait_until(lambda: len(running.bus.finals()) > before, PATIENCE_S, "finals")
    restarts = {name: child["restarts"] for name, child in running.query({"type": "status"})["children"].items()}
    assert set(restarts.values()) == {0}


def small(watch):
    assert max(watch.largest_mb.values()) < MOST_MB, watch.largest_mb


@contextlib.contextmanager
def busy(count):
    """So many processes that compute."""
    made = [spawn([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in made:
            each.kill()
            each.wait()


@pytest.mark.long  # with so few descriptors the guard is in a race with libzmq, see the page failures
def test_more_clients_than_descriptors_end_nothing(running):
    names = ["results", "query", "control", "frames"]
    endpoints = [f"ipc://{running.runtime}/{name}" for name in names]
    with Watch(running) as watch, busy(sized(2, 8)):
        with Crowd(sized(400, 2000), *endpoints) as crowd:
            running.bus.wait_until(
                lambda found: sum(each.get("code") == "too_many_clients" for each in found) >= 2, 60, "a crowd is told"
            )
            before = len(running.bus.finals())
            wait_until(lambda: len(running.bus.finals()) > before + sized(1, 10), PATIENCE_S * 2, "finals")
            assert crowd.held
            if IS_LARGE:
                fds = [len(os.listdir(f"/proc/{info.pid}/fd")) for info in running.process_tree()]
                print(f"\nheld {crowd.held}, descriptors {fds}", file=sys.stderr)
        running.bus.wait_until(
            lambda found: sum(each.get("code") == "clients_again" for each in found) >= 2, 60, "it is over"
        )
        goes_on(running)
    assert not list(running.runtime.glob("*.full"))
    errors = [each["message"] for each in running.bus.of_type("error") if each["code"] == "too_many_clients"]
    assert any(f"process {crowd.pid} has" in each for each in errors)
    small(watch)


@pytest.mark.long
def test_a_crowd_at_a_tcp_endpoint_leaves_room_for_a_new_child(engine, peer, tmp_path):
    source = str(write_wav(tmp_path / "noise.wav", noise(SOURCE_S)))
    command = ("sh", "-c", f'ulimit -n {sized(256, 1024)}; exec "$@"', "sh", sys.executable, "-m", "mpengine", "run")
    endpoint = f"tcp://127.0.0.1:{reserve_port()}"
    config = managed(peer) | {"audio": {"source": source}, "bus": {"publish": endpoint}}
    running = engine(config, command=command)
    running.wait_for_state("running")
    with Watch(running) as watch, Crowd(sized(400, 2000), endpoint):
        running.bus.wait_until(
            lambda found: any(each.get("code") == "too_many_clients" for each in found), 60, "a crowd is told"
        )
        before = len(running.bus.finals())
        pid = running.signal_child("streaming")
        assert running.child_pid("streaming", other_than=pid)
        wait_until(lambda: len(running.bus.finals()) > before, PATIENCE_S, "finals")
    assert "spawn_failed" not in running.log_text()
    small(watch)


@contextlib.contextmanager
def client(running, kind, name, **options):
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        for option, value in options.items():
            socket.setsockopt(getattr(zmq, option), value)
        socket.connect(f"ipc://{running.runtime}/{name}")
        yield socket


@pytest.mark.long
def test_subscriptions_without_end(running):
    with Watch(running) as watch:
        with client(running, zmq.SUB, "results", SNDHWM=0) as many:
            for number in range(sized(5000, 100_000)):
                many.subscribe(f"rig.{number:0240}")
            wait_until(lambda: "more than 64 subscriptions" in running.log_text(), PATIENCE_S, "its expulsion")
        with client(running, zmq.SUB, "results") as long:
            long.subscribe(b"rig." + b"x" * 500)
            # The frames of the connection before may be taken for this one's, by the same process: then it is ended,
            # and a poll has it subscribe again.
            refused = "longer than 256 bytes"
            wait_until(lambda: long.poll(0) or refused in running.log_text(), PATIENCE_S, "a word about it")
        with client(running, zmq.SUB, "results") as longest:
            for number in range(sized(20, 200)):
                longest.subscribe(f"{number}" + "x" * 10_000)  # libzmq itself crashes in a client with longer ones
            goes_on(running)
        goes_on(running)
    small(watch)


@pytest.mark.long
def test_long_questions_and_questions_of_many_parts(running):
    with Watch(running) as watch, client(running, zmq.DEALER, "query") as asking:
        for _ in range(sized(20, 200)):  # each is lost with its connection, which is back after 0.1 s
            asking.send_multipart([b"", STATUS + b" " * (1 << 20)])
        for _ in range(sized(50, 1000)):
            asking.send_multipart([b"", *[b"x" * 4000] * 50, STATUS])
        goes_on(running)
        while asking.poll(200):
            asking.recv_multipart()
        asking.send_multipart([b"", STATUS])
        assert asking.poll(scaled(PATIENCE_S) * 1000)
    small(watch)


@pytest.mark.long
def test_answers_that_nobody_reads(running):
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(running))
        askers = [
            stack.enter_context(client(running, zmq.DEALER, "query", RCVHWM=1, SNDHWM=0)) for _ in range(sized(5, 25))
        ]
        for _ in range(sized(200, 3000)):
            for asker in askers:
                asker.send_multipart([b"", b'{"type":"snapshot","since":0}'], zmq.NOBLOCK)
        goes_on(running)
    small(watch)


def final(text, **fields):
    return json.dumps({"type": "transcript", "text": text, "is_final": True} | fields, ensure_ascii=False)


WORDS = [{"word": "a", "start": 1.0, "end": 1.1}]
FLOODS = {
    "wide finals": lambda number: final("😀" + "x" * 100_000 + str(number)),
    "wide interims": lambda number: final("😀" + "x" * 100_000 + str(number), is_final=False),
    "words": lambda number: final(f"{number}", words=WORDS * 1000),
    "too many words": lambda number: final(f"many {number}", words=WORDS * 2000),
    "short finals": lambda number: final(f"{number} ={number * 7919}"),
    "errors": lambda number: json.dumps({"type": "error", "code": f"c{number}", "message": f"m{number}" * 5000}),
}


LONG_FLOODS = {"words", "too many words", "errors"}


@pytest.mark.parametrize(
    "flood", [pytest.param(each, marks=[pytest.mark.long] if each in LONG_FLOODS else []) for each in FLOODS]
)
def test_a_recogniser_that_does_not_stop(running, peer, flood):
    deaf = [client(running, zmq.SUB, "results", RCVHWM=1) for _ in range(sized(1, 20))]
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(running))
        for socket in [stack.enter_context(each) for each in deaf]:
            socket.subscribe(b"")
        sent = 0
        give_up = time.monotonic() + sized(3, 15)
        connection = peer.current
        while time.monotonic() < give_up:
            if connection.waiting_bytes > 4 << 20:
                time.sleep(0.01)
                continue
            for _ in range(20):
                connection.send(FLOODS[flood](sent))
                sent += 1
    if IS_LARGE:
        size = (running.runtime / "journal").stat().st_size
        print(f"sent {sent}, journal {size}", file=sys.stderr)
    assert (running.runtime / "journal").stat().st_size <= 4_000_000
    goes_on(running)
    small(watch)


def test_a_message_that_is_too_long_ends_its_connection_alone(running, peer):
    peer.current.send(final("x" * (128 << 10)))
    peer.wait_for_connection(2)
    goes_on(running)
    assert "refused: over 131072" in running.log_text()

"""Subscribers that come late, are ended, lose messages, or see the supervisor killed: each has every final once."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from mpengine import Hole, Subscriber
from mpengine.shared.messages import Status, Transcript
from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.engine import EngineProcess
from tests.rig.processes import spawned
from tests.rig.waiting import scaled, wait_until

ROOT = Path(__file__).parents[2]
WAITING = 10  # of each kind
FLOOD = 6000  # more than the engine keeps for a subscriber that does not read, and the sockets between them


class Talkative(Echo):
    """A final every third of a second; on request a flood of interims."""

    def __init__(self):
        super().__init__(interim_s=0.1, final_s=0.3)
        self.flood = 0

    def __call__(self, connection, samples):
        yield from super().__call__(connection, samples)
        for _ in range(min(self.flood, 100)):
            self.flood -= 1
            yield self._result(connection, connection.memory.final, samples, final=False)


class Reader:
    """A subscriber, and all that it was given."""

    def __init__(self, running, **options):
        where = {key: f"ipc://{running.runtime}/{file}" for key, file in (("publish", "results"), ("query", "query"))}
        self.subscriber = Subscriber(running.name, **where, **options)
        self.received = []

    def take(self):
        """Whatever is there."""
        while (message := self.subscriber.receive(0)) is not None:
            self.received.append(message)

    def finals(self):
        return [(m.run, m.seq, m.text) for m in self.received if isinstance(m, Transcript) and m.is_final]

    def interims(self):
        return sum(isinstance(m, Transcript) and not m.is_final for m in self.received)

    def has_ended(self):
        return any(isinstance(message, Status) and message.state == "stopped" for message in self.received)

    @property
    def holes(self):
        return [message for message in self.received if isinstance(message, Hole)]


def read(readers, condition, what, *, every=0.01):
    """All of them read, as processes of their own would, until `condition` holds: a look `every` so many seconds."""

    def holds():
        for reader in readers:
            reader.take()
        return condition()

    wait_until(holds, 30 + 50 * every, what, every=every)


@pytest.fixture
def talk(tmp_path):
    """A minute of silence, at the pace of speech."""
    return silent_file(tmp_path / "talk.wav", 60)


class PlainReader:
    """A SUB socket as anybody makes one, and the JSON that it was given."""

    def __init__(self, running, context):
        self._socket = context.socket(zmq.SUB)
        self._socket.subscribe(f"{running.name}.")
        self._socket.connect(f"ipc://{running.runtime}/results")
        self.received = []

    def take(self):
        """Whatever is there."""
        while self._socket.poll(0):
            self.received.append(json.loads(self._socket.recv_multipart()[1]))

    def finals(self):
        return once(message for message in self.received if message.get("is_final"))

    def has_ended(self):
        return any(message.get("state") == "stopped" for message in self.received)


def wait_for_longest_interval(subscriber):
    """Return when `subscriber` has tried in vain for so long that its tries do not become rarer any more."""
    (socket,) = (feed.sockets[0] for feed in subscriber._feeds)
    interval_ms = 0
    with socket.get_monitor_socket(zmq.EVENT_CONNECT_RETRIED) as monitor:
        while interval_ms < 250:
            assert monitor.poll(scaled(30) * 1000)
            interval_ms = recv_monitor_message(monitor)["value"]
        socket.disable_monitor()


def once(finals):
    """Those that plain pyzmq was given, without what the successor of a killed supervisor repeats."""
    return list(dict.fromkeys((final["run"], final["seq"], final["text"]) for final in finals))


def test_the_example_for_asyncio_prints_what_was_and_what_comes(engine, talk):
    with FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        running = engine(byok(server) | talk, name="example")
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"], 30)
        environment = running.environment | {"PYTHONPATH": str(ROOT)}
        words = [sys.executable, ROOT / "scripts" / "subscribe_async.py", running.name]
        with spawned(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
            said = [program.stdout.readline().decode() for _ in range(5)]
            program.send_signal(signal.SIGINT)
            rest = program.communicate(timeout=scaled(30))[0].decode()
        assert said == [f"example: words {number}\n" for number in range(1, 6)]
        assert "Traceback" not in rest
        assert program.returncode == 0
        assert running.stop() == 0


def test_whatever_befell_a_subscriber_it_has_the_finals_of_one_that_was_there_from_the_start(engine, talk, tmp_path):
    responder = Talkative()
    with contextlib.ExitStack() as stack, FakeDeepgram(responder=responder) as server:
        transcript = tmp_path / "said.jsonl"
        running = engine(byok(server) | talk | {"bus": {"transcript": str(transcript)}}, name="subscribers")

        def reader(**options):
            made = Reader(running, **options)
            stack.callback(made.subscriber.close)
            return made

        first, deaf = reader(), reader(queued_messages=10)
        running.wait_for_state("running")
        read([first, deaf], lambda: min(len(first.finals()), len(deaf.finals())) > 3, "the first finals")

        late = reader()
        read([late], lambda: late.finals()[: len(first.finals())] == first.finals(), "what was before")

        position = late.finals()[2][:2]  # one that was ended having dealt with the third final
        again = reader(since=position)
        again.received = late.received[: 1 + [message.seq for message in late.received].index(position[1])]

        responder.flood = 100 * FLOOD  # a supervisor that does not keep up is given no more interims
        others = [first, late, again]
        running.bus.wait_until(lambda m: sum(1 for each in m if each["type"] == "transcript") > FLOOD, 30, "a flood")
        responder.flood = 0
        before = len(first.finals())
        read(others, lambda: len(first.finals()) > before + 2, "finals behind the flood")
        interims = first.interims()

        running.kill()
        running.start()
        running.wait_for_state("running")
        before = len(first.finals())
        read(others, lambda: len(first.finals()) > before + 3, "finals of the next supervisor")
        everybody = [*others, deaf]
        # Until it has caught up: an engine that is stopping cannot be asked for long.
        read(everybody, lambda: deaf.finals() == first.finals(), "all of them, though it was deaf for long")
        assert deaf.interims() < interims  # it did lose

        running.send_signal(signal.SIGTERM)
        read(everybody, lambda: all(each.has_ended() for each in everybody), "the last word")
        assert running.wait() == 0
        for each in everybody:
            assert each.holes == []
            assert each.finals() == once(running.bus.finals())
        lines = [json.loads(line) for line in transcript.read_text().splitlines()]
        assert [(line["run"], line["seq"], line["text"]) for line in lines] == first.finals()
    running.assert_nothing_left()


def test_who_looks_every_other_second_has_all_finals_too(engine, talk):
    """As in the timer of a graphical program; at the start, and over a kill of the supervisor."""
    look_s = 1.2
    with contextlib.ExitStack() as stack, FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        running = engine(byok(server) | talk, name="seldom")
        running.wait_for_state("running")
        running.bus.wait_until(lambda m: sum(each.get("is_final", False) for each in m) > 5, 30, "finals")
        seldom = Reader(running, topics=("transcript.final", "gap", "status"))
        stack.callback(seldom.subscriber.close)

        def has(least):
            return lambda: len(seldom.finals()) >= least

        read([seldom], has(6), "what was before it came", every=look_s)
        running.kill()
        running.start()
        running.wait_for_state("running")
        read([seldom], has(len(seldom.finals()) + 6), "finals of the next supervisor", every=look_s)
        running.send_signal(signal.SIGTERM)
        read([seldom], seldom.has_ended, "the last word", every=look_s)
        assert running.wait() == 0
        assert seldom.holes == []
        assert seldom.finals() == once(running.bus.finals())


def test_who_has_waited_for_an_engine_of_a_blink_has_all_that_it_said(tmp_path):
    said = tmp_path / "said.jsonl"
    with contextlib.ExitStack() as stack, FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        talk = silent_file(tmp_path / "talk.wav", 2)
        talk["audio"]["paced"] = False
        running = EngineProcess(byok(server) | talk | {"bus": {"transcript": str(said)}}, name="blink")
        stack.callback(running.close)
        context = stack.enter_context(zmq.Context())
        stack.callback(context.destroy, linger=0)
        readers = [Reader(running) for _ in range(WAITING)]
        for reader in readers:
            stack.callback(reader.subscriber.close)
        wait_for_longest_interval(readers[0].subscriber)
        everybody = [*readers, *(PlainReader(running, context) for _ in range(WAITING))]
        running.start()
        read(everybody, lambda: all(each.has_ended() for each in everybody), "the last word")
        assert running.wait() == 0
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        finals = [(line["run"], line["seq"], line["text"]) for line in lines]
        assert len(finals) > 5
        for each in everybody:
            assert each.finals() == finals
        assert [reader.holes for reader in readers] == [[]] * WAITING
    running.assert_nothing_left()


def test_plain_subscribers_miss_nothing_of_a_supervisor_that_goes_on(engine, talk, tmp_path):
    said = tmp_path / "said.jsonl"
    with contextlib.ExitStack() as stack, FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        config = byok(server) | talk | {"bus": {"transcript": str(said)}, "buffer": {"catch_up": 20.0}}
        running = engine(config, name="plain")
        context = stack.enter_context(zmq.Context())
        stack.callback(context.destroy, linger=0)
        readers = [PlainReader(running, context) for _ in range(WAITING)]
        running.wait_for_state("running")
        for _ in range(2):
            before = len(readers[0].finals())
            read(readers, lambda: all(len(r.finals()) > before + 3 for r in readers), "finals")  # noqa: B023
            running.kill()
            running.start()
        running.wait_for_state("running")
        running.send_signal(signal.SIGTERM)
        read(readers, lambda: all(reader.has_ended() for reader in readers), "the last word")
        assert running.wait() == 0
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        finals = [(line["run"], line["seq"], line["text"]) for line in lines if line["type"] == "transcript"]
        for reader in readers:
            assert reader.finals() == finals
    running.assert_nothing_left()

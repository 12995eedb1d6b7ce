"""Recognisers that end, answer and speak as none should: what the engine makes of it, and that it goes on."""

import json
import signal
import socket

import pytest
from websockets.frames import Close, Frame, Opcode

from tests.rig.configs import byok, managed, noise, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.engine import listen_first
from tests.rig.processes import process_info
from tests.rig.proxy import FakeProxy
from tests.rig.waiting import promised, wait_until


def slam(connection, code, reason):
    """A close frame, and the end of TCP right behind it: whoever answers it finds nobody."""

    def at_once():
        connection.send_raw(Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False))
        connection.drop()

    connection.server.run(at_once)


# Ends


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_lasting_close_that_cannot_be_answered_ends_the_engine(microphone, engine, tls):
    with FakeDeepgram(tls=tls) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        slam(server.current, 1008, "DATA-0000")
        assert running.wait(timeout=10) == 2
        assert len(server.attempts) == 1
    (error,) = [message for message in running.bus.of_type("error") if message["fatal"]]
    assert error["message"] == "closed by the recogniser: 1008 DATA-0000"
    assert running.bus.of_type("status")[-1]["state"] == "failed"
    running.assert_nothing_left()


def words_only(connection, samples):
    """Every two seconds a final of the second in their middle: it never covers all audio. The last come at the end."""
    memory = connection.memory
    memory.told = getattr(memory, "told", 0)
    while connection.finishing and memory.told < samples // 32000:
        start = 32000 * memory.told + 8000
        memory.told += 1
        yield connection.transcript(f"words {memory.told}", start, start + 16000)


@pytest.mark.parametrize(("metadata", "code"), [(False, 1000), (False, None), (True, 1000)])
def test_a_server_that_knows_only_close_stream_ends_a_file_in_order(engine, tmp_path, metadata, code):
    knobs = {"answer_finalize": None, "says_metadata": metadata, "end_code": code, "flush_delay_s": 0.2}
    with FakeDeepgram(responder=words_only, holds_upgrades=True, **knobs) as server:
        source = str(write_wav(tmp_path / "8s.wav", noise(8)))
        running = engine(byok(server) | {"audio": {"source": source, "paced": False}})
        listen_first(running, server)
        assert running.wait() == 0
        assert [text.json["type"] for text in server.connections[0].texts] == ["CloseStream"]
        assert len(server.connections) == 1
        assert server.violations == []
    assert [final["text"] for final in running.bus.finals()] == [f"words {count}" for count in range(1, 5)]
    assert running.bus.of_type("error") == []
    assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0


def test_a_server_that_closes_in_order_before_it_has_read_all_confirms_nothing(engine, tmp_path):
    echo = Echo()

    def closing_early(connection, samples):
        yield from echo(connection, samples)
        if connection.number == 1 and samples >= 3 * 16000:
            connection.close(1000)

    with FakeDeepgram(responder=closing_early, says_metadata=False, holds_upgrades=True) as server:
        source = str(write_wav(tmp_path / "60s.wav", noise(60)))
        running = engine(byok(server) | {"audio": {"source": source, "paced": False}})
        listen_first(running, server)
        assert running.wait() == 0
        assert len(server.connections) == 2
    assert running.bus.finals()[-1]["end_s"] == pytest.approx(60, abs=0.01)
    assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0


@pytest.mark.parametrize("end", ["slam", "close", "drop"])
def test_a_passing_end_is_followed_by_another_connection(microphone, engine, end):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        first = server.current
        {"slam": lambda: slam(first, 1011, "NET-0000"), "close": lambda: first.close(1000), "drop": first.drop}[end]()
        second = server.wait_for_connection(2)
        running.wait_for_state("running")
        server.wait_for_audio(16000, connection=second)
        assert running.stop() == 0
        assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0
        assert running.bus.of_type("gap") == []
    running.assert_nothing_left()


class OrdinaryProxy(FakeProxy):
    """One on an ordinary WebSocket library: a close frame is answered at once, and nothing can be sent behind it.

    Its recogniser is slow: for every half second of audio a final comes 1.5 s later.
    """

    def audio_received(self, connection):
        done = getattr(connection.memory, "done", 0)
        while connection.samples >= done + 8000:
            connection.later(1.5, lambda first=done: self._say(connection, first))
            done += 8000
        connection.memory.done = done

    def close_received(self, connection):
        connection.answer_close()

    def _say(self, connection, first):
        connection.memory.said = f"words {first // 8000}"
        connection.send(connection.transcript(connection.memory.said, first, first + 8000))


@pytest.mark.parametrize("times", [True, False], ids=["with times", "without times"])
def test_the_last_words_of_a_proxy_that_answers_the_close_at_once(microphone, engine, times):
    with OrdinaryProxy(times=times) as server:
        running = engine(managed(server, hold_s=2.0), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(64000)
        connection = server.current
        assert running.stop() == 0
        assert connection.samples - connection.memory.done < 8000
        assert connection.memory.said == f"words {connection.memory.done // 8000 - 1}"
        assert running.bus.finals()[-1]["text"] == connection.memory.said
        assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0
        assert connection.close_received.code == 1000
        assert len(server.connections) == 1
    running.assert_nothing_left()


# Words

FAR = "9" * 400
HOSTILE = [
    '{"type":[]}',
    '{"type":{}}',
    "[" * 128_000,
    '{"a":' * 25_000,
    '{"type":"\\ud800"}',
    b"\xed\xa0\x80",
    b"\xff\xfe\x00",
    "",
    "null",
    FAR * 20,
]
HOSTILE_SERVICE = [
    '{"type":"Results","start":1e305,"duration":1e305,"is_final":true}',
    '{"type":"Results","start":-1e308,"duration":1,"is_final":true}',
    '{"type":"Results","start":1e999,"duration":1,"is_final":true}',
    '{"type":"Results","start":0,"duration":0,"is_final":true,"channel_index":[0,1000000000]}',
    '{"type":"Results","start":0,"duration":0,"is_final":true,"channel":'
    '{"alternatives":[{"transcript":"a","words":[{"word":"a","start":0,"end":0,"speaker":' + FAR + "}]}]}}",
    '{"type":"SpeechStarted","timestamp":1e305}',
    '{"type":"SpeechStarted","timestamp":-5}',
    '{"type":"UtteranceEnd","last_word_end":1e305}',
    '{"type":"Metadata","duration":' + FAR + "}",
    '{"type":"Metadata","duration":1000000000000000000000000000000}',
    '{"type":"Metadata","a":' + "[" * 500 + "]" * 500 + "}",
]
HOSTILE_PROXY = [
    '{"type":"transcript","start":1e305,"duration":1,"is_final":true,"text":"a"}',
    '{"type":"transcript","start":-1e308,"duration":1,"is_final":true,"text":"a"}',
    '{"type":"credits_low","seconds_remaining":' + FAR + "}",
    '{"type":"session_end","seconds_used":1e305}',
    '{"type":"error","code":' + FAR + "}",
    '{"type":"ready","features":{}}',
]


@pytest.mark.parametrize("mode", ["byok", "managed"])
def test_hostile_words_do_no_harm(microphone, engine, mode):
    kind, config_of, hostile = (
        (FakeDeepgram, byok, HOSTILE_SERVICE) if mode == "byok" else (FakeProxy, managed, HOSTILE_PROXY)
    )
    with kind(echoing=True) as server:
        running = engine(config_of(server), microphone)
        running.wait_for_state("running")
        pid = running.child_pid("streaming")
        for text in HOSTILE + hostile:
            data = text.encode() if isinstance(text, str) else text
            server.current.send_raw(Frame(Opcode.TEXT, data).serialize(mask=False))
        error = running.bus.wait_for(lambda m: m["type"] == "error")
        assert (error["code"], error["fatal"]) == ("malformed_message", False)
        assert "$." in error["message"]
        before = len(running.bus.finals())
        running.bus.wait_until(lambda messages: len(running.bus.finals()) > before + 1)
        assert running.child_pid("streaming") == pid
        assert len(server.connections) == 1
        assert running.stop() == 0
    running.assert_nothing_left()


def test_a_proxy_that_repeats_the_token_does_not_publish_it(microphone, engine):
    with FakeProxy(auth_answer=FakeProxy.error("invalid token a-token"), holds_upgrades=True) as server:
        running = engine(managed(server), microphone)
        listen_first(running, server)
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["fatal"])
        assert running.wait() == 4
    assert error["message"] == "Proxy auth error: invalid token ***"
    assert "a-token" not in json.dumps(running.bus.messages)
    assert "a-token" not in running.log_text()


# Ways


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(microphone, engine):
    with socket.create_server(("127.0.0.1", 0)) as proxy, FakeProxy(echoing=True) as server:
        proxy.settimeout(0)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        running = engine(managed(server), microphone, environment={"http_proxy": address, "no_proxy": "elsewhere"})
        running.wait_for_state("running")
        with pytest.raises(BlockingIOError):
            proxy.accept()
        assert running.stop() == 0


def test_sigterm_ends_streaming_at_once_while_a_peer_does_not_read(engine, tmp_path):
    path = write_wav(tmp_path / "long.wav", bytes(250 * 32000))
    with FakeDeepgram(receive_buffer=4096) as server:
        running = engine(byok(server) | {"audio": {"source": str(path), "paced": False}})
        connection = server.wait_for_connection()
        connection.stop_reading()
        # Nothing but the peer limits this file: two seconds later the sender waits for room, for ten at most.
        known = len(running.bus.of_type("metrics"))
        running.bus.wait_until(lambda _: len(running.bus.of_type("metrics")) >= known + 2)
        assert connection.audio_bytes < path.stat().st_size // 2
        limit_s = promised(1)
        pid = running.signal_child("streaming", signal.SIGTERM)
        wait_until(lambda: (info := process_info(pid)) is None or not info.running, limit_s, "the end of streaming")
        # Its successor finds a peer that reads.
        assert running.wait() == 0
        assert len(server.connections[1].audio) == path.stat().st_size - 44
    running.assert_nothing_left()

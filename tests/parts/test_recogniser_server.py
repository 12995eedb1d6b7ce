"""The recogniser's server on loopback, spoken to by websocket-client as the engine does."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import websocket

pytest.importorskip("pocketsphinx", reason="needs mpengine-stt[local]")

from mpengine.recogniser.server import MAX_CONNECTIONS, RecogniserServer
from tests.pure.support import within
from tests.rig.speech import SENTENCES, pcm
from tests.rig.waiting import promised, scaled, wait_until

TOKEN = "a secret"
WAIT_S = scaled(60)  # at most; a busy machine recognises slowly


SPEECH = pcm()
FIRST_SENTENCE = SPEECH[: 2 * 54000]  # and half a second of silence behind it


class Running:
    """A server in a thread of its own."""

    def __init__(self, **options) -> None:
        self.before = set(threading.enumerate())
        self.connections: list[websocket.WebSocket] = []
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.server = RecogniserServer(listener, TOKEN, **options)
        ready = threading.Event()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(ready.set,), daemon=True)
        self.thread.start()
        assert ready.wait(WAIT_S)

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()

    def wait_until_free(self) -> None:
        """Wait until no client has a place."""
        wait_until(lambda: not self.server._connections, WAIT_S, "the places of all clients")

    def connect(self, path: str = "/ws/transcribe") -> websocket.WebSocket:
        connection = websocket.create_connection(f"ws://127.0.0.1:{self.port}{path}", timeout=WAIT_S)
        self.connections.append(connection)
        return connection

    def ready(self, **config) -> websocket.WebSocket:
        connection = self.connect()
        authorise(connection, **config)
        assert receive(connection) == {"type": "ready", "features": ["finalize", "silence", "idle"]}
        return connection


@pytest.fixture(scope="module")
def one_server() -> Iterator[Running]:
    server = Running()
    yield server
    server.stop()


@pytest.fixture
def running(one_server) -> Iterator[Running]:
    yield one_server
    while one_server.connections:  # what a failed test left open must not take a place from the next
        one_server.connections.pop().shutdown()
    one_server.wait_until_free()


def authorise(connection: websocket.WebSocket, token: str = TOKEN, **config) -> None:
    wanted = {
        "model": "any",
        "language": "en-US",
        "sample_rate": 16000,
        "channels": 1,
        "encoding": "linear16",
    }
    connection.send(json.dumps({"type": "auth", "token": token, "config": wanted | config}))


def receive(connection: websocket.WebSocket) -> dict:
    opcode, data = connection.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT, data
    return json.loads(data)


def close_code(connection: websocket.WebSocket) -> int:
    opcode, data = connection.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    connection.shutdown()
    return int.from_bytes(data[:2], "big")


def finalize(connection: websocket.WebSocket) -> list[dict]:
    """Return all messages up to session_end and check the clean close behind it."""
    connection.send('{"type":"finalize"}')
    messages = [receive(connection)]
    while messages[-1]["type"] != "session_end":
        messages.append(receive(connection))
    assert close_code(connection) == 1000
    return messages


def finals(messages: list[dict]) -> list[dict]:
    return [message for message in messages if message["type"] == "transcript" and message["is_final"]]


@pytest.mark.slow
def test_speech_becomes_words(running):
    connection = running.ready()
    for first in range(0, len(SPEECH), 640):
        connection.send_binary(SPEECH[first : first + 640])
    messages = finalize(connection)
    assert messages[-1] == {"type": "session_end", "seconds_used": 13.96}
    assert [final["text"] for final in finals(messages) if final["text"]] == SENTENCES
    assert any(not message["is_final"] for message in messages[:-1])
    covered = 0.0
    for final in finals(messages):
        assert final["start"] == pytest.approx(covered, abs=1e-6)
        covered = final["start"] + final["duration"]
    assert covered == pytest.approx(13.96)
    assert finals(messages)[0]["words"][1].keys() == {"word", "start", "end", "confidence"}


@pytest.mark.slow
def test_a_second_connection_starts_at_zero(running):
    for _ in range(2):
        connection = running.ready()
        connection.send_binary(FIRST_SENTENCE)
        spoken = finals(finalize(connection))
        assert spoken[0]["start"] == 0
        assert spoken[0]["text"] == SENTENCES[0]


def test_silence_is_told_as_blank_finals(running):
    connection = running.ready(interim_results=False)
    connection.send_binary(bytes(32000 * 4))
    blank = receive(connection)
    assert blank == {
        "type": "transcript",
        "text": "",
        "is_final": True,
        "start": 0.0,
        "duration": 3.0,
        "confidence": None,
        "words": [],
    }
    connection.send("no JSON")
    connection.send('{"type":"KeepAlive"}')
    connection.send('["finalize"]')
    assert [message.get("duration") for message in finalize(connection)] == [1.0, None]


@pytest.mark.slow
def test_interims_only_for_who_wants_them(running):
    connection = running.ready(interim_results=False)
    connection.send_binary(FIRST_SENTENCE)
    assert all(message["is_final"] for message in finalize(connection)[:-1])


def test_finalize_without_audio(running):
    assert finalize(running.ready()) == [{"type": "session_end", "seconds_used": 0.0}]


@pytest.mark.slow
def test_who_connects_twice_gets_two_recognisers(running):
    first, second = running.ready(), running.ready()
    for connection in (first, second):
        connection.send_binary(FIRST_SENTENCE)
    for connection in (first, second):
        assert finals(finalize(connection))[0]["text"] == SENTENCES[0]


@pytest.mark.parametrize(
    "first_message",
    [
        '{"type":"auth","token":"wrong"}',
        '{"type":"auth","token":"\\ud800"}',
        '{"type":"auth"}',
        '{"type":"finalize"}',
        "[]",
        "no JSON",
        '{"type":"auth","token":"wrong","config":{"sample_rate":8000}}',
    ],
)
def test_without_the_token_nothing_is_told(running, first_message):
    connection = running.connect()
    connection.send(first_message)
    error = receive(connection)
    assert (error["type"], error["code"]) == ("error", "unauthorized")
    assert TOKEN not in error["message"]
    assert close_code(connection) == 1008


def test_audio_before_auth_is_refused(running):
    connection = running.connect()
    connection.send_binary(bytes(640))
    assert receive(connection)["code"] == "unauthorized"
    assert close_code(connection) == 1008


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"sample_rate": 48000}, "16000 Hz"),
        ({"channels": 2}, "one channel"),
        ({"language": "de"}, "English"),
        ({"encoding": "opus"}, "linear16"),
        ({"channels": "one"}, "channels"),
    ],
)
def test_what_it_cannot_hear_is_refused_by_name(running, config, named):
    connection = running.connect()
    authorise(connection, **config)
    error = receive(connection)
    assert error["code"] == "unsupported"
    assert named in error["message"]
    assert close_code(connection) == 1008


@pytest.mark.parametrize("language", ["en", "en-GB", "EN_us", "", None])
def test_english_by_any_name(running, language):
    assert finalize(running.ready(language=language))


def test_a_ping_does_not_wait_behind_the_audio(running, monkeypatch):
    may_decode = threading.Event()

    def decode_nothing_yet(*_):
        assert may_decode.wait(WAIT_S)
        return []

    monkeypatch.setattr("mpengine.recogniser.server.SpeechRecogniser.feed", decode_nothing_yet)
    connection = running.ready()
    for first in range(0, len(SPEECH), 640):
        connection.send_binary(SPEECH[first : first + 640])
    connection.ping(b"there?")
    try:
        assert connection.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"there?")
    finally:
        may_decode.set()
    assert finalize(connection)[-1]["seconds_used"] == 13.96


@pytest.mark.slow
def test_a_full_inbox_slows_the_client_down_and_loses_nothing(running, monkeypatch):
    monkeypatch.setattr("mpengine.recogniser.server.INBOX_BYTES", 1000)
    connection = running.ready()
    for first in range(0, len(FIRST_SENTENCE), 640):
        connection.send_binary(FIRST_SENTENCE[first : first + 640])
    assert finals(finalize(connection))[0]["text"] == SENTENCES[0]


def test_half_a_sample_is_refused(running):
    connection = running.ready()
    connection.send_binary(bytes(641))
    assert receive(connection)["code"] == "bad_audio"
    assert close_code(connection) == 1007


def test_a_message_above_the_limit_is_refused(running):
    connection = running.ready()
    connection.send_binary(bytes(2**20 + 2))
    while (frame := connection.recv_data())[0] != websocket.ABNF.OPCODE_CLOSE:
        pass
    assert int.from_bytes(frame[1][:2], "big") == 1009
    connection.shutdown()


def test_another_path_is_not_found(running):
    with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
        running.connect("/v1/listen")


@pytest.mark.slow
def test_a_client_that_just_goes_frees_its_place(running):
    for _ in range(MAX_CONNECTIONS + 1):
        connection = running.ready()
        connection.send_binary(SPEECH[: 2 * 20000])
        connection.shutdown()  # no close frame
        running.wait_until_free()


def test_one_connection_too_many_is_told(running, monkeypatch):
    monkeypatch.setattr("mpengine.recogniser.server.MAX_CONNECTIONS", 1)
    first = running.ready()
    second = running.connect()
    authorise(second)
    assert receive(second)["code"] == "busy"
    assert close_code(second) == 1013
    finalize(first)


def test_a_fault_in_the_recogniser_is_told_and_survived(running, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr("mpengine.recogniser.server.SpeechRecogniser.feed", fail)
        connection = running.ready()
        connection.send_binary(bytes(640))
        assert receive(connection)["code"] == "internal"
        assert close_code(connection) == 1011
    assert "on purpose" in caplog.text
    finalize(running.ready())


def test_late_auth_is_refused():
    running = Running(auth_timeout_s=0.2)
    silent = running.connect()
    error = receive(silent)
    assert (error["code"], "0.2 s" in error["message"]) == ("unauthorized", True)
    assert close_code(silent) == 1008
    running.stop()


@pytest.mark.slow
def test_shutdown_ends_all_connections_and_leaves_no_thread():
    running = Running()
    silent, busy = running.connect(), running.ready()
    busy.send_binary(SPEECH)
    limit_s = promised(3)
    started = time.monotonic()
    running.server.shutdown()
    running.server.shutdown()  # a second signal harms nothing
    while (frame := busy.recv_data())[0] != websocket.ABNF.OPCODE_CLOSE:
        pass
    assert int.from_bytes(frame[1][:2], "big") == 1001
    busy.shutdown()
    running.stop()
    assert time.monotonic() - started < scaled(limit_s)
    silent.shutdown()
    assert set(threading.enumerate()) <= running.before
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_shutdown_before_the_start_ends_it_at_once():
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = RecogniserServer(listener, TOKEN)
    server.shutdown()
    with within(WAIT_S):
        server.serve_forever()
    server.shutdown()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)

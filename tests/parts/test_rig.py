"""The rig checked by itself: what the other tests rely on."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import websocket

from tests.rig import MS, FakeDeepgram, FakeProxy, VirtualMicrophone, reserve_port, wait_until
from tests.rig.echo import float32
from tests.rig.engine import EngineProcess

HALF_SECOND = bytes(16000)
AUTH = {"type": "auth", "token": "t", "config": {"sample_rate": 16000, "channels": 1}}

RECORDER = """
import sys, sounddevice
device = sys.argv[1] if len(sys.argv) > 1 else None
with sounddevice.RawInputStream(samplerate=16000, channels=1, dtype="int16", device=device) as stream:
    while True:
        sys.stdout.buffer.write(stream.read(320)[0])
        sys.stdout.buffer.flush()
"""

ENGINE = """
import json, os, subprocess, sys, zmq
runtime = os.environ["XDG_RUNTIME_DIR"] + "/mpengine/rig"
os.makedirs(runtime)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
context = zmq.Context()
results, query = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
results.bind(f"ipc://{runtime}/results")
query.bind(f"ipc://{runtime}/query")
status = {"type": "status", "state": "running", "children": {"capture": {"pid": child.pid}}}
print("up", sys.argv[1:])
sys.stdout.flush()
poller = zmq.Poller()
poller.register(results, zmq.POLLIN)
poller.register(query, zmq.POLLIN)
while True:
    for ready, _ in poller.poll():
        if ready is results:
            topic = results.recv()
            if topic[:10] == b"\\x01rig.sync.":
                results.send_multipart([topic[1:], b"{}"])
        else:
            who, empty, request = query.recv_multipart()
            query.send_multipart([who, empty, json.dumps(status).encode()])
            results.send_multipart([b"rig.status", json.dumps(status).encode()])
"""


@contextmanager
def client(url: str, **options: Any) -> Iterator[websocket.WebSocket]:
    """A websocket-client connection that is ended without ceremony."""
    ws = websocket.create_connection(url, timeout=5000 * MS, **options)
    try:
        yield ws
    finally:
        ws.shutdown()


def until_close(ws: websocket.WebSocket) -> tuple[list[Any], int]:
    """Every JSON message up to the server's close frame, and its code."""
    messages = []
    while True:
        opcode, data = ws.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return messages, int.from_bytes(data[:2])
        messages.append(json.loads(data))


def deepgram_url(server: FakeDeepgram) -> str:
    return f"{server.url}?model=nova-2&sample_rate=16000&channels=1&keyterm=a&keyterm=b"


# The microphone.


def test_what_is_played_is_recorded_bit_for_bit(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    """Noise uses every bit, and a lost, doubled or rounded sample would show."""
    pcm = Random(1).randbytes(2 * 16000)
    captured = tmp_path / "captured"
    environment = os.environ | microphone.environment
    with captured.open("wb") as file:
        recorder = subprocess.Popen([sys.executable, "-c", RECORDER], env=environment, stdout=file)
    try:
        assert [who.pid for who in microphone.wait_for_recording()] == [recorder.pid]
        microphone.play_and_wait(pcm)
        wait_until(lambda: pcm in captured.read_bytes(), 30, "the played sound among the recorded")
    finally:
        recorder.kill()
        recorder.wait()
    microphone.wait_for_recording(0)


def test_unplugging_frees_the_device_and_plugging_brings_it_back(microphone: VirtualMicrophone) -> None:
    """Whoever recorded is cut off, and may record again afterwards; other microphones stay."""
    microphone.add_sink("second")
    environment = os.environ | microphone.environment
    command = [sys.executable, "-c", RECORDER]
    recorders = [
        subprocess.Popen([*command, *device], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for device in ([], ["second"])
    ]
    try:
        microphone.wait_for_recording(2)
        microphone.unplug()
        assert [who.pid for who in microphone.wait_for_recording(1)] == [recorders[1].pid]
        microphone.plug()
        again = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        recorders.append(again)
        assert again.pid in [who.pid for who in microphone.wait_for_recording(2)]
        microphone.play_and_wait(bytes(3200))
    finally:
        for recorder in recorders:
            recorder.kill()
            recorder.wait()


# Deepgram.


def test_deepgram_records_query_key_and_frames() -> None:
    """What a test wants to know of a client."""
    with FakeDeepgram() as server, client(deepgram_url(server), header={"Authorization": "Token k"}) as ws:
        ws.send_binary(b"\1\0\2\0")
        ws.send('{"type":"KeepAlive"}')
        ws.send_binary(b"\3\0")
        server.wait_for_audio(6)
        connection = server.wait_for_connection(1)
        assert connection.query["keyterm"] == ["a", "b"]
        assert connection.authorization == "Token k"
        assert ws.getheaders()["dg-request-id"] == connection.request_id
        assert connection.audio == b"\1\0\2\0\3\0"
        assert server.wait_for_text("KeepAlive").position == 4
        assert [frame.kind for frame in connection.frames] == ["audio", "text", "audio"]
        assert not server.violations


def test_echoed_results_tile_the_timeline_and_close_stream_brings_the_rest() -> None:
    """Interims every 0.5 s, finals every 2 s, then the last final, Metadata and close 1000."""
    with FakeDeepgram(echoing=True, flush_delay_s=0.05) as server, client(deepgram_url(server)) as ws:
        for _ in range(9):
            ws.send_binary(HALF_SECOND)
        ws.send('{"type":"CloseStream"}')
        messages, code = until_close(ws)
    results = [message for message in messages if message["type"] == "Results"]
    finals = [result for result in results if result["is_final"]]
    assert code == 1000
    assert len(results) == 10
    assert [(f["start"], f["duration"], f["from_finalize"]) for f in finals] == [
        (0.0, 2.0, False),
        (2.0, 2.0, False),
        (4.0, 0.5, True),
    ]
    assert finals[1]["channel"]["alternatives"][0]["transcript"] == "words 2"
    assert messages[-1]["type"] == "Metadata"
    assert messages[-1]["duration"] == 4.5


def test_finalize_flushes_and_leaves_the_stream_open() -> None:
    """And the next result starts where the flushed one ended."""
    with FakeDeepgram(echoing=True) as server, client(deepgram_url(server)) as ws:
        ws.send_binary(bytes(8000))
        ws.send('{"type":"Finalize"}')
        first = json.loads(ws.recv())
        ws.send_binary(HALF_SECOND)
        second = json.loads(ws.recv())
    assert (first["duration"], first["is_final"], first["from_finalize"]) == (0.25, True, True)
    assert (second["start"], second["duration"], second["is_final"]) == (0.25, 0.5, False)


def test_a_responder_answers_with_what_it_heard() -> None:
    """The hook that an oracle is plugged into."""

    def oracle(connection: Any, samples: int) -> list[Any]:
        heard = int.from_bytes(connection.audio[-2:], "little")
        return [connection.transcript(f"{heard} of {samples}", samples - 1, samples)]

    with FakeDeepgram(responder=oracle) as server, client(deepgram_url(server)) as ws:
        ws.send_binary(b"\1\0\7\0")
        result = json.loads(ws.recv())
    assert result["channel"]["alternatives"][0]["transcript"] == "7 of 2"


def test_float32_has_the_digits_of_the_service() -> None:
    """The shortest that single precision tells apart; at ten hours a step is 4 ms."""
    assert float32(36000.001) == 36000.0
    assert float32(2.3) == 2.3
    assert float32(0.39999998) == 0.39999998


def test_refused_upgrades_are_counted_off() -> None:
    """Status, headers and body reach the client; the next upgrade is granted."""
    with FakeDeepgram(api_key="k") as server:
        server.refuse(429, {"Retry-After": "7"}, {"err_code": "TOO_MANY_REQUESTS"})
        with pytest.raises(websocket.WebSocketBadStatusException) as refused, client(server.url):
            pass
        assert refused.value.status_code == 429
        assert refused.value.resp_headers["retry-after"] == "7"
        assert b"TOO_MANY_REQUESTS" in refused.value.resp_body
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"), client(server.url):
            pass
        with client(server.url, header={"Authorization": "Token k"}):
            server.wait_for_connection(1)
        assert [attempt.status for attempt in server.attempts] == [429, 401, 101]


def test_silence_is_closed_with_net_0001() -> None:
    """KeepAlive alone, before any audio, does not help."""
    with FakeDeepgram(silence_limit_s=0.3) as server, client(server.url) as ws:
        ws.send('{"type":"KeepAlive"}')
        messages, code = until_close(ws)
        assert [message["type"] for message in messages] == ["Metadata"]
        assert code == 1011
        assert "KeepAlive before any audio" in server.violations[0]


# Faults of both.


def test_reset_is_a_reset() -> None:
    """The client sees ECONNRESET, not an end."""
    with FakeDeepgram() as server, client(server.url) as ws:
        server.wait_for_connection(1)
        server.current.reset()
        with pytest.raises(ConnectionResetError):
            ws.recv()


def test_drop_is_an_end_without_a_close_frame() -> None:
    """TCP's FIN alone."""
    with FakeDeepgram() as server, client(server.url) as ws:
        server.wait_for_connection(1).drop()
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            ws.recv()


def test_close_carries_code_and_reason() -> None:
    """And the client's answer is awaited."""
    with FakeDeepgram() as server, client(server.url) as ws:
        connection = server.wait_for_connection(1)
        connection.close(1011, "NET-0000")
        opcode, data = ws.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xf3NET-0000")
        server.wait_for_end(connection)
        assert connection.close_received is not None


def test_a_half_open_connection_answers_nothing_and_stays() -> None:
    """Neither ping nor audio has any effect, and no end is seen."""
    with FakeDeepgram(echoing=True) as server, client(server.url) as ws:
        connection = server.wait_for_connection(1)
        connection.half_open()
        ws.ping()
        ws.send_binary(HALF_SECOND)
        connection.send({"type": "Results"})
        ws.settimeout(200 * MS)
        with pytest.raises(websocket.WebSocketTimeoutException):
            ws.recv()
        assert connection.open
        assert connection.audio_bytes == 0


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_stopped_reader_blocks_the_client_and_takes_all_later(tls: bool) -> None:
    """The kernel's buffers fill; after `resume_reading` nothing is missing."""
    server = FakeDeepgram(tls=tls, receive_buffer=8192)
    trust = {"ca_certs": server.ca_file} if tls else {}
    with server, client(server.url, sslopt=trust) as ws:
        connection = server.wait_for_connection(1)
        connection.stop_reading()
        block, sent = bytes(65536), threading.Event()

        def send() -> None:
            for _ in range(200):
                ws.send_binary(block)
            sent.set()

        thread = threading.Thread(target=send)
        thread.start()
        assert not sent.wait(300 * MS)
        assert connection.audio_bytes == 0
        connection.resume_reading()
        server.wait_for_audio(200 * len(block))
        thread.join()


def test_pings_can_be_left_unanswered_and_pongs_are_recorded() -> None:
    """Both directions of WebSocket's own heartbeat."""
    with FakeDeepgram(answer_pings=False) as server, client(server.url) as ws:
        connection = server.wait_for_connection(1)
        ws.ping(b"hello?")
        connection.ping(b"there?")
        opcode, _ = ws.recv_data(control_frame=True)
        assert opcode == websocket.ABNF.OPCODE_PING
        server.wait_for(lambda: connection.of_kind("pong"), what="a pong")
        assert [frame.data for frame in connection.of_kind("ping")] == [b"hello?"]


def test_a_delayed_upgrade_outlasts_a_client_without_patience() -> None:
    """The request was seen, the answer did not come in time."""
    with FakeDeepgram(upgrade_delay_s=30) as server:
        with pytest.raises(websocket.WebSocketTimeoutException):
            websocket.create_connection(server.url, timeout=200 * MS)
        assert [attempt.status for attempt in server.attempts] == [None]


def test_a_server_can_come_later_go_and_come_back() -> None:
    """All on one port."""
    port = reserve_port()
    with pytest.raises(ConnectionRefusedError):
        websocket.create_connection(f"ws://127.0.0.1:{port}/v1/listen", timeout=5000 * MS)
    server = FakeDeepgram(port=port)
    for number in (1, 2):
        server.start()
        with client(server.url):
            server.wait_for_connection(number)
        server.stop()
    server.close()


def test_tls_is_refused_by_whoever_does_not_know_the_authority() -> None:
    """And accepted with the variables that engines are given."""
    with FakeProxy(tls=True) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            websocket.create_connection(server.url, timeout=5000 * MS)
        with client(server.url, sslopt={"ca_certs": server.environment["SSL_CERT_FILE"]}):
            server.wait_for_connection(1)


def test_framing_errors_of_a_client_are_told() -> None:
    """An unmasked frame, an odd and an empty binary frame."""
    with FakeDeepgram() as server, client(server.url) as ws:
        ws.send_binary(b"")
        ws.send_binary(b"\1\2\3")
        ws.sock.sendall(b"\x82\x02\1\2")
        server.wait_for(lambda: len(server.violations) == 3, what="three violations")
        assert "framing" in server.violations[-1]


def test_bytes_go_out_as_they_are() -> None:
    """Half a frame, then the end."""
    with FakeDeepgram() as server, client(server.url) as ws:
        connection = server.wait_for_connection(1)
        connection.send_raw(b'\x81\x20{"type":')
        connection.drop()
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            ws.recv()


# The managed proxy.


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (FakeProxy.READY, '{"type": "ready"}'),
        (FakeProxy.error("no such token", "auth_failed"), '{"type": "error", "message": "no such token"'),
        ({"type": "surprise"}, '{"type": "surprise"}'),
        (FakeProxy.NOT_JSON, "welcome"),
        (FakeProxy.CLOSE, "close 1008"),
        (FakeProxy.SILENCE, "silence"),
    ],
    ids=["ready", "error", "unexpected", "not JSON", "close", "silence"],
)
def test_the_proxy_answers_auth_as_told(answer: Any, expected: str) -> None:
    """Every end that the handshake can take."""
    with FakeProxy(auth_answer=answer) as server, client(f"{server.server_url}/ws/transcribe") as ws:
        ws.send(json.dumps(AUTH))
        server.wait_for(lambda: server.auths, what="the auth message")
        ws.settimeout(5000 * MS if expected != "silence" else 100 * MS)
        try:
            opcode, data = ws.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            got = "silence"
        else:
            closed = opcode == websocket.ABNF.OPCODE_CLOSE
            got = f"close {int.from_bytes(data[:2])}" if closed else data.decode()
        assert got.startswith(expected)
        assert server.auths == [AUTH]


@pytest.mark.parametrize("times", [False, True], ids=["without times", "with times"])
def test_the_proxy_sends_its_last_transcripts_between_the_two_close_frames(times: bool) -> None:
    """After the client's, before its own."""
    with FakeProxy(echoing=True, times=times, flush_delay_s=0.1) as server, client(server.url) as ws:
        ws.send(json.dumps(AUTH))
        ws.recv()
        ws.send_binary(bytes(32000))
        ws.send_close(1000, b"done")
        messages, code = until_close(ws)
    assert code == 1000
    assert [message.get("is_final") for message in messages] == [False, False, True, None]
    assert messages[-1] == {"type": "session_end", "seconds_used": 1}
    assert ("start" in messages[0]) is times


def test_the_finalize_extension_ends_the_session_from_the_servers_side() -> None:
    """Announced in `ready`, answered by the last finals, session_end and close 1000."""
    with FakeProxy(echoing=True, finalize_extension=True) as server, client(server.url) as ws:
        ws.send(json.dumps(AUTH))
        assert json.loads(ws.recv()) == {"type": "ready", "features": ["finalize"]}
        ws.send_binary(bytes(9600))
        ws.send('{"type":"finalize"}')
        messages, code = until_close(ws)
    assert [message["type"] for message in messages] == ["transcript", "session_end"]
    assert code == 1000


# The engine's process, with a stand-in for the engine.


def test_engine_processes_are_followed_and_none_is_left() -> None:
    """Subscription, query and children; an orphan in a session of its own is found and killed."""
    stand_in = (sys.executable, "-c", ENGINE, "run")
    with EngineProcess({"remote": {"mode": "byok"}}, command=stand_in) as engine:
        listener = engine.subscriber()
        assert engine.wait_for_state("running")["state"] == "running"
        capture = engine.child_pid("capture")
        assert listener.wait_for(lambda message: message["type"] == "status")["children"]
        assert {info.pid for info in engine.process_tree()} == {engine.pid, capture}
        assert "--config" in engine.log_text()
        engine.kill()
        assert [info.pid for info in engine.process_tree()] == [capture]
        with pytest.raises(AssertionError, match="left running"):
            engine.assert_nothing_left(timeout=0.1)
        with pytest.raises(AssertionError, match="ended with -9"):
            listener.wait_for(lambda message: message["type"] == "gap")
        os.kill(capture, signal.SIGTERM)
        engine.assert_nothing_left()

"""Following an engine and asking it, over real sockets: hostile messages, wrong endpoints, encryption."""

import json
import threading
from contextlib import contextmanager

import msgspec
import pytest
import zmq

from mpengine.client import ask as ask_module
from mpengine.client.subscriber import Hole, Received, Subscriber, ask
from mpengine.shared import messages
from mpengine.shared.errors import ConfigError, EngineUnreachable, ExitCode
from tests.rig.server import reserve_port
from tests.rig.waiting import scaled

SPOKEN = messages.SpeechStarted(at_s=1.5)
HOSTILE = [
    b"",
    b"no json",
    b"{}",
    b"[]",
    b"null",
    b'{"type":"invented_later","v":2}',
    b'{"type":"transcript","text":5,"is_final":true}',
    b'{"type":"transcript","text":"\xff","is_final":true}',
    b'{"type":"\xff"}',
    b'{"\xff":1}',
    b'{"type":"speech_started","at_s":1e999999}',
    b'{"type":"speech_started","at_s":' + b"9" * 10_000 + b"}",
    b'{"type":"metadata","data":' + b'{"a":' * 100_000,
    b"[" * 1_000_000,
]


@contextmanager
def publisher(endpoint, **options):
    """A publishing socket, and a function that waits until somebody has subscribed."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        for option, value in options.items():
            socket.setsockopt(getattr(zmq, option), value)
        socket.bind(endpoint)

        def subscribed(timeout_s=5):
            return bool(socket.poll(int(scaled(timeout_s) * 1000))) and socket.recv()

        yield socket, subscribed


@contextmanager
def answering(endpoint, answer, **options):
    """An engine that has one answer to all questions."""
    done = threading.Event()

    def serve():
        with zmq.Context() as context, context.socket(zmq.REP) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            for option, value in options.items():
                socket.setsockopt(getattr(zmq, option), value)
            socket.bind(endpoint)
            while not done.is_set():
                if socket.poll(20):
                    socket.recv()
                    socket.send(answer)

    thread = threading.Thread(target=serve, name="rig-answers")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/socket"


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_message_is_skipped(body, endpoint):
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        socket.send_multipart([b"n.transcript.final", body])
        socket.send_multipart([b"n.speech_started", messages.encode(SPOKEN)])
        assert subscriber.receive(scaled(30)) == SPOKEN


def test_iterating_gives_the_typed_messages(endpoint):
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        socket.send_multipart([b"n.speech_started", messages.encode(SPOKEN)])
        assert next(iter(subscriber)) == SPOKEN


def test_the_lower_layer_gives_every_body_as_it_came(endpoint):
    bodies = [b'{"type":"invented_later",  "field": [1e2]}', b"no json", b"\xff"]
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        for body in bodies:
            socket.send_multipart([b"n.transcript.final", body])
        assert [subscriber.receive_raw(scaled(30)) for _ in bodies] == [("transcript.final", body) for body in bodies]


def test_the_lower_layer_leaves_out_what_is_no_publication(endpoint):
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        socket.send_multipart([b"n.sync.of-somebody-else", b'{"type":"sync"}'])
        socket.send(b"n.one-part")
        socket.send_multipart([b"n.three", b"{}", b"{}"])
        socket.send_multipart([b"n.\xff", b"{}"])
        assert subscriber.receive_raw(scaled(30)) == ("\ufffd", b"{}")


def test_what_is_published_as_a_hole_is_none(endpoint):
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        for body in (b"{}", b'{"type":"hole","topic":"gap","run":"r","first_seq":1}'):
            socket.send_multipart([b"n.hole", body])
        socket.send_multipart([b"n.level", b"{}"])
        assert subscriber.receive_any(scaled(30)) == Received("n", "level", b"{}")


def test_a_loss_comes_with_its_json_and_as_it_is(endpoint):
    def final(seq, prev):
        return messages.encode(messages.Transcript(text="a", is_final=True, run="r", boot="b", seq=seq, prev=prev))

    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        for body in (final(1, 0), final(5, 3), final(9, 7)):
            socket.send_multipart([b"n.transcript.final", body])
        assert subscriber.receive_any(scaled(30)).hole is None
        received = subscriber.receive_any(scaled(30))
        assert received.hole == received.message == Hole(topic="transcript.final", run="r", first_seq=2, last_seq=3)
        assert received.topic == "hole"
        assert json.loads(received.body) == {"type": "hole", **msgspec.structs.asdict(received.hole)}
        assert subscriber.receive_any(scaled(30)).body == final(5, 3)
        topic, body = subscriber.receive_raw(scaled(30))
        assert (topic, json.loads(body)["first_seq"]) == ("hole", 6)


def test_one_topic_needs_no_tuple(endpoint):
    with publisher(endpoint) as (_, subscribed), Subscriber("n", publish=endpoint, topics="gap"):
        assert subscribed() == b"\x01n.gap"
        assert not subscribed(0.1)


def test_only_the_topics_asked_for_are_received(endpoint):
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint, topics=("gap",)) as subscriber:
        assert subscribed() == b"\x01n.gap"
        socket.send_multipart([b"n.speech_started", messages.encode(SPOKEN)])
        gap = messages.Gap(start_s=0.0, end_s=1.0, samples=16000, reason="overflow")
        socket.send_multipart([b"n.gap", messages.encode(gap)])
        assert subscriber.receive(scaled(30)) == gap


@pytest.mark.parametrize("timeout_s", [0.0, 0.01, -1.0])
def test_silence_is_none(timeout_s, endpoint):
    with Subscriber("n", publish=endpoint) as subscriber:
        assert subscriber.receive_raw(timeout_s) is None
        assert subscriber.receive(timeout_s) is None


def test_a_result_as_large_as_recognisers_may_make_it_arrives(endpoint):
    transcript = messages.Transcript(text="a" * (8 << 20), is_final=True)
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        socket.send_multipart([b"n.transcript.final", messages.encode(transcript)])
        assert subscriber.receive(scaled(30)) == transcript


# What cannot be


def _subscribe(**options):
    with Subscriber(options.pop("name", "n"), publish=options.pop("endpoint", None), **options):
        pass


def _ask(**options):
    ask(messages.StatusQuery(), query=options.pop("endpoint", None), timeout_s=0.01, **options)


@pytest.mark.parametrize("use", [_subscribe, _ask])
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"name": ""}, "engine.name"),
        ({"name": "a" * 200}, "engine.name"),
        ({"name": "../other"}, "engine.name"),
        ({"name": "é", "endpoint": "ipc:///tmp/x"}, "engine.name"),
        ({"endpoint": "garbage"}, "bus."),
        ({"endpoint": "foo://bar"}, "bus."),
        ({"endpoint": "tcp://127.0.0.1"}, "bus."),
        ({"endpoint": "tcp://*:5555"}, "bus."),
        ({"endpoint": "ipc:///" + "a" * 200}, "bus."),
        ({"endpoint": "ipc:///\udcff"}, "bus."),
        ({"server_key": ""}, "server_key"),
        ({"server_key": "a" * 39}, "server_key"),
        ({"server_key": "a" * 32}, "server_key"),
        ({"server_key": "a" * 41}, "server_key"),
        ({"server_key": "~" * 40}, "server_key"),
        ({"server_key": "#" * 40}, "server_key"),
        ({"server_key": "é" * 40}, "server_key"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_cannot_be_is_refused_in_one_line(use, options, path):
    with pytest.raises(ConfigError) as caught:
        use(**options)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.CONFIG


# Asking


def test_an_answer_comes_as_it_is(endpoint):
    with answering(endpoint, b'{"type":"ok"}'):
        assert ask(messages.Stop(), query=endpoint, timeout_s=scaled(30)) == b'{"type":"ok"}'


def test_where_nobody_answers_the_error_says_how_to_start_an_engine(endpoint):
    with pytest.raises(EngineUnreachable, match=r"start one with: mpengine run$"):
        ask(messages.StatusQuery(), query=endpoint, timeout_s=0.01)
    with pytest.raises(EngineUnreachable, match=r"start one with: mpengine run --name desk$"):
        ask(messages.StatusQuery(), name="desk", query=endpoint, timeout_s=0.01)


# Encrypted


@pytest.fixture(scope="module")
def keys():
    public, secret = zmq.curve_keypair()
    return public.decode(), {"CURVE_SERVER": 1, "CURVE_SECRETKEY": secret, "CURVE_PUBLICKEY": public}


def _tcp():
    return f"tcp://127.0.0.1:{reserve_port()}"


def test_with_its_public_key_an_encrypted_engine_is_followed(keys):
    public, server = keys
    endpoint = _tcp()
    with (
        publisher(endpoint, **server) as (socket, subscribed),
        Subscriber("n", publish=endpoint, server_key=public) as subscriber,
    ):
        assert subscribed()
        socket.send_multipart([b"n.speech_started", messages.encode(SPOKEN)])
        assert subscriber.receive(scaled(30)) == SPOKEN


def test_with_its_public_key_an_encrypted_engine_answers(keys):
    public, server = keys
    endpoint = _tcp()
    with answering(endpoint, json.dumps({"type": "ok"}).encode(), **server):
        assert json.loads(ask(messages.Stop(), query=endpoint, server_key=public, timeout_s=scaled(30)))


def _no_key(_):
    return None


def _other_key(_):
    return zmq.curve_keypair()[0].decode()


@pytest.mark.parametrize("key", [_no_key, _other_key])
def test_without_the_right_key_nothing_is_to_be_had(keys, key):
    public, server = keys
    results, query = _tcp(), _tcp()
    with (
        publisher(results, **server) as (_, subscribed),
        Subscriber("n", publish=results, server_key=key(public)),
        answering(query, b'{"type":"ok"}', **server),
    ):
        with pytest.raises(EngineUnreachable, match="is the server key right"):
            ask(messages.StatusQuery(), query=query, server_key=key(public), timeout_s=0.5)
        assert not subscribed(0.1)


def test_a_question_that_the_engine_refused_before_it_was_asked_is_not_waited_with(endpoint, monkeypatch):
    """libzmq lets go of a connection whose other end wants a key: a send would wait for ever."""
    monkeypatch.setattr(ask_module, "connect", lambda *_: None)
    with pytest.raises(EngineUnreachable):
        ask(messages.StatusQuery(), query=endpoint, timeout_s=0.5)


def test_a_final_that_is_repeated_comes_once(endpoint):
    """As across a kill of the supervisor: the same run and seq, from another boot."""

    def final(run, seq, boot="b1"):
        return messages.Transcript(text=f"{run}{seq}", is_final=True, start_s=0, end_s=1, run=run, seq=seq, boot=boot)

    before, after = [("r", 1), ("r", 3)], [("r", 3), ("r", 1), ("r", 5), ("s", 2)]
    sent = [*(final(*each) for each in before), *(final(*each, "b2") for each in after)]
    with publisher(endpoint) as (socket, subscribed), Subscriber("n", publish=endpoint) as subscriber:
        assert subscribed()
        for each in sent:
            socket.send_multipart([b"n.transcript.final", messages.encode(each)])
        received = [subscriber.receive(scaled(30)) for _ in range(6)]
        holes = [received.pop(index) for index in (4, 2)]  # nobody saw the end of the run, nor of its first supervisor
        assert [each.text for each in received] == ["r1", "r3", "r5", "s2"]
        assert [(hole.run, hole.first_seq, hole.last_seq) for hole in holes] == [("r", 6, None), ("r", 4, None)]
        assert subscriber.receive(0.05) is None


def test_each_of_several_engines_has_a_position_of_its_own():
    with Subscriber(["desk", "door", "hall"], since={"desk": ("r", 3), "door": "start"}) as subscriber:
        assert [feed._follower._since for feed in subscriber._feeds] == [("r", 3), "start", None]

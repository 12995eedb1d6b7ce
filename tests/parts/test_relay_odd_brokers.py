"""What stands where a broker should, and answers what no broker does: it is told in words, and waited for."""

import asyncio
import contextlib
import signal
import ssl

import pytest

from mpengine.relay.broker import Away, Login, Wanted, understood
from mpengine.relay.jetstream import JetStream
from mpengine.relay.mqtt import Mqtt
from mpengine.relay.naming import Names, Server
from mpengine.relay.position import Position, message_entry
from tests.rig.relaying import DESK, Relay
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

WANTED = Wanted(names=Names("box"), engines=("desk",), version="1")
FINAL = message_entry("transcript.final", b'{"type":"transcript","run":"r","seq":5,"text":"x","is_final":true}')
INFO = b'INFO {"version":"2.9.10","headers":true,"max_payload":1048576}\r\n'
NAMES = b'{"streams":["s"]}'
NOTHING = b'{"error":{"code":404,"err_code":10037,"description":"no message found"}}'
ACCEPTED = b"\x20\x03\x00\x00\x00"  # the CONNACK of MQTT 5


class Nats:
    """As much of a server as a relay looks at. It keeps what a client says behind the greeting."""

    def __init__(self, info=INFO, names=NAMES, last=NOTHING, ack=b""):
        self.info, self.names, self.last, self.ack = info, names, last, ack
        self.heard = b""

    async def __call__(self, reader, writer):
        subscriptions = {}
        writer.write(self.info)
        if b"tls_available" in self.info:  # it says so, and is not good at TLS
            self.heard = await reader.read(1000)
            return
        while line := await reader.readline():
            self.heard += line
            kind, *fields = line.split()
            if kind == b"PING":
                writer.write(b"PONG\r\n")
            elif kind == b"SUB":
                subscriptions[fields[0].rstrip(b"*")] = fields[-1]
            elif kind in {b"PUB", b"HPUB"}:
                await reader.readexactly(int(fields[-1]) + 2)
                subject, reply = fields[:2]
                answer = self.names if b"STREAM.NAMES" in subject else self.last if b"$JS" in subject else self.ack
                (number,) = (each for start, each in subscriptions.items() if reply.startswith(start))
                writer.write(b"MSG %s %s %d\r\n%s\r\n" % (reply, number, len(answer), answer))


async def mqtt_that_leaves(reader, writer):
    """A broker that lets a client in, and does not like what it sends."""
    await reader.read(1000)
    writer.write(ACCEPTED)
    await reader.read(1000)
    writer.write(b"\xe0\x02\x9a\x00")


def with_broker(answers, use, *, is_mqtt=False, login=None):
    """What `use` returns, which gets a connection of the relay to `answers`."""

    async def work():
        async def answer(reader, writer):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await answers(reader, writer)
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        server = Server("mqtt" if is_mqtt else "nats", "127.0.0.1", listening.sockets[0].getsockname()[1])
        broker = (Mqtt if is_mqtt else JetStream)(server, WANTED, login or Login())
        try:
            async with asyncio.timeout(scaled(PATIENCE_S)):
                return await use(broker)
        finally:
            await broker.close()
            listening.close()

    return asyncio.run(work())


async def opened(broker):
    """What it has of the engine."""
    with understood():
        return (await broker.open())["desk"]


async def handed_over(broker):
    """The broker's word that it has the final."""
    await broker.open()
    return await (await broker.send("desk", FINAL))


@pytest.mark.parametrize(
    "odd",
    [
        {"info": b"INFO []\r\n"},
        {"info": b"INFO null\r\n"},
        {"info": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
        {"info": b"INFO " + b"x" * 200_000},
        {"info": b'INFO {"max_payload":"a"}\r\n'},
        {"names": b"[]"},
        {"names": b"null"},
        {"names": b'{"streams":[5]}'},
        {"names": b'{"error":"x"}'},
        {"names": b"\xff"},
        {"last": b"{}"},
        {"last": b'{"message":{"seq":"x","data":"!"}}'},
    ],
    ids=str,
)
def test_an_answer_of_no_nats_server_is_told_in_words(odd):
    with pytest.raises(Away):
        with_broker(Nats(**odd), opened)


def test_the_same_with_the_right_answers_is_a_broker():
    assert with_broker(Nats(), opened) == Position()
    assert with_broker(Nats(ack=b'{"stream":"s","seq":1}'), handed_over) is None


@pytest.mark.parametrize("ack", [b"{}", b"[]", b"+OK", b'{"error":null}', b'{"text":"I heard you"}'])
def test_somebody_else_who_answers_is_not_taken_for_the_stream(ack):
    with pytest.raises(Away, match="none of a stream"):
        with_broker(Nats(ack=ack), handed_over)


def test_a_server_that_wants_no_tls_gets_no_password_where_tls_is_wanted():
    server = Nats()
    login = Login("ann", "correct horse", tls=ssl.create_default_context())
    with pytest.raises(Away, match="the server has no TLS"):
        with_broker(server, opened, login=login)
    assert server.heard == b""
    server = Nats(info=INFO.replace(b"{", b'{"tls_available":true,'))
    with pytest.raises(Away):
        with_broker(server, opened, login=login)
    assert server.heard.startswith(b"\x16\x03")
    with_broker(server := Nats(), opened, login=Login("ann", "correct horse"))
    assert b"correct horse" in server.heard


def test_an_mqtt_broker_that_ends_the_connection_at_once_has_said_why():
    with pytest.raises(Away, match="Retain not supported"):
        with_broker(mqtt_that_leaves, opened, is_mqtt=True)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["nats", "mqtt"])
def test_a_name_that_is_looked_up_for_ever_does_not_keep_the_relay_from_ending(tmp_path, scheme):
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    with Relay(tmp_path, f"{scheme}://nowhere.example", *DESK, PYTHONPATH=str(tmp_path)) as relay:
        wait_until((tmp_path / "asked").exists, PATIENCE_S, "the question")
        assert relay.end(signal.SIGTERM) == 0


SLOW_NAMES = """
import os, socket, time
ask = socket.getaddrinfo
def ask_slowly(host, *more, **options):
    if "nowhere" in str(host):
        open(os.path.join(os.path.dirname(__file__), "asked"), "w").close()
        time.sleep(3600)
    return ask(host, *more, **options)
socket.getaddrinfo = ask_slowly
"""

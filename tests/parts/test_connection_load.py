"""Connection under load, both ways over TLS."""

import json
import select
import subprocess
import sys
import time

import pytest

from mpengine.streaming.websocket.events import CloseReceived, Failed, Opened, PingReceived, Received
from tests.parts.peers import LOAD_SECONDS, SOON, connection, next_event, taken_early

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_proxy")

LOAD_SERVER = """
import asyncio, json, ssl, sys
import websockets

async def handle(peer):
    received = sent = disorder = 0
    size = int(peer.request.path[1:])
    over = asyncio.Event()

    async def speak():
        nonlocal sent
        while not over.is_set():
            await peer.send(f'{sent} ' + 'x' * (sent % size))
            sent += 1
            if sent % 64 == 0:
                await asyncio.sleep(0)

    speaking = asyncio.create_task(speak())
    async for message in peer:
        if isinstance(message, str):
            break
        disorder += int.from_bytes(message[:8], 'big') != received or len(message) != size
        received += 1
    over.set()
    await speaking
    await peer.send(json.dumps({'received': received, 'sent': sent, 'disorder': disorder}))

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    async with websockets.serve(handle, '127.0.0.1', 0, ssl=context, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def load_server(authority):
    """A process of its own, so that its TLS is not in the test's threads and the machine is really busy."""
    command = [sys.executable, "-c", LOAD_SERVER, authority.certificate]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"wss://127.0.0.1:{process.stdout.readline().strip()}/"
        process.stdin.close()
        assert process.wait(SOON) == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [640, 16000])
def test_load_both_ways_over_tls(load_server, authority, size):
    """Every frame arrives, in order, both ways, and the stream ends where it should and nowhere else."""
    sent = received = 0
    report = None
    ended = []

    def take(events):
        nonlocal received, report
        for event in events:
            match event:
                case Received(text) if text.startswith("{"):
                    report = json.loads(text)
                case Received(text):
                    number, _, filling = text.partition(" ")
                    assert (int(number), len(filling)) == (received, received % size)
                    received += 1
                case PingReceived(payload):
                    made.send_pong(payload)
                case _:
                    ended.append(event)

    with connection(f"{load_server}{size}", authority) as made:
        assert next_event(made) == Opened()
        take(taken_early[made])
        until = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < until:
            made.send_audio(sent.to_bytes(8, "big") + bytes(size - 8))
            sent += 1
            take(made.events())
            assert not ended
        made.send_text("over")
        while len(ended) < 1:
            assert select.select([made], [], [], SOON)[0]
            take(made.events())
        made.send_close()
        while len(ended) < 2:
            assert select.select([made], [], [], SOON)[0]
            take(made.events())
    print(f"\n{LOAD_SECONDS:g} s of {size} bytes: {sent} frames sent, {received} received")
    assert report == {"received": sent, "sent": received, "disorder": 0}
    assert ended == [CloseReceived(1000, ""), Failed("connection closed")]
    assert sent > 100 * LOAD_SECONDS
    assert received > 100 * LOAD_SECONDS

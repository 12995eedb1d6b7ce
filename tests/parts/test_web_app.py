"""The application of `mpengine web` with clients that take nothing: each answer has an end."""

import asyncio

import pytest

from mpengine.client.position import Received
from mpengine.web import app as app_module
from mpengine.web.access import Access
from mpengine.web.app import App
from mpengine.web.connections import Links
from mpengine.web.hub import Hub

PEER = ("127.0.0.1", 5000)


class Transport:
    """As much of a connection as the application looks at. Its end is told by the loop, as asyncio does it."""

    def __init__(self):
        self.is_aborted = self.is_told = False

    def get_extra_info(self, _name):
        return PEER

    def abort(self):
        self.is_aborted = True
        asyncio.get_running_loop().call_soon(self.tell)

    def tell(self):
        self.is_told = True


async def asked(hub, path, send):
    """Ask for `path`, with `send` for what takes the answer; the connection."""
    links, transport = Links(), Transport()
    links.came(transport, 0.0)
    app = App(hub, Access(token=None), links, version="1")
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers, "client": PEER}
    await app(scope, None, send)
    assert transport.is_told == transport.is_aborted
    return transport


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/healthz", "/nothing", "/events", "/transcript.txt"])
def test_a_client_that_takes_no_answer_is_ended(monkeypatch, path):
    for limit in ("ANSWER_S", "STALL_S", "TRANSCRIPT_S"):
        monkeypatch.setattr(app_module, limit, 0.01)

    async def stand_still(_message):
        await asyncio.Event().wait()

    assert asyncio.run(asked(Hub(["desk"]), path, stand_still)).is_aborted


@pytest.mark.parametrize("ending", ["txt", "srt", "vtt", "jsonl"])
def test_words_with_impossible_times_end_no_transcript(ending):
    hub, taken = Hub(["desk"]), []
    for seq, time_s in enumerate((1.0, 1e308, 2.0), 1):
        word = f'{{"word":"a","start_s":{time_s},"end_s":{time_s}}}'
        more = f'"text":"number {seq}","is_final":true,"start_s":{seq},"end_s":{seq + 1},"words":[{word}]'
        body = f'{{"type":"transcript","run":"r","seq":{seq},"time_ns":1,{more}}}'
        hub.take(Received("desk", "transcript.final", body.encode()), 0.0)

    async def take(message):
        taken.append(message.get("body", b""))

    asyncio.run(asked(hub, f"/transcript.{ending}", take))
    text = b"".join(taken)
    assert b"number 1" in text
    assert b"number 3" in text

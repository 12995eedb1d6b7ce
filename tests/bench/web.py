"""How late the events of `mpengine web` come to 200 readers, of which 20 stand still, and what that costs.

Ten results a second, of one line or of 1500 words each, for as long as the bench measures. All readers are on this
machine, in one process.
"""

import re
import selectors
import socket
import tempfile
import threading
import time
from pathlib import Path

from mpengine.shared.messages import Transcript
from tests.bench.common import Bench
from tests.bench.figures import percentile
from tests.rig.live_bus import LiveBus
from tests.rig.processes import rss_mb
from tests.rig.web import Web

READERS, STILL = 200, 20
_EVERY_S = 0.1
_SENT_AT = re.compile(rb"@(\d+\.\d+)@")


class Crowd:
    """The readers."""

    def __init__(self, web: Web) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self.delays_ms: list[float] = []
        self.events, self.most_mb = 0, 0.0
        self._pid = web.pid
        for number in range(READERS):
            reader = socket.socket()
            if number < STILL:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((web.host, web.port))
            reader.sendall(b"GET /events?topics=transcript HTTP/1.0\r\nHost: localhost\r\n\r\n")
            self._sockets.append(reader)
            if number >= STILL:
                reader.setblocking(False)
                self._selector.register(reader, selectors.EVENT_READ, bytearray())

    def read_until(self, done: threading.Event) -> None:
        """Take what comes, and note how late each event is."""
        look_at = 0.0
        while not done.is_set():
            for key, _ in self._selector.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj, key.data)
            if time.monotonic() > look_at:
                self.most_mb, look_at = max(self.most_mb, rss_mb(self._pid)), time.monotonic() + 0.5

    def _read(self, reader: socket.socket, waiting: bytearray) -> None:
        try:
            data = reader.recv(1 << 18)
        except BlockingIOError:
            return
        if not data:  # it was dropped
            self._selector.unregister(reader)
        waiting += data
        now = time.time()
        whole = waiting.rfind(b"\n\n")
        if whole >= 0:
            self.events += waiting.count(b"\n\n")
            self.delays_ms += [(now - float(sent)) * 1000 for sent in _SENT_AT.findall(bytes(waiting[:whole]))]
            del waiting[:whole]

    def close(self) -> None:
        """Leave."""
        for reader in self._sockets:
            reader.close()


def measure(bench: Bench) -> None:
    """Add the figures."""
    for name, words in (("one line", 12), ("1500 words", 1500)):
        bench.say(f"web: results of {name}, {bench.seconds:g} s")
        with tempfile.TemporaryDirectory(prefix="w-") as directory:
            _measure(bench, Path(directory), name, words)


def _measure(bench: Bench, runtime: Path, name: str, words: int) -> None:
    with LiveBus(runtime) as engine, Web(runtime) as web:
        before_mb = rss_mb(web.pid)
        crowd, done = Crowd(web), threading.Event()

        def speak() -> None:
            for number in range(int(bench.seconds / _EVERY_S)):
                text = f"@{time.time():.6f}@ " + "word " * words
                engine.publish(Transcript(text=text, is_final=number % 10 == 9))
                time.sleep(_EVERY_S)
            done.set()

        speaker = threading.Thread(target=speak)
        speaker.start()
        try:
            crowd.read_until(done)
        finally:
            speaker.join()
            own = web.get("/status").json["web"]
            crowd.close()
        for percent in (50, 95, 100):
            bench.figures.add("web", f"{name}: p{percent}", "ms", percentile(crowd.delays_ms, percent))
        bench.figures.add("web", f"{name}: memory before", "MB", before_mb)
        bench.figures.add("web", f"{name}: memory, most", "MB", crowd.most_mb)
        bench.figures.add("web", f"{name}: readers dropped", "", own["dropped"])

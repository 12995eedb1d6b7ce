"""The supervisor's own bus in a thread, in an engine's runtime directory; behind it is nothing but a test."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import zmq

from mpengine.shared import messages
from mpengine.shared.config_tables import Secret
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Identity, Journal
from tests.rig.waiting import scaled

METRICS = messages.Metrics(
    captured_s=10.0,
    sent_s=9.0,
    acknowledged_s=8.0,
    transcribed_s=8.5,
    backlog_s=0.5,
    catch_up_s=None,
    lag_s=0.5,
    reconnects=1,
    restarts=2,
    dropped_s=0.25,
    replayed_s=0.75,
    last={},
    children={"capture": messages.ChildMetrics(cpu_s=1.5, rss_mb=20.0)},
    uptime_s=60.0,
)
RUNNING = messages.Status(state="running", children={"capture": messages.ChildStatus(state="RUNNING", pid=1)})


class LiveBus:
    """An engine called `name` below `runtime`, which is XDG_RUNTIME_DIR. It publishes metrics once a second.

    `look_ms`: how long it waits for questions between two looks at what a test wants to be published.
    """

    def __init__(
        self, runtime: Path, name: str = "default", *, run: str = "5e1f", finals: int = 1000, look_ms: int = 2
    ) -> None:
        self.name, self._run, self._look_ms = name, run, look_ms
        self._directory = runtime / "mpengine" / name
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = Identity(run, "m", 16000, 1, "portaudio")
        self._journal = Journal.create(str(self._directory / "journal"), identity, History(finals=finals))
        self._todo: queue.Queue[tuple[tuple[messages.Stamped, ...], threading.Event]] = queue.Queue()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="live bus")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, *published: messages.Stamped) -> None:
        """Returns when it is done."""
        done = threading.Event()
        self._todo.put((published, done))
        assert done.wait(scaled(30))

    def say(self, *texts: str) -> None:
        """Publish finals."""
        self.publish(*(messages.Transcript(text=text, is_final=True) for text in texts))

    def close(self) -> None:
        """Be gone without a word. A second call does nothing."""
        if self._done.is_set():
            return
        self._done.set()
        self._thread.join()
        self._journal.close(remove=True)

    def _serve(self) -> None:
        where = {"publish": f"ipc://{self._directory}/results", "query": f"ipc://{self._directory}/query"}
        identity = {"name": self.name, "run": self._run, "boot": "b", "seq": 0}
        with zmq.Context() as context:
            bus = Bus(
                context,
                command="inproc://command",
                curve_secret_key=Secret(),
                journal=self._journal,
                **where,
                **identity,  # type: ignore[arg-type]
            )
            bus.open()
            poller = zmq.Poller()
            poller.register(bus.subscriptions, zmq.POLLIN)
            poller.register(bus.queries, zmq.POLLIN)
            bus.publish(RUNNING)
            metrics_at = 0.0
            while not self._done.is_set():
                poller.poll(self._look_ms)
                bus.answer_subscriptions()
                for question in bus.questions():
                    bus.reply(question, bus.snapshot(json.loads(question.body)["since"]))
                if time.monotonic() > metrics_at:
                    metrics_at = time.monotonic() + 1.0
                    bus.publish(msgspec.structs.replace(METRICS, last=dict(bus.last)))
                with contextlib.suppress(queue.Empty):
                    published, done = self._todo.get_nowait()
                    for message in published:
                        bus.publish(message)
                    done.set()
            bus.close()


@contextlib.contextmanager
def live_buses(runtime: Path, *names: str) -> Iterator[list[LiveBus]]:
    """Several of them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(LiveBus(runtime, name)) for name in names]

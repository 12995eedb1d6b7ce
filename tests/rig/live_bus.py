"""The supervisor's own bus in a thread, where a test wants it or where an engine has it; behind it is only a test."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import msgspec
import zmq

from mpengine.shared import messages
from mpengine.shared.config_tables import Secret
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Identity, Journal
from tests.rig.waiting import PREFIX, scaled

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
_read_question = msgspec.json.Decoder(messages.SnapshotQuery).decode


class ThreadedBus:
    """The bus in a thread: it answers, and publishes what it is told to.

    where     the endpoints `publish` and `query`
    journal   the path of its journal, which is removed at the end
    look_ms   how long it waits for questions between two looks at what a test wants to be published
    answers   whether it answers questions
    """

    THREAD = f"{PREFIX}bus"

    def __init__(
        self,
        where: Mapping[str, str],
        journal: str,
        *,
        name: str,
        run: str = "r",
        finals: int = 1000,
        look_ms: int = 2,
        answers: bool = True,
    ) -> None:
        self.name, self.where = name, where
        self._run, self._look_ms, self._answers = run, look_ms, answers
        self._journal = Journal.create(journal, Identity(run, "m", 16000, 1, "portaudio"), History(finals=finals))
        self.asked: list[messages.SnapshotQuery] = []
        self._todo: queue.Queue[tuple[tuple[messages.Stamped, ...], threading.Event]] = queue.Queue()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=self.THREAD)
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

    def say(self, *texts: object) -> None:
        """Publish finals."""
        self.publish(*(messages.Transcript(text=str(text), is_final=True) for text in texts))

    def close(self) -> None:
        """Be gone without a word. A second call does nothing."""
        if self._done.is_set():
            return
        self._done.set()
        self._thread.join()
        self._journal.close(remove=True)

    def opened(self, bus: Bus) -> None:
        """What it does first, in its thread."""

    def turn(self, bus: Bus) -> None:
        """What it does again and again, in its thread."""

    def _serve(self) -> None:
        with zmq.Context() as context:
            bus = Bus(
                context,
                name=self.name,
                publish=self.where["publish"],
                query=self.where["query"],
                command="inproc://command",
                curve_secret_key=Secret(),
                run=self._run,
                boot="b",
                journal=self._journal,
                seq=0,
            )
            bus.open()
            poller = zmq.Poller()
            poller.register(bus.subscriptions, zmq.POLLIN)
            poller.register(bus.queries, zmq.POLLIN)
            self.opened(bus)
            while not self._done.is_set():
                poller.poll(self._look_ms)
                bus.answer_subscriptions()
                for question in bus.questions():
                    if self._answers:
                        asked = _read_question(question.body)
                        self.asked.append(asked)
                        bus.reply(question, bus.snapshot(asked.since, asked.beginnings))
                self.turn(bus)
                with contextlib.suppress(queue.Empty):
                    published, done = self._todo.get_nowait()
                    for message in published:
                        bus.publish(message)
                    done.set()
            bus.close()


class LiveBus(ThreadedBus):
    """An engine called `name` below `runtime`, which is XDG_RUNTIME_DIR: it runs, and publishes metrics each second."""

    THREAD = "live bus"  # no thread of the rig's: it may outlive a test, where a whole module uses it

    def __init__(
        self, runtime: Path, name: str = "default", *, run: str = "5e1f", finals: int = 1000, look_ms: int = 2
    ) -> None:
        directory = runtime / "mpengine" / name
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._metrics_at = 0.0
        where = {"publish": f"ipc://{directory}/results", "query": f"ipc://{directory}/query"}
        super().__init__(where, str(directory / "journal"), name=name, run=run, finals=finals, look_ms=look_ms)

    def opened(self, bus: Bus) -> None:
        """See ThreadedBus."""
        bus.publish(RUNNING)

    def turn(self, bus: Bus) -> None:
        """See ThreadedBus."""
        if time.monotonic() > self._metrics_at:
            self._metrics_at = time.monotonic() + 1.0
            bus.publish(msgspec.structs.replace(METRICS, last=dict(bus.last)))


@contextlib.contextmanager
def live_buses(runtime: Path, *names: str) -> Iterator[list[LiveBus]]:
    """Several of them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(LiveBus(runtime, name)) for name in names]

"""An engine of which there are only the two sockets: for commands, which see no more of a real one."""

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import zmq

from tests.rig.waiting import PATIENCE_S, PREFIX, scaled, wait_until

_STAMP = {"run": "r", "boot": "b", "seq": 0}


class FakeEngine:
    """Answers questions, and publishes `greeting` to whoever subscribes; `status` is its answer to that question.

    `results` and `query` are its endpoints, `asked` are the types of all questions, `questions` counts those for its
    status. `history` is what its snapshot holds; the last one of the greeting is then its status, with the last `seq`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "default",
        greeting: Sequence[dict[str, Any]] = (),
        history: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.results, self.query = f"ipc://{directory}/results", f"ipc://{directory}/query"
        self.status: dict[str, Any] = {"state": "running", "publish": self.results, "children": {}}
        self.asked: list[str] = []
        self._name, self._greeting, self._history = name, greeting, history
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

    def start(self) -> None:
        """Be there, perhaps again."""
        self._done.clear()
        bound = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(bound,), name=f"{PREFIX}engine")
        self._thread.start()
        assert bound.wait(scaled(30))

    def vanish(self) -> None:
        """Be gone, without a word."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def questions(self) -> int:
        """How often its status was asked for."""
        return self.asked.count("status")

    def wait_for_questions(self, count: int, timeout: float = PATIENCE_S) -> None:
        """Wait until its status was asked for so many times more."""
        wanted = self.questions + count
        wait_until(lambda: self.questions >= wanted, timeout, f"question {wanted}")

    def answer(self, kind: str) -> dict[str, Any]:
        """The answer to a question of this type."""
        match kind:
            case "status":
                return {"type": "status", **self.status}
            case "snapshot" if self._history:
                last, complete = self._greeting[-1], dict.fromkeys(("transcript.final", "gap", "error"), 0)
                whole = {"seq": last["seq"], "messages": list(self._history), "status": last, "complete": complete}
                return {"type": "snapshot", **_STAMP, **whole}
            case "snapshot":
                return {"type": "snapshot", **_STAMP}
        return {"type": "ok"}

    def answered(self, kind: str, publisher: zmq.Socket[bytes]) -> None:
        """What it does once its answer is on its way."""

    def idle(self, publisher: zmq.Socket[bytes]) -> None:
        """What it does again and again, from its own thread."""

    def publish(self, publisher: zmq.Socket[bytes], *several: dict[str, Any]) -> None:
        """Publish these messages under their topics."""
        for message in several:
            topic = message["type"]
            if topic == "transcript":
                topic += ".final" if message["is_final"] else ".interim"
            publisher.send_multipart([f"{self._name}.{topic}".encode(), json.dumps(message).encode()])

    def _serve(self, bound: threading.Event) -> None:
        with (
            zmq.Context() as context,
            context.socket(zmq.XPUB) as publisher,
            context.socket(zmq.ROUTER) as queries,
            contextlib.ExitStack() as stack,
        ):
            # Who does not come for its last words is not waited for.
            stack.callback(publisher.setsockopt, zmq.LINGER, 500)
            publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
            publisher.bind(self.results)
            queries.bind(self.query)
            bound.set()
            both = zmq.Poller()
            both.register(publisher, zmq.POLLIN)
            both.register(queries, zmq.POLLIN)
            while not self._done.is_set():
                ready = dict(both.poll(10))
                if publisher in ready:
                    self._greet(publisher, publisher.recv())
                if queries in ready:
                    *envelope, question = queries.recv_multipart()
                    kind = json.loads(question)["type"]
                    self.asked.append(kind)
                    queries.send_multipart([*envelope, json.dumps(self.answer(kind)).encode()])
                    self.answered(kind, publisher)
                self.idle(publisher)

    def _greet(self, publisher: zmq.Socket[bytes], subscription: bytes) -> None:
        """A sync subscription is answered, any other one greeted."""
        kind, topic = subscription[:1], subscription[1:]
        if kind == b"\x01" and b".sync." in topic:
            publisher.send_multipart([topic, json.dumps({"type": "sync", **_STAMP}).encode()])
        elif kind == b"\x01":
            self.publish(publisher, *self._greeting)

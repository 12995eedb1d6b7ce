"""`mpengine relay` as its users start it, and storms that kill it and its broker."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from tests.rig.brokers import Listener, Mosquitto, NatsServer
from tests.rig.live_bus import LiveBus
from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

HOST = "box"
DESK = ("--name", "desk")


class Relay:
    """`mpengine relay --to URL ARGUMENTS`, for the engines below `runtime`."""

    def __init__(self, runtime: Path, url: str, *arguments: str) -> None:
        self.state, self._log = runtime / "state", runtime / "relay.log"
        self._command = [sys.executable, "-m", "mpengine", "relay", "--to", url, "--host", HOST]
        self._command += ["--state", str(self.state), *arguments]
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONWARNINGS": "error"}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end()

    def start(self) -> Self:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = spawn(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(how)

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """End it; its exit code."""
        assert self._process is not None
        with self._process as process:
            process.send_signal(how)
            code = process.wait(scaled(PATIENCE_S))
        self._process = None
        return code

    @property
    def said(self) -> str:
        """All that it has written, since its first start."""
        return self._log.read_text()

    def until_it_says(self, text: str, times: int = 1) -> str:
        """Wait for that; all that it has written."""
        return wait_until(lambda: self.said.count(text) >= times and self.said, PATIENCE_S, text)


@contextmanager
def engines(runtime: Path, count: int) -> Iterator[list[LiveBus]]:
    """So many engines. Each has a run of its own, as real ones have."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(LiveBus(runtime, f"e{number}", run=f"{number:04x}", look_ms=20))
            for number in range(count)
        ]


def names_of(buses: Sequence[LiveBus]) -> list[str]:
    """The arguments that name these engines."""
    return [word for bus in buses for word in ("--name", bus.name)]


def storm(
    buses: Sequence[LiveBus], relay: Relay, broker: NatsServer | Mosquitto, seconds: float, chance: random.Random
) -> tuple[dict[str, list[str]], int]:
    """Kill and start both for so long, while the engines say about one thing a second each; all said, and the kills."""
    said: dict[str, list[str]] = {bus.name: [] for bus in buses}
    until = time.monotonic() + seconds
    kills = 0
    # mosquitto writes what it has when it is told to end, and else now and then.
    gentle = isinstance(broker, Mosquitto)
    ways: list[Callable[[], object]] = [
        relay.end,
        lambda: relay.end(signal.SIGTERM),
        lambda: broker.end(signal.SIGTERM),
        lambda: broker.end(signal.SIGTERM if gentle else signal.SIGKILL),
    ]
    while time.monotonic() < until:
        next_kill = time.monotonic() + chance.uniform(0.0, 4.0)
        victim = chance.randrange(len(ways))
        is_dead = False
        while time.monotonic() < next_kill + chance.uniform(0.0, 2.0) or not is_dead:
            for bus in buses:
                texts = [f"{len(said[bus.name]) + number}" for number in range(chance.choice((1, 1, 1, 3)))]
                said[bus.name] += texts
                bus.say(*texts)
            if not is_dead and time.monotonic() >= next_kill:
                ways[victim]()
                is_dead, kills = True, kills + 1
            time.sleep(max(0.0, chance.uniform(0.0, 1.2) - 0.02 * len(buses)))
        (relay if victim < 2 else broker).start()
    return said, kills


def finals_of(stored: Sequence[tuple[str, str]], engine: str) -> list[str]:
    """The texts of an engine, in the order of the broker, of pairs (subject, text)."""
    return [text for subject, text in stored if f"{HOST}.{engine}.transcript" == subject.replace("/", ".")]


def stored_finals(broker: NatsServer) -> list[tuple[str, str]]:
    """The finals that the stream has: subject and text."""
    return [(message.subject, message.body["text"]) for message in broker.stored() if "text" in message.body]


def nats_storm(runtime: Path, *, count: int, seconds: float, seed: int) -> str:
    """A storm over JetStream. It fails unless the stream has every final once and in order; what was done, in words."""
    chance = random.Random(seed)
    with NatsServer(runtime / "nats") as broker, engines(runtime, count) as buses:
        with Relay(runtime, broker.url, *names_of(buses), "--create-stream") as relay:
            relay.until_it_says("relaying ")
            said, kills = storm(buses, relay, broker, seconds, chance)
            total = sum(map(len, said.values()))
            finals = "mpengine.*.*.transcript"
            wait_until(lambda: broker.count(finals) >= total, PATIENCE_S * 2, "all finals", every=1.0)
        stored = [(subject.removeprefix("mpengine."), text) for subject, text in stored_finals(broker)]
        for name, texts in said.items():
            assert finals_of(stored, name) == texts, name
        assert not [message for message in broker.stored() if message.subject.endswith(".hole")]
        assert "Traceback" not in relay.said
        return f"{total} finals of {count} engines, {kills} kills in {seconds:g} s: each once, in order"


def mqtt_storm(runtime: Path, *, count: int, seconds: float, seed: int) -> str:
    """The same over mosquitto: every final at least once, the second ones recognisable, the first ones in order."""
    chance = random.Random(seed)
    with (
        Mosquitto(runtime / "mosquitto") as broker,
        engines(runtime, count) as buses,
        Listener(broker, f"mpengine/{HOST}/+/transcript") as listener,
    ):
        with Relay(runtime, broker.url, *names_of(buses)) as relay:
            relay.until_it_says("relaying ")
            said, kills = storm(buses, relay, broker, seconds, chance)

            def everything() -> bool:
                keys = {(message.body["run"], message.body["seq"]) for message in list(listener.messages)}
                return len(keys) >= sum(map(len, said.values()))

            wait_until(everything, PATIENCE_S * 2, "all finals", every=0.5)
        got = list(listener.messages)
        first = {(message.body["run"], message.body["seq"]): message for message in reversed(got)}
        in_order = [message for message in got if first[message.body["run"], message.body["seq"]] is message]
        stored = [(message.subject.removeprefix("mpengine/"), message.body["text"]) for message in in_order]
        for name, texts in said.items():
            assert finals_of(stored, name) == texts, name
        assert "Traceback" not in relay.said
        return f"{len(stored)} finals of {count} engines, {kills} kills in {seconds:g} s: {len(got)} came"


def main() -> None:
    """A long storm by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker", choices=("nats", "mqtt"))
    parser.add_argument("--engines", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run = nats_storm if arguments.broker == "nats" else mqtt_storm
    with tempfile.TemporaryDirectory() as directory:
        try:
            print(run(Path(directory), count=arguments.engines, seconds=arguments.seconds, seed=arguments.seed))
        finally:
            print((Path(directory) / "relay.log").read_text()[-3000:])


if __name__ == "__main__":
    main()

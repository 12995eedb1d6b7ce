"""How many boxes one nats-server serves, where that bends, and what a cluster of three costs beside it.

Each box is a connection of its own, and has a result a second (see `tests.rig.fleet`: no engine and no TLS). The boxes
have the last core of this machine, in one process, and the servers have the others. A message counts from its sending
to its acknowledgement; how late it was sent is the boxes' own fault, and a figure of its own. The server bends where
1 % of the messages take longer than a second, or where the acknowledgements fall behind.
"""

import contextlib
import json
import os
import resource
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from tests.bench import usage
from tests.bench.common import Bench
from tests.bench.figures import percentile
from tests.rig.brokers import NatsServer
from tests.rig.fleet import Fleet
from tests.rig.server import reserve_port
from tests.rig.waiting import wait_until

STEPS = (500, 1000, 2000, 5000, 10_000)
IN_CLUSTER = (500, 1000, 2000)
FASTER = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
"""Results a second of each box, until the server bends."""
IDS_S = (1.0, 120.0)
"""For so long the server remembers the ids of messages."""
AWAY_S = 30.0
_LONGEST_MS = 1000.0
_PATIENCE_S = 300.0
_SPARE = 500  # descriptors that are no boxes


def measure(bench: Bench) -> None:
    """Add the figures."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    boxes = min(bench.boxes, hard - _SPARE)
    if boxes < bench.boxes:
        bench.note(f"fleet: only {boxes} boxes, because a process may have {hard} descriptors (ulimit -Hn)")
    for count in [*(step for step in STEPS if step < boxes), boxes]:
        with running(bench, count) as (servers, fleet):
            step(bench, f"{count} boxes", servers, fleet, count)
            if count == boxes:
                bend(bench, servers, fleet, boxes)
    for count in [step for step in IN_CLUSTER if step <= boxes]:
        with running(bench, count, replicas=3) as (servers, fleet):
            step(bench, f"{count} boxes, cluster of three", servers, fleet, count)
    for ids_s in IDS_S:
        with running(bench, boxes, ids_s=ids_s) as (servers, fleet):
            step(bench, f"ids of {ids_s:g} s", servers, fleet, boxes, ids_s=max(IDS_S))
            if ids_s == max(IDS_S):
                storm(bench, servers, fleet, boxes)


@contextlib.contextmanager
def running(
    bench: Bench, boxes: int, *, replicas: int = 1, ids_s: float = max(IDS_S)
) -> Iterator[tuple[list[NatsServer], Fleet]]:
    """Servers with a stream, and boxes that are all connected, and silent."""
    with tempfile.TemporaryDirectory(prefix="mpbench-") as directory, contextlib.ExitStack() as stack:
        with _cores_of_servers():
            servers = [stack.enter_context(each) for each in _servers(Path(directory), replicas)]
        wait_until(lambda: _has_stream(servers[0], replicas, ids_s), _PATIENCE_S, "a stream", every=0.5)
        with _cores(sorted(os.sched_getaffinity(0))[-1:]):
            fleet = stack.enter_context(Fleet(boxes, [server.port for server in servers]))
        began = time.monotonic()
        wait_until(lambda: fleet.look()["connected"] == boxes, _PATIENCE_S, f"{boxes} boxes", every=0.5)
        bench.say(f"fleet: {boxes} boxes, {replicas} servers; connected after {time.monotonic() - began:.1f} s")
        yield servers, fleet
        fleet.say(0)
        wait_until(lambda: not fleet.look()["behind"], _PATIENCE_S, "the last acknowledgement", every=0.5)
        found, stored = fleet.look(), _messages(servers[0])
        assert stored == found["said"], f"{stored} messages are in the stream, {found['said']} were said"


def step(
    bench: Bench, name: str, servers: Sequence[NatsServer], fleet: Fleet, rate: float, *, ids_s: float = 0.0
) -> bool:
    """Add the figures of so many results a second, after `ids_s` seconds of them. Whether the servers keep up."""
    fleet.say(rate)
    time.sleep(ids_s or min(bench.settle_s, bench.seconds))
    pids = {server.pid: f"server {number}" for number, server in enumerate(servers)} | {fleet.process.pid: "boxes"}
    routed, ticks, before, at_first = _routed(servers), usage.machine_ticks(), usage.snapshot(pids), fleet.look()
    time.sleep(bench.seconds)
    at_last, after, routed = fleet.look(), usage.snapshot(pids), _routed(servers) - routed
    busy = usage.busy_cores(ticks, usage.machine_ticks())
    used = usage.used(before, after)
    took_s = at_last["at_s"] - at_first["at_s"]
    per_s = {key: (at_last[key] - at_first[key]) / took_s for key in ("said", "sent", "acknowledged")}
    boxes_cpu = used.cpu_by_process.pop("boxes")
    took_ms, late_ms = at_last["acknowledged_ms"] or [0.0], at_last["late_ms"] or [0.0]

    def add(what: str, unit: str, value: float) -> None:
        bench.figures.add("fleet", f"{name}: {what}", unit, value)

    add("published a second", "", per_s["sent"])
    add("acknowledged a second", "", per_s["acknowledged"])
    for percent in (50, 95, 99):
        add(f"to the acknowledgement, p{percent}", "ms", percentile(took_ms, percent))
    add("late in the boxes, p99", "ms", percentile(late_ms, 99))
    each_us = 10_000 / max(1.0, per_s["acknowledged"])
    add("CPU of the servers", "% of a core", used.cpu)
    add("CPU of the servers, each message", "us", used.cpu * each_us)
    if len(servers) > 1:
        add("CPU of the busiest server", "% of a core", max(used.cpu_by_process.values()))
        add("between servers", "bytes a message", routed / max(1, at_last["acknowledged"] - at_first["acknowledged"]))
    add("CPU of the boxes", "% of a core", boxes_cpu)
    add("CPU of the boxes, each message", "us", boxes_cpu * each_us)
    add("memory of a server, RSS", "MB", usage.memory([servers[0].pid]).rss)
    add("disk of a server", "bytes a message", _disk(servers[0]) / max(1, _messages(servers[0])))
    add("CPU of all other programs", "% of a core", max(0.0, 100 * busy - used.cpu - boxes_cpu))
    add("load average", "", os.getloadavg()[0])
    keeps_up = per_s["acknowledged"] > 0.98 * per_s["said"] and percentile(took_ms, 99) < _LONGEST_MS
    bench.say(
        f"fleet: {name}: {per_s['acknowledged']:.0f} of {per_s['said']:.0f} acknowledged a second, p99 "
        f"{percentile(took_ms, 99):.0f} ms, CPU {used.cpu:.0f} and {boxes_cpu:.0f} % of a core, "
        f"others {max(0.0, 100 * busy - used.cpu - boxes_cpu):.0f} %"
    )
    return keeps_up


def bend(bench: Bench, servers: Sequence[NatsServer], fleet: Fleet, boxes: int) -> None:
    """Let the boxes say more and more until the server does not keep up."""
    for factor in FASTER:
        if not step(bench, f"{boxes} boxes, {factor:g} each", servers, fleet, factor * boxes):
            break


def storm(bench: Bench, servers: Sequence[NatsServer], fleet: Fleet, boxes: int, away_s: float = AWAY_S) -> None:
    """Kill the server under load, and start it later: how long until it listens, and until all is worked off."""
    (server,) = servers
    fleet.say(boxes)
    server.end(signal.SIGKILL)
    time.sleep(away_s)
    done, began = fleet.look()["acknowledged"], time.monotonic()

    def add(what: str, probe: Callable[[dict[str, Any]], bool]) -> None:
        wait_until(lambda: probe(fleet.look()), _PATIENCE_S, what, every=0.2)
        bench.figures.add("fleet", f"killed, and away for {away_s:g} s: {what}", "s", time.monotonic() - began)

    with _cores_of_servers():
        server.start()
    add("it listens", lambda _: True)
    add("the first acknowledgement", lambda found: found["acknowledged"] > done)
    add("all boxes are connected", lambda found: found["connected"] == boxes)
    add("all is worked off", lambda found: found["behind"] < boxes / 10)
    bench.figures.add("fleet", "connections lost in all", "", fleet.look()["lost"])


def _cores_of_servers() -> contextlib.AbstractContextManager[None]:
    cores = sorted(os.sched_getaffinity(0))
    return _cores(cores[:-1] or cores)


@contextlib.contextmanager
def _cores(cores: Sequence[int]) -> Iterator[None]:
    """What is started inside stays on these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Member(NatsServer):
    """A server of a cluster, which tells what passes between its servers."""

    def __init__(self, directory: Path, number: int, ports: Sequence[int]) -> None:
        self.monitor = reserve_port()
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
        cluster = f"cluster {{ name: fleet, listen: 127.0.0.1:{ports[number]}, routes: [{routes}] }}"
        super().__init__(directory, f"server_name: n{number}\nhttp: 127.0.0.1:{self.monitor}\n{cluster}")

    def routed(self) -> int:
        """The bytes that it has sent to the others."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/routez", timeout=30) as answer:
            return sum(route["out_bytes"] for route in json.load(answer)["routes"] or ())


def _servers(directory: Path, count: int) -> list[NatsServer]:
    if count == 1:
        return [NatsServer(directory)]
    ports = [reserve_port() for _ in range(count)]
    return [_Member(directory / f"n{number}", number, ports) for number in range(count)]


def _has_stream(server: NatsServer, replicas: int, ids_s: float) -> bool:
    """Make it. A cluster has to find its leader before."""
    with contextlib.suppress(TimeoutError, NatsError, JetStreamError):
        server.make_stream(num_replicas=replicas, duplicate_window=ids_s)
        return True
    return False


def _messages(server: NatsServer) -> int:
    return int(server.ask(lambda context: context.stream_info("mpengine")).state.messages)


def _routed(servers: Sequence[NatsServer]) -> int:
    return sum(server.routed() for server in servers if isinstance(server, _Member))


def _disk(server: NatsServer) -> int:
    found = 0
    for path in (server.directory / "store").rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # the server replaces files meanwhile
            found += path.stat().st_blocks * 512
    return found

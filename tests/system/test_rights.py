"""Who may read and who may command: users of one machine, and two hosts. The page security has this matrix."""

import os
import sys
from pathlib import Path

import pytest
import zmq

from tests.rig.hosts import FIRST, TwoHosts, listens
from tests.rig.outsider import STRANGER, tried, yes
from tests.rig.serving import reserve_port
from tests.rig.waiting import wait_until

SPEECH = Path(__file__).parents[1] / "data" / "speech.wav"
READS = {"read", "ask"}
ALL = {*READS, "command by query", "command"}
INTERNAL = {"frames", "control"}
# Rights need no recogniser: this one is never reached.
NOBODY = {"remote": {"mode": "byok", "byok_url": "ws://127.0.0.1:9/", "byok_api_key": "a-key"}}

pytestmark = pytest.mark.slow

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def started(engine, bus=None, **options):
    """An engine that waits for its recogniser, and how to reach it."""
    source = {"audio": {"source": str(SPEECH)}, "supervisor": {"wait": True}}
    running = engine(NOBODY | source | {"bus": bus or {}}, is_reachable=False, **options)
    there = {socket: f"ipc://{running.runtime}/{socket}" for socket in ("query", "command")}
    there |= {"publish": f"ipc://{running.runtime}/results"} | (bus or {})
    return running, {"name": running.name} | {key: there[key] for key in ("publish", "query", "command")}


def tcp(*names, host="127.0.0.1"):
    return {name: f"tcp://{host}:{reserve_port()}" for name in names}


def pair():
    return tuple(key.decode() for key in zmq.curve_keypair())


# One machine


@pytest.fixture
def local(engine):
    """Tries an engine with these keys of [bus]: as its own user, and as another one. Gives what went through."""

    def attempt(bus, own, others, **keys):
        running, there = started(engine, bus)
        wait_until(lambda: " publishing " in running.log_text(), 30, "the bus")
        os.chmod(running.directory, 0o755)  # the runtime directory alone must be enough
        internal = [f"{running.runtime}/{name}" for name in sorted(INTERNAL)]
        wait_until(lambda: all(map(os.path.exists, internal)), 30, "the sockets between the processes")
        results = []
        for uid, expected in ((None, own), (STRANGER, others)):
            found = tried(**there, uid=uid, expected=sorted(expected), internal=internal, **keys)
            print(f"{bus} uid {uid}: {found}")
            results.append(yes(found))
        assert results == [own | INTERNAL, others]

    return attempt


@needs_root
def test_in_the_runtime_directory_another_user_can_do_nothing(local):
    local({}, ALL, set())


@needs_root
def test_over_loopback_every_user_reads_and_only_the_engines_own_commands(local):
    local(tcp("publish", "query"), {*READS, "command"}, READS)


@needs_root
def test_over_loopback_every_user_commands_where_the_configuration_says_so(local):
    everybody = {*READS, "command"}
    local(tcp("publish", "query", "command"), everybody, everybody)


@needs_root
def test_with_a_key_who_does_not_know_it_reads_nothing(local):
    _, secret = pair()
    bus = {"curve_secret_key": secret} | tcp("publish", "query")
    local(bus, set(), set())


# Two hosts


@pytest.fixture(scope="module")
def hosts():
    trouble = TwoHosts.trouble()
    if trouble:
        pytest.skip(trouble)
    with TwoHosts() as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("is_listed", [True, False], ids=["clients", "any client"])
def test_between_hosts_the_list_of_clients_says_who_may_read_and_command(engine, hosts, is_listed):
    """Without a list, who knows the engine's public key reads, and nobody commands: `bus.command` stays at home."""
    server, (known, known_secret), (_, other_secret) = pair(), pair(), pair()
    names = ("publish", "query", "command") if is_listed else ("publish", "query")
    bus = tcp(*names, host=FIRST) | {"curve_secret_key": server[1]}
    if is_listed:
        bus |= {"curve_clients": [known]}
    command = (*hosts.first, sys.executable, "-m", "mpengine", "run")
    running, there = started(engine, bus, command=command)
    listens(hosts.second, bus["publish"].removeprefix("tcp://"), 30)
    everything = {*READS, "command"} if is_listed else READS
    matrix = {
        "listed key": ({"server_key": server[0], "client_key": known_secret}, everything),
        "another key": ({"server_key": server[0], "client_key": other_secret}, set() if is_listed else READS),
        "a new key": ({"server_key": server[0]}, set() if is_listed else READS),
        "wrong key of the engine": ({"server_key": pair()[0], "client_key": known_secret}, set()),
        "no key": ({}, set()),
    }
    for who, (keys, expected) in matrix.items():
        there["command"] = bus.get("command", f"ipc://{running.runtime}/command")
        if not is_listed:  # another host does not see the other's file system
            there["command"] = "ipc:///nowhere/command"
        found = tried(inside=hosts.second, **there, expected=sorted(expected), **keys)
        print(f"{who}: {found}")
        assert yes(found) == expected, who
    if is_listed:
        assert running.log_text().count("client_refused") == 1

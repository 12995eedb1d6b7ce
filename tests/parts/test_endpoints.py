"""Endpoints: which paths a bus may take, IPv6, and a bind that is repeated because the path has vanished."""

import os
import shutil
import socket

import pytest
import zmq

from mpengine.client.ask import connect
from mpengine.shared import sockets
from mpengine.shared.config import Config
from mpengine.shared.errors import ConfigError, MpengineError
from tests.rig.waiting import scaled


@pytest.fixture
def make():
    """Makes sockets of a kind."""
    context, made = zmq.Context(), []

    def make(kind):
        made.append(sockets.make(context, kind))
        return made[-1]

    yield make
    context.destroy(linger=0)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "results")


def test_an_ordinary_file_is_not_removed(make, path):
    with open(path, "w", encoding="ascii") as file:
        file.write("precious")
    with pytest.raises(MpengineError, match=f"cannot listen on ipc://{path}: there is something else than a socket"):
        sockets.bind(make(zmq.ROUTER), f"ipc://{path}")
    with open(path, encoding="ascii") as file:
        assert file.read() == "precious"


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda path: os.symlink("/nowhere", path)])
def test_nor_is_anything_else_that_is_no_socket(make, path, put):
    put(path)
    with pytest.raises(MpengineError, match="something else than a socket"):
        sockets.bind(make(zmq.ROUTER), f"ipc://{path}")
    assert os.path.lexists(path)


@pytest.mark.parametrize("backlog", [0, 100])
def test_a_socket_at_which_somebody_answers_is_refused(make, path, backlog):
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as caller:
        other.bind(path)
        other.listen(backlog)
        caller.connect(path)  # with a backlog of 0 there is no room for another caller
        with pytest.raises(MpengineError, match="another program listens there; name another path"):
            sockets.bind(make(zmq.ROUTER), f"ipc://{path}")


def test_a_socket_that_a_killed_program_left_is_taken(make, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    sockets.bind(make(zmq.ROUTER), f"ipc://{path}")


def answers(router, asker):
    """Whether a question comes and is answered."""
    asker.send(b"?")
    if not router.poll(scaled(30) * 1000):
        return False
    identity, question = router.recv_multipart()
    router.send_multipart([identity, question])
    return bool(asker.poll(scaled(30) * 1000)) and asker.recv() == b"?"


@pytest.mark.parametrize("vanishes", ["socket", "directory"])
def test_a_socket_whose_path_vanished_is_reached_again_and_no_connection_ends(make, tmp_path, vanishes):
    directory = tmp_path / "d"
    directory.mkdir()
    endpoint = f"ipc://{directory}/results"
    router, before, behind = (make(kind) for kind in (zmq.ROUTER, zmq.DEALER, zmq.DEALER))
    sockets.bind(router, endpoint)
    connect(before, endpoint, "bus.query", None, None)
    assert answers(router, before)
    if vanishes == "socket":
        os.unlink(directory / "results")
    else:
        shutil.rmtree(directory)
        directory.mkdir()
    sockets.bind(router, endpoint)
    connect(behind, endpoint, "bus.query", None, None)
    assert answers(router, behind)
    assert answers(router, before)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_an_ipv6_endpoint_is_bound_and_found(make):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 loopback here")
        port = probe.getsockname()[1]
    endpoint = f"tcp://[::1]:{port}"
    assert Config.parse({"remote": {"mode": "local"}, "bus": {"query": endpoint}}).bus.query == endpoint
    router, asker = make(zmq.ROUTER), make(zmq.DEALER)
    sockets.bind(router, endpoint)
    connect(asker, endpoint, "bus.query", None, None)
    assert answers(router, asker)


def test_ipv6_beyond_this_machine_needs_a_key():
    with pytest.raises(ConfigError, match="tcp beyond this machine needs a key"):
        Config.parse({"remote": {"mode": "local"}, "bus": {"query": "tcp://[::]:5555"}})

"""Real connections at a door: who is inside stays, nobody else finds the socket, and strangers must leave."""

import contextlib
import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq

from mpengine.client.ask import ask
from mpengine.shared import doorkeeper, sockets
from mpengine.shared.door import Crowd, Stranger
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.errors import EngineUnreachable
from mpengine.shared.file_id import find
from mpengine.shared.messages import StatusQuery
from tests.rig.waiting import wait_until

LIMIT = 10
BACKLOG = 100  # libzmq's own, where nobody has set another


class House:
    """A ROUTER with a door."""

    def __init__(self, stack, path, **rules):
        self.path = str(path / "query")
        context = stack.enter_context(zmq.Context())
        self.doors = Doorkeeper(context)
        stack.callback(self.doors.close)
        self.socket = stack.enter_context(context.socket(zmq.ROUTER))
        self.doors.watch(self.socket, f"ipc://{self.path}", LIMIT, **rules)
        sockets.bind(self.socket, f"ipc://{self.path}")
        stack.callback(self.doors.close)
        self.stack = stack

    def enter(self):
        made = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        made.connect(self.path)
        return made

    def wait_for(self, count):
        wait_until(lambda: len(self.doors.guests(self.socket)) == count, 10, f"{count} guests")


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def test_the_door_is_shut_at_the_limit_and_open_when_there_is_room(stack, tmp_path):
    house = House(stack, tmp_path)
    before = find(house.path)
    guests = [house.enter() for _ in range(LIMIT)]
    wait_until(lambda: not os.path.exists(house.path), 10, "a shut door")
    assert doorkeeper.is_full(f"ipc://{house.path}")
    assert doorkeeper.find_socket(house.path) == before
    assert house.doors.news() == [Crowd(f"ipc://{house.path}", LIMIT, False, os.getpid(), LIMIT, 0)]
    with pytest.raises(EngineUnreachable, match="too many clients"):
        ask(StatusQuery(), query=f"ipc://{house.path}", timeout_s=0.1)
    for guest in guests[:3]:
        guest.close()
    wait_until(lambda: find(house.path) == before, 10, "an open door")
    house.wait_for(LIMIT - 3)
    house.enter()
    house.wait_for(LIMIT - 2)


def test_a_shut_door_is_opened_at_the_end(stack, tmp_path):
    house = House(stack, tmp_path)
    for _ in range(LIMIT):
        house.enter()
    wait_until(lambda: not os.path.exists(house.path), 10, "a shut door")
    house.doors.close()
    assert os.path.exists(house.path)
    assert not doorkeeper.is_full(f"ipc://{house.path}")


def test_a_stranger_must_leave_and_the_others_stay(stack, tmp_path):
    house = House(stack, tmp_path, is_ours=lambda pid: pid == os.getpid())
    house.enter()
    house.wait_for(1)
    script = f"""import socket
s = socket.socket(socket.AF_UNIX)
s.connect({house.path!r})
while s.recv(64):
    pass
"""
    with subprocess.Popen([sys.executable, "-c", script]) as other:
        assert other.wait() == 0
    house.wait_for(1)
    assert house.doors.news() == [Stranger(f"ipc://{house.path}", other.pid)]


def test_family_is_told_by_proc():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert doorkeeper.is_of_engine(child.pid, os.getpid())
        assert doorkeeper.is_of_engine(child.pid, os.getppid())
        assert not doorkeeper.is_of_engine(os.getpid(), child.pid)
        child.communicate(b"x")
    assert doorkeeper.is_of_engine(os.getpid(), os.getpid())
    assert not doorkeeper.is_of_engine(os.getppid(), os.getpid())
    assert not doorkeeper.is_of_engine(1, os.getpid())


def test_a_process_whose_parent_is_the_first_one_is_no_child_of_ours():
    script = "import os, sys\nif os.fork(): sys.exit()\nprint(os.getpid(), flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as middle:
        orphan = int(middle.stdout.readline())
        wait_until(lambda: doorkeeper._parent_of(orphan) != middle.pid, 10, "an orphan")
        assert not doorkeeper.is_of_engine(orphan, os.getpid())
        middle.stdin.close()


def test_what_an_engine_that_was_killed_left_is_removed(stack, tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "query.full"))
    house = House(stack, tmp_path)
    assert not doorkeeper.is_full(f"ipc://{house.path}")


def test_a_socket_that_could_not_be_bound_leaves_no_thread(tmp_path):
    (tmp_path / "query").write_text("a file")
    with contextlib.ExitStack() as stack, pytest.raises(Exception, match="cannot listen"):
        House(stack, tmp_path)


@pytest.fixture
def many_descriptors():
    """Room for both ends of more connections than libzmq accepts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * doorkeeper.UNREAD_EVENTS + 1000
    if before[1] < wanted:
        pytest.skip(f"this system allows {before[1]} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, before[0]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def late(stack, tmp_path, monkeypatch, many_descriptors):
    """A house whose keeper reads nothing before `goes_on`, and as many connections as libzmq accepts meanwhile."""
    goes_on = threading.Event()
    events_of = Doorkeeper._events_of

    def waits(self, monitor):
        goes_on.wait()
        return events_of(self, monitor)

    monkeypatch.setattr(Doorkeeper, "_events_of", waits)
    house = House(stack, tmp_path)
    stack.callback(goes_on.set)
    house.entered = 0

    def enter():
        made = stack.enter_context(socket.socket(socket.AF_UNIX))
        made.setblocking(False)
        house.entered += made.connect_ex(house.path) == 0
        return house.entered

    wait_until(lambda: enter() >= doorkeeper.UNREAD_EVENTS, 30, "as many as it accepts", every=0)
    for _ in range(300):
        time.sleep(0)
        enter()
    return house, goes_on


def test_libzmq_waits_for_a_keeper_that_does_not_come(late):
    """So the connections that it can accept are bounded, however busy this process is."""
    house, goes_on = late
    assert house.entered <= doorkeeper.UNREAD_EVENTS + BACKLOG + 3  # those that wait, and one that is on its way
    assert not house.doors.catch_up(0.01)
    goes_on.set()
    house.wait_for(LIMIT)
    assert doorkeeper.is_full(f"ipc://{house.path}")


def test_the_end_waits_for_a_keeper_that_is_late(late, monkeypatch):
    """To end a monitor takes a lock that libzmq holds while it waits for the keeper, and holds Python's lock."""
    house, goes_on = late
    catch_up = house.doors.catch_up

    def begins(limit_s):
        goes_on.set()
        return catch_up(limit_s)

    monkeypatch.setattr(house.doors, "catch_up", begins)
    house.doors.close()
    assert not house.doors._thread.is_alive()


@pytest.fixture
def two():
    """Both ends of a connection, and the listener that was asked for it."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")
        listener.listen()
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            yield listener, client, accepted


def ended(client):
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return client.recv(1) == b""
    return False


def test_a_listener_that_has_the_descriptor_of_a_connection_by_now_is_left_alone(two):
    """libzmq would abort this process."""
    listener, client, _ = two
    fd = listener.fileno()
    doorkeeper.end_connection(fd, doorkeeper.inode_of(fd))
    with socket.socket(socket.AF_UNIX) as another:
        another.connect(listener.getsockname())
        listener.accept()[0].close()
    assert doorkeeper._guest_at(fd, listener.getsockname()) is None
    assert not ended(client)


@pytest.mark.parametrize("has_room", [True, False])
def test_the_connection_that_is_meant_is_ended_and_no_other(two, has_room, monkeypatch):
    _, client, accepted = two
    if not has_room:

        def dup(fd):
            raise OSError(errno.EMFILE, "no descriptor")

        monkeypatch.setattr(os, "dup", dup)
    fd, inode = accepted.fileno(), doorkeeper.inode_of(accepted.fileno())
    assert doorkeeper.connection_of(fd, os.getpid() + 1) == 0
    assert doorkeeper.connection_of(fd, os.getpid()) == doorkeeper.connection_of(fd, 0) == inode
    doorkeeper.end_connection(fd, inode + 1)
    doorkeeper.end_connection(fd, inode, pid=os.getpid() + 1)
    assert not ended(client)
    doorkeeper.end_connection(fd, inode, pid=os.getpid())
    assert ended(client)


def test_what_is_no_socket_is_left_alone(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        assert doorkeeper.connection_of(file.fileno(), 0) == 0
        doorkeeper.end_connection(file.fileno(), doorkeeper.inode_of(file.fileno()))
        file.write(b"x")
    assert doorkeeper.connection_of(1_000_000, 0) == 0
    doorkeeper.end_connection(1_000_000, 1)

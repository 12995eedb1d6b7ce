"""The supervisor's end of the control channel: who is heard on it."""

import re

import pytest
import zmq

from mpengine.shared import control
from mpengine.supervisor.children.channel import ChildChannel
from mpengine.supervisor.decide.actions import Child
from tests.rig.waiting import scaled, wait_until


@pytest.fixture
def ends(tmp_path):
    """A channel, and what connects to it under an identity."""
    endpoint = f"ipc://{tmp_path}/control"
    with zmq.Context() as context:
        channel = ChildChannel(context, endpoint)
        opened = []

        def connect(identity):
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IDENTITY, identity.encode())
            socket.connect(endpoint)
            opened.append(socket)
            return socket

        yield channel, connect
        for socket in opened:
            socket.close()
        channel.close()


def test_identities_are_never_alike_and_say_nothing_of_each_other(ends):
    channel, _ = ends
    identities = [channel.new_identity(child) for child in (Child.CAPTURE, Child.STREAMING) for _ in range(50)]
    assert len(set(identities)) == 100
    assert all(re.fullmatch(r"(capture|streaming)\.[0-9a-f]{32}", identity) for identity in identities)


def test_who_guesses_the_identity_of_the_next_process_is_not_heard_and_takes_nobodys_place(ends):
    """A forger holds identities as they once were counted; the real child is heard and hears."""
    channel, connect = ends
    forgers = [connect(f"streaming.0123456789abcdef-{number}") for number in range(1, 5)]
    child = connect(channel.new_identity(Child.STREAMING))
    for socket in (*forgers, child):
        socket.send(control.encode(control.Hello(pid=int(socket is child))))
    heard = wait_until(channel.hear, 30, "the child's word")
    assert heard == [(Child.STREAMING, control.Hello(pid=1))]
    channel.send(Child.STREAMING, control.Finish())
    assert child.poll(scaled(30) * 1000)
    assert not any(forger.poll(0) for forger in forgers)

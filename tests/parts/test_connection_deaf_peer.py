"""Connection and a peer that stops reading."""

import select
import threading

import pytest

from mpengine.shared.errors import ConnectionLost
from mpengine.streaming.websocket.events import Failed
from tests.parts.peers import (
    NEVER,
    SOON,
    TEXT,
    after_upgrade,
    deaf_after_upgrade,
    frame,
    next_event,
    next_events,
    opened,
    send_until_lost,
    until_full,
    until_gone,
    until_send_waits,
    upgrade,
)

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_proxy")


def test_a_send_past_its_deadline_is_the_end(tls):
    leave = threading.Event()
    with opened(deaf_after_upgrade(leave), tls, send_timeout_s=0.3) as made:
        with pytest.raises(ConnectionLost, match=r"frame not sent within 0\.3 s"):
            send_until_lost(made)
        assert next_event(made) == Failed("frame not sent within 0.3 s")
        with pytest.raises(ConnectionLost, match=r"frame not sent within 0\.3 s"):
            made.send_text("more")
        leave.set()


def test_a_full_queue_makes_the_peer_wait_and_loses_nothing():
    count = 5000
    waits, sent = threading.Event(), threading.Event()

    def script(sock):
        upgrade(sock)
        rest = b"".join(frame(TEXT, b"%d" % number + b"." * 2000) for number in range(count))
        room = select.poll()
        room.register(sock, select.POLLOUT)
        while rest:
            if room.poll(10):
                rest = rest[sock.send(rest[:65536]) :]
            else:
                waits.set()
        sent.set()
        until_gone(sock)

    with opened(script) as made:
        until_full(made)
        waits.clear()
        assert waits.wait(SOON)
        until_full(made)
        assert not sent.is_set()
        numbers = [int(event.text.rstrip(".")) for event in next_events(made, count)]
        assert numbers == list(range(count))


def test_abandon_ends_a_blocked_send_and_the_reader_at_once(tls):
    leave = threading.Event()

    def abandon():
        until_send_waits(made)
        made.abandon()

    with opened(deaf_after_upgrade(leave), tls, send_timeout_s=NEVER) as made:
        other = threading.Thread(target=abandon)
        other.start()
        with pytest.raises(ConnectionLost, match="abandoned"):
            send_until_lost(made)
        assert made.join(SOON)
        other.join(SOON)
        assert made.events() == []
        leave.set()


def test_a_reader_that_waits_for_room_is_ended_too():
    with opened(after_upgrade(frame(TEXT, b"x") * 1000)) as made:
        until_full(made)
        made.abandon()
        assert made.join(SOON)
        assert made.events() == []


def test_a_lost_connection_ends_a_blocked_send_though_nobody_takes_events():
    def script(sock):
        upgrade(sock)
        sock.sendall(frame(TEXT, b"x") * 256 + b"garbage")
        assert leave.wait(2 * SOON)

    leave = threading.Event()
    with opened(script) as made:
        with pytest.raises(ConnectionLost, match="protocol broken"):
            send_until_lost(made)
        leave.set()
        assert isinstance(next_events(made, 257)[-1], Failed)

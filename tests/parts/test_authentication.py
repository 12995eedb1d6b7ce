"""Who is let in by CURVE: the listed clients, and nobody else where there is a list."""

import contextlib
import json
import os
import threading
import time

import pytest
import zmq

from mpengine.processes.freed_memory import own_mb
from mpengine.shared import sockets
from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError
from mpengine.supervisor.authentication import Authenticator
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Identity, Journal
from tests.rig.waiting import scaled

PUBLIC, SECRET = zmq.curve_keypair()
# The end of a handshake, as a client sees it.
OVER = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED


@pytest.fixture
def answers(tmp_path):
    """Gives the answer of a bus that lists these clients to a question with this key; None if none comes."""
    with contextlib.ExitStack() as stack:

        def asked(clients, secret, *, patience_s):
            with contextlib.ExitStack() as one:
                context = one.enter_context(zmq.Context())
                journal = Journal.create(f"{tmp_path}/j", Identity("r", "m", 16000, 1, "portaudio"), History())
                one.callback(journal.close, remove=True)
                names = {name: f"ipc://{tmp_path}/{name}" for name in ("publish", "query", "command")}
                authenticator = Authenticator(context, clients)
                one.callback(authenticator.close)
                key = Secret(SECRET.decode())
                bus = Bus(context, name="n", **names, curve_secret_key=key, run="r", boot="b", journal=journal, seq=0)
                one.callback(bus.close)
                done, got = threading.Event(), []
                thread = threading.Thread(target=ask, args=(names["query"], secret, patience_s, got, done))
                thread.start()
                poller = zmq.Poller()
                for source in (authenticator.socket, *bus.sources):
                    poller.register(source, zmq.POLLIN)
                while not done.is_set():
                    poller.poll(10)
                    authenticator.answer(100.0)
                    for question in bus.questions():
                        bus.reply(question, b'"yes"')
                thread.join()
                return json.loads(got[0]) if got else None

        yield asked
        stack.close()


def ask(endpoint, secret, patience_s, got, done):
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.CURVE_SERVERKEY, PUBLIC)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(secret))
        socket.connect(endpoint)
        with contextlib.suppress(zmq.Again):
            socket.send(b"?", zmq.NOBLOCK)
            if socket.poll(patience_s * 1000):
                got.append(socket.recv())
    done.set()


def test_a_listed_client_is_answered_and_another_is_not_and_is_logged_once(answers, caplog):
    public, secret = zmq.curve_keypair()
    assert answers([public.decode()], secret, patience_s=scaled(30)) == "yes"
    assert answers([zmq.curve_keypair()[0].decode(), public.decode()], secret, patience_s=scaled(30)) == "yes"
    assert caplog.records == []
    other = zmq.curve_keypair()[1]
    assert answers([public.decode()], other, patience_s=1.0) is None
    (line,) = caplog.records
    assert zmq.curve_public(other).decode() in str(line.msg.fields)


def test_without_a_list_every_client_is_let_in_that_knows_the_key(answers):
    assert answers([], zmq.curve_keypair()[1], patience_s=scaled(30)) == "yes"


@pytest.mark.parametrize("key", ["#" * 40, "short"])
def test_a_key_that_cannot_be_is_a_configuration_error(key):
    with zmq.Context() as context, pytest.raises(ConfigError) as raised:
        Authenticator(context, [key])
    assert raised.value.path == "bus.curve_clients"


class Guarded:
    """A guarded ROUTER, and programs that connect to it with an identity and say hello."""

    def __init__(self, stack, endpoint):
        self.asked, self.may_come = [], True
        self._context, self._clients = stack.enter_context(zmq.Context()), stack.enter_context(zmq.Context())
        self._endpoint = endpoint
        self._authenticator = Authenticator(self._context, is_ours=self._is_ours)
        stack.callback(self._authenticator.close)
        self.router = stack.enter_context(self._context.socket(zmq.ROUTER))
        sockets.guard(self.router)
        self.router.bind(endpoint)

    def _is_ours(self, pid):
        self.asked.append(pid)
        return self.may_come

    def connect(self, identity):
        client = self._clients.socket(zmq.DEALER)
        client.setsockopt(zmq.IDENTITY, identity)
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.RECONNECT_IVL, -1)
        client.connect(self._endpoint)
        client.send(b"hello")
        return client

    def until(self, is_so):
        give_up = time.monotonic() + scaled(30)
        while not is_so():
            assert time.monotonic() < give_up
            self.router.poll(1)
            self._authenticator.answer(0.0)


@pytest.fixture
def guarded(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Guarded(stack, f"ipc://{tmp_path}/guarded")


def test_a_guarded_socket_asks_by_pid_and_hears_nobody_who_may_not_come(guarded, caplog):
    with guarded.connect(b"one"):
        guarded.until(lambda: guarded.router.poll(0))
        assert guarded.router.recv_multipart() == [b"one", b"hello"]
        guarded.may_come = False
        with guarded.connect(b"two"):
            guarded.until(lambda: len(guarded.asked) == 2)
            guarded.may_come = True
            with guarded.connect(b"three"):
                guarded.until(lambda: guarded.router.poll(0))
                assert guarded.router.recv_multipart() == [b"three", b"hello"]
    assert set(guarded.asked) == {os.getpid()}
    assert not guarded.router.poll(0)
    assert not caplog.records  # the doorkeeper tells


def test_strangers_with_one_identity_leave_nothing(guarded):
    """libzmq would keep 36 kB of each that it lets in."""
    with guarded.connect(b"one"):
        guarded.until(lambda: guarded.router.poll(0))
        guarded.may_come = False
        before = own_mb()
        for _ in range(300):
            with guarded.connect(b"one") as client, contextlib.closing(client.get_monitor_socket(OVER)) as monitor:
                guarded.until(lambda monitor=monitor: monitor.poll(0))
                client.disable_monitor()
        grown_mb = own_mb() - before
        assert grown_mb < 3.0


@pytest.mark.parametrize(
    ("address", "pid"),
    [("localhost:0:0:1060", 1060), ("127.0.0.1:80", 0), ("localhost:0:0:", 0), ("localhost:0:0:x", 0), ("unknown", 0)],
)
def test_the_address_of_a_peer_says_its_process(address, pid):
    assert sockets.pid_of(address) == pid

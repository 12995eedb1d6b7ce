"""Who is let in by CURVE: the listed clients, and nobody else where there is a list."""

import contextlib
import json
import threading

import pytest
import zmq

from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError
from mpengine.supervisor.authentication import Authenticator
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Identity, Journal
from tests.rig.waiting import scaled

PUBLIC, SECRET = zmq.curve_keypair()


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
                keys = {"curve_secret_key": Secret(SECRET.decode()), "curve_clients": clients}
                bus = Bus(context, name="n", **names, **keys, run="r", boot="b", journal=journal, seq=0)
                one.callback(bus.close)
                done, got = threading.Event(), []
                thread = threading.Thread(target=ask, args=(names["query"], secret, patience_s, got, done))
                thread.start()
                poller = zmq.Poller()
                for source in bus.sources:
                    poller.register(source, zmq.POLLIN)
                while not done.is_set():
                    poller.poll(10)
                    bus.let_in(100.0)
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

"""How programs find an engine: by the file in its runtime directory, by its configuration, and again when it moves."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgspec
import pytest
import zmq

from mpengine import ConfigError, EngineUnreachable, Subscriber, Transcript, ask
from mpengine.cli import parser_for
from mpengine.cli.options import target_of
from mpengine.client import feed
from mpengine.client.finding import Found, find
from mpengine.shared import one_writer, whereabouts
from mpengine.shared.messages import StatusAnswer, StatusQuery
from mpengine.shared.whereabouts import Whereabouts
from tests.rig.fake_engine import FakeEngine
from tests.rig.server import reserve_port
from tests.rig.waiting import scaled

DESK = Whereabouts(name="desk", pid=7, publish="tcp://*:47001", query="tcp://127.0.0.1:47002", public_key="k" * 40)


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("MPENGINE_CURVE_SERVER_KEY", "MPENGINE_CURVE_CLIENT_KEY_FILE", "MPENGINE_CURVE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "mpengine" / "desk"
    directory.mkdir(parents=True)
    return directory


# The file


def test_the_file_comes_back_as_it_was_and_is_for_its_user_alone(runtime):
    whereabouts.write(str(runtime), DESK)
    assert whereabouts.read(str(runtime)) == DESK
    assert os.stat(runtime / "endpoints").st_mode & 0o777 == 0o600
    assert os.listdir(runtime) == ["endpoints"]


def test_it_takes_the_place_of_an_earlier_one_and_of_half_a_one(runtime):
    whereabouts.write(str(runtime), DESK)
    (runtime / "endpoints.new").write_text("{")
    whereabouts.write(str(runtime), msgspec.structs.replace(DESK, pid=8))
    assert whereabouts.read(str(runtime)).pid == 8


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"name":"desk"}', b'{"name":7,"pid":7}', b"\xff", b"x" * 100_000]
)
def test_what_is_no_such_file_says_nothing(runtime, content):
    (runtime / "endpoints").write_bytes(content)
    assert whereabouts.read(str(runtime)) is None
    assert find("desk").query == f"ipc://{runtime}/query"


def test_what_is_no_file_says_nothing_and_keeps_nobody_waiting(runtime):
    os.mkfifo(runtime / "endpoints")
    assert whereabouts.read(str(runtime)) is None
    os.unlink(runtime / "endpoints")
    whereabouts.write(str(runtime.parent), DESK)
    os.symlink(runtime.parent / "endpoints", runtime / "endpoints")
    assert whereabouts.read(str(runtime)) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_says_nothing_but_to_root(runtime, monkeypatch):
    whereabouts.write(str(runtime), DESK)
    os.chown(runtime / "endpoints", 54321, -1)
    assert whereabouts.read(str(runtime)) == DESK
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert whereabouts.read(str(runtime)) is None
    os.chown(runtime / "endpoints", 0, -1)
    assert whereabouts.read(str(runtime)) == DESK


# Finding


def test_an_engine_is_where_it_says(runtime):
    whereabouts.write(str(runtime), DESK)
    usual = f"ipc://{runtime}/command"
    assert find("desk") == Found("tcp://127.0.0.1:47001", "tcp://127.0.0.1:47002", usual, "k" * 40)


def test_without_a_file_it_is_in_the_runtime_directory(runtime):
    assert find("desk") == Found(*(f"ipc://{runtime}/{name}" for name in ("results", "query", "command")))


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 33, "é"])
def test_a_name_that_cannot_be_is_refused(runtime, name):
    with pytest.raises(ConfigError, match=r"engine.name: expected 1 to 32"):
        find(name)


def test_an_engine_that_starts_is_waited_for_until_its_file_says_where_it_is(runtime, tmp_path):
    lock = os.open(runtime / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    one_writer.lock(lock)
    (tmp_path / "elsewhere").mkdir()
    try:
        with FakeEngine(tmp_path / "elsewhere") as fake, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, StatusQuery(), name="desk", timeout_s=scaled(30))
            whereabouts.write(str(runtime), Whereabouts(name="desk", pid=7, query=fake.query))
            assert json.loads(asked.result())["state"] == "running"
    finally:
        os.close(lock)


def target(*words):
    return target_of(parser_for("stop").parse_args(["stop", *words]))


CONFIG = """
[engine]
name = "desk"
[remote]
mode = "byok"
byok_api_key_file = "not-for-clients.key"
[bus]
publish = "tcp://0.0.0.0:47001"
query = "tcp://127.0.0.1:47002"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mic.toml"
    path.write_text(CONFIG)
    return path


def test_a_configuration_says_where_its_engine_will_be(runtime, config):
    found = target("--config", str(config))
    assert (found.name, found.publish, found.query) == ("desk", "tcp://127.0.0.1:47001", "tcp://127.0.0.1:47002")
    assert (found.command, found.server_key) == (f"ipc://{runtime}/command", None)


def test_an_engine_that_runs_knows_better_than_its_configuration(runtime, config):
    whereabouts.write(str(runtime), DESK)
    assert target("--config", str(config)) == ("desk", None, None, None, None, None)


def test_the_public_key_comes_from_the_secret_one_if_it_may_be_read(runtime, config):
    public, secret = zmq.curve_keypair()
    config.write_text(CONFIG + 'curve_secret_key_file = "bus.key"\n')
    assert target("--config", str(config)).server_key is None
    (config.parent / "bus.key").write_bytes(secret)
    assert target("--config", str(config)).server_key == public.decode()
    assert target("--config", str(config), "--server-key=x").server_key == "x"


def test_a_name_is_stronger_than_the_configuration_and_an_endpoint_stronger_than_both(runtime, config):
    found = target("--config", str(config), "--name", "door", "--query", "tcp://10.0.0.1:1")
    assert (found.name, found.query, found.publish) == ("door", "tcp://10.0.0.1:1", "tcp://127.0.0.1:47001")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[engine]\nname = 7", "engine.name: expected"),
        ("[bus]\nquary = 7", "bus.quary: unknown key"),
        ("engine = 7", "engine: expected"),
        ("x", "mic.toml:1: not valid TOML"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_words(runtime, config, text, error):
    config.write_text(text)
    with pytest.raises(ConfigError, match=error):
        target("--config", str(config))


def test_the_key_of_the_environment_is_not_for_an_engine_that_tells_its_own(runtime, monkeypatch):
    monkeypatch.setenv("MPENGINE_CURVE_SERVER_KEY", "e" * 40)
    assert target("--name", "desk").server_key == "e" * 40
    whereabouts.write(str(runtime), DESK)
    assert target("--name", "desk").server_key is None
    assert target("--name", "desk", "--query", "tcp://10.0.0.1:1").server_key == "e" * 40


# Asking and following


class TcpEngine(FakeEngine):
    """One on tcp, called default, which says in `directory` where it is."""

    def __init__(self, directory, text):
        super().__init__(directory, greeting=[{"type": "transcript", "text": text, "is_final": True}])
        self.directory = directory
        self.results, self.query = (f"tcp://127.0.0.1:{reserve_port()}" for _ in range(2))

    def start(self):
        super().start()
        said = Whereabouts(name="default", pid=os.getpid(), publish=self.results, query=self.query)
        whereabouts.write(str(self.directory), said)


@pytest.fixture
def directory(runtime):
    path = runtime.parent / "default"
    path.mkdir()
    return path


def test_a_question_goes_where_the_engine_says_that_it_is(directory):
    with TcpEngine(directory, "hello") as fake:
        assert msgspec.json.decode(ask(StatusQuery()), type=StatusAnswer).state == "running"
        assert fake.questions == 1


def test_an_engine_that_was_killed_is_said_to_be_absent(directory):
    whereabouts.write(str(directory), Whereabouts(name="default", pid=1, query=f"tcp://127.0.0.1:{reserve_port()}"))
    with pytest.raises(EngineUnreachable, match=r"start one with: mpengine run$"):
        ask(StatusQuery(), timeout_s=0.2)


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "desk0"), (5, "desk0, desk1, desk2, desk3, desk4"), (6, "desk0, desk1, desk2, desk3, desk4, others")],
)
def test_who_asks_for_an_absent_engine_is_told_which_ones_run(directory, count, told):
    (directory.parent / "stopped").mkdir()
    with ExitStack() as held:
        for number in range(count):
            path = directory.parent / f"desk{number}"
            path.mkdir()
            fd = one_writer.open_file(str(path / "lock"), os.O_CREAT | os.O_RDWR)
            held.callback(os.close, fd)
            one_writer.lock(fd)
        with pytest.raises(EngineUnreachable) as caught:
            ask(StatusQuery(), timeout_s=0.01)
    assert str(caught.value).endswith(f"; running: {told} (choose with --name); start one with: mpengine run")


def test_who_came_before_the_engine_finds_it_and_finds_it_again_elsewhere(directory, monkeypatch):
    monkeypatch.setattr(feed, "_FIND_S", 0.05)

    def hear(text):
        for message in subscriber:
            if isinstance(message, Transcript) and message.text == text:
                return

    with Subscriber(topics=("transcript.final",)) as subscriber:
        assert subscriber.receive(scaled(0.1)) is None
        for text in ("first", "second"):
            with TcpEngine(directory, text):
                hear(text)


@pytest.mark.parametrize("wrong", [{"query": "garbage"}, {"publish": "tcp://x"}, {"public_key": "short"}])
def test_what_an_engine_cannot_mean_changes_nothing_until_it_is_mended(directory, monkeypatch, wrong):
    monkeypatch.setattr(feed, "_FIND_S", 0.01)
    with Subscriber(topics=("transcript.final",)) as subscriber:
        before = subscriber._sockets
        whereabouts.write(str(directory), Whereabouts(name="default", pid=1, **wrong))
        for _ in range(3):
            assert subscriber.receive(0.02) is None
        assert subscriber._sockets == before
        with TcpEngine(directory, "mended"):
            assert any(
                isinstance(message, Transcript) for message in iter(lambda: subscriber.receive(scaled(30)), None)
            )


def test_given_endpoints_are_not_looked_for(directory, tmp_path):
    whereabouts.write(str(directory), Whereabouts(name="default", pid=1, publish="tcp://127.0.0.1:1"))
    greeting = [{"type": "transcript", "text": "here", "is_final": True}]
    with (
        FakeEngine(tmp_path, greeting=greeting) as fake,
        Subscriber(publish=fake.results, query=fake.query) as subscriber,
    ):
        assert any(isinstance(message, Transcript) for message in iter(lambda: subscriber.receive(scaled(10)), None))

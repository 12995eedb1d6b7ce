"""No piece of a key stands in anything that an engine writes, whatever its recogniser says back."""

import base64
import json
import os
import re
import secrets
import signal

import pytest
import zmq

from mpengine import dialects
from tests.rig.configs import Tables, byok, managed, noise, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.engine import listen_first
from tests.rig.proxy import FakeProxy
from tests.rig.server import reserve_port
from tests.rig.tunnel import Tunnel
from tests.rig.waiting import wait_until

pytestmark = pytest.mark.slow

PIECE = 8
LAST = "that was all"


def key():
    """No word, and no text that stands anywhere else."""
    return secrets.token_hex(24)


def cuts(secret):
    """How a peer may say it back: whole, or cut anywhere."""
    return [secret, f"Incorrect key: {secret[:20]}", secret[-12:], f"…{secret[7:30]}…", json.dumps({"key": secret})]


class Needles:
    """Looks for each run of eight characters of each secret."""

    def __init__(self, *wanted: str) -> None:
        runs = {secret[at : at + PIECE] for secret in wanted for at in range(len(secret) - PIECE + 1)}
        self._pattern = re.compile(b"|".join(re.escape(run.encode()) for run in sorted(runs)))

    def look(self, where: str, data: bytes | str) -> list[str]:
        """Where it was found."""
        found = self._pattern.search(data if isinstance(data, bytes) else data.encode())
        return [] if found is None else [f"{where}: …{found.string[max(0, found.start() - 60) : found.end() + 20]!r}"]


def in_processes(running, needles, but_environ=()):
    """In command lines, environments, and the files that they have open, also those without a name."""
    hits = []
    for process in running.process_tree():
        place = f"/proc/{process.pid}"
        for name in ("cmdline", "environ", "comm"):
            with open(f"{place}/{name}", "rb") as file:
                data = file.read()
            for each in but_environ if name == "environ" else ():
                data = re.sub(rb"(?i)%s=[^\0]*" % each.encode(), b"", data)
            hits += needles.look(f"{place}/{name} of {process.command}", data)
        for fd in os.listdir(f"{place}/fd"):
            path = f"{place}/fd/{fd}"
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    hits += needles.look(f"{path} ({os.readlink(path)})", file.read())
    return hits


def in_files(running, needles, *known):
    """In all that lies in its directory, but the files that the key was read from."""
    hits = []
    for path in running.directory.rglob("*"):
        if path.is_file() and path not in known:
            hits += needles.look(str(path), path.read_bytes())
    return hits


def on_the_bus(running, needles):
    """In messages, and in answers to questions, also to odd ones."""
    hits = [hit for each in running.bus.messages for hit in needles.look("the bus", json.dumps(each))]
    since, more = 0, True
    while more:
        answer = running.query({"type": "snapshot", "since": since})
        hits += needles.look("the snapshot", json.dumps(answer))
        more = answer["more"]
        since = answer["messages"][-1]["seq"] if more else since
    for question in ({"type": "status"}, {"type": "nothing"}, b"{", b'{"type":"set_user_name"}'):
        hits += needles.look("an answer", json.dumps(running.query(question)))
    return hits


def echo_in_byok(server, secret):
    for said, status in zip(cuts(secret), (503, 301, 401, 400, 404), strict=True):
        server.push({"type": "Error", "variant": said, "description": said, "message": said, "err_code": said})
        server.push({"type": "Metadata", "request_id": said, "key": said, said: said})
        server.push({"type": said, "said": said})
        server.push(said)
        server.push(server.current.transcript(said, 0, 1600, final=False))
        server.push(server.current.transcript(said, 0, 1600, words=[(said, 0, 1600)]))
        reconnected(server, lambda said=said: server.current.close(1011, f"token {said}"[:110]))
        # One for each: after several in a row the engine waits for long.
        body = {"err_code": said, "err_msg": f"{said} is unknown", "request_id": said}
        headers = {"dg-error": said, "dg-request-id": said, "X-Said": said}
        headers |= {"Location": f"https://portal.invalid/{said}?key={said}"} if status == 301 else {}
        server.refuse(status, {name: value.replace("…", "") for name, value in headers.items()}, body)
        reconnected(server, server.current.reset)
        results_come(server)


def echo_in_managed(server, secret):
    for said in cuts(secret)[:3]:
        server.push({"type": "error", "code": said, "message": said})
        server.push({"type": "ready", "features": [said], said: said})
        server.push({"type": "credits_low", "seconds_remaining": 5, "message": said})
        server.push({"type": said, "text": said})
        server.push({"type": "transcript", "text": said, "is_final": False})
        server.push({"type": "transcript", "text": said, "is_final": True, "words": [{"word": said}]})
        server.push({"type": "session_end", "seconds_used": 5, "reason": said})
        reconnected(server, lambda said=said: server.current.close(1008, f"token {said}"[:110]))
        server.auth_answer = {"type": "error", "code": said, "message": f"unknown token {said}"}
        attempts = len(server.auths)
        server.current.reset()
        server.wait_for(lambda n=attempts: len(server.auths) > n, 60, "a refused token")
        server.auth_answer = FakeProxy.READY
        server.wait_for(lambda: any(each.ready and each.open for each in server.connections), 60, "a new connection")
        results_come(server)


def results_come(server):
    """The recogniser answers: so it works, and the next refusal is the first one."""
    finals = server.responder.finals
    server.wait_for(lambda: server.responder.finals > finals + 1, 60, "results")


def reconnected(server, end):
    """End the connection, and wait for the next one, however it begins."""
    before = len(server.connections)
    end()
    server.wait_for_connection(before + 1, 60)


class Case:
    """`config`, `environment` and the `wanted` secrets of an engine, and the one that its recogniser says back."""

    def __init__(self, config: Tables, secret: str, *more: str, environment: dict[str, str] | None = None) -> None:
        self.config, self.secret, self.wanted = config, secret, (secret, *more)
        self.environment = environment or {}


def case_of(mode, server, tmp_path):
    curve = zmq.curve_keypair()[1].decode()
    bus = {"bus": {"curve_secret_key": curve, "transcript": str(tmp_path / "said.jsonl")}}
    secret = key()
    if mode == "managed":
        path = tmp_path / "token"
        path.write_text(f"{secret}\n")
        config = managed(server, auth_token=None, auth_token_file=str(path))
        return Case(config | {"bus": {"transcript": bus["bus"]["transcript"]}}, secret)
    if mode == "byok":
        return Case(byok(server, byok_api_key=None), secret, environment={"DEEPGRAM_API_KEY": secret})
    assert mode == "local"
    return Case({"remote": {"mode": "local"}} | bus, curve)


def test_every_mode_is_scanned():
    assert set(dialects.MODES) == {"managed", "byok", "local"}, "add a case for the new one"


def scan(running, case, *, known=(), but_environ=()):
    needles = Needles(*case.wanted)
    hits = in_processes(running, needles, but_environ) + in_files(running, needles, *known)
    for child in ("streaming", "capture"):
        pid = running.signal_child(child, signal.SIGABRT)  # which has it say where its threads are
        running.child_pid(child, other_than=pid)
    running.wait_for_state("running", 60)
    hits += on_the_bus(running, needles)
    assert running.stop() == 0
    hits += in_files(running, needles, *known)
    hits += [hit for each in running.bus.messages for hit in needles.look("the bus", json.dumps(each))]
    assert hits == []


@pytest.mark.parametrize(
    ("mode", "log_format"), [pytest.param("managed", "text", marks=pytest.mark.long), ("byok", "json")]
)
def test_what_a_recogniser_says_back(engine, tmp_path, mode, log_format):
    kind, echo = {"managed": (FakeProxy, echo_in_managed), "byok": (FakeDeepgram, echo_in_byok)}[mode]
    with kind(responder=Echo(0.1, 0.5)) as server:
        case = case_of(mode, server, tmp_path)
        source = str(write_wav(tmp_path / "noise.wav", noise(300)))
        running = engine(
            case.config | {"audio": {"source": source}, "buffer": {"seconds": 60}},
            environment=case.environment,
            arguments=("--log-level", "debug", "--log-format", log_format),
        )
        running.wait_for_state("running")
        wait_until(running.bus.finals, 30, "a result: what has worked is never given up")
        echo(server, case.secret)
        running.wait_for_state("running", 60)
        assert "***" in running.log_text()
        scan(running, case)


def test_a_recogniser_that_refuses_the_first_attempt_ends_the_engine_without_the_key(engine, tmp_path):
    secret = key()
    with FakeDeepgram(holds_upgrades=True) as server:
        server.refuse(401, {"dg-error": secret}, {"err_code": "INVALID_AUTH", "err_msg": f"{secret[:20]} {secret}"})
        source = str(write_wav(tmp_path / "noise.wav", noise(10)))
        tables = byok(server, byok_api_key=secret) | {"audio": {"source": source}}
        running = engine(tables, arguments=("--log-level", "debug"))
        listen_first(running, server)
        assert running.wait() == 4
    needles = Needles(secret)
    config = running.directory / "config.toml"
    assert in_files(running, needles, config) == []
    assert [hit for each in running.bus.messages for hit in needles.look("the bus", json.dumps(each))] == []
    assert needles.look("the configuration", config.read_bytes()), "the scan finds what is there"


def test_a_proxy_with_a_password(engine, tmp_path):
    """The user's own environment has the password, as each of the user's programs does; nothing else has it."""
    secret, password = key(), key()
    basic = base64.b64encode(f"me:{password}".encode()).decode()
    with FakeDeepgram(responder=Echo(0.1, 0.5)) as server, Tunnel(
        server.port, user="me", password=password, refusals=1
    ) as proxy:  # fmt: skip
        url = "ws://recogniser.invalid/v1/listen"
        source = str(write_wav(tmp_path / "noise.wav", noise(60)))
        running = engine(
            byok(server, byok_url=url, byok_api_key=None, allow_plaintext=True) | {"audio": {"source": source}},
            environment={"DEEPGRAM_API_KEY": secret, "http_proxy": f"http://me:{password}@127.0.0.1:{proxy.port}"},
            arguments=("--log-level", "debug"),
        )
        running.wait_for_state("running")
        assert "proxy_used" in running.log_text()
        wait_until(running.bus.finals, 30, "a result")
        assert proxy.asked[0].startswith("CONNECT recogniser.invalid:80 ")
        case = Case({}, secret, password, basic)
        scan(running, case, but_environ=("http_proxy",))


def test_keys_of_the_bus(engine, tmp_path):
    """Local mode has no other secret but its own token, which no other process of the machine is told."""
    public, secret = (each.decode() for each in zmq.curve_keypair())
    client_public, client_secret = (each.decode() for each in zmq.curve_keypair())
    bus = {name: f"tcp://127.0.0.1:{reserve_port()}" for name in ("publish", "query")}
    bus |= {"curve_secret_key": None, "curve_clients": [client_public], "transcript": str(tmp_path / "said.jsonl")}
    path = tmp_path / "server.key"
    path.write_text(secret)
    source = str(write_wav(tmp_path / "noise.wav", noise(60)))
    running = engine(
        {"remote": {"mode": "local"}, "audio": {"source": source}, "bus": bus | {"curve_secret_key_file": str(path)}},
        arguments=("--log-level", "debug"),
        is_reachable=False,
    )
    needles = Needles(secret, client_secret)
    wait_until(lambda: "publishing" in running.log_text(), 30, "the bus")
    with zmq.Context() as context, context.socket(zmq.REQ) as asking:
        for option, value in (("CURVE_SERVERKEY", public), ("CURVE_PUBLICKEY", client_public)):
            asking.setsockopt(getattr(zmq, option), value.encode())
        asking.setsockopt(zmq.CURVE_SECRETKEY, client_secret.encode())
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(bus["query"])
        for question in (b'{"type":"status"}', b'{"type":"snapshot","since":0}', secret[:30].encode(), b"{"):
            asking.send(question)
            assert asking.poll(30_000)
            assert needles.look("an answer", asking.recv()) == []
    assert in_processes(running, needles) == []
    assert in_files(running, needles) == []
    assert running.stop() == 0
    assert in_files(running, needles) == []
    assert needles.look("the transcript", (tmp_path / "said.jsonl").read_bytes()) == []

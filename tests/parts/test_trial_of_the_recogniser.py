"""The trial of the recogniser that `mpengine check` makes, against real servers."""

import socket
import sys
import threading

import pytest

from mpengine.cli.check import recogniser as recognisers
from mpengine.cli.check.recogniser import origin_of, recogniser
from mpengine.recogniser import process as local
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError, ExitCode
from mpengine.streaming import trial
from mpengine.streaming.trial import try_recogniser, try_way
from mpengine.streaming.websocket.way import Stage
from tests.parts.peers import NEVER, SOON
from tests.rig.configs import byok, managed
from tests.rig.deepgram import FakeDeepgram
from tests.rig.proxy import FakeProxy
from tests.rig.server import reserve_port

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_proxy")

SECOND = 2 * 16000


def answer_of(tables, *, limit_s=SOON):
    config = Config.parse(tables)
    return try_recogniser(config.remote, config.audio, limit_s=limit_s)


def until_accepted(server):
    """Wait until the server has accepted all connections so far: the next one is behind them."""
    assert answer_of(byok(server)).is_accepted


@pytest.fixture
def impatient(monkeypatch):
    """Without the waits between tries."""
    monkeypatch.setattr(trial.random, "random", lambda: 0.0)


# The way


def test_the_way_to_a_server_with_tls_shows_its_certificate():
    with FakeDeepgram(tls=True) as server:
        way = try_way(server.url, ca_file=server.ca_file, limit_s=SOON)
        assert server.attempts == []  # nobody asked for an upgrade
        until_accepted(server)
    assert (way.stage, way.trouble, way.addresses, way.address) == (Stage.DONE, "", ("127.0.0.1",), "127.0.0.1")
    assert way.certificate is not None
    assert way.certificate.tls.startswith("TLSv1.")
    assert way.certificate.issuer.startswith("trustme")


def test_a_server_that_nobody_vouches_for_is_where_the_way_ends():
    with FakeDeepgram(tls=True) as server:
        way = try_way(server.url, ca_file=None, limit_s=SOON)
        until_accepted(server)
    assert (way.stage, way.certificate) == (Stage.TLS, None)
    assert "not trusted" in way.trouble


def test_a_plain_server_has_no_certificate():
    with FakeDeepgram() as server:
        way = try_way(server.url, ca_file=None, limit_s=SOON)
        until_accepted(server)
    assert (way.stage, way.certificate) == (Stage.DONE, None)


def test_a_closed_port_is_where_the_way_ends():
    way = try_way(f"ws://127.0.0.1:{reserve_port()}", ca_file=None, limit_s=SOON)
    assert (way.stage, way.trouble) == (Stage.CONNECTION, "connection refused by 127.0.0.1")


def test_a_server_that_accepts_and_says_nothing_is_left_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        way = try_way(f"wss://127.0.0.1:{silent.getsockname()[1]}", ca_file=None, limit_s=0.3)
    assert way.stage is not Stage.DONE
    assert way.trouble


def test_a_lookup_that_hangs_is_left_at_the_deadline(monkeypatch):
    answered = threading.Event()

    def hang(*_, **__):
        answered.wait(NEVER)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    way = try_way("ws://recogniser.test/", ca_file=None, limit_s=0.3)
    answered.set()
    assert (way.stage, way.trouble) == (Stage.NAME, "the name was not looked up within 0.3 s")


def test_a_name_that_is_unknown_is_where_the_way_ends(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    way = try_way("wss://recogniser.test/", ca_file=None, limit_s=SOON)
    assert (way.stage, way.trouble) == (Stage.NAME, "host name recogniser.test not resolved: Name or service not known")


def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://user:secret@127.0.0.1:{reserve_port()}")
    way = try_way("wss://recogniser.test/", ca_file=None, limit_s=SOON)
    assert way.stage is Stage.CONNECTION
    assert way.proxy.startswith("proxy http://127.0.0.1:")
    assert "secret" not in f"{way}"


def test_a_proxy_that_cannot_be_used_is_told_and_so_is_a_file_of_authorities(monkeypatch, tmp_path):
    way = try_way("wss://recogniser.test/", ca_file=str(tmp_path / "none.pem"), limit_s=SOON)
    assert (way.stage, way.addresses) == (Stage.TLS, ())
    assert "cannot be used" in way.trouble
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    way = try_way("wss://recogniser.test/", ca_file=None, limit_s=SOON)
    assert (way.stage, way.addresses) == (Stage.CONNECTION, ())
    assert "socks5" in way.trouble


# The key


@pytest.mark.parametrize("tls", [False, True])
def test_a_key_that_is_right_takes_a_second_of_silence(tls):
    with FakeDeepgram(tls=tls, api_key="a-key") as server:
        answer = answer_of(byok(server))
        connection = server.wait_for_connection()
        server.wait_for_end(connection)
        assert (answer.is_accepted, answer.reason) == (True, "")
        assert connection.audio == bytes(SECOND)
        assert server.violations == []


def test_a_key_that_is_wrong_is_refused_at_once_in_the_services_words():
    with FakeDeepgram(api_key="another") as server:
        answer = answer_of(byok(server))
        assert len(server.attempts) == 1
    assert not answer.is_accepted
    assert answer.exit_code is ExitCode.ACCOUNT
    assert "INVALID_AUTH: Invalid credentials." in answer.reason
    assert answer.request_id == server.attempts[0].request_id


def test_a_wrong_parameter_has_the_exit_code_of_the_configuration():
    with FakeDeepgram() as server:
        server.refuse(400, body={"err_code": "Bad Request", "err_msg": "no such model"})
        answer = answer_of(byok(server))
    assert (answer.is_accepted, answer.exit_code) == (False, ExitCode.CONFIG)
    assert "no such model" in answer.reason


@pytest.mark.slow
def test_a_refusal_that_somebody_on_the_way_may_have_said_is_asked_again(impatient):
    with FakeProxy() as server:
        server.refuse(403, times=2)
        assert answer_of(managed(server, hold_s=0)).is_accepted
        assert len(server.attempts) == 3
        server.refuse(403, times=3)
        answer = answer_of(managed(server, hold_s=0))
    assert (answer.is_accepted, answer.exit_code) == (False, ExitCode.ACCOUNT)
    assert "somebody on the way" in answer.reason


def test_trouble_that_may_pass_is_told_at_once():
    with FakeDeepgram() as server:
        server.refuse(503)
        answer = answer_of(byok(server))
    assert (answer.is_accepted, answer.exit_code) == (False, None)
    assert "HTTP 503" in answer.reason


def test_a_token_that_a_proxy_refuses_has_the_exit_code_of_the_account():
    with FakeProxy(auth_answer=FakeProxy.error("token a-token is bad", "invalid_token")) as server:
        answer = answer_of(managed(server))
    assert (answer.is_accepted, answer.exit_code) == (False, ExitCode.ACCOUNT)
    assert answer.reason == "Proxy auth error: token *** is bad"


def test_a_proxy_that_cannot_be_asked_for_its_last_results_is_closed():
    with FakeProxy() as server:
        answer = answer_of(managed(server, hold_s=0))
        connection = server.wait_for_connection()
        server.wait_for_end(connection)
        assert (answer.is_accepted, answer.reason) == (True, "")
        assert connection.audio == bytes(SECOND)


@pytest.mark.slow
def test_a_connection_that_breaks_before_the_silence_is_not_accepted():
    with FakeProxy(auth_answer=FakeProxy.CLOSE) as server:
        answer = answer_of(managed(server))
    assert not answer.is_accepted
    assert answer.reason


def test_a_recogniser_that_does_not_confirm_the_end_has_taken_the_silence():
    with FakeDeepgram(end_code=1011) as server:
        answer = answer_of(byok(server))
    assert answer.is_accepted
    assert "1011" in answer.reason


def test_a_recogniser_that_says_nothing_is_left_at_the_deadline():
    with FakeDeepgram(holds_upgrades=True) as server:
        answer = answer_of(byok(server), limit_s=0.3)
    assert (answer.is_accepted, answer.reason) == (False, "no answer within 0.3 s")


# The lines


def lines_of(tables):
    return {line.check: line for line in recogniser(Config.parse(tables))}


def test_the_lines_end_where_the_way_does():
    with FakeDeepgram(tls=True) as server:
        lines = lines_of(byok(server))
        assert [line.result.value for line in lines.values()] == ["skipped", "ok", "ok", "ok"]
        tables = byok(server)
        del tables["remote"]["ca_file"]
        lines = lines_of(tables)
        assert [line.result.value for line in lines.values()] == ["skipped", "ok", "failed", "skipped"]
        assert list(lines) == ["dns", "endpoint", "tls", "key"]
        assert len(server.attempts) == 1
        until_accepted(server)


@pytest.mark.slow
def test_the_local_recogniser_has_its_model_and_no_network():
    (line,) = lines_of({"remote": {"mode": "local"}}).values()
    assert (line.check, line.result.value) == ("model", "ok")


def test_without_its_packages_the_local_recogniser_fails_as_a_run_would(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpengine.recogniser.words", None)
    (line,) = lines_of({"remote": {"mode": "local"}}).values()
    assert (line.check, line.exit_code) == ("model", ExitCode.CONFIG)
    assert "pip install" in line.mend


def test_a_local_recogniser_that_hangs_is_left_at_the_deadline(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(local, "try_model", lambda: released.wait(NEVER))
    monkeypatch.setattr(recognisers, "_MODEL_LIMIT_S", 0.1)
    (line,) = lines_of({"remote": {"mode": "local"}}).values()
    released.set()
    assert (line.result.value, line.exit_code) == ("failed", ExitCode.CRASH)


# Where the key came from


def load(file, text, **environment):
    file.write_text(text)
    return Config.load(file, environment=environment).remote.byok_api_key


def test_the_origin_of_a_key_is_told_and_never_the_key(tmp_path):
    (tmp_path / "DEEPGRAM_API_KEY").write_text("k-of-a-credential\n")
    (tmp_path / "key").write_text("k-of-a-file\n")
    file, mode = tmp_path / "mic.toml", '[remote]\nmode = "byok"\n'
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = {
        "configuration": (load(file, mode + 'byok_api_key = "k-of-the-configuration"'), {}),
        "file": (load(file, mode + 'byok_api_key_file = "key"'), {}),
        "variable": (load(file, mode, DEEPGRAM_API_KEY="Token k-of-a-variable"), {}),
        "credential": (load(file, mode, **credentials), credentials),
    }
    said = {name: origin_of(secret, environment) for name, (secret, environment) in found.items()}
    assert said == {
        "configuration": "from the configuration itself",
        "file": f"from the file {tmp_path}/key",
        "variable": "from the variable DEEPGRAM_API_KEY",
        "credential": f"from the systemd credential {tmp_path}/DEEPGRAM_API_KEY",
    }
    assert origin_of(Secret(), {}) == "from nowhere: there is none"


def test_a_key_that_others_can_read_is_told(tmp_path):
    file = tmp_path / "key"
    file.write_text("a-key\n")
    with FakeDeepgram(api_key="a-key") as server:
        for mode, mend in ((0o644, f"others may read the key: chmod 600 {file}"), (0o600, "")):
            file.chmod(mode)
            tables = byok(server)
            tables["remote"]["byok_api_key"] = Secret("a-key", str(file))
            assert lines_of(tables)["key"].mend == mend


def test_a_configuration_without_a_key_is_refused_before():
    with pytest.raises(ConfigError):
        Config.parse({"remote": {"mode": "byok"}})

"""The configuration: defaults, refusals that name the key, files, overrides, and secrets that stay secret."""

import os
import traceback

import msgspec
import pytest
import trustme
from msgspec.structs import fields as fields_of

from mpengine import dialects
from mpengine.dialects.deepgram import ByokConfig
from mpengine.dialects.managed import LocalConfig, ManagedConfig
from mpengine.shared.config import Config, secrets
from mpengine.shared.config.file import parse_override
from mpengine.shared.config.words import one_of
from mpengine.shared.config_tables import BusConfig, Secret
from mpengine.shared.errors import ConfigError, ExitCode

SECRET = "S3cr3t-k3y-0f-th3-0wn3r"
LOCAL = {"remote": {"mode": "local"}}
BYOK = {"remote": {"mode": "byok", "byok_api_key": "k"}}


@pytest.fixture(autouse=True)
def _no_secrets_around(monkeypatch):
    for name in ("MPENGINE_AUTH_TOKEN", "DEEPGRAM_API_KEY", "MPENGINE_CURVE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path):
    """Writes the text of a configuration file and returns its path."""

    def write(text):
        path = tmp_path / "mic.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


DEVICES = "text, a whole number, or a list of up to 32 of these"


def merged(tables):
    """`tables` on top of what local mode needs, so that only they can be wrong."""
    return {**LOCAL, **{name: {**LOCAL.get(name, {}), **table} for name, table in tables.items()}}


def refusal(tables):
    with pytest.raises(ConfigError) as caught:
        Config.parse(tables)
    return caught.value


# Defaults


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("engine.name", "default"),
        ("engine.user_name", "User"),
        ("remote.deepgram_model", "nova-2"),
        ("remote.language", "en-US"),
        ("remote.byok_url", "wss://api.deepgram.com/v1/listen"),
        ("remote.parameters", {}),
        ("remote.hold_s", 3.0),
        ("audio.device", None),
        ("audio.sample_rate", 16000),
        ("audio.channels", 1),
        ("audio.block_ms", 20),
        ("audio.latency", 1.0),
        ("audio.quiet_ms", 200),
        ("audio.start", "immediate"),
        ("audio.source", "portaudio"),
        ("audio.paced", True),
        ("buffer.catch_up", 1.25),
        ("bus.publish", None),
        ("supervisor.stop_limit_s", 30.0),
    ],
)
def test_the_default(path, value):
    section, name = path.split(".")
    assert getattr(getattr(Config.parse(BYOK), section), name) == value


def test_the_default_mode_is_managed_as_in_the_origin_engine():
    assert Config.parse({"remote": {"server_url": "proxy", "auth_token": "t"}}).remote.mode == "managed"


def test_the_default_window_holds_a_minute_at_least():
    assert Config.parse(LOCAL).buffer.seconds >= 60


@pytest.mark.parametrize(
    ("rate", "block_ms", "samples"), [(16000, 20, 320), (48000, 10, 480), (8000, 64, 512), (44100, 20, 882)]
)
def test_a_block_is_so_many_samples(rate, block_ms, samples):
    tables = {
        "remote": {"mode": "byok", "byok_api_key": "k"},
        "audio": {"sample_rate": rate, "block_ms": block_ms},
    }
    assert Config.parse(tables).audio.block_samples == samples


@pytest.mark.parametrize(
    ("source", "paced", "is_unpaced"),
    [("portaudio", True, False), ("portaudio", False, False), ("speech.wav", True, False), ("speech.wav", False, True)],
)
def test_only_a_source_that_waits_can_be_read_as_fast_as_it_goes(source, paced, is_unpaced):
    assert Config.parse(merged({"audio": {"source": source, "paced": paced}})).audio.is_unpaced is is_unpaced


@pytest.mark.parametrize(
    ("mode", "audio", "pace"),
    [
        ("byok", {}, 1.25),
        ("byok", {"source": "talk.wav"}, 1.25),
        ("byok", {"source": "talk.wav", "paced": False}, None),
        ("byok", {"paced": False}, 1.25),
        ("local", {}, None),
    ],
)
def test_waiting_audio_is_sent_at_the_pace_where_the_service_has_a_limit(mode, audio, pace):
    assert Config.parse({"remote": {"mode": mode, "byok_api_key": "k"}, "audio": audio}).pace == pace


# Refusals


@pytest.mark.parametrize(
    ("tables", "path"),
    [
        ({}, "remote.server_url"),
        ({"remote": {"server_url": "proxy"}}, "remote.auth_token"),
        ({"remote": {"mode": "byok"}}, "remote.byok_api_key"),
        ({"remote": {"mode": "byok", "byok_api_key": "k", "byok_url": "https://x"}}, "remote.byok_url"),
        ({"remote": {"mode": "byok", "byok_api_key": "k\nX-Evil: 1"}}, "remote.byok_api_key"),
        ({"remote": {"mode": "byok", "byok_api_key": " k"}}, "remote.byok_api_key"),
        ({"remote": {"mode": "loud"}}, "remote.mode"),
        (merged({"remote": {"hold_s": -1}}), "remote.hold_s"),
        (merged({"remote": {"hold_s": float("nan")}}), "remote.hold_s"),
        (merged({"remote": {"language": "de"}}), "remote.language"),
        (merged({"engine": {"name": ""}}), "engine.name"),
        (merged({"engine": {"name": "x" * 33}}), "engine.name"),
        (merged({"engine": {"name": "../x"}}), "engine.name"),
        (merged({"engine": {"name": "a.b"}}), "engine.name"),
        (merged({"engine": {"name": "a\n"}}), "engine.name"),
        (merged({"engine": {"name": "größe"}}), "engine.name"),
        (merged({"audio": {"sample_rate": 44100}}), "audio.sample_rate"),
        (merged({"audio": {"channels": 2}}), "audio.channels"),
        ({"remote": {"mode": "byok", "byok_api_key": "k"}, "audio": {"sample_rate": 4000}}, "audio.sample_rate"),
        ({"remote": {"mode": "byok", "byok_api_key": "k"}, "audio": {"sample_rate": 0}}, "audio.sample_rate"),
        ({"remote": {"mode": "byok", "byok_api_key": "k"}, "audio": {"channels": 0}}, "audio.channels"),
        (
            {"remote": {"mode": "byok", "byok_api_key": "k"}, "audio": {"sample_rate": 22050, "block_ms": 5}},
            "audio.block_ms",
        ),
        (merged({"audio": {"block_ms": 0}}), "audio.block_ms"),
        (merged({"audio": {"gate": "loud"}}), "audio.gate"),
        (
            {"remote": {"mode": "byok", "byok_api_key": "k"}, "audio": {"gate": "vad", "sample_rate": 48000}},
            "audio.gate",
        ),
        ({"remote": {"mode": "byok", "byok_api_key": "k"}, "audio": {"gate": "vad", "channels": 2}}, "audio.gate"),
        (merged({"audio": {"block_ms": 1000}}), "audio.block_ms"),
        (merged({"audio": {"latency": 0}}), "audio.latency"),
        (merged({"audio": {"latency": float("inf")}}), "audio.latency"),
        (merged({"audio": {"start": "later"}}), "audio.start"),
        (merged({"audio": {"source": ""}}), "audio.source"),
        (merged({"buffer": {"seconds": 59.9}}), "buffer.seconds"),
        (merged({"buffer": {"seconds": 1e9}}), "buffer.seconds"),
        (merged({"buffer": {"catch_up": 1.0}}), "buffer.catch_up"),
        (merged({"buffer": {"catch_up": float("nan")}}), "buffer.catch_up"),
        (merged({"bus": {"publish": "results"}}), "bus.publish"),
        (merged({"bus": {"publish": "ipc://"}}), "bus.publish"),
        (merged({"bus": {"history": 99}}), "bus.history"),
        (merged({"bus": {"history": 100_001}}), "bus.history"),
        (merged({"bus": {"history_s": 0}}), "bus.history_s"),
        (merged({"bus": {"transcript": ""}}), "bus.transcript"),
        (merged({"bus": {"transcript": "/"}}), "bus.transcript"),
        (merged({"bus": {"transcript": "/no/such/directory/said.jsonl"}}), "bus.transcript"),
        (merged({"bus": {"transcript_mb": 0}}), "bus.transcript_mb"),
        (merged({"bus": {"transcript_files": 0}}), "bus.transcript_files"),
        (merged({"bus": {"query": "udp://127.0.0.1:1"}}), "bus.query"),
        (merged({"supervisor": {"stop_limit_s": 0}}), "supervisor.stop_limit_s"),
        (merged({"supervisor": {"backoff_s": -1}}), "supervisor.backoff_s"),
        (merged({"supervisor": {"patience": 0.000001}}), "supervisor.patience"),
        (merged({"supervisor": {"patience": 86400}}), "supervisor.patience"),
        (merged({"supervisor": {"first_frame_limit_s": 0.001}}), "supervisor.first_frame_limit_s"),
    ],
)
def test_an_impossible_value_is_refused_by_its_path(tables, path):
    error = refusal(tables)
    assert error.path == path
    assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("tables", "path", "meant"),
    [
        (merged({"engine": {"nmae": "x"}}), "engine.nmae", '"name"'),
        (merged({"remote": {"api_key": "x"}}), "remote.api_key", '"byok_api_key"'),
        (merged({"audio": {"rate": 16000}}), "audio.rate", '"sample_rate"'),
        (merged({"audio": {"Block-MS": 20}}), "audio.Block-MS", '"block_ms"'),
        (merged({"audio": {"language": "en"}}), "audio.language", '"remote.language"'),
    ],
)
def test_an_unknown_key_is_refused_by_its_path_with_the_one_that_was_meant(tables, path, meant):
    assert str(refusal(tables)) == f"{path}: unknown key; did you mean {meant}?"


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ({"enginee": {}}, "enginee: unknown table; did you mean [engine]?"),
        ({"window": {}}, "window: unknown table; the tables are [engine], [remote], [audio], [buffer], [bus], "),
        ({"device": "USB"}, 'device: unknown key: keys stand in tables; did you mean "audio.device"?'),
        (merged({"buffer": {"colour": 1}}), "buffer.colour: unknown key; [buffer] has seconds, catch_up, directory"),
        (merged({"supervisor": {"restarts": 3}}), "supervisor.restarts: unknown key; "),
        (merged({"remote": {"byok_api_key_file": "x"}}), "remote.byok_api_key_file: only a configuration file takes"),
    ],
)
def test_what_is_like_no_key_is_refused_with_those_there_are(tables, text):
    assert str(refusal(tables)).startswith(text)


@pytest.mark.parametrize(
    ("tables", "path", "expected"),
    [
        (
            merged({"engine": {"name": 5}}),
            "engine.name",
            "text, 1 to 32 of A-Z a-z 0-9 _ -, not a whole number; write it in quotes",
        ),
        (merged({"engine": {"name": "a b"}}), "engine.name", "1 to 32 of A-Z a-z 0-9 _ -"),
        (merged({"engine": {"user_name": "x" * 201}}), "engine.user_name", "text of at most 200 characters"),
        (
            merged({"audio": {"sample_rate": "16000"}}),
            "audio.sample_rate",
            "a whole number, 8000 to 192000 Hz, not text; write it without quotes",
        ),
        (merged({"audio": {"sample_rate": 4000}}), "audio.sample_rate", "8000 to 192000 Hz"),
        (merged({"audio": {"channels": 9}}), "audio.channels", "1 to 8"),
        (merged({"audio": {"channels": 1.5}}), "audio.channels", "a whole number, 1 to 8, not a number"),
        (merged({"audio": {"block_ms": True}}), "audio.block_ms", "a whole number, 5 to 250 ms, not true or false"),
        (merged({"audio": {"latency": 0}}), "audio.latency", "more than 0, at most 2 seconds"),
        (merged({"audio": {"paced": 1}}), "audio.paced", "true or false, not a whole number"),
        (merged({"audio": {"device": 1.5}}), "audio.device", f"{DEVICES}, not a number"),
        (merged({"audio": {"device": []}}), "audio.device", DEVICES),
        (merged({"audio": {"device": ""}}), "audio.device", DEVICES),
        (merged({"audio": {"device": ["USB", 1.5]}}), "audio.device[1]", DEVICES),
        (merged({"audio": {"source": ""}}), "audio.source", '"portaudio", "-", or a path of a WAV file or a FIFO'),
        (merged({"buffer": {"seconds": "long"}}), "buffer.seconds", "a number, 60 to 86400 seconds, not text"),
        (merged({"buffer": {"catch_up": 1}}), "buffer.catch_up", "more than 1, at most 100"),
        (merged({"buffer": {"directory": 5}}), "buffer.directory", "a path, not a whole number; write it in quotes"),
        (merged({"bus": {"publish": "results"}}), "bus.publish", "ipc://PATH or tcp://ADDRESS:PORT"),
        (merged({"bus": {"transcript_mb": 0}}), "bus.transcript_mb", "0.01 to 100000 MB"),
        (merged({"bus": {"history_s": 0}}), "bus.history_s", "1 to 31536000 seconds"),
        (merged({"remote": {"auth_token": 12345}}), "remote.auth_token", "text"),
        (merged({"remote": {"auth_token": "a\nb"}}), "remote.auth_token", "one line without spaces around it"),
        (merged({"remote": {"language": {}}}), "remote.language", "text, not a table"),
        (
            {"remote": {"mode": "local", "parameters": {"keyterm": {"a": 1}}}},
            "remote.parameters[...]",
            "a table of text, numbers, true or false, and lists, which repeat the parameter",
        ),
        ({**LOCAL, "engine": 5}, "engine", "a table, not a whole number"),
        ({**LOCAL, "audio": []}, "audio", "a table, not a list"),
        ({"remote": "local"}, "remote", "a table, not text"),
        ({"remote": {"mode": 5}}, "remote.mode", one_of(dialects.MODES)),
        ({"remote": {"mode": ["local"]}}, "remote.mode", one_of(dialects.MODES)),
    ],
)
def test_what_was_expected_is_said_in_plain_words(tables, path, expected):
    error = refusal(tables)
    assert (error.path, str(error)) == (path, f"{path}: expected {expected}")


@pytest.mark.parametrize(
    ("path", "choices"), [("remote.mode", ["managed", "byok", "local"]), ("audio.start", ["immediate", "connected"])]
)
def test_a_refused_choice_names_the_choices(path, choices):
    section, name = path.split(".")
    text = str(refusal(merged({section: {name: "loud"}})))
    assert all(choice in text for choice in choices)


def test_a_configuration_error_ends_the_command_with_2():
    assert refusal({}).exit_code == ExitCode.CONFIG == 2


def test_parameters_of_the_service_are_taken_as_they_are():
    parameters = {"keyterm": ["a", "b"], "numerals": True, "endpointing": 300, "x": 0.5, "tag": "me"}
    config = Config.parse({"remote": {**BYOK["remote"], "parameters": parameters}})
    assert config.remote.parameters == parameters


@pytest.mark.parametrize("name", ["encoding", "sample_rate", "channels"])
def test_a_parameter_that_follows_from_the_audio_is_refused(name):
    error = refusal({"remote": {**BYOK["remote"], "parameters": {name: 1}}})
    assert str(error) == f"remote.parameters.{name}: follows from [audio]; leave it out"


# Keys of another mode

EVERY_OLD_KEY = {
    "server_url": "proxy",
    "auth_token": "t",
    "byok_api_key": "k",
    "byok_url": "wss://x",
    "deepgram_model": "nova-3",
    "language": "en-GB",
    "hold_s": 2,
    "parameters": {"endpointing": 300},
}


@pytest.mark.parametrize(("mode", "kind"), [("managed", ManagedConfig), ("byok", ByokConfig), ("local", LocalConfig)])
def test_the_keys_of_the_first_modes_may_stand_side_by_side(mode, kind):
    remote = Config.parse({"remote": {"mode": mode, **EVERY_OLD_KEY}}).remote
    assert isinstance(remote, kind)
    assert (remote.mode, remote.language, remote.hold_s) == (mode, "en-GB", 2.0)


@pytest.mark.parametrize(
    ("key", "value"), [("byok_url", "https://x"), ("auth_token", 5), ("deepgram_model", 3), ("parameters", [])]
)
def test_a_key_that_has_no_effect_is_checked_all_the_same(key, value):
    assert refusal({"remote": {"mode": "local", key: value}}).path == f"remote.{key}"


def test_a_secret_of_another_mode_does_not_leave_the_file():
    remote = Config.parse({"remote": {"mode": "byok", "byok_api_key": "k", "auth_token": SECRET}}).remote
    assert SECRET not in str(msgspec.structs.asdict(remote))
    assert not hasattr(remote, "auth_token")


def test_a_secrets_file_of_another_mode_is_not_read():
    overrides = {"remote.mode": "local", "remote.auth_token_file": "/no/such/file"}
    assert Config.load(overrides=overrides, environment={"DEEPGRAM_API_KEY": "k"}).remote == LocalConfig()


def test_a_new_key_of_another_mode_is_refused_with_the_mode_that_has_it(monkeypatch):
    monkeypatch.setattr(dialects, "KEYS_OF_ALL_MODES", frozenset())
    error = refusal({"remote": {"mode": "local", "byok_url": "wss://x"}})
    assert str(error) == 'remote.byok_url: this is a key of mode "byok"; the mode is "local"'


def test_each_mode_is_found_by_its_name():
    assert {mode: dialects.kind(mode)().mode for mode in dialects.MODES} == {mode: mode for mode in dialects.MODES}
    assert dialects.DEFAULT_MODE in dialects.MODES


def test_the_secrets_stand_at_their_fields():
    assert secrets().items() >= {
        (("remote", "auth_token"), "MPENGINE_AUTH_TOKEN"),
        (("remote", "byok_api_key"), "DEEPGRAM_API_KEY"),
        (("bus", "curve_secret_key"), "MPENGINE_CURVE_SECRET_KEY"),
    }
    kinds = [("bus", BusConfig), *(("remote", dialects.kind(mode)) for mode in dialects.MODES)]
    keys = [(table, field) for table, kind in kinds for field in fields_of(kind)]
    assert set(secrets()) == {(table, field.name) for table, field in keys if isinstance(field.default, Secret)}


@pytest.mark.parametrize(("choices", "text"), [(["a"], '"a"'), (["a", "b"], '"a" or "b"'), ("abc", '"a", "b" or "c"')])
def test_choices_are_said_as_a_person_would(choices, text):
    assert one_of(choices) == text


# Endpoints


@pytest.mark.parametrize("key", ["publish", "query"])
@pytest.mark.parametrize(
    "endpoint", ["tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://192.168.1.5:5555", "tcp://[::]:5555", "tcp://host:5555"]
)
def test_tcp_off_loopback_needs_a_curve_key(key, endpoint):
    error = refusal(merged({"bus": {key: endpoint}}))
    assert error.path == f"bus.{key}"
    assert "curve_secret_key" in str(error)


def test_tcp_off_loopback_is_taken_with_a_curve_key():
    config = Config.parse(merged({"bus": {"publish": "tcp://*:5555", "curve_secret_key": "k" * 40}}))
    assert config.bus.publish == "tcp://*:5555"


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:5555", "tcp://127.0.0.53:1", "tcp://localhost:5555", "tcp://[::1]:5555", "ipc:///run/x"],
)
def test_loopback_and_ipc_need_no_key(endpoint):
    assert Config.parse(merged({"bus": {"publish": endpoint}})).bus.publish == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:22x",
        "tcp://127.0.0.1:*",
        "tcp://::1:5555",
        "tcp://[::1:5555",
        "tcp://:5555",
        "tcp://local host:5555",
        "ipc://@name",
    ],
)
@pytest.mark.parametrize("key", ["publish", "query"])
def test_an_endpoint_has_an_address_and_a_port(key, endpoint):
    error = refusal(merged({"bus": {key: endpoint, "curve_secret_key": "k" * 40}}))
    assert error.path == f"bus.{key}"


# Files


def test_a_file_sets_what_it_names_and_leaves_the_rest(file):
    config = Config.load(file('[remote]\nmode = "local"\n[audio]\nblock_ms = 40\n'))
    assert (config.audio.block_ms, config.audio.channels) == (40, 1)


def test_without_a_file_overrides_are_enough():
    assert Config.load(overrides={"remote.mode": "local"}).remote.mode == "local"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file"):
        Config.load(tmp_path / "none.toml")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        Config.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"), [(b"[remote\n", 1), (b"a = \n", 1), (b"[remote]\nmode = '\xff'\n", 2), (b"\xff\xfe", 1)]
)
def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path, content, line):
    path = tmp_path / "mic.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"mic\.toml:{line}: not valid TOML: "):
        Config.load(path)


@pytest.mark.parametrize(
    ("text", "path"), [("remote = 5", "remote"), ("buffer = []", "buffer"), ("[remote]\nmode='local'\nx=1", "remote.x")]
)
def test_a_wrong_key_in_a_file_is_refused_by_its_path(file, text, path):
    with pytest.raises(ConfigError) as caught:
        Config.load(file(text))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("audio", "source", "talk.wav"), ("buffer", "directory", "audio")],
)
def test_a_relative_path_is_meant_from_the_folder_of_the_file(file, section, name, value):
    path = file(f'remote.mode = "local"\n{section}.{name} = "{value}"\n')
    (path.parent / value).mkdir()
    assert getattr(getattr(Config.load(path), section), name) == str(path.parent / value)


def test_the_relative_path_of_an_authority_is_meant_from_the_folder_of_the_file(file, certificate):
    certificate.rename(certificate.with_name("mine.pem"))
    path = file('remote.mode = "local"\nremote.ca_file = "mine.pem"\n')
    assert Config.load(path).remote.ca_file == str(path.parent / "mine.pem")


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_byte_order_mark_is_no_error(tmp_path, start):
    path = tmp_path / "mic.toml"
    path.write_bytes(start + b"[remote]\r\nmode = 'local'\r\n")
    assert Config.load(path).remote.mode == "local"


@pytest.mark.parametrize(
    "text",
    [f"a = {'[' * 3000}", f"a = {'[' * 3000}{']' * 3000}", f"a = {'{a=' * 3000}", f"a = {'9' * 5000}", "#" * 2**21],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(file, text):
    with pytest.raises(ConfigError, match=r"\A\S*mic\.toml(:1)?: not valid TOML: .*\Z"):
        Config.load(file(text))


def test_an_endless_file_is_no_configuration():
    with pytest.raises(ConfigError, match=r"\A/dev/zero: not valid TOML: it has more than \d+ bytes\Z"):
        Config.load("/dev/zero")


def test_a_path_with_a_nul_is_no_path():
    with pytest.raises(ConfigError, match="not a path"):
        Config.load("mic\0.toml")


def test_tables_that_are_nested_too_deeply_are_refused_by_their_path(file):
    with pytest.raises(ConfigError) as caught:
        Config.load(file(f"[remote]\nmode = 'local'\nparameters.{'a.' * 3000}b = 1\n"))
    assert caught.value.path.startswith("remote.parameters")


def test_an_override_that_is_nested_too_deeply_is_refused():
    with pytest.raises(ConfigError, match=r"\Aaudio\.device: nested too deeply\Z"):
        parse_override(f"audio.device={'[' * 3000}")


@pytest.mark.parametrize("path", ["bus.transcript", "buffer.directory", "audio.source", "remote.server_url"])
def test_a_text_with_a_nul_is_refused_by_its_path(path):
    table, key = path.split(".")
    assert str(refusal(merged({table: {key: "ipc://a\0b"}}))) == f"{path}: expected text without a NUL character"


@pytest.mark.parametrize("path", ["engine.user_name", "audio.source", "audio.device"])
def test_an_argument_that_is_not_utf_8_is_refused_by_its_path(path):
    table, key = path.split(".")
    assert str(refusal(merged({table: {key: "a\udcff"}}))) == f"{path}: expected text in UTF-8"


def test_a_nul_in_a_list_is_found():
    error = refusal({"remote": {**BYOK["remote"], "parameters": {"keyterm": ["a", "b\0"]}}})
    assert error.path == "remote.parameters.keyterm"


@pytest.mark.parametrize("value", [10**30, -(10**30), float("inf"), {"a": {"a": 1}}, b"x"])
def test_an_absurd_value_is_refused_by_its_path(value):
    assert refusal(merged({"audio": {"channels": value}})).path == "audio.channels"


# A file of certificate authorities


@pytest.fixture
def certificate(tmp_path):
    """The path of a file with one certificate authority."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def test_a_file_with_text_before_its_certificates_is_taken(certificate):
    certificate.write_bytes(b"# mine\r\n" + certificate.read_bytes().replace(b"\n", b"\r\n"))
    assert Config.parse(merged({"remote": {"ca_file": str(certificate)}})).remote.ca_file == str(certificate)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/null", "/dev/null is not a file"),
        ("/dev/zero", "/dev/zero is not a file"),
        ("directory", "is not a file"),
        ("fifo", "is not a file"),
        ("none", "No such file or directory"),
        ("", "No such file or directory"),
        ("empty", "has no certificate"),
        ("junk", "has no certificate"),
        ("key", "has no certificate"),
        ("cut", "has no certificate"),
    ],
)
def test_a_file_without_a_certificate_is_refused(tmp_path, certificate, name, why):
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    (tmp_path / "junk").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + bytes(100))
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nMIIA\n-----END PRIVATE KEY-----\n")
    (tmp_path / "cut").write_bytes(certificate.read_bytes()[:-20])
    error = refusal(merged({"remote": {"ca_file": str(tmp_path / name) if name else ""}}))
    assert error.path == "remote.ca_file"
    assert why in str(error)
    assert "\n" not in str(error)


# Addresses of servers


@pytest.mark.parametrize(
    "url",
    [
        "wss://",
        "wss:///x",
        "wss://:443/x",
        "wss://[::1/x",
        "wss://::1/x",
        "wss://[localhost]/x",
        "wss://host:99999/",
        "wss://host:0/",
        "wss://host:/",
        "wss://host:four/",
        "wss://host:4\u0663/",
        "wss://ho st/",
        "wss://host/a b",
        "wss://host\n/",
        "wss://host\x7f/",
        f"wss://{'x' * 300}/",
        f"wss://{'x.' * 130}org/",
        "wss://a..b/",
        "wss://.a/",
        "wss://a\\b/",
    ],
)
@pytest.mark.parametrize(("mode", "key"), [("managed", "server_url"), ("byok", "byok_url")])
def test_what_is_no_address_is_refused_by_its_path(mode, key, url):
    error = refusal({"remote": {"mode": mode, "auth_token": "t", "byok_api_key": "k", key: url}})
    assert error.path == f"remote.{key}"
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "wss://host",
        "wss://host:1/x?y=z",
        "wss://host:65535",
        "wss://10.0.0.1/",
        "wss://[::1]:80/",
        "wss://h\u00f6st.",
        "wss://a_b",
    ],
)
@pytest.mark.parametrize(("mode", "key"), [("managed", "server_url"), ("byok", "byok_url")])
def test_an_address_is_taken_as_it_is(mode, key, url):
    remote = Config.parse({"remote": {"mode": mode, "auth_token": "t", "byok_api_key": "k", key: url}}).remote
    assert getattr(remote, key) == url


@pytest.mark.parametrize("url", ["ws://host/x", "ws://10.0.0.1:80", "ws://[fe80::1]/", "ws://localhost.example.org"])
@pytest.mark.parametrize(("mode", "key"), [("managed", "server_url"), ("byok", "byok_url")])
def test_a_key_leaves_this_machine_without_encryption_only_by_permission(mode, key, url):
    remote = {"mode": mode, "auth_token": SECRET, "byok_api_key": SECRET, key: url}
    error = refusal({"remote": remote})
    assert error.path == f"remote.{key}"
    assert "remote.allow_plaintext = true" in str(error)
    assert SECRET not in str(error)
    assert Config.parse({"remote": {**remote, "allow_plaintext": True}}).remote.allow_plaintext


@pytest.mark.parametrize(
    "url", ["ws://localhost:1", "ws://127.0.0.1/", "ws://127.9.9.9", "ws://[::1]:80", "ws://x.localhost"]
)
@pytest.mark.parametrize(("mode", "key"), [("managed", "server_url"), ("byok", "byok_url")])
def test_a_server_on_this_machine_needs_no_encryption(mode, key, url):
    remote = Config.parse({"remote": {"mode": mode, "auth_token": "t", "byok_api_key": "k", key: url}}).remote
    assert not remote.allow_plaintext


@pytest.mark.parametrize("mode", [mode for mode in dialects.MODES if not dialects.kind(mode).starts_recogniser])
def test_every_recogniser_has_an_address_that_is_checked(mode):
    key, url = dialects.kind(mode)().address
    assert key in dialects.kind(mode).__struct_fields__
    assert url.startswith("wss://")


def test_an_absolute_path_stays(file):
    path = file('remote.mode = "local"\naudio.source = "/x/talk.wav"\n')
    assert Config.load(path).audio.source == "/x/talk.wav"


def test_portaudio_is_no_path(file):
    path = file('remote.mode = "local"\naudio.source = "portaudio"\n')
    assert Config.load(path).audio.source == "portaudio"


# Overrides


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("audio.block_ms=40", "audio.block_ms", 40),
        ("audio.paced=false", "audio.paced", False),
        ("remote.hold_s = 1.5", "remote.hold_s", 1.5),
        ("audio.device=USB Microphone", "audio.device", "USB Microphone"),
        ('audio.device="2"', "audio.device", "2"),
        ("audio.device=2", "audio.device", 2),
        ('remote.parameters.keyterm=["a", "b"]', "remote.parameters.keyterm", ["a", "b"]),
        ("remote.server_url=wss://x/?a=b", "remote.server_url", "wss://x/?a=b"),
        ("engine.user_name=", "engine.user_name", ""),
    ],
)
def test_an_override_is_toml_or_else_text(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["audio.block_ms", "block_ms=40", "=40", ""])
def test_what_is_no_override_is_refused(text):
    with pytest.raises(ConfigError, match=r"expected --set table\.key=value"):
        parse_override(text)


def test_an_override_wins_over_the_file(file):
    path = file("[remote]\nmode = 'local'\n[audio]\nblock_ms = 40\n")
    assert Config.load(path, overrides={"audio.block_ms": 60}).audio.block_ms == 60


def test_an_override_reaches_below_a_table():
    overrides = {"remote.mode": "byok", "remote.parameters.numerals": True}
    config = Config.load(overrides=overrides, environment={"DEEPGRAM_API_KEY": "k"})
    assert config.remote.parameters == {"numerals": True}


def test_an_override_below_what_is_no_table_is_refused(file):
    with pytest.raises(ConfigError) as caught:
        Config.load(file("[remote]\nmode = 'local'\n"), overrides={"remote.mode.x": 1})
    assert caught.value.path == "remote.mode"


@pytest.mark.parametrize("key", ["remote.auth_token", "remote.byok_api_key", "bus.curve_secret_key"])
def test_a_secret_among_the_overrides_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError) as caught:
        Config.load(overrides={"remote.mode": "local", key: SECRET})
    assert caught.value.path == key
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_secrets_file_among_the_overrides_is_taken(tmp_path):
    (tmp_path / "key").write_text(SECRET)
    overrides = {"remote.mode": "byok", "remote.byok_api_key_file": str(tmp_path / "key")}
    assert Config.load(overrides=overrides).remote.byok_api_key.reveal() == SECRET


# Secrets


@pytest.mark.parametrize(
    ("tables", "variable", "name"),
    [
        ({"remote.server_url": "proxy"}, "MPENGINE_AUTH_TOKEN", "auth_token"),
        ({"remote.mode": "byok"}, "DEEPGRAM_API_KEY", "byok_api_key"),
    ],
)
def test_a_secret_comes_from_the_environment(tables, variable, name):
    config = Config.load(overrides=tables, environment={variable: f"{SECRET}\n"})
    assert getattr(config.remote, name).reveal() == SECRET


def test_a_secret_comes_from_the_environment_of_the_process(monkeypatch):
    monkeypatch.setenv("DEEPGRAM_API_KEY", SECRET)
    assert Config.load(overrides={"remote.mode": "byok"}).remote.byok_api_key.reveal() == SECRET


def test_an_environment_that_is_given_empty_holds_no_secret(monkeypatch):
    monkeypatch.setenv("DEEPGRAM_API_KEY", SECRET)
    with pytest.raises(ConfigError, match=r"remote\.byok_api_key"):
        Config.load(overrides={"remote.mode": "byok"}, environment={})


@pytest.fixture
def credentials(tmp_path):
    """Writes what systemd hands over (LoadCredential=) and returns the environment that says where it is."""

    def write(content, name="DEEPGRAM_API_KEY"):
        (tmp_path / "credentials").mkdir()
        (tmp_path / "credentials" / name).write_bytes(content)
        return {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}

    return write


@pytest.mark.parametrize(
    ("tables", "variable", "name"),
    [
        ({"remote.server_url": "proxy"}, "MPENGINE_AUTH_TOKEN", "auth_token"),
        ({"remote.mode": "byok"}, "DEEPGRAM_API_KEY", "byok_api_key"),
    ],
)
def test_a_secret_comes_from_a_credential_that_is_called_like_the_variable(credentials, tables, variable, name):
    environment = credentials(f"{SECRET}\n".encode(), variable)
    secret = getattr(Config.load(overrides=tables, environment=environment).remote, name)
    assert secret.reveal() == SECRET
    assert secret.path == f"{environment['CREDENTIALS_DIRECTORY']}/{variable}"


def test_a_secret_of_the_environment_has_no_file_to_be_mended_in():
    config = Config.load(overrides={"remote.mode": "byok"}, environment={"DEEPGRAM_API_KEY": SECRET})
    assert config.remote.byok_api_key.path is None


def test_a_credential_wins_over_the_variable_and_the_file_over_both(credentials, file):
    environment = credentials(b"of the credential") | {"DEEPGRAM_API_KEY": "of the environment"}
    byok = {"remote.mode": "byok"}
    assert Config.load(overrides=byok, environment=environment).remote.byok_api_key.reveal() == "of the credential"
    path = file('remote.byok_api_key = "of the file"\n')
    assert Config.load(path, overrides=byok, environment=environment).remote.byok_api_key.reveal() == "of the file"


@pytest.mark.parametrize(("name", "content"), [("ANOTHER", b"x"), ("DEEPGRAM_API_KEY", b" \n")])
def test_a_credential_that_is_not_there_or_empty_leaves_the_variable(credentials, name, content):
    environment = credentials(content, name) | {"DEEPGRAM_API_KEY": SECRET}
    config = Config.load(overrides={"remote.mode": "byok"}, environment=environment)
    assert config.remote.byok_api_key.reveal() == SECRET


def test_a_credential_that_cannot_be_read_is_named(credentials):
    with pytest.raises(ConfigError, match=r"cannot read .*/DEEPGRAM_API_KEY: not UTF-8 text") as caught:
        Config.load(overrides={"remote.mode": "byok"}, environment=credentials(b"\xff"))
    assert caught.value.path == "remote.byok_api_key"


def test_no_credential_is_looked_for_where_systemd_gave_none(monkeypatch, tmp_path):
    (tmp_path / "DEEPGRAM_API_KEY").write_text(SECRET)
    monkeypatch.chdir(tmp_path)
    for environment in ({}, {"CREDENTIALS_DIRECTORY": ""}):
        with pytest.raises(ConfigError, match=r"remote\.byok_api_key"):
            Config.load(overrides={"remote.mode": "byok"}, environment=environment)


def test_a_secret_in_the_file_wins_over_the_environment(file):
    path = file('[remote]\nmode = "byok"\nbyok_api_key = "of the file"\n')
    config = Config.load(path, environment={"DEEPGRAM_API_KEY": "of the environment"})
    assert config.remote.byok_api_key.reveal() == "of the file"


def test_a_secret_comes_from_a_file_of_its_own_without_its_line_break(file, tmp_path):
    (tmp_path / "token").write_text(f"{SECRET}\n")
    path = file('[remote]\nserver_url = "proxy"\nauth_token_file = "token"\n')
    assert Config.load(path).remote.auth_token.reveal() == SECRET


def test_a_secret_and_its_file_are_not_both_taken(file, tmp_path):
    (tmp_path / "token").write_text(SECRET)
    with pytest.raises(ConfigError, match=r"set either auth_token or auth_token_file, not both") as caught:
        Config.load(file(f'[remote]\nserver_url = "p"\nauth_token = "{SECRET}"\nauth_token_file = "token"\n'))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "why"), [('"none"', "No such file"), ("5", "expected a path"), ('"binary"', "not UTF-8 text")]
)
def test_a_secrets_file_that_cannot_be_read_is_named(file, tmp_path, value, why):
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    with pytest.raises(ConfigError, match=why) as caught:
        Config.load(file(f'[remote]\nserver_url = "proxy"\nauth_token_file = {value}\n'))
    assert caught.value.path == "remote.auth_token_file"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/zero", "cannot read /dev/zero: no key has more than 65536 bytes"),
        ("/", "cannot read /: Is a directory"),
        ("/dev/null", "byok mode requires an API key"),
        ("a\0b", "expected text without a NUL character"),
    ],
)
def test_an_absurd_secrets_file_is_refused_in_one_line(path, why):
    overrides = {"remote.mode": "byok", "remote.byok_api_key_file": path}
    with pytest.raises(ConfigError) as caught:
        Config.load(overrides=overrides, environment={})
    assert caught.value.path.startswith("remote.byok_api_key")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [f'"{SECRET}"', f"DEEPGRAM_API_KEY={SECRET}", f"export K='{SECRET}'\r\n"])
def test_what_is_copied_with_a_key_is_taken_away_wherever_the_key_stands(tmp_path, content):
    (tmp_path / "key").write_text(content, encoding="utf-8")
    byok = {"remote.mode": "byok"}
    in_a_file = Config.load(overrides={**byok, "remote.byok_api_key_file": str(tmp_path / "key")}).remote.byok_api_key
    assert (in_a_file.reveal(), in_a_file.path) == (SECRET, str(tmp_path / "key"))
    around = Config.load(overrides=byok, environment={"DEEPGRAM_API_KEY": content}).remote.byok_api_key
    assert around.reveal() == SECRET


def test_a_key_with_a_quote_in_it_is_refused_without_showing_it():
    error = refusal({"remote": {"mode": "byok", "byok_api_key": f'"{SECRET}'}})
    assert str(error) == "remote.byok_api_key: expected the key alone, without a quote in it"


@pytest.mark.parametrize("show", [repr, str, "{!r}".format, "{}".format, "%s".__mod__])
def test_no_way_to_print_a_configuration_shows_a_secret(show):
    config = Config.parse({"remote": {"mode": "byok", "byok_api_key": SECRET, "auth_token": SECRET}})
    for value in (config, config.remote, config.remote.byok_api_key, msgspec.structs.asdict(config.remote)):
        assert SECRET not in show([value])


@pytest.mark.parametrize(
    "tables",
    [
        {"remote": {"mode": "byok", "byok_api_key": [SECRET]}},
        {"remote": {"mode": "byok", "byok_api_key": {"value": SECRET}}},
        {"remote": {"mode": "byok", "byok_api_key": f"{SECRET}\n{SECRET}"}},
        {"remote": {"mode": "byok", "byok_api_key": SECRET, "nonsense": 1}},
        {"remote": {"mode": "byok", "byok_api_key": SECRET, "byok_url": "x"}},
        {"remote": SECRET},
    ],
    ids=["list", "table", "two lines", "beside an unknown key", "beside a bad url", "as the table"],
)
def test_no_error_shows_a_secret(tables):
    with pytest.raises(ConfigError) as caught:
        Config.parse(tables)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_secret_is_told_from_another_and_from_text():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_only_a_secret_that_is_set_counts_as_true():
    assert (bool(Secret("a")), bool(Secret())) == (True, False)


@pytest.mark.parametrize("remote", [ManagedConfig(auth_token=Secret(SECRET)), ByokConfig(byok_api_key=Secret(SECRET))])
def test_a_secret_goes_to_the_child_that_needs_it(remote):
    packed = dialects.packed(remote)
    assert SECRET not in repr(packed)
    assert dialects.unpacked(packed) == remote


def test_a_whole_configuration_goes_to_the_process_of_a_program():
    tables = {"remote": {"mode": "byok", "byok_api_key": SECRET, "parameters": {"tag": ["a", "b"]}}}
    config = Config.parse({**tables, "audio": {"device": 2}, "bus": {"curve_secret_key": SECRET}})
    assert Config.unpacked(config.packed()) == config


def test_a_configuration_is_not_encoded_with_its_secret_by_mistake():
    with pytest.raises(TypeError):
        msgspec.json.encode(ManagedConfig(auth_token=Secret(SECRET)))


CLIENTS = ["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"]


@pytest.mark.parametrize(
    ("bus", "path"),
    [
        ({"curve_clients": CLIENTS}, "bus.curve_clients"),  # the bus has no key
        ({"curve_clients": ["short"]}, "bus.curve_clients[0]"),
        ({"curve_clients": [CLIENTS[0][:-1] + "~"]}, "bus.curve_clients[0]"),
        ({"curve_clients": CLIENTS[0]}, "bus.curve_clients"),
        ({"command": "tcp://*:5557", "curve_secret_key": "k" * 40}, "bus.command"),  # nobody is listed
        ({"command": "tcp://*:5557", "curve_secret_key": ""}, "bus.command"),
        ({"command": "tcp://127.0.0.1:1", "query": "tcp://127.0.0.1:1"}, "bus.command"),
        ({"command": "ipc:///a", "publish": "ipc:///a"}, "bus.command"),
    ],
)
def test_who_may_command_must_be_said_in_full(bus, path):
    assert refusal(merged({"bus": bus})).path == path


def test_commands_beyond_this_machine_are_taken_from_listed_clients():
    bus = {"command": "tcp://*:5557", "curve_secret_key": "k" * 40, "curve_clients": CLIENTS}
    assert Config.parse(merged({"bus": bus})).bus.curve_clients == tuple(CLIENTS)


# Endpoints


def bus_of(tmp_path, **bus):
    path = tmp_path / "mic.toml"
    path.write_text("[bus]\n" + "".join(f"{key} = '{value}'\n" for key, value in bus.items()), encoding="utf-8")
    return Config.load(path, overrides={"remote.mode": "local"}, environment={}).bus


def test_a_relative_path_of_an_endpoint_starts_at_the_files_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    bus = bus_of(tmp_path, publish="ipc://run/results", query="ipc://~/query")
    assert (bus.publish, bus.query) == (f"ipc://{tmp_path}/run/results", "ipc:///home/me/query")


def test_other_endpoints_stay_as_they_are(tmp_path):
    bus = bus_of(tmp_path, publish="ipc:///run/x/results", query="tcp://127.0.0.1:5555")
    assert (bus.publish, bus.query) == ("ipc:///run/x/results", "tcp://127.0.0.1:5555")


def test_an_endpoint_without_a_file_is_refused(tmp_path):
    for key in ("publish", "query"):
        with pytest.raises(ConfigError, match=f"bus.{key}: expected the path of a socket; every user of this machine"):
            bus_of(tmp_path, **{key: "ipc://@name"})


def test_an_ordinary_file_in_place_of_a_socket_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"bus.publish: .*/notes\.txt is there, and is no socket"):
        bus_of(tmp_path, publish="ipc://notes.txt")

"""From a GUI's configuration to ours."""

import logging

import pytest

from mpengine.embedded.engine import Engine
from mpengine.embedded.gui_config import config_of, settings_of, unread
from mpengine.shared.errors import ConfigError

BYOK = {"mode": "byok", "byok_api_key": "a-key", "server_url": "", "auth_token": None}


def config(given=(), *, remote=BYOK, device=None, user_name="Ann"):
    return config_of(
        dict(given), name="gui-1-a", user_name=user_name, remote=remote, device=device, sample_rate=16000, channels=1
    )


def test_what_is_empty_is_not_set():
    found = config()
    assert (found.engine.name, found.engine.user_name, found.remote.mode) == ("gui-1-a", "Ann", "byok")
    assert found.remote.byok_api_key.reveal() == "a-key"
    assert (found.remote.deepgram_model, found.audio.device, found.supervisor.stop_limit_s) == ("nova-2", None, 10)


def test_the_other_keys_of_remote_count_and_those_of_other_tables_do_not():
    found = config({"remote.byok_url": "wss://x", "remote.parameters": {"endpointing": 300}, "audio.channels": 2})
    assert (found.remote.byok_url, found.remote.parameters) == ("wss://x", {"endpointing": 300})
    assert found.audio.channels == 1


def test_tables_of_our_own_have_the_rest_but_not_what_the_engine_decides():
    tables = {"audio": {"latency": 0.1, "device": 5}, "supervisor": {"stop_limit_s": 3}, "engine": {"name": "mine"}}
    found = config({"mpengine": tables}, device=2)
    assert (found.audio.latency, found.audio.device, found.engine.name) == (0.1, 2, "gui-1-a")
    assert found.supervisor.stop_limit_s == 3
    assert config({"mpengine": tables}).audio.device == 5
    assert tables["audio"] == {"latency": 0.1, "device": 5}


def test_a_name_as_long_as_a_gui_lets_it_be_keeps_no_engine_from_working():
    assert config(user_name="x" * 201).engine.user_name == "x" * 200


@pytest.mark.parametrize("tables", ["text", {"audio": 3}, [1]])
def test_what_is_no_table_is_refused(tables):
    with pytest.raises(ConfigError, match="mpengine: expected tables"):
        config({"mpengine": tables})


@pytest.mark.parametrize(("level", "name"), [(10, "debug"), (20, "info"), (30, "warning"), (40, "error"), (5, "debug")])
def test_the_child_logs_what_the_program_would(level, name):
    logger = logging.getLogger("mpengine")
    before = logger.level
    try:
        logger.setLevel(level)
        assert settings_of(config()).log_level == name
    finally:
        logger.setLevel(before)


def test_the_child_outlives_the_thread_that_starts_it():
    assert not settings_of(config()).dies_with_thread


# A dict of tables


def test_a_dict_of_tables_is_taken_as_a_configuration_file():
    remote = {"mode": "byok", "byok_api_key": "k", "hold_s": 5}
    engine = Engine({"remote": remote, "audio": {"device": "USB"}, "gui": {"theme": "dark"}})
    assert (engine.mode, engine.byok_api_key, engine.language) == ("byok", "k", "en-US")
    assert engine.initialize()
    assert engine.last_error is None
    found = engine._config()
    assert (found.audio.device, found.remote.hold_s, found.engine.name) == ("USB", 5, engine.name)


def test_keys_beside_the_tables_and_tables_of_mpengine_come_first():
    tables = {"remote": {"mode": "local"}, "remote.hold_s": 7, "audio": {"latency": 0.5, "block_ms": 40}}
    found = config(tables | {"mpengine": {"audio": {"latency": 0.1}}}, remote={"mode": "local"})
    assert (found.remote.hold_s, found.audio.latency, found.audio.block_ms) == (7, 0.1, 40)


def test_a_dict_that_finds_keys_in_its_tables_by_itself_is_asked_as_before():
    class Settings(dict):
        def get(self, key, default=None):
            table, _, name = key.partition(".")
            return super().get(table, {}).get(name, default) if name else super().get(key, default)

    engine = Engine(Settings({"remote": {"mode": "local"}, "audio": {"volume": 5}}))
    assert engine.initialize()
    assert engine.mode == "local"


def test_a_table_beside_flat_keys_is_the_guis_own():
    engine = Engine({"remote.mode": "local", "audio": {"volume": 5}})
    assert engine.initialize()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"remote": {"mode": "local"}, "audio": {"latncy": 1}}, 'audio.latncy: unknown key; did you mean "latency"?'),
        ({"remote": {"mode": "local", "langage": "en"}}, 'remote.langage: unknown key; did you mean "language"?'),
        ({"remote": {"mode": "byok"}}, "BYOK mode requires an API key (remote.byok_api_key)"),
        ({"remote.mode": "local", "mpengine": 5}, "mpengine: expected tables, as in {'audio': {'latency': 0.1}}"),
    ],
)
def test_an_engine_that_cannot_work_says_why(given, error):
    engine = Engine(given)
    assert not engine.initialize()
    assert engine.last_error == error
    assert not engine.is_ready()


def test_a_start_without_initialize_says_why():
    engine = Engine({"remote.mode": "local"})
    assert not engine.start_recording()
    assert engine.last_error == "Engine not initialised -- call initialize() first"


@pytest.mark.parametrize("given", [None, "mic.toml", 5])
def test_what_is_no_configuration_is_a_type_error(given):
    with pytest.raises(TypeError, match="expected a configuration with get"):
        Engine(given)


def test_keys_that_seem_to_be_meant_and_are_not_read_are_told(caplog):
    given = {
        "remote.mode": "local",
        "remote.byok_key": "k",
        "remote.byok_api_key_file": "deepgram.key",
        "auth_token": "t",
        "audio.block_ms": 40,
        "audio.volume": 5,
        "mode": "dark",
        "window": {"width": 5},
        7: "x",
    }
    assert unread(given) == [
        'remote.byok_key: unknown key; did you mean "remote.byok_api_key"?',
        'remote.byok_api_key_file: unknown key; did you mean "remote.byok_api_key"?',
        'auth_token: unknown key; did you mean "remote.auth_token"?',
        "audio.block_ms: not read here; it belongs into the tables under the key mpengine",
    ]
    assert Engine(given).initialize()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == unread(given)


def test_of_an_object_that_is_no_dict_nobody_knows_the_keys():
    class Settings:
        def get(self, key, default):
            return {"remote.mode": "local"}.get(key, default)

    assert unread(Settings()) == []
    assert Engine(Settings()).initialize()

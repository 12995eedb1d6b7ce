"""From a GUI's configuration to ours."""

import logging

import pytest

from mpengine.embedded.gui_config import config_of, settings_of
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

"""The configuration of a command that was given none."""

import pytest

from mpengine.cli.chosen import NothingChosen, choose, shown, usual_file

MINE, MACHINES = "/srv/me/settings/mpengine/mic.toml", "/etc/mpengine/mic.toml"
HOME = {"XDG_CONFIG_HOME": "/srv/me/settings"}
KEY = {"DEEPGRAM_API_KEY": "k"}


def chosen(path=None, overrides=None, environment=(), *, there=(), **options):
    return choose(path, overrides or {}, {**HOME, **dict(environment)}, is_there=there.__contains__, **options)


@pytest.mark.parametrize(
    ("there", "found"), [([MINE, MACHINES], MINE), ([MINE], MINE), ([MACHINES], MACHINES), (["/etc/mic.toml"], None)]
)
def test_the_users_file_comes_before_the_machines(there, found):
    assert chosen(there=there, environment=KEY).path == found


def test_the_file_that_is_named_is_taken_and_no_other_is_looked_for():
    found = chosen("mine.toml", {"audio.block_ms": 40}, KEY, there=[MINE])
    assert found == ("mine.toml", {"audio.block_ms": 40}, "")


def test_a_file_that_was_found_is_told_and_overridden():
    found = chosen(overrides={"audio.block_ms": 40}, there=[MINE])
    assert (found.path, found.overrides) == (MINE, {"audio.block_ms": 40})
    assert MINE in found.why


@pytest.mark.parametrize("path", [None, "mine.toml"])
def test_the_recogniser_of_this_machine_may_be_asked_for_in_any_case(path):
    found = chosen(path, {"remote.mode": "byok"}, KEY, is_local=True)
    assert (found.path, found.overrides) == (path, {"remote.mode": "local"})


@pytest.mark.parametrize("environment", [KEY, {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}])
def test_without_a_file_the_key_of_the_environment_chooses_its_recogniser(environment):
    credential = "/run/credentials/x/DEEPGRAM_API_KEY"
    found = chosen(overrides={"audio.block_ms": 40}, environment=environment, there=[credential])
    assert (found.path, found.overrides) == (None, {"remote.mode": "byok", "audio.block_ms": 40})
    assert "DEEPGRAM_API_KEY" in found.why


@pytest.mark.parametrize(
    ("overrides", "mode"),
    [
        ({"remote.mode": "managed"}, "managed"),
        ({"remote.mode": "byock"}, "byock"),  # refused later, in words
        ({"remote.server_url": "x"}, None),
        ({"remote.byok_api_key_file": "x"}, "byok"),
    ],
)
def test_what_chooses_a_recogniser_comes_before_the_environment(overrides, mode):
    assert chosen(overrides=overrides, environment=KEY).overrides.get("remote.mode") == mode


@pytest.mark.parametrize("environment", [{}, {"DEEPGRAM_API_KEY": " "}, {"MPENGINE_AUTH_TOKEN": "t"}])
def test_with_nothing_it_is_refused_with_the_ways_to_begin(environment):
    with pytest.raises(NothingChosen) as caught:
        chosen(overrides={"audio.block_ms": 40}, environment=environment)
    assert caught.value.exit_code == 2
    assert f"  mpengine init --output {MINE}" in caught.value.more


def test_a_relative_folder_of_settings_is_ignored(monkeypatch):
    monkeypatch.setenv("HOME", "/srv/me")
    assert usual_file({"XDG_CONFIG_HOME": "settings"}, is_user=True) == "/srv/me/.config/mpengine/mic.toml"
    assert shown("/srv/me/.config/x") == "~/.config/x"
    assert shown("/srv/mean/x") == "/srv/mean/x"

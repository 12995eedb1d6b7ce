"""`mpengine init`: a configuration with every key, which an engine takes."""

import os
import re
import tomllib

import msgspec
import pytest

from mpengine import cli, dialects
from mpengine.cli.init import as_toml
from mpengine.shared.config import Config, keys, secrets
from mpengine.shared.config.reference import reference
from mpengine.shared.config_tables import Secret, decode_secret

COMMENTED = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def init(capsys):
    """Runs the command; returns what it printed, and what it wrote to standard error."""

    def run(*arguments):
        assert cli.main(["init", *arguments]) == 0
        return capsys.readouterr()

    return run


def load(text, environment=None):
    with open("mic.toml", "w", encoding="utf-8") as file:
        file.write(text)
    return Config.load("mic.toml", environment=environment or {})


def test_what_it_prints_has_every_key_and_is_what_an_engine_has_anyway(init):
    text = init().out
    assert load(text) == Config.parse({"remote": {"mode": "local"}})
    every = tomllib.loads(COMMENTED.sub("", text))
    # A secret stands in a file of its own.
    known = {table: set(names) - {key for other, key in secrets() if other == table} for table, names in keys().items()}
    assert {table: set(names) for table, names in every.items()} == known


def test_each_default_is_the_default_and_each_example_is_a_value_that_the_key_takes(init):
    every = tomllib.loads(COMMENTED.sub("", init().out))
    kinds = [(field.name, field.type) for field in msgspec.structs.fields(Config)]
    kinds += [("remote", dialects.kind(mode)) for mode in dialects.MODES]
    for table, kind in kinds:
        for field in msgspec.structs.fields(kind):
            if isinstance(field.default, Secret):
                assert isinstance(every[table][f"{field.name}_file"], str)
                continue
            value = msgspec.convert(every[table][field.name], field.type, dec_hook=decode_secret)
            has_default = field.default is not msgspec.NODEFAULT and field.default
            assert value == field.default or not has_default, field.name


def test_each_key_without_a_default_has_an_example():
    assert [key.name for found in reference().values() for key in found if not (key.default or key.example)] == []


def test_each_key_is_explained_right_above_it(init):
    for block in init().out.split("\n\n")[1:]:
        *comment, setting = [line for line in block.splitlines() if not line.startswith("[")]
        assert comment, block
        assert all(line.startswith("# ") and len(line) <= 100 for line in comment)
        assert comment[-1].endswith(".")
        assert re.match(r"#?[a-z_]+ = .", setting)


def test_what_options_set_is_in_force(init):
    text = init(
        *("--device", 'Ünïque "USB" mic\\', "--name", "desk", "--user-name", "Ann", "--language", "en-GB"),
        *("--set", "audio.block_ms=40", "--set", "bus.history_s=60.5", "--set", "audio.paced=false"),
    ).out
    config = load(text)
    assert config.audio.device == 'Ünïque "USB" mic\\'
    assert (config.engine.name, config.engine.user_name, config.remote.language) == ("desk", "Ann", "en-GB")
    assert (config.audio.block_ms, config.bus.history_s, config.audio.paced) == (40, 60.5, False)
    assert "\nblock_ms = 40  # default: 20\n" in text


def test_a_number_is_the_number_of_a_device(init):
    assert load(init("--device", "2").out).audio.device == 2


def test_a_key_file_chooses_deepgram_and_is_named_by_its_whole_path(init, tmp_path):
    (tmp_path / "deepgram.key").write_text("k")
    printed = init("--key-file", "deepgram.key", "--set", "remote.parameters.keyterm=['a', 'b']")
    assert printed.err == ""
    config = load(printed.out)
    assert (config.remote.mode, config.remote.byok_api_key.path) == ("byok", str(tmp_path / "deepgram.key"))
    assert config.remote.parameters == {"keyterm": ["a", "b"]}


def test_a_server_chooses_a_proxy_or_deepgrams_address(init):
    assert load(init("--server", "proxy").out, {"MPENGINE_AUTH_TOKEN": "t"}).remote.server_url == "proxy"
    byok = init("--mode", "byok", "--server", "wss://own/v1/listen").out
    assert load(byok, {"DEEPGRAM_API_KEY": "k"}).remote.byok_url == "wss://own/v1/listen"


def test_a_key_in_the_environment_chooses_deepgram(init, monkeypatch):
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    printed = init()
    assert printed.err == ""
    assert load(printed.out, {"DEEPGRAM_API_KEY": "k"}).remote.mode == "byok"
    assert "k" not in COMMENTED.sub("", printed.out).replace("\n", " ").split()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--mode", "byok"), "the key is still missing: set DEEPGRAM_API_KEY, or name its file by --key-file FILE"),
        (("--server", "x"), "the key is still missing: set MPENGINE_AUTH_TOKEN, or name its file by --key-file FILE"),
        (("--key-file", "/no/key"), "/no/key is not there yet: put the key into it, and nothing else"),
        ((), ""),
    ],
)
def test_a_missing_key_is_told(init, arguments, told):
    assert init(*arguments).err == (f"mpengine: {told}\n" if told else "")


# The output file


def test_a_hyphen_is_standard_output(init):
    assert init("--output", "-") == init()
    assert os.listdir() == []


def test_a_file_is_written_and_the_next_step_is_told(init):
    printed = init("--output", "my mic.toml")
    assert printed == ("", "mpengine: my mic.toml is written; next: mpengine run --config 'my mic.toml'\n")
    assert Config.load("my mic.toml", environment={}).remote.mode == "local"


def test_the_usual_file_needs_no_option_and_its_folder_is_made(init, tmp_path):
    path = str(tmp_path / "config" / "mpengine" / "mic.toml")
    assert init("--output", path).err == f"mpengine: {path} is written; next: mpengine run\n"


def test_a_file_is_replaced_only_by_force(init, capsys, tmp_path):
    (tmp_path / "mic.toml").write_text("mine")
    assert cli.main(["init", "--output", "mic.toml"]) == 2
    assert capsys.readouterr().err == f"mpengine: --output: {tmp_path}/mic.toml exists; --force replaces it\n"
    assert (tmp_path / "mic.toml").read_text() == "mine"
    init("--output", "mic.toml", "--force")
    assert Config.load("mic.toml", environment={}).remote.mode == "local"
    assert os.listdir() == ["mic.toml"]


@pytest.mark.parametrize(
    ("path", "why"),
    [("/no/mic.toml", "cannot write /no/mic.toml: No such file or directory"), ("/dev/null", "/dev/null is no file")],
)
def test_a_file_that_cannot_be_written_is_told(capsys, path, why):
    assert cli.main(["init", "--force", "--output", path]) == 2
    assert capsys.readouterr().err == f"mpengine: --output: {why}\n"


@pytest.mark.parametrize(
    "value", [True, 1, -0.5, 1e300, "", 'a "b" \\ \n\t\x00\x7f ü 😀', [1, "a", []], {"a b": {"c": [True]}}, 1e999]
)
def test_a_value_is_the_same_in_toml(value):
    assert tomllib.loads(f"x = {as_toml(value)}")["x"] == value

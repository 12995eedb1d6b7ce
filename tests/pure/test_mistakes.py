"""Mistakes of configuration and command line, each with the one line that it prints: where, what was expected, and what
was probably meant."""

import os
import shlex

import pytest

from mpengine import cli
from mpengine.cli import run
from mpengine.cli.help import topics
from mpengine.supervisor import process

LOCAL = '[remote]\nmode = "local"\n'
BYOK = '[remote]\nmode = "byok"\nbyok_api_key = "k"\n'
MODES = 'expected "managed", "byok" or "local"'
A_WINDOWS_PATH = r"C:\Users\me\talk.wav"

# A configuration file, and what `mpengine run --config mic.toml` says of it.
OF_FILES = [
    # Text that is no TOML
    ("[remote]\nmode = local", 'mic.toml:2: not valid TOML: invalid value (column 8); text needs quotes: mode = "…"'),
    (
        "[remote]\nmode: local",
        "mic.toml:2: not valid TOML: expected '=' after a key in a key/value pair (column 5); expected KEY = VALUE",
    ),
    (
        f"{LOCAL}[audio]\npaced = False",
        "mic.toml:4: not valid TOML: invalid value (column 9); expected paced = false",
    ),
    (f"{LOCAL}[audio]\npaced = yes", "mic.toml:4: not valid TOML: invalid value (column 9); expected paced = true"),
    (f'{LOCAL}[audio]\ndevice = "USB', "mic.toml:4: not valid TOML: unterminated string; the closing quote is missing"),
    (
        f"{LOCAL}[audio]\ndevice =\nblock_ms = 20",
        "mic.toml:4: not valid TOML: invalid value (column 9); expected a value, or # before device",
    ),
    (
        f'{LOCAL}[audio]\nsource = "{A_WINDOWS_PATH}"',
        (
            "mic.toml:4: not valid TOML: invalid hex value (column 15); a \\ stands for itself in single quotes: "
            "source = '…'"
        ),
    ),
    (f"{LOCAL}[audio]\n[remote]", "mic.toml:4: not valid TOML: [remote] stands twice; put its keys together"),
    (f'{LOCAL}mode = "byok"', "mic.toml:3: not valid TOML: mode stands twice"),
    ("[remote\nmode = 1", "mic.toml:1: not valid TOML: expected ']' at the end of a table declaration (column 8)"),
    ('[remote]\nmode = "\udcff"', "mic.toml:2: not valid TOML: it is not UTF-8 text"),
    # Tables and keys
    (f"{LOCAL}[audoi]", "mic.toml:3: audoi: unknown table; did you mean [audio]?"),
    (
        f"{LOCAL}[window]",
        "mic.toml:3: window: unknown table; the tables are [engine], [remote], [audio], [buffer], [bus], [supervisor]",
    ),
    (
        f'device = "USB"\n{LOCAL}',
        'mic.toml:1: device: unknown key: keys stand in tables; did you mean "audio.device"?',
    ),
    ('audio = "USB"', "mic.toml:1: audio: expected a table, [audio]"),
    (f"{LOCAL}[[audio]]", "mic.toml:3: audio: expected a table, [audio]"),
    (f"{LOCAL}[audio]\nblok_ms = 20", 'mic.toml:4: audio.blok_ms: unknown key; did you mean "block_ms"?'),
    (
        f"{LOCAL}audio = {{ block_ms = 20 }}",
        "mic.toml:3: remote.audio: [audio] is a table of its own, not a part of [remote]",
    ),
    (f"audio = {{ rate = 20 }}\n{LOCAL}", 'mic.toml:1: audio.rate: unknown key; did you mean "sample_rate"?'),
    (f'{LOCAL}[audio]\nlanguage = "en"', 'mic.toml:4: audio.language: unknown key; did you mean "remote.language"?'),
    (f"{LOCAL}[buffer]\nsize = 1", "mic.toml:4: buffer.size: unknown key; [buffer] has seconds, catch_up, directory"),
    (f'{BYOK}model = "nova-3"', 'mic.toml:4: remote.model: unknown key; did you mean "deepgram_model"?'),
    (
        f"{BYOK}endpointing = 300",
        (
            "mic.toml:4: remote.endpointing: unknown key; [remote] has mode, language, hold_s, ca_file, "
            "allow_plaintext, byok_api_key, byok_url, deepgram_model, parameters; parameters of the service stand in "
            "[remote.parameters]"
        ),
    ),
    # Values
    ('[remote]\nmode = "byock"', f'mic.toml:2: remote.mode: {MODES}; did you mean "byok"?'),
    ('[remote]\nmode = "Deepgram"', f'mic.toml:2: remote.mode: {MODES}; did you mean "byok"?'),
    ("[remote]\nmode = 5", f"mic.toml:2: remote.mode: {MODES}"),
    (
        f'{LOCAL}[audio]\nblock_ms = "20"',
        "mic.toml:4: audio.block_ms: expected a whole number, 5 to 250 ms, not text; write it without quotes",
    ),
    (f"{LOCAL}[audio]\nblock_ms = 2", "mic.toml:4: audio.block_ms: expected 5 to 250 ms"),
    (f"{LOCAL}[audio]\nlatency = 300", "mic.toml:4: audio.latency: expected more than 0, at most 2 seconds"),
    (
        f'{LOCAL}[audio]\npaced = "no"',
        "mic.toml:4: audio.paced: expected true or false, not text; write true or false, without quotes",
    ),
    (
        f'{LOCAL}[audio]\ngate = "enrgy"',
        'mic.toml:4: audio.gate: expected "energy", "off" or "vad"; did you mean "energy"?',
    ),
    (
        f'{LOCAL}[audio]\nchannel = "mx"',
        'mic.toml:4: audio.channel: expected 0 (the first) to 127, or "mix"; did you mean "mix"?',
    ),
    (
        f"{LOCAL}[engine]\nname = 5",
        "mic.toml:4: engine.name: expected text, 1 to 32 of A-Z a-z 0-9 _ -, not a whole number; write it in quotes",
    ),
    (f'{LOCAL}[engine]\nname = "my mic"', "mic.toml:4: engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -"),
    (f"{LOCAL}[buffer]\nseconds = 30", "mic.toml:4: buffer.seconds: expected 60 to 86400 seconds"),
    (f'{LOCAL}[buffer]\ndirectory = "/no"', "mic.toml:4: buffer.directory: /no is not a writable directory"),
    (f'{LOCAL}[bus]\npublish = "127.0.0.1:5555"', "mic.toml:4: bus.publish: expected ipc://PATH or tcp://ADDRESS:PORT"),
    (
        f'{LOCAL}[bus]\npublish = "tcp://*:5555"',
        "mic.toml:4: bus.publish: tcp beyond this machine needs a key: set bus.curve_secret_key_file",
    ),
    # Recognisers and their keys
    (
        '[audio]\ndevice = "USB"',
        (
            "mic.toml: remote.server_url: managed mode requires a server URL; for another recogniser set remote.mode "
            'to "byok" or "local"'
        ),
    ),
    (
        '[remote]\nmode = "byok"',
        (
            "mic.toml: remote.byok_api_key: byok mode requires an API key (or remote.byok_api_key_file, or "
            "DEEPGRAM_API_KEY)"
        ),
    ),
    (
        '[remote]\nmode = "byok"\nbyok_key_file = "k"',
        'mic.toml:3: remote.byok_key_file: unknown key; did you mean "byok_api_key_file"?',
    ),
    (
        '[remote]\nmode = "byok"\nbyok_api_key_file = "none"',
        "mic.toml:3: remote.byok_api_key_file: cannot read none: No such file or directory",
    ),
    (
        f'{BYOK}byok_api_key_file = "none"',
        "mic.toml:3: remote.byok_api_key: set either byok_api_key or byok_api_key_file, not both",
    ),
    (f"{BYOK}parameters.encoding = 1", "mic.toml:4: remote.parameters.encoding: follows from [audio]; leave it out"),
    (f'{LOCAL}language = "de"', "mic.toml:3: remote.language: local mode knows English only"),
]

# A command line, and what it says.
OF_COMMANDS = [
    ("rnu", 'no command "rnu"; did you mean "run"?'),
    ("x", f'no command "x"; there are {", ".join(cli.COMMANDS)}'),
    ("--verbose run", "unknown option --verbose; see mpengine --help"),
    ("run --confg mic.toml", 'run: unknown option --confg; did you mean "--config"?'),
    ("run mic.toml", 'run: "mic.toml" is one word too many; did you mean "--config mic.toml"?'),
    ("run --config none.toml", "cannot read none.toml: No such file or directory"),
    ("run --config .", "cannot read .: Is a directory"),
    ("run --name", "run --name: expected a value: --name NAME"),
    ("run --wait=1", "run --wait: it takes no value"),
    (
        "run --log-level warn",
        'run --log-level: expected "debug", "info", "warning" or "error"; did you mean "warning"?',
    ),
    ("run --set block_ms=40", 'block_ms: expected --set table.key=value; did you mean "audio.block_ms"?'),
    ("run --set audio.block_ms", "audio.block_ms: expected --set table.key=value"),
    ("run --set audio.blok_ms=40", 'audio.blok_ms: unknown key; did you mean "block_ms"?'),
    (
        "run --set remote.byok_api_key=SECRET",
        (
            "remote.byok_api_key: `ps` shows arguments to everybody; put this secret into a file (byok_api_key_file) "
            "or the environment variable DEEPGRAM_API_KEY"
        ),
    ),
    ("run --name 'my mic'", "engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -"),
    ("listen --formt srt", 'listen: unknown option --formt; did you mean "--format"?'),
    ("listen --format str", 'listen --format: expected "text", "jsonl", "srt" or "vtt"; did you mean "srt"?'),
    ("listen --since yesterday", "listen --since: expected start, now, SEQ or RUN:SEQ"),
    ("listen desk", 'listen: "desk" is one word too many; see mpengine listen --help'),
    ("listen --append --force", "listen --force: it cannot go together with --append"),
    ("listen --name 'my mic'", "engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -"),
    ("status --chek", 'status: unknown option --chek; did you mean "--check"?'),
    ("status --watch 0", "status --watch: expected 0.1 to 86400 seconds"),
    ("stop --timeout soon", "stop --timeout: expected 0 to 86400 seconds"),
    ("devices --jsn", 'devices: unknown option --jsn; did you mean "--json"?'),
    ("service --template --name x", "service --name: it cannot go together with --template"),
    ("init --mode deepgram", f'remote.mode: {MODES}; did you mean "byok"?'),
    ("init --key-file k --mode local", '--key-file: a recogniser of mode "local" has no key'),
    ("init --server x --mode local", '--server: a recogniser of mode "local" has no address'),
    ("init --set audio.blok_ms=40", 'audio.blok_ms: unknown key; did you mean "block_ms"?'),
    (
        "help confguration",
        f'no page is about "confguration"; the topics are: {", ".join(topics())}; did you mean "configuration"?',
    ),
]


@pytest.fixture(autouse=True)
def _beginner(empty_folder, monkeypatch):
    """In an empty folder, with an engine that must not start."""
    monkeypatch.setattr(run, "_forked_zygote", lambda: None)
    monkeypatch.setattr(run.beginning, "leave_no_core", lambda: None)
    monkeypatch.setattr(process.Supervisor, "run", lambda _: pytest.fail("it was accepted"))


@pytest.mark.parametrize(("text", "line"), OF_FILES, ids=[line for _, line in OF_FILES])
def test_a_mistake_in_the_file(capsys, text, line):
    with open("mic.toml", "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    assert cli.main(["run", "--config", "mic.toml"]) == 2
    assert capsys.readouterr() == ("", f"mpengine: {line}\n")


@pytest.mark.parametrize(("command", "line"), OF_COMMANDS, ids=[command for command, _ in OF_COMMANDS])
def test_a_mistake_in_the_command_line(capsys, command, line):
    assert cli.main(shlex.split(command)) == 2
    assert capsys.readouterr() == ("", f"mpengine: {line}\n")


def test_they_are_more_than_fifty():
    assert len(OF_FILES) + len(OF_COMMANDS) > 50


def test_nothing_is_left_by_a_mistake():
    cli.main(["init", "--output", "new.toml", "--set", "audio.blok_ms=40"])
    assert os.listdir() == []


def test_a_wrong_key_of_the_environment_is_told_with_its_variable(capsys, monkeypatch):
    monkeypatch.setenv("DEEPGRAM_API_KEY", 'one"two')
    assert cli.main(["run", "--set", "remote.mode=byok"]) == 2
    told = capsys.readouterr().err
    assert told == "mpengine: $DEEPGRAM_API_KEY: remote.byok_api_key: expected the key alone, without a quote in it\n"


def test_with_nothing_at_all_it_says_how_to_begin(capsys, tmp_path):
    assert cli.main(["run"]) == 2
    first, empty, *ways = capsys.readouterr().err.splitlines()
    assert first == "mpengine: no configuration, and nothing says which recogniser to use. Three ways to begin:"
    assert empty == ""
    assert [way.split()[:3] for way in ways[:3]] == [
        ["mpengine", "run", "--local"],
        ["DEEPGRAM_API_KEY=KEY", "mpengine", "run"],
        ["mpengine", "init", "--output"],
    ]
    assert f"{tmp_path}/config/mpengine/mic.toml" in ways[2]


def test_without_a_recogniser_transcribe_says_how_to_begin_itself(capsys):
    assert cli.main(["transcribe", "talk.wav"]) == 2
    told = capsys.readouterr().err
    assert "\n  mpengine transcribe FILE --local " in told
    assert "\n  DEEPGRAM_API_KEY=KEY mpengine transcribe FILE " in told
    assert "then: mpengine transcribe FILE\n" in told
    assert "mpengine run" not in told
    lines = told.splitlines()
    columns = {
        line.index(word) for word in ("a small", "Deepgram,", "a configuration") for line in lines if word in line
    }
    assert len(columns) == 1

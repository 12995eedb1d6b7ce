"""The programs and commands of the page recipes: each is run as it stands there, beside an engine (a fake one)."""

import http.server
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import msgspec
import pytest

import mpengine
from mpengine import cli
from mpengine.shared import messages
from mpengine.shared.config import Config
from tests.rig.fake_engine import FakeEngine
from tests.rig.processes import spawn
from tests.rig.server import reserve_port
from tests.rig.waiting import PREFIX, scaled, wait_until

ROOT = Path(mpengine.__file__).parents[1]
DOCS = ROOT / "mpengine" / "docs"
TEXT = (DOCS / "recipes.md").read_text(encoding="utf-8")
SAID = ("go forward", 'turn it\'s "left" & right')
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
# At the beginning of a line, or behind another command, variables or sudo. Not in a picture.
COMMAND = re.compile(r"(?:^|[|&;] |sudo |\w=\S+ )mpengine (?P<rest>(?! )[^()]+)$")
# What ends the words of a command in a shell.
END_OF_COMMAND = {"&&", "&", "|", ">", ">>", "<", "#", ";"}


def blocks(language, page=TEXT):
    return [found["body"] for found in FENCE.finditer(page) if found["language"] == language]


def block(beginning):
    """The block of code on the page that has `beginning` in its first two lines."""
    (found,) = [body for _, body in FENCE.findall(TEXT) if beginning in "\n".join(body.splitlines()[:2])]
    return found


def commands(page):
    """The words behind each `mpengine` that stands as a command in a block of the page."""
    for body in blocks("", page):
        for line in body.replace("\\\n", " ").splitlines():
            for found in COMMAND.finditer(line.partition("  #")[0]):
                lexer = shlex.shlex(found["rest"], posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                yield list(itertools.takewhile(lambda word: word not in END_OF_COMMAND, lexer))


FINALS = tuple(
    {"type": "transcript", "run": "r", "boot": "b", "seq": seq, "prev": seq - 1, "text": text, "is_final": True}
    for seq, text in enumerate(SAID, 1)
)
STOPPED = {"type": "status", "run": "r", "boot": "b", "seq": 3, "state": "stopped"}


@pytest.fixture
def engine(usual_place):
    """It has two finals in its history, and says that it has stopped."""
    with FakeEngine(usual_place, greeting=[STOPPED], history=FINALS) as fake:
        yield fake


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Runs a line of the page in a folder of its own, where `mpengine` is a command."""
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "mpengine").write_text(f'#!/bin/sh\nexec {sys.executable} -m mpengine "$@"\n')
    (folder / "mpengine").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(folder)

    def run(line, told="", **environment):
        done = subprocess.run(
            ["sh", "-c", line],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=scaled(60),
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, told)
        return done.stdout

    return run


def line_of(part):
    """The line of the page that has this part, without its remark."""
    (line,) = [line for body in blocks("") for line in body.splitlines() if part in line]
    return line.partition("   #")[0]


def until_the_end(line, since="start"):
    """The line of a listener, which ends here with the engine, and begins with what was before it."""
    return line.replace("mpengine listen", f"mpengine listen --exit-on-stop --since {since}")


class Hook:
    """A server of HTTP that keeps what is posted, and answers the first request with 503."""

    def __init__(self):
        hook = self
        self.got = []
        self.answers = [503]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                hook.got.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(hook.answers.pop() if hook.answers else 204)
                self.end_headers()

            def log_message(self, *_):
                """Tests are quiet."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self._thread = threading.Thread(target=self.server.serve_forever, name=f"{PREFIX}hook")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.slow
def test_each_final_goes_to_a_webhook_also_over_a_busy_server(engine, shell):
    Path("webhook.sh").write_text(block("# webhook.sh"))
    Path("webhook.sh").chmod(0o755)
    with Hook() as hook:
        line = line_of("--exec-each ./webhook.sh").replace("https://example.org/said", hook.url)
        shell(until_the_end(line), told="curl: (22) The requested URL returned error: 503\n")
        sent = [json.loads(body) for body in hook.got]
        assert [message["text"] for message in sent] == [SAID[0], *SAID]  # the first one was answered with 503


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("jq") is None, reason="no curl, or no jq here")
def test_a_chat_gets_the_words_in_its_field(shell):
    for name in ("webhook.sh", "chat.sh"):
        Path(name).write_text(block(f"# {name}"))
        Path(name).chmod(0o755)
    with Hook() as hook:
        hook.answers = []
        message = Path("message")
        message.write_text(json.dumps({"text": SAID[1], "seq": 1}))
        shell("./chat.sh < message", WEBHOOK=hook.url)
        assert [json.loads(body) for body in hook.got] == [{"content": SAID[1]}]


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="no mosquitto here")
@pytest.mark.slow
def test_finals_and_the_state_go_to_a_broker(engine, shell, tmp_path):
    port = reserve_port()
    Path("broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = spawn(["mosquitto", "-c", "broker.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    at = f"-h 127.0.0.1 -p {port}"
    try:
        probe = ["mosquitto_pub", *at.split(), "-t", "probe", "-n"]
        wait_until(lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0, 20, "a broker")
        # The broker keeps what comes for a reader that was there once (-c, -i).
        reader = f"mosquitto_sub {at} -c -i reader -q 1 -t 'mpengine/#' -W {int(scaled(20))}"
        shell(f"{reader} -E")
        shell(until_the_end(line_of("mpengine/default/final -q 1").replace("-h BROKER", at)))
        shell(until_the_end(line_of("mpengine/default/status -q 1").replace("-h BROKER", at)))
        lines = shell(f"{reader} -C 3 -F '%t %p'").splitlines()
    finally:
        broker.terminate()
        broker.wait(scaled(10))
    came = [(topic, json.loads(body)) for topic, _, body in (line.partition(" ") for line in lines if line)]
    assert [topic for topic, _ in came] == ["mpengine/default/final"] * 2 + ["mpengine/default/status"]
    assert [body.get("text", body.get("state")) for _, body in came] == [*SAID, "stopped"]


def test_lines_for_a_program_of_another_language(engine, shell):
    lines = shell(until_the_end(line_of("| ./captions").replace("./captions", "cat"))).splitlines()
    assert [json.loads(line)["text"] for line in lines] == list(SAID)


def test_the_window_shows_the_last_words(engine, shell):
    """Without a display: the library's window is one that ends once the words are there."""
    Path("tkinter.py").write_text(
        "class Tk:\n"
        "    later = None\n"
        "    def title(self, text): pass\n"
        "    def after(self, ms, look): self.later = look\n"
        "    def mainloop(self):\n"
        "        while not StringVar.seen: self.later()\n"
        "        print(StringVar.seen[-1])\n"
        "class StringVar:\n"
        "    seen = []\n"
        "    def __init__(self, value): pass\n"
        "    def set(self, text): self.seen.append(text)\n"
        "class Label:\n"
        "    def __init__(self, window, **options): pass\n"
        "    def pack(self, **options): pass\n"
    )
    Path("window.py").write_text(block("# window.py").replace("since=None", 'since="start"'))
    assert shell(f"{sys.executable} window.py") in {f"{text}\n" for text in SAID}


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_the_program_for_node_is_one(shell):
    Path("captions.mjs").write_text(block("// captions.mjs"))
    shell("node --check captions.mjs")


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="no go here")
def test_the_program_for_go_is_as_gofmt_writes_it(shell):
    Path("captions.go").write_text(block("// captions.go"))
    assert shell("gofmt -l captions.go") == ""


@pytest.mark.parametrize(("place", "kind"), [(0, messages.Transcript), (1, messages.Status)])
def test_the_two_whole_messages_have_each_field_in_its_order_and_no_other(place, kind):
    text = blocks("json")[place]
    whole = json.loads(text)
    assert list(whole) == list(json.loads(messages.encode(msgspec.json.decode(text, type=kind))))
    assert whole == json.loads(messages.encode(msgspec.json.decode(text, type=kind)))


def test_the_configuration_for_another_machine_is_one(tmp_path):
    bus, parameters = blocks("toml")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "server.key").write_text("x" * 40)
    (tmp_path / "mic.toml").write_text(f"{bus}\n[remote]\nmode = 'byok'\nbyok_api_key = 'k'\n{parameters}")
    config = Config.load(tmp_path / "mic.toml")
    assert config.bus.curve_clients == tuple(tomllib.loads(bus)["bus"]["curve_clients"])
    assert config.remote.parameters == {"mip_opt_out": True}


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda path: path.stem)
def test_each_command_that_a_page_shows_is_one(path):
    """Unknown options and values raise ConfigError."""
    for words in commands(path.read_text(encoding="utf-8")):
        if "--help" in words:  # it ends the parser
            assert words[0] in cli.COMMANDS
        else:
            cli.parser_for(*words[:1]).parse_args(words)


def test_commands_are_found_on_the_pages():
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    named = {words[0] for page in pages for words in commands(page.read_text(encoding="utf-8")) if words}
    assert named >= set(cli.COMMANDS) - {"version"}

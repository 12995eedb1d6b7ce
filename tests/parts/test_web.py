"""`mpengine web` over real HTTP, behind the supervisor's own bus: every path, slow readers, tokens, and its end."""

import signal
import socket
import subprocess
import sys

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mpengine.shared import messages
from mpengine.shared.messages import Transcript
from tests.rig.live_bus import LiveBus, live_buses
from tests.rig.processes import rss_mb
from tests.rig.subtitles import read_srt, read_vtt
from tests.rig.waiting import PATIENCE_S, scaled
from tests.rig.web import Web, seq_of

TOKEN = "a-token-for-the-tests"
ALL_PATHS = ("/", "/events", "/transcript.txt", "/status", "/healthz", "/metrics", "/nothing")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Two engines and one server, for tests that only look."""
    runtime = tmp_path_factory.mktemp("r")
    with live_buses(runtime, "desk", "door") as (desk, door), Web(runtime, "--name", "desk", "--name", "door") as web:
        word = messages.Word(word="hello", start_s=0.5, end_s=1.0, punctuated_word="Hello.", speaker=1)
        desk.publish(Transcript(text="Hello.", is_final=True, words=(word,), start_s=0.5, end_s=1.0, user_name="Ann"))
        desk.publish(messages.Gap(start_s=1.0, end_s=2.0, samples=16000, reason="overflow"))
        desk.publish(messages.Error(source="streaming", code="connection_lost", message="the network is gone"))
        door.say("Who is there?")
        web.until("/transcript.jsonl?engine=desk", lambda got: got.text.count("\n") == 3)
        web.until("/transcript.txt?engine=door", lambda got: got.text)
        web.until("/status", lambda got: all(each["metrics"] and each["status"] for each in got.json["engines"]))
        # It is subscribed now. No history has a level.
        desk.publish(messages.Level(rms_dbfs=-30.5, peak_dbfs=-12.0, digital_silence=False, clipped=0.25))
        web.until("/status", lambda got: got.json["engines"][0]["level"])
        yield web, desk, door


# What there is


def test_the_page_is_whole_and_lets_in_nothing_else(running):
    page = running[0].get("/?lines=2")
    assert page.status == 200
    assert "http" not in page.text.replace("http-equiv", "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy


def test_transcripts_have_what_is_kept(running):
    web = running[0]
    assert web.get("/transcript.txt?engine=desk").text == "Hello.\n[1.0 s lost: overflow]\n[the network is gone]\n"
    assert web.get("/transcript.txt?engine=desk&names=1&timestamps=run").text.startswith("0:00:00.5 Ann #1: Hello.\n")
    assert [cue.text for cue in read_srt(web.get("/transcript.srt?engine=desk").text.encode())] == ["Hello."]
    assert [cue.text for cue in read_vtt(web.get("/transcript.vtt?engine=desk").text.encode())[0]] == ["Hello."]
    lines = web.get("/transcript.jsonl?engine=desk").text.splitlines()
    assert [line[:25] for line in lines] == ['{"engine":"desk","type":"'] * 3


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/transcript.txt", 400, "a transcript is of one engine: ?engine=desk"),
        ("/transcript.pdf?engine=desk", 404, "nothing stands here"),
        ("/transcript.txt?engine=desk&timestamps=x", 400, "timestamps: expected"),
        ("/events?engine=dest", 404, "engine=dest: there are desk, door"),
        ("/events?history=-1", 400, "history: expected"),
        ("/healthz?engine=%1b%5b31m", 404, "there are desk, door"),
        ("/?" + "&".join(["a=b"] * 30), 400, "the query"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "nothing stands here"),
        ("//evil.com/", 404, "nothing stands here"),
    ],
)
def test_what_cannot_be_answered_is_said_in_words(running, path, status, words):
    got = running[0].get(path)
    assert (got.status, got.text.count("\n")) == (status, 1)
    assert words in got.text
    assert got.text[:-1].isprintable()


def test_it_is_for_reading(running):
    assert [running[0].get("/", method=method).status for method in ("POST", "DELETE", "OPTIONS")] == [405] * 3
    head = running[0].get("/events", method="HEAD")
    assert (head.status, head.text) == (200, "")


def test_status_has_the_last_messages_of_each_engine(running):
    desk, door = running[0].get("/status").json["engines"]
    assert (desk["engine"], desk["is_heard"], desk["trouble"]) == ("desk", True, "")
    assert desk["level"]["rms_dbfs"] == -30.5
    assert door["metrics"]["captured_s"] == 10.0


def test_figures_are_openmetrics_with_every_engine(running):
    got = running[0].get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert got.headers["content-type"].startswith("application/openmetrics-text")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(got.text)
        for sample in family.samples
    }
    desk = ("engine", "desk")
    assert samples["mpengine_up", (desk,)] == samples["mpengine_up", (("engine", "door"),)] == 1
    assert samples["mpengine_captured_seconds_total", (desk,)] == 10.0
    assert samples["mpengine_state", (desk, ("mpengine_state", "running"))] == 1
    assert samples["mpengine_gap_seconds_total", (desk, ("reason", "overflow"))] == 1.0
    assert samples["mpengine_errors_total", (("code", "connection_lost"), desk)] == 1
    assert samples["mpengine_level_dbfs", (desk, ("kind", "peak"))] == -12.0
    assert samples["mpengine_child_resident_memory_bytes", (("child", "capture"), desk)] == 20e6
    assert samples["mpengine_finals_total", (desk,)] == 1
    assert "# EOF" not in running[0].get("/metrics", Accept="text/plain").text


# Events


def test_events_come_as_they_are_published_and_go_on_behind_the_last_id(tmp_path):
    with LiveBus(tmp_path) as engine, Web(tmp_path) as web:
        engine.say("one", "two")
        with web.events("topics=transcript") as reader:
            assert "HTTP/1.1 200 OK" in reader.head[0]
            assert reader.finals(2) == ["one", "two"]
            engine.say("three")
            assert reader.finals(1) == ["three"]
            last_id = reader.id
        assert seq_of(last_id)
        engine.say("four")
        with web.events(last_id=last_id) as reader:
            assert reader.finals(1) == ["four"]
            last_id = reader.id
        assert web.stop() == 0
        assert web.written() == ""
        engine.say("five")
        web.start()
        with web.events(f"after={last_id}") as reader:  # perhaps before it has heard the engine
            assert reader.finals(1) == ["five"]


def test_an_engine_that_vanishes_and_comes_back_is_told(tmp_path):
    with Web(tmp_path, "--name", "desk") as web:
        assert web.get("/healthz").status == 503
        assert "no engine of this name is heard" in web.get("/healthz").text
        with web.events("topics=status") as reader:
            assert reader.next("presence").data["is_heard"] is False
            with LiveBus(tmp_path, "desk") as engine:
                assert reader.next("presence").data["is_heard"] is True
                assert web.until("/healthz", lambda got: got.status == 200).text == "ok\n"
                engine.publish(messages.Status(state="failed", reason="no key"))
                assert reader.next("status").data["state"]
                assert web.until("/healthz", lambda got: got.status == 503).text == "desk: failed: no key\n"
            assert reader.next("presence").data["is_heard"] is False


def test_readers_that_stand_still_are_dropped_and_the_others_do_not_notice(tmp_path):
    with LiveBus(tmp_path) as engine, Web(tmp_path) as web:
        still = []
        try:
            for _ in range(5):
                still.append(socket.socket())
                still[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                still[-1].connect((web.host, web.port))
                still[-1].sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{web.port}\r\n\r\n".encode())
            web.until("/status", lambda got: got.json["web"]["clients"] == 5)
            with web.events("topics=transcript.final") as reader:
                before_mb = rss_mb(web.pid)
                for number in range(40):
                    engine.say(f"{number} " + "x" * 50_000)
                    assert reader.finals(1)[0].split()[0] == str(number)
                got = web.until("/status", lambda got: got.json["web"]["dropped"] == 5)
                assert got.json["web"]["clients"] == 1
                assert rss_mb(web.pid) - before_mb < 40
        finally:
            for each in still:
                each.close()


def test_a_connection_without_a_request_and_garbage_harm_nobody(running):
    web = running[0]
    where = (web.host, web.port)
    with socket.create_connection(where) as silent, socket.create_connection(where) as loud:
        loud.sendall(b"\x16\x03\x01" + b"\xff" * 500 + b"\r\n\r\n")
        assert b"400" in loud.recv(1000)
        silent.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert web.get("/healthz").status == 200


# Rights


def test_with_a_token_nothing_is_to_be_had_without_it(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with Web(tmp_path, "--token-file", str(tmp_path / "token")) as web:
        assert [web.get(path).status for path in ALL_PATHS] == [401] * len(ALL_PATHS)
        assert web.get("/", Authorization=f"Bearer {TOKEN}").status == 200
        assert web.get("/?token=wrong-wrong-wrong-wrong").status == 401
        link = web.get(f"//evil.com/?lines=2&token={TOKEN}")
        assert (link.status, link.headers["location"]) == (303, "/evil.com/?lines=2")
        cookie = link.headers["set-cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly; SameSite=Lax" in cookie
        assert web.get("/", Cookie=cookie.partition(";")[0]).status == 200
        assert web.get("/healthz", Cookie=cookie.partition(";")[0]).status == 503
        assert web.get("/status", Authorization=f"Bearer {TOKEN}").json["web"]["refused"] == len(ALL_PATHS) + 1


def test_strangers_pages_are_refused(running):
    web = running[0]
    assert web.get("/status", Host="evil.com").status == 421
    assert web.get("/events", Origin="http://evil.com").status == 403
    assert web.get("/status", Origin=f"http://127.0.0.1:{web.port}").status == 200
    assert web.get("/status", Host=socket.gethostname()).status == 200
    headers = web.get("/status").headers
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"


def _run(*arguments, **options):
    command = [sys.executable, "-m", "mpengine", "web", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(PATIENCE_S), check=False, **options)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "0.0.0.0:8714"), "needs --token-file"),
        (("--listen", "[::]:8714"), "needs --token-file"),
        (("--listen", "box:8714"), "needs --token-file"),
        (("--listen", "127.0.0.1"), "expected ADDRESS:PORT"),
        (("--listen", "127.0.0.1:99999"), "expected a port"),
        (("--listen", ":8714"), "expected the name or the address"),
        (("--token-file", "/nowhere/at/all"), "cannot read /nowhere/at/all: No such file"),
        (("--token-file", "/dev/null"), "expected one word of 16 or more"),
        (("--name", "../x"), "engine.name"),
        (("--name", "a", "--name", "b", "--query", "ipc:///tmp/x"), "--query: expected one --name with it"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, words):
    code, said = _run(*arguments)
    assert code == 2
    assert words in said
    assert said.count("\n") == 1


def test_a_place_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = _run("--listen", place)
        assert code == 1
        assert f"cannot listen at {place}: Address already in use" in said


def test_without_the_extra_it_says_what_to_install(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    code, said = _run(env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin"})
    assert (code, said) == (1, "mpengine: uvicorn is not installed; pip install 'mpengine-stt[web]' installs it\n")


# The end


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_readers_and_some_that_stand_still(tmp_path, how):
    with LiveBus(tmp_path) as engine, Web(tmp_path) as web, socket.socket() as still:
        engine.say(*["x" * 50_000] * 20)
        still.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        still.connect((web.host, web.port))
        still.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{web.port}\r\n\r\n".encode())
        with web.events() as reader:
            reader.next("transcript")
            assert web.stop(how) == 0
            assert len(list(reader)) < 50  # its answer ends
        assert web.written() == ""


def test_a_second_signal_is_obeyed_at_once(tmp_path):
    with Web(tmp_path) as web:
        web.send_signal(signal.SIGSTOP)  # so that both come before anything is done
        web.send_signal(signal.SIGINT)
        web.send_signal(signal.SIGTERM)
        web.send_signal(signal.SIGCONT)
        assert web.wait() in {0, -signal.SIGTERM}
        assert web.written() == ""

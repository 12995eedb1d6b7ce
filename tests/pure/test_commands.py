"""What the supervisor answers to commands from the bus, however malformed; it must live on."""

import json
from types import SimpleNamespace

import pytest

from mpengine.shared.config import Config
from mpengine.supervisor.bus.answers import Answers
from mpengine.supervisor.decide.coordinator import Coordinator


@pytest.fixture
def answer():
    """Gives the answer to the bytes of a command."""
    config = Config.parse({"remote": {"mode": "local"}})
    coordinator = Coordinator(config, chance=lambda: 0.0, now=100.0)
    answers = Answers(config, coordinator, bus=None, processes={})  # no status is asked for: no bus is needed
    return lambda body: json.loads(answers.to(body, 100.0)[0])


def test_a_known_command_is_answered_with_ok(answer):
    assert answer(b'{"type":"set_user_name","user_name":"Ann"}') == {"type": "ok"}
    longest = json.dumps({"type": "set_user_name", "user_name": "ß" * 200})
    assert answer(longest.encode()) == {"type": "ok"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"explode"}',
        b'{"type":["stop"]}',
        b'{"type":"set_user_name"}',
        b'{"type":"set_user_name","user_name":5}',
        b'{"type":"set_user_name","user_name":"\xff"}',
        b'{"type":"set_user_name","user_name":"%s"}' % (b"x" * 201),
        b'{"type":"\xff"}',
        b'{"type":"stop","x":' + b"[" * 100_000,
        b"[" * 1_000_000,
    ],
    ids=[
        "empty",
        "no json",
        "array",
        "null",
        "no type",
        "unknown type",
        "type is a list",
        "field missing",
        "wrong type",
        "no utf-8 in a field",
        "a name that fills each message",
        "no utf-8 in the type",
        "deep in a field",
        "deep",
    ],
)
def test_a_malformed_command_is_answered_with_an_error(answer, body):
    assert answer(body)["type"] == "error"


def test_where_only_questions_are_taken_a_command_changes_nothing_and_is_told_where_to_go(answer_reader):
    coordinator, answers = answer_reader
    for body in (b'{"type":"stop"}', b'{"type":"pause"}', b'{"type":"set_user_name","user_name":"Eve"}'):
        said, actions = answers.to(body, 100.0, may_command=False)
        assert actions == []
        assert json.loads(said)["code"] == "commands_elsewhere"
        assert "ipc:///run/command" in json.loads(said)["message"]
    assert not coordinator.situation.is_paused
    assert coordinator.results.user_name == "User"


@pytest.fixture
def answer_reader():
    config = Config.parse({"remote": {"mode": "local"}})
    coordinator = Coordinator(config, chance=lambda: 0.0, now=100.0)
    bus = SimpleNamespace(command_endpoint="ipc:///run/command")
    return coordinator, Answers(config, coordinator, bus=bus, processes={})

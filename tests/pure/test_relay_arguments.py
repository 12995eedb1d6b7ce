"""What `mpengine relay` refuses before it does anything, in words, and without a secret in them."""

import os

import pytest

from mpengine import cli

NATS = ("--to", "nats://127.0.0.1:1")
TLS = ("--to", "tls://127.0.0.1:1")
TWO = (*NATS, "--name", "a", "--name", "b")
MQTT = ("--to", "mqtt://127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "redis://x"), "--to: expected an address with one of nats://"),
        (("--to", "nats://ann:s3cret@x"), "--password-file, or --creds"),
        ((*NATS, "--home-assistant"), "--home-assistant: this is for MQTT"),
        ((*MQTT, "--create-stream"), "--create-stream: this is for NATS"),
        ((*MQTT, "--creds", "x"), "--creds: this is for NATS"),
        ((*NATS, "--window", "0"), "--window: expected 1 to 1000"),
        ((*NATS, "--user", "ann"), "--user: the password is missing"),
        ((*NATS, "--password-file", "/nowhere"), "--password-file: cannot read /nowhere: No such file"),
        ((*NATS, "--password-file", "/dev/null"), "--password-file: /dev/null is empty"),
        ((*NATS, "--creds", "/nowhere"), "--creds: cannot read /nowhere: No such file"),
        ((*MQTT, "--password-file", __file__), "--password-file: the user is missing"),
        ((*NATS, "--ca-file", "x"), "--ca-file: nats:// has no TLS: write tls:// in --to"),
        ((*MQTT, "--cert-file", "x"), "--cert-file: mqtt:// has no TLS: write mqtts:// in --to"),
        ((*TLS, "--ca-file", "/nowhere"), "--ca-file: cannot read /nowhere: No such file"),
        ((*TLS, "--ca-file", __file__), "that can be used"),
        ((*TLS, "--key-file", "x"), "--key-file: the certificate is missing"),
        ((*TWO, "--transcript", "x"), "--transcript: expected NAME=FILE with one of a, b"),
        ((*TWO, "--publish", "ipc:///x", "--query", "ipc:///y"), "--publish: expected one --name"),
        ((*NATS, "--publish", "ipc:///x"), "--publish: expected --query with it"),
        ((*NATS, "--name", "a/b"), "engine.name: expected"),
        ((*NATS, *[word for number in range(33) for word in ("--name", f"e{number}")]), "expected 32 engines at most"),
        ((*NATS, "--state", "/dev/null/x"), "cannot keep notes in /dev/null/x: Not a directory"),
    ],
)
def test_what_cannot_work_is_refused_in_words(capsys, tmp_path, arguments, words):
    state = () if "--state" in arguments else ("--state", str(tmp_path))
    assert cli.main(["relay", *arguments, *state]) in {1, 2}
    said = capsys.readouterr().err
    assert words in said
    assert "s3cret" not in said
    assert said.count("\n") == 1


def test_a_user_without_a_home_is_told_and_gets_no_folder_called_tilde(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where the user has no entry
    assert cli.main(["relay", *NATS]) == 1
    assert capsys.readouterr().err == "mpengine: this user has no home folder; set XDG_STATE_HOME\n"
    assert os.listdir(tmp_path) == []

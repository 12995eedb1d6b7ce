"""Addresses of brokers, names of subjects and topics, and what Home Assistant is told."""

import json

import pytest

from mpengine.relay.home_assistant import discovery
from mpengine.relay.naming import Names, Server, host_token, servers_in
from mpengine.shared.messages import FINALS


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nats://broker", [("nats", "broker", 4222)]),
        ("NATS://broker:1/", [("nats", "broker", 1)]),
        ("tls://a:1, tls://b", [("tls", "a", 1), ("tls", "b", 4222)]),
        ("mqtt://[::1]", [("mqtt", "::1", 1883)]),
        ("mqtts://192.0.2.1:8884", [("mqtts", "192.0.2.1", 8884)]),
    ],
)
def test_an_address_names_servers_of_one_kind(text, servers):
    assert servers_in(text) == tuple(Server(*server) for server in servers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nats://, tls://, mqtt://, mqtts://"),
        ("broker:4222", "nats://, tls://, mqtt://, mqtts://"),
        ("http://broker", "nats://, tls://, mqtt://, mqtts://"),
        ("nats://a,mqtt://b", "of one kind"),
        ("nats://a,", "expected an address"),
        ("nats://", "ADDRESS"),
        ("nats://broker:99999", "ADDRESS"),
        ("nats://broker/subject", "nothing behind"),
        ("mqtt://broker?x=1", "nothing behind"),
        (",".join(["nats://a"] * 17), "at most 16"),
    ],
)
def test_what_is_no_address_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        servers_in(text)


@pytest.mark.parametrize("text", ["nats://ann:s3cret@broker", "mqtts://s3cret@broker", "nats://a,nats://x:s3cret@b"])
def test_a_password_in_an_address_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError, match="--password-file") as error:
        servers_in(text)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "token"),
    [("box", "box"), ("box.example.org", "box"), ("a b*>", "a_b__"), ("", "unknown"), ("büro", "b_ro"), ("+/#", "___")],
)
def test_a_machine_is_one_part_of_a_subject(host, token):
    assert host_token(host) == token


def test_subjects_and_topics_end_with_the_type():
    names = Names("box")
    assert names.subject("desk", FINALS) == "mpengine.box.desk.transcript"
    assert names.topic("desk", "hole") == "mpengine/box/desk/hole"


def test_home_assistant_gets_sensors_of_one_device_which_share_the_relays_presence():
    bodies = discovery(Names("box"), "desk", presence="p", version="1")
    told = {topic: json.loads(body) for topic, body in bodies.items()}
    assert set(told) == {f"homeassistant/sensor/mpengine_box_desk_{what}/config" for what in ("state", "text", "loss")}
    assert len({sensor["unique_id"] for sensor in told.values()}) == 3
    assert {sensor["availability_topic"] for sensor in told.values()} == {"p"}
    assert {tuple(sensor["device"]["identifiers"]) for sensor in told.values()} == {("mpengine_box_desk",)}
    assert {sensor["state_topic"].rpartition("/")[2] for sensor in told.values()} == {"status", "transcript", "hole"}

"""`mpengine relay` with a real mosquitto: at least once, doubles recognisable, presence, Home Assistant, refusals."""

import json
import signal

import pytest
import trustme

from tests.rig.brokers import Listener, Mosquitto
from tests.rig.relaying import DESK, Relay, mqtt_storm
from tests.rig.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "mosquitto") as broker:
        yield broker


def texts_of(listener):
    return [message.body["text"] for message in listener.of("/transcript")]


def until_heard(listener, texts):
    wait_until(lambda: texts_of(listener) == texts, PATIENCE_S, f"{texts} at mosquitto")


def presence_of(broker):
    """What somebody who comes now is told of the relay."""
    with Listener(broker, "mpengine/box/desk/relay") as listener:
        wait_until(lambda: listener.messages, PATIENCE_S, "the relay's presence")
        (told,) = listener.messages
        assert told.is_retained
        return told.body["text"]


def test_what_is_handed_over_and_what_stays(tmp_path, broker, desk):
    desk.say("before")
    with Listener(broker) as listener, Relay(tmp_path, broker.url, *DESK, "--home-assistant") as relay:
        desk.say("behind")
        until_heard(listener, ["before", "behind"])
        assert presence_of(broker) == "online"
        assert relay.end(signal.SIGTERM) == 0
        wait_until(lambda: listener.of("/relay")[-1].body["text"] == "offline", PATIENCE_S, "the relay's good-bye")
        topics = {message.subject for message in listener.messages}
    assert {f"mpengine/box/desk/{kind}" for kind in ("relay", "status", "transcript")} < topics
    assert "homeassistant/sensor/mpengine_box_desk_state/config" in topics
    with Listener(broker, "mpengine/box/+/status") as later:
        wait_until(lambda: later.messages, PATIENCE_S, "the status")
        assert later.messages[0].body["state"] == "running"
    assert relay.said == f"relaying desk to {broker.url}, at least once\n"


def test_a_killed_relay_is_told_by_its_last_will_and_goes_on_where_it_was(tmp_path, broker, desk):
    desk.say("one")
    with Listener(broker) as listener, Relay(tmp_path, broker.url, *DESK) as relay:
        until_heard(listener, ["one"])
        wait_until((relay.state / "desk.json").exists, PATIENCE_S, "the note")
        relay.end()
        wait_until(lambda: listener.of("/relay")[-1].body["text"] == "offline", PATIENCE_S, "the last will")
        desk.say("two")
        relay.start()
        wait_until(lambda: texts_of(listener)[-1:] == ["two"], PATIENCE_S, "what was said meanwhile")
        assert presence_of(broker) == "online"
    keys = {(message.body["run"], message.body["seq"]) for message in listener.of("/transcript")}
    assert len(keys) == 2


def test_a_password_comes_from_a_file_and_who_is_refused_hears_why(tmp_path, desk):
    (tmp_path / "users").write_text("ann:$7$101$NotTheHash$AAAA\n")
    (tmp_path / "password").write_text("wrong\n")
    login = ("--user", "ann", "--password-file", str(tmp_path / "password"))
    with (
        Mosquitto(tmp_path / "mosquitto", f"password_file {tmp_path / 'users'}") as broker,
        Relay(tmp_path, broker.url, *DESK, *login) as relay,
    ):
        assert "the broker refuses: Not authorized; trying again" in relay.until_it_says("trying again")
        assert "wrong" not in relay.said


def test_tls_with_certificates_of_both_sides_from_files(tmp_path, desk):
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "other.pem")
    for name, identity in (("server", "127.0.0.1"), ("relay", "relay@example.org")):
        authority.issue_cert(identity).private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
    pem = tmp_path / "server.pem"
    lines = f"certfile {pem}\nkeyfile {pem}\ncafile {tmp_path / 'ca.pem'}\nrequire_certificate true\n"
    desk.say("hello")
    with Mosquitto(tmp_path / "mosquitto", f"{lines}allow_anonymous true") as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        with Relay(tmp_path, url, *DESK, "--ca-file", str(tmp_path / "other.pem")) as relay:
            relay.until_it_says("certificate verify failed")
        trusted = ("--ca-file", str(tmp_path / "ca.pem"))
        with Relay(tmp_path, url, *DESK, *trusted) as relay:  # without a certificate of its own
            relay.until_it_says("the connection was lost; trying again")
        with Relay(tmp_path, url, *DESK, *trusted, "--cert-file", str(tmp_path / "relay.pem")) as relay:
            relay.until_it_says(f"relaying desk to {url}")
            wait_until((relay.state / "desk.json").exists, PATIENCE_S, "the note")


def test_a_message_that_is_not_allowed_is_told_and_kept(tmp_path, desk):
    (tmp_path / "rights").write_text("topic readwrite mpengine/box/desk/relay\ntopic read #\n")
    lines = f"allow_anonymous true\nacl_file {tmp_path / 'rights'}"
    desk.say("one")
    with Mosquitto(tmp_path / "mosquitto", lines) as broker, Relay(tmp_path, broker.url, *DESK) as relay:
        relay.until_it_says("the broker refuses a message: Not authorized; trying again")
        note = relay.state / "desk.json"
        assert not note.exists() or "transcript.final" not in json.loads(note.read_text())["topics"]


def test_a_message_that_the_broker_never_takes_becomes_a_hole(tmp_path, desk):
    lines = "allow_anonymous true\nmax_packet_size 2000"
    desk.say("one", "x" * 3000, "two")
    with (
        Mosquitto(tmp_path / "mosquitto", lines) as broker,
        Listener(broker) as listener,
        Relay(tmp_path, broker.url, *DESK) as relay,
    ):
        until_heard(listener, ["one", "two"])
        wait_until(lambda: listener.of("/hole"), PATIENCE_S, "the hole")
        relay.until_it_says("left out")


def test_each_final_comes_at_least_once_and_first_ones_in_order_through_a_storm_of_kills(tmp_path):
    assert mqtt_storm(tmp_path, count=3, seconds=6, seed=4)

"""`mpengine relay` with a real nats-server: each once and in order, and what is missing is told."""

import json
import signal
import ssl

import pytest
import trustme

from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from tests.rig.brokers import NatsServer
from tests.rig.live_bus import LiveBus
from tests.rig.relaying import DESK, Relay, nats_storm
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def broker(tmp_path):
    with NatsServer(tmp_path / "nats") as broker:
        yield broker


def until_stored(broker, texts, **login):
    """Wait until the stream has these finals; all that it has."""

    def there():
        stored = broker.stored(**login)
        return [message.body["text"] for message in stored if "text" in message.body] == texts and stored

    return wait_until(there, PATIENCE_S, f"{texts} in the stream", every=0.1)


def holes_in(stored):
    return [
        (message.body["topic"], message.body["first_seq"], message.body["last_seq"])
        for message in stored
        if message.subject.endswith(".hole")
    ]


def test_what_is_handed_over_and_under_which_names(tmp_path, broker, desk):
    desk.say("before")
    desk.publish(messages.Transcript(text="perhaps", is_final=False))
    desk.publish(messages.Gap(start_s=1.0, end_s=2.0, samples=16000, reason="overflow"))
    desk.publish(messages.Error(source="capture", code="clipping", message="too loud"))
    with Relay(tmp_path, broker.url, *DESK, "--create-stream") as relay:
        relay.until_it_says(f'relaying desk to nats://127.0.0.1:{broker.port}, stream "mpengine"')
        desk.say("behind")
        stored = until_stored(broker, ["before", "behind"])
        assert relay.end(signal.SIGTERM) == 0
    subjects = {message.subject for message in stored}
    assert subjects == {f"mpengine.box.desk.{kind}" for kind in ("status", "transcript", "gap", "error")}
    assert all(message.headers["Nats-Msg-Id"] == f"5e1f:{message.body['seq']}" for message in stored)
    note = json.loads((relay.state / "desk.json").read_text())
    assert note["topics"]["transcript.final"] == max(message.body["seq"] for message in stored)


def test_a_missing_stream_is_told_once_and_waited_for(tmp_path, broker, desk):
    desk.say("hello")
    with Relay(tmp_path, broker.url, *DESK) as relay:
        relay.until_it_says("no stream takes mpengine.box.desk.transcript: make one for mpengine.>, or let --create-st")
        broker.make_stream()
        until_stored(broker, ["hello"])
        assert relay.said.count("no stream") == 1


def test_a_stream_knows_what_a_relay_without_a_note_has_sent(tmp_path, broker, desk):
    broker.make_stream(duplicate_window=0.1)  # an outage is longer
    desk.say("one", "two")
    with Relay(tmp_path, broker.url, *DESK) as relay:
        until_stored(broker, ["one", "two"])
        relay.end()
        (relay.state / "desk.json").write_text("no note")
        desk.say("three")
        relay.start()
        until_stored(broker, ["one", "two", "three"])
        assert relay.said.count("is no note of a relay: what it said is not used") == 1


def test_a_broker_that_is_away_at_the_start_and_later_is_waited_for(tmp_path, desk):
    broker = NatsServer(tmp_path / "nats")
    with Relay(tmp_path, broker.url, *DESK, "--create-stream") as relay:
        relay.until_it_says("trying again")
        desk.say("one")
        with broker:
            until_stored(broker, ["one"])
            broker.end()
            desk.say("two")
            relay.until_it_says("trying again", times=2)
            broker.start()
            assert not holes_in(until_stored(broker, ["one", "two"]))


@pytest.mark.parametrize("has_transcript", [True, False])
def test_what_the_history_has_no_longer_comes_from_the_transcript_or_is_told_as_a_hole(
    tmp_path, monkeypatch, broker, has_transcript
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    transcript = tmp_path / "said.jsonl"
    more = ("--transcript", str(transcript)) if has_transcript else ()
    texts = [str(number) for number in range(120)]
    relay = Relay(tmp_path, broker.url, *DESK, *more, "--create-stream")
    with LiveBus(tmp_path, "desk", finals=100) as desk, Subscriber("desk", topics=("transcript.final",)) as subscriber:
        assert subscriber.wait_live(scaled(PATIENCE_S))
        with relay:
            desk.say(texts[0])
            until_stored(broker, texts[:1])
            relay.end(signal.SIGTERM)
            desk.say(*texts[1:])
            bodies = []
            while len(bodies) < len(texts):
                topic, body = subscriber.receive_raw(timeout_s=scaled(PATIENCE_S))
                bodies += [body] if topic == "transcript.final" else []
            assert [json.loads(body)["text"] for body in bodies] == texts
            (tmp_path / "said.jsonl.1").write_bytes(b"".join(body + b"\n" for body in bodies[:50]))
            transcript.write_bytes(b"".join(body + b"\n" for body in bodies[50:]))
            relay.start()
            stored = until_stored(broker, texts if has_transcript else [texts[0], *texts[20:]])
    if has_transcript:
        assert holes_in(stored) == []
        return
    done, first, last = (json.loads(bodies[place])["seq"] for place in (0, 1, 19))
    ((topic, start, end),) = holes_in(stored)
    assert (topic, end) == ("transcript.final", last)
    assert done < start <= first  # metrics may have come between the two, and told that there was nothing else


def test_an_engine_that_is_started_anew_goes_on_in_another_run(tmp_path, broker):
    with Relay(tmp_path, broker.url, *DESK, "--create-stream"):
        with LiveBus(tmp_path, "desk", run="first") as desk:
            desk.say("one")
            desk.publish(messages.Status(state="stopped"))
            until_stored(broker, ["one"])
        with LiveBus(tmp_path, "desk", run="second") as desk:
            desk.say("two")
            until_stored(broker, ["one", "two"])


def test_a_message_that_the_stream_never_takes_becomes_a_hole(tmp_path, broker, desk):
    broker.make_stream(max_msg_size=2000)
    with Relay(tmp_path, broker.url, *DESK) as relay:
        desk.say("one", "x" * 3000, "two")
        stored = until_stored(broker, ["one", "two"])
        relay.until_it_says("left out")
        wait_until(lambda: holes_in(broker.stored()), PATIENCE_S, "the hole")
    seqs = [message.body["seq"] for message in stored if "text" in message.body]
    ((topic, first, last),) = holes_in(broker.stored())
    assert (topic, first) == ("transcript.final", last)
    assert seqs[0] < first < seqs[1]


def test_a_full_stream_is_told_and_loses_nothing(tmp_path, broker, desk):
    broker.make_stream(max_msgs=2, discard="new")
    with Relay(tmp_path, broker.url, *DESK) as relay:
        desk.say("one", "two", "three")
        relay.until_it_says("maximum messages exceeded")
        broker.ask(lambda context: context.update_stream(name="mpengine", subjects=["mpengine.>"], max_msgs=-1))
        until_stored(broker, ["one", "two", "three"])


def test_tls_and_a_password_from_files(tmp_path, desk):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    (tmp_path / "password").write_text("correct horse\n")
    pem = json.dumps(str(tmp_path / "server.pem"))
    lines = f'authorization {{ user: ann, password: "correct horse" }}\ntls {{ cert_file: {pem}, key_file: {pem} }}'
    login = ("--user", "ann", "--password-file", str(tmp_path / "password"))
    with NatsServer(tmp_path / "nats", lines) as broker:
        url = broker.url.replace("nats:", "tls:")
        desk.say("hello")
        with Relay(tmp_path, url, *DESK, *login) as relay:
            relay.until_it_says("certificate verify failed")
        with Relay(tmp_path, url, *DESK, "--create-stream", "--ca-file", str(tmp_path / "ca.pem"), *login) as relay:
            relay.until_it_says("relaying desk")
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            until_stored(broker, ["hello"], tls=context, tls_hostname="127.0.0.1", user="ann", password="correct horse")
            assert "correct horse" not in relay.said
        (tmp_path / "password").write_text("wrong\n")
        with Relay(tmp_path, url, *DESK, "--ca-file", str(tmp_path / "ca.pem"), *login) as relay:
            relay.until_it_says("Authorization Violation")


def test_a_new_password_in_the_file_is_taken_for_the_next_connection(tmp_path, desk):
    password = tmp_path / "password"
    password.write_text("the old one\n")
    login = ("--user", "ann", "--password-file", str(password))
    with NatsServer(tmp_path / "nats", 'authorization { user: ann, password: "the new one" }') as broker:
        desk.say("hello")
        with Relay(tmp_path, broker.url, *DESK, "--create-stream", *login) as relay:
            relay.until_it_says("Authorization Violation")
            password.unlink()
            relay.until_it_says("cannot read")
            relay.until_it_says("going on with what was read before")
            password.write_text("the new one\n")
            until_stored(broker, ["hello"], user="ann", password="the new one")


def test_a_second_relay_of_an_engine_to_a_broker_is_refused(tmp_path, broker, desk):
    with Relay(tmp_path, broker.url, *DESK, "--create-stream") as first:
        first.until_it_says("relaying desk")
        with Relay(tmp_path, broker.url, *DESK) as second:
            second.until_it_says('another relay hands "desk" to this broker; stop that one, or name another --state')


def test_a_server_that_stands_still_is_given_up_and_its_doubles_are_refused(tmp_path, broker, desk):
    broker.make_stream()
    with Relay(tmp_path, broker.url, *DESK) as relay:
        desk.say("one")
        until_stored(broker, ["one"])
        broker.signal(signal.SIGSTOP)
        desk.say("two")
        relay.until_it_says("trying again")
        broker.signal(signal.SIGCONT)
        desk.say("three")
        until_stored(broker, ["one", "two", "three"])


def test_each_final_comes_once_and_in_order_through_a_storm_of_kills(tmp_path):
    assert nats_storm(tmp_path, count=5, seconds=8, seed=3)

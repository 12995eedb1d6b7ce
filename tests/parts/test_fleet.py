"""The boxes without engines, and the part of the benchmark that has them speak to a real nats-server."""

import asyncio
import json

import msgspec
import pytest

from mpengine.client.position import decode
from mpengine.relay.broker import Login, Wanted
from mpengine.relay.jetstream import JetStream
from mpengine.relay.naming import Names, servers_in
from mpengine.relay.position import message_entry
from mpengine.shared.messages import FINALS
from tests.bench import fleet
from tests.bench.common import Bench
from tests.rig.brokers import NatsServer
from tests.rig.fleet import ENGINE, RECORDED, Fleet
from tests.rig.waiting import PATIENCE_S, wait_until

HOST = "box00000"


def test_the_recorded_finals_are_as_an_engine_writes_them_today():
    lines = RECORDED.read_bytes().splitlines()
    assert len(lines) > 1
    for line in lines:
        message = decode(line)
        assert message is not None
        assert json.loads(line) == json.loads(msgspec.json.encode(message))


@pytest.mark.slow
def test_a_box_hands_over_what_a_relay_does_and_a_relay_goes_on_behind_it(tmp_path):
    async def relayed(url, bodies):
        wanted = Wanted(Names(HOST), (ENGINE,), "0")
        relay = JetStream(servers_in(url)[0], wanted, Login())
        positions = await relay.open()
        for body in bodies:
            await (await relay.send(ENGINE, message_entry(FINALS, body)))
        await relay.close()
        return positions[ENGINE]

    with NatsServer(tmp_path) as broker:
        broker.make_stream()
        with Fleet(1, [broker.port]) as boxes:
            boxes.say(20.0)
            wait_until(lambda: boxes.look()["acknowledged"] > 4, PATIENCE_S, "acknowledgements")
            boxes.say(0)
            wait_until(lambda: not boxes.look()["behind"], PATIENCE_S, "the last acknowledgement")
        said = broker.stored()
        position = asyncio.run(relayed(broker.url, RECORDED.read_bytes().splitlines()))
        both = broker.stored()
    assert [each.body["seq"] for each in said] == list(range(1, len(said) + 1))
    assert (position.run, position.topics) == (said[0].body["run"], {FINALS: len(said)})
    of_relay = both[len(said) :]
    assert {each.subject for each in both} == {f"mpengine.{HOST}.{ENGINE}.transcript"}
    for each in both:
        headers = {"Nats-Msg-Id": f"{each.body['run']}:{each.body['seq']}", "Nats-Expected-Stream": "mpengine"}
        assert list(each.headers.items()) == list(headers.items())
    own = {"run", "seq"}
    finals = [{key: value for key, value in each.body.items() if key not in own} for each in of_relay]
    for each in said:
        assert {key: value for key, value in each.body.items() if key not in own} in finals
        assert list(each.body) == list(of_relay[0].body)


@pytest.mark.slow
def test_twenty_boxes_are_measured_and_outlive_their_server():
    bench = Bench(seconds=2, settle_s=0.5)
    with fleet.running(bench, 20) as (servers, boxes):  # which checks that the stream has each message once
        fleet.step(bench, "20 boxes", servers, boxes, 20)
        fleet.storm(bench, servers, boxes, 20, away_s=0.5)
    found = {figure["name"]: figure["values"] for figure in bench.figures.plain()}
    assert {"20 boxes: acknowledged a second", "20 boxes: to the acknowledgement, p99"} <= found.keys()
    assert found["connections lost in all"][0] >= 20

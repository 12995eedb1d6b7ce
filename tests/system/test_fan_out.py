"""Fifty subscribers, some of them stuck: the others get everything, and the supervisor does not grow."""

import pytest

from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.fan_out import Readers, reading

# A message of the flood is about this large, and 2000 of them wait for one that is stuck; all share their text.
MOST_GROWTH_MB = 12


class Flood(Echo):
    """Many interims on every block, so that the queues of those that do not read are full within seconds."""

    def __call__(self, connection, samples):
        yield from super().__call__(connection, samples)
        for _ in range(25):
            yield self._result(connection, connection.memory.final, samples, final=False)


@pytest.fixture
def talk(tmp_path):
    """Ten seconds, at the pace of speech."""
    return silent_file(tmp_path / "talk.wav", 10)


def test_the_stuck_ones_cost_nobody_a_message_and_no_memory(engine, talk):
    with FakeDeepgram(responder=Flood(0.1, 0.3)) as server:
        running = engine(byok(server) | talk, name="fan-out")
        where = f"ipc://{running.runtime}/results", running.name
        healthy = [Readers(*where, 22, topics="transcript.final,status") for _ in range(2)]
        frozen = [Readers(*where, 1) for _ in range(5)]
        slow = Readers(*where, 1, pause_s=1.0)
        assert running.bus
        with reading(*healthy, *frozen, slow):
            before = len(running.bus.finals())
            for reader in frozen:
                reader.freeze()
            assert running.wait(60) == 0
            results = [result for reader in healthy for result in reader.results()]
        assert len(results) == 44
        finals = [final["seq"] for final in running.bus.finals()]
        flood = sum(1 for message in running.bus.of_type("transcript"))
        assert flood > 5000
        assert len(finals) > before + 3
        for result in results:
            since = len(finals) - len(result["finals"])
            assert since <= before
            assert result["finals"] == finals[since:]
        memory = [message["children"]["supervisor"]["rss_mb"] for message in running.bus.of_type("metrics")]
        print(f"{flood} transcripts; the supervisor's memory in MB: {memory}")
        assert max(memory) - memory[0] < MOST_GROWTH_MB
    running.assert_nothing_left()

"""What children are told when they are spawned, as far as it depends on what happened before."""

import pytest

from mpengine.shared import control
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.supervisor.children.settings_for import SettingsFor
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.coordinator import Coordinator
from tests.pure.support import result

S = 16000
CONFIG = Config.parse({"remote": {"mode": "byok", "byok_api_key": "k"}})


@pytest.fixture
def coordinator():
    coordinator = Coordinator(CONFIG, chance=lambda: 1.0, now=100.0)
    coordinator.heard(Child.STREAMING, control.Connecting(connection=1, endpoint="wss://service"), 100.0)
    coordinator.heard(Child.STREAMING, control.ConnectionReady(connection=1, endpoint="wss://service"), 100.0)
    return coordinator


def streaming(coordinator):
    """The settings of a streaming process that is spawned now."""
    settings_for = SettingsFor(
        CONFIG,
        path="/run",
        run="00" * 8,
        window_path="/run/window",
        log_level="info",
        log_format="text",
        listener=None,
        token=Secret("t"),
    )
    return settings_for(Child.STREAMING, "streaming.1", coordinator)


def beat(coordinator, sent, highest_sent):
    message = control.StreamBeat(sent=sent, highest_sent=highest_sent, replayed=0)
    coordinator.heard(Child.STREAMING, message, 100.0)


def test_what_was_sent_before_is_the_highest_of_all_connections(coordinator):
    beat(coordinator, S, 3 * S)
    assert streaming(coordinator).sent_before == 3 * S


@pytest.mark.parametrize("is_final", [True, False])
def test_what_was_heard_had_been_sent_though_no_beat_has_told_so(coordinator, is_final):
    beat(coordinator, S, S)
    heard = result(0, 2 * S, is_final=is_final, acknowledges=0)
    coordinator.heard(Child.STREAMING, heard, 100.0)
    assert streaming(coordinator).sent_before == 2 * S


def test_a_process_that_can_get_no_audio_is_told_so(coordinator):
    assert not streaming(coordinator).expects_audio
    opened = control.DeviceOpened(name="USB", sample_rate=S, channels=1, latency_s=0.08)
    coordinator.heard(Child.CAPTURE, opened, 100.0)
    assert not streaming(coordinator).expects_audio
    coordinator.heard(Child.CAPTURE, control.CaptureBeat(captured=320), 100.0)
    assert streaming(coordinator).expects_audio
    coordinator.pause()
    assert not streaming(coordinator).expects_audio


def test_the_first_process_waits_for_audio():
    assert not streaming(Coordinator(CONFIG, chance=lambda: 1.0, now=100.0)).expects_audio

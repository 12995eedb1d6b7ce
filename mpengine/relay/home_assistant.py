"""What MQTT tells Home Assistant of an engine: a device with three sensors. Pure.

Its convention: a retained JSON object at `homeassistant/sensor/ID/config` describes one sensor.
"""

import msgspec

from mpengine.client.position import HOLE
from mpengine.relay.naming import Names
from mpengine.shared.messages import FINALS

# Home Assistant takes no longer state.
_LONGEST_STATE = 255


def discovery(names: Names, engine: str, *, presence: str, version: str) -> dict[str, bytes]:
    """The messages that describe them, by topic. `presence`: the topic of the relay's own presence."""
    identity = f"mpengine_{names.host}_{engine}"
    state = {
        "name": "State",
        "icon": "mdi:microphone",
        "state_topic": names.topic(engine, "status"),
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": names.topic(engine, "status"),
        "json_attributes_template": "{{ {'reason': value_json.reason, 'device': value_json.device} | tojson }}",
    }
    text = {
        "name": "Last words",
        "icon": "mdi:text",
        "state_topic": names.topic(engine, FINALS),
        "value_template": f"{{{{ value_json.text[:{_LONGEST_STATE}] }}}}",
    }
    lost = {
        "name": "Last loss",
        "icon": "mdi:alert",
        "state_topic": names.topic(engine, HOLE),
        "value_template": "{{ value_json.topic }} {{ value_json.first_seq }}",
    }
    common = {
        "availability_topic": presence,
        "device": {
            "identifiers": [identity],
            "name": f"{engine} on {names.host}",
            "manufacturer": "mpengine",
            "model": "speech engine",
            "sw_version": version,
        },
    }
    return {
        f"homeassistant/sensor/{identity}_{what}/config": msgspec.json.encode(
            {**sensor, **common, "unique_id": f"{identity}_{what}"}
        )
        for what, sensor in (("state", state), ("text", text), ("loss", lost))
    }

"""nats-server and mosquitto from Debian's packages, as processes that may be killed; what they have got in the end."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import nats
import paho.mqtt.client as paho
import pytest
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.rig.processes import spawn
from tests.rig.server import reserve_port
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

_T = TypeVar("_T")
_SESSION_S = 3600


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed; on Debian: apt-get install {name} (scripts/install --test does it)")
    return found


class Message(NamedTuple):
    """A message that a broker has got. `subject` with dots or slashes, as the broker has them."""

    subject: str
    body: dict[str, Any]
    headers: dict[str, str]
    is_retained: bool = False


class _Server:
    """A broker on loopback. It keeps its port and what it stores over kills. `lines` are added to its configuration."""

    SCHEME: ClassVar[str]

    def __init__(self, directory: Path, lines: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.port, self.lines = directory, reserve_port(), lines
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `--to`."""
        return f"{self.SCHEME}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start it; it can be connected to when this returns."""
        with (self.directory / "log").open("ab") as log:
            self._process = spawn(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._listens, PATIENCE_S, f"a broker at {self.port}")
        return self

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Be gone."""
        if self._process is not None:
            with self._process as process:
                process.send_signal(how)
                process.wait(scaled(PATIENCE_S))
            self._process = None

    def signal(self, how: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(how)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()

    def _listens(self) -> bool:
        with socket.socket() as there:
            return there.connect_ex(("127.0.0.1", self.port)) == 0


class NatsServer(_Server):
    """nats-server with JetStream."""

    SCHEME = "nats"

    def command(self) -> list[str]:
        """How it is started."""
        config = self.directory / "server.conf"
        store = json.dumps(str(self.directory / "store"))
        config.write_text(f"listen: 127.0.0.1:{self.port}\njetstream {{ store_dir: {store} }}\n{self.lines}\n")
        return [_program("nats-server"), "-c", str(config)]

    def ask(self, question: Callable[[Any], Coroutine[Any, Any, _T]], **login: Any) -> _T:
        """The answer of `question`, which gets the library's JetStream context."""

        async def asked() -> _T:
            async with asyncio.timeout(scaled(PATIENCE_S)):
                connection = await nats.connect(self.url, allow_reconnect=False, **login)
                try:
                    return await question(connection.jetstream())
                finally:
                    await connection.close()

        return asyncio.run(asked())

    def make_stream(self, **options: Any) -> None:
        """Make the stream."""
        self.ask(lambda context: context.add_stream(**{"name": "mpengine", "subjects": ["mpengine.>"], **options}))

    def stored(self, **login: Any) -> list[Message]:
        """All that the stream has, in its order; none where there is no stream, or no answer."""

        async def ask(context: Any) -> list[Message]:
            state = (await context.stream_info("mpengine")).state
            found = []
            for number in range(state.first_seq, state.last_seq + 1):
                message = await context.get_msg("mpengine", number)
                found.append(Message(message.subject, json.loads(message.data), message.headers or {}))
            return found

        try:
            return self.ask(ask, **login)
        except (NotFoundError, OSError, NatsError, JetStreamError):
            return []

    def count(self, subject: str) -> int:
        """How many messages of a subject the stream has; 0 where there is no stream, or no answer."""

        async def ask(context: Any) -> int:
            state = (await context.stream_info("mpengine", subjects_filter=subject)).state
            return sum((state.subjects or {}).values())

        try:
            return self.ask(ask)
        except (NotFoundError, OSError, NatsError, JetStreamError):
            return 0


class Mosquitto(_Server):
    """mosquitto, which stores what it has for a subscriber that is away."""

    SCHEME = "mqtt"

    def __init__(self, directory: Path, lines: str = "allow_anonymous true") -> None:
        super().__init__(directory, lines)

    def command(self) -> list[str]:
        """How it is started."""
        config = self.directory / "server.conf"
        store = self.directory / "store"
        store.mkdir(exist_ok=True)
        # As root it would become another user, who cannot write there.
        config.write_text(
            f"listener {self.port} 127.0.0.1\nuser root\npersistence true\npersistence_location {store}/\n"
            f"max_queued_messages 0\n{self.lines}\n"
        )
        return [_program("mosquitto"), "-c", str(config)]


class Listener:
    """A subscriber to all that mosquitto has, with a session that outlives connections."""

    def __init__(self, broker: Mosquitto, topic: str = "#") -> None:
        self.messages: list[Message] = []
        self._topic = topic
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=os.urandom(8).hex(), protocol=paho.MQTTv5, clean_session=None
        )
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = _SESSION_S
        client.on_connect = self._subscribe
        client.on_message = self._take
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", broker.port, clean_start=False, properties=session)
        client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, end: str) -> list[Message]:
        """Those whose topic ends so."""
        return [message for message in list(self.messages) if message.subject.endswith(end)]

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        client.subscribe(self._topic, qos=1)

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        try:
            body = json.loads(message.payload)
        except ValueError:
            body = {"text": message.payload.decode()}
        self.messages.append(Message(message.topic, body, {}, message.retain))

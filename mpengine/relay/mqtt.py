"""A connection to an MQTT broker, version 5: older versions cannot say that a message was refused.

The library's thread owns the socket. Its callbacks only tell the loop's thread, which owns all else here.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from mpengine.relay.broker import CONNECT_S, Away, Login, TooLarge, Wanted, unless
from mpengine.relay.home_assistant import discovery
from mpengine.relay.naming import Server
from mpengine.relay.position import Entry, Position

PRESENCE = "relay"
ONLINE, OFFLINE = b"online", b"offline"
_KEEP_ALIVE_S = 20
_CLOSE_S = 2.0
# The refusal of one message that is larger than the broker takes.
_TOO_LARGE = 0x95
_REFUSED = 0x80
_RETAINED = {"status"}
# What a message has beside its topic and its body.
_HEADER_BYTES = 64


class Mqtt:
    """One connection; see `Broker`."""

    def __init__(self, server: Server, wanted: Wanted, login: Login) -> None:
        self._server, self._wanted, self._login = server, wanted, login
        self.about = "at least once"
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._is_open = False
        self._told: dict[int, asyncio.Future[object]] = {}
        self._most_bytes: int | None = None
        self._presence = wanted.names.topic(wanted.engines[0], PRESENCE)
        # The broker ends an older connection of the same identity: so a half-open one does not say `offline` later.
        everything = "/".join((wanted.names.host, *wanted.engines)).encode()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"mpengine-{hashlib.sha256(everything).hexdigest()[:12]}",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )

    async def open(self) -> Mapping[str, Position]:
        """See `Broker`. An MQTT broker cannot say what it has."""
        client, login = self._client, self._login
        if login.tls is not None:
            client.tls_set_context(login.tls)
        if login.user is not None or login.password is not None:
            client.username_pw_set(login.user or "", login.password)
        client.will_set(self._presence, OFFLINE, qos=1, retain=True)
        client.on_connect = self._in_loop(self._note_connect)
        client.on_disconnect = self._in_loop(self._note_disconnect)
        client.on_publish = self._in_loop(self._note_publish)
        client.connect_timeout = CONNECT_S / 2
        try:
            await asyncio.to_thread(
                client.connect, self._server.host, self._server.port, _KEEP_ALIVE_S, clean_start=True
            )
            client.loop_start()
            async with asyncio.timeout(CONNECT_S):
                await self._opened
                for topic, body in self._greetings().items():
                    await unless(self.lost, self._publish(topic, body, is_retained=True))
        except TimeoutError:
            raise Away(f"no answer within {CONNECT_S:g} s") from None
        except TooLarge:
            raise Away("the broker takes no message that is large enough to be of use") from None
        except (OSError, ValueError) as error:
            strerror = error.strerror if isinstance(error, OSError) else None
            raise Away(strerror or str(error) or type(error).__name__) from None
        return {}

    async def send(self, engine: str, entry: Entry) -> "asyncio.Future[object]":
        """See `Broker`."""
        topic = self._wanted.names.topic(engine, entry.topic)
        if self._most_bytes is not None and len(topic) + len(entry.body) + _HEADER_BYTES > self._most_bytes:
            raise TooLarge
        return self._publish(topic, entry.body, is_retained=entry.topic in _RETAINED)

    async def close(self) -> None:
        """See `Broker`."""
        if self._is_open and not self.lost.done():
            with contextlib.suppress(TimeoutError, Away, TooLarge):
                async with asyncio.timeout(_CLOSE_S):
                    await self._publish(self._presence, OFFLINE, is_retained=True)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        # Without the callbacks nothing holds the library's object, whose end closes its sockets.
        self._client.on_connect = self._client.on_disconnect = self._client.on_publish = None
        for told in self._told.values():
            told.cancel()

    def _greetings(self) -> dict[str, bytes]:
        wanted = self._wanted
        several: dict[str, bytes] = {}
        for engine in wanted.engines if wanted.has_discovery else ():
            several |= discovery(wanted.names, engine, presence=self._presence, version=wanted.version)
        return several | {self._presence: ONLINE}

    def _publish(self, topic: str, body: bytes, *, is_retained: bool) -> "asyncio.Future[object]":
        # The answer is taken by this thread, and so never before the future is there.
        info = self._client.publish(topic, body, qos=1, retain=is_retained)
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise Away(paho.error_string(info.rc))
        told = self._told[info.mid] = self._loop.create_future()
        return told

    def _in_loop(self, note: Callable[..., None]) -> Callable[..., None]:
        def tell(*arguments: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
                self._loop.call_soon_threadsafe(note, *arguments)

        return tell

    # In the loop's thread

    def _note_connect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, limits: Any) -> None:
        if self._opened.done():
            return
        if reason.is_failure:
            self._opened.set_exception(Away(f"the broker refuses: {reason}"))
            return
        self._most_bytes = getattr(limits, "MaximumPacketSize", None)
        self._is_open = True
        self._opened.set_result(None)

    def _note_disconnect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _: object) -> None:
        words = "the connection was lost" if str(reason) == "Unspecified error" else str(reason)
        if not self._opened.done():
            self._opened.set_exception(Away(words))
        if not self.lost.done():
            self.lost.set_result(words)

    def _note_publish(self, _client: object, _data: object, number: int, reason: ReasonCode, _: object) -> None:
        told = self._told.pop(number, None)
        if told is None or told.done():
            return
        if reason.value == _TOO_LARGE:
            told.set_exception(TooLarge())
        elif reason.value >= _REFUSED:
            told.set_exception(Away(f"the broker refuses a message: {reason}"))
        else:
            told.set_result(None)

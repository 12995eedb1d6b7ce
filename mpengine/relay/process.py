"""The relay's process: a subscriber for each engine, one connection to a broker, a note of what the broker has.

All but the MQTT library's thread is one asyncio loop. A reader for each engine fills its outbox; while a connection is
there, a sender for each engine empties it. The outbox is bounded: behind it the engine's history is the buffer, and
behind that its transcript file.
"""

import asyncio
import contextlib
import random
import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mpengine.client.position import Hole
from mpengine.client.subscriber import Subscriber
from mpengine.relay.broker import Away, Broker, TooLarge, Wanted
from mpengine.relay.naming import Server
from mpengine.relay.outbox import Outbox, Slot
from mpengine.relay.position import MARK, TOPICS, Position, entry_of, filled
from mpengine.relay.state_file import StateFile
from mpengine.relay.transcript import lines_of
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.standard_streams import complain, write_text
from mpengine.shared.text import harmless

ACKNOWLEDGE_S = 10.0
"""A connection on which a message is not acknowledged within so long is given up."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_NOTE_EVERY_S = 1.0
_END_S = 5.0
# So many messages of a transcript file are put in before others have a turn.
_AT_ONCE = 50


class Options(NamedTuple):
    """What to relay, and where to. None for an endpoint means the one in the engine's runtime directory.

    `transcripts`: the transcript files of those engines that have one.
    """

    servers: tuple[Server, ...]
    wanted: Wanted
    state: str
    window: int
    transcripts: Mapping[str, str] = {}
    publish: str | None = None
    query: str | None = None
    server_key: str | None = None
    client_key: str | None = None


def relay(options: Options) -> int:
    """Relay until SIGINT or SIGTERM; a second one ends this process at once.

    Raises ConfigError for an invalid name, endpoint or key, MpengineError where the notes cannot be kept.
    """
    with contextlib.ExitStack() as stack:
        engines = []
        for name in options.wanted.engines:
            note = stack.enter_context(contextlib.closing(StateFile(options.state, name)))
            if note.complaint:
                complain(note.complaint)
            engines.append(stack.enter_context(contextlib.closing(_Engine(options, name, note))))
        return asyncio.run(_Relay(options, engines).run())


class _Engine:
    """One engine on its way to the broker."""

    def __init__(self, options: Options, name: str, note: StateFile) -> None:
        self.name, self._note = name, note
        self.outbox = Outbox(self._note.position, window=options.window)
        self._transcript = options.transcripts.get(self.name)
        self._options = options
        self._written = self._note.position
        self._complaint = ""
        # A wrong endpoint or key is told at the start, before anything runs.
        self._subscriber: Subscriber | None = None if self.outbox.position is None else self._subscribe()
        if self._subscriber is None:
            self._subscribe().close()
        self.is_known = asyncio.Event()
        """Set once the broker has said which of the engine's messages it has."""
        self.is_filled, self.has_room = asyncio.Event(), asyncio.Event()

    def close(self) -> None:
        """Close the sockets."""
        if self._subscriber is not None:
            self._subscriber.close()

    async def read(self) -> None:
        """Put into the outbox what the engine says."""
        if self._subscriber is None:
            await self.is_known.wait()
            self._subscriber = self._subscribe()
        while True:
            received = await self._subscriber.receive_any_async()
            if received.hole is not None and self._transcript is not None:
                await self._fill(received.hole, self._transcript)
                continue
            await self._room()
            if entry := entry_of(received):
                self.outbox.put(entry)
                self.is_filled.set()
            await asyncio.sleep(0)  # an engine's whole history may be there at once

    async def send(self, broker: Broker, failed: "asyncio.Future[None]") -> None:
        """Hand the outbox to `broker`. `failed` gets the error of a message that the broker does not acknowledge.

        Raises Away when the broker takes nothing.
        """
        while True:
            slot = self.outbox.next()
            if slot is None:
                self.is_filled.clear()
                await self.is_filled.wait()
                continue
            try:
                async with asyncio.timeout(ACKNOWLEDGE_S):
                    told = await broker.send(self.name, slot.entry)
            except TooLarge:
                self._leave_out(slot)
                continue
            except TimeoutError:
                raise Away(f"it took nothing for {ACKNOWLEDGE_S:g} s") from None
            self.outbox.note_sent(slot)
            self._expect(slot, told, failed)

    async def emptied(self) -> None:
        """Wait until the broker has all. Nothing may read any more."""
        while not self.outbox.is_empty:
            self.has_room.clear()
            await self.has_room.wait()

    async def write_note(self) -> None:
        """Note what the broker has, if that has changed."""
        position = self.outbox.position
        if position is None or position == self._written:
            return
        try:
            await asyncio.to_thread(self._note.write, position)
        except OSError as error:
            self._complain_once(f"cannot keep notes in {self._options.state}: {error.strerror}")
            return
        self._written, self._complaint = position, ""

    def _subscribe(self) -> Subscriber:
        position = self.outbox.position
        return Subscriber(
            self.name,
            publish=self._options.publish,
            query=self._options.query,
            topics=(*TOPICS, MARK),
            since=(position and position.since) or "start",
            server_key=self._options.server_key,
            client_key=self._options.client_key,
        )

    async def _room(self) -> None:
        while self.outbox.is_full:
            self.has_room.clear()
            await self.has_room.wait()

    async def _fill(self, hole: Hole, path: str) -> None:
        """Put in what the transcript file has of `hole`, and holes for the rest."""
        count = 0
        try:
            for entry in filled(hole, lines_of(path)):
                await self._room()
                self.outbox.put(entry)
                self.is_filled.set()
                count += 1
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except OSError as error:
            self._complain_once(f"cannot read the transcript {path}: {error.strerror}")
            for entry in filled(hole, ()):
                self.outbox.put(entry)
                self.is_filled.set()

    def _expect(self, slot: Slot, told: "asyncio.Future[object]", failed: "asyncio.Future[None]") -> None:
        def give_up() -> None:
            if not told.done():
                told.set_exception(Away(f"it acknowledged nothing within {ACKNOWLEDGE_S:g} s"))

        timer = asyncio.get_running_loop().call_later(ACKNOWLEDGE_S, give_up)

        def note(done: "asyncio.Future[object]") -> None:
            timer.cancel()
            error = None if done.cancelled() else done.exception()
            if failed.done() or done.cancelled():  # this connection has ended: the next one asks, or sends it again
                return
            if error is None:
                self.outbox.note_done(slot)
            elif isinstance(error, TooLarge):
                self._leave_out(slot)
            else:
                failed.set_exception(error)
            self.is_filled.set()
            self.has_room.set()

        told.add_done_callback(note)

    def _leave_out(self, slot: Slot) -> None:
        complain(f'the broker does not take a message of "{self.name}" with {len(slot.entry.body)} bytes: left out')
        self.outbox.replace_by_hole(slot)

    def _complain_once(self, text: str) -> None:
        if text != self._complaint:
            complain(text)
        self._complaint = text


class _Relay:
    """All engines and the broker."""

    def __init__(self, options: Options, engines: list[_Engine]) -> None:
        self._options, self._engines = options, engines
        self._complaint = ""
        self._is_connected = self._is_announced = False

    async def run(self) -> int:
        """Relay until a signal. Then still send what is in the outboxes, if the broker is there."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_pass_over_lost_connections)
        is_over = asyncio.Event()

        def end() -> None:
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)
            is_over.set()

        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, end)
        readers = [loop.create_task(engine.read()) for engine in self._engines]
        others = [loop.create_task(work) for work in (self._keep_connected(), self._keep_notes())]
        stopping = loop.create_task(is_over.wait())
        try:
            done, _ = await asyncio.wait([stopping, *readers, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await _end(readers)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await self._sent()
        finally:
            await _end([stopping, *readers, *others])
            for engine in self._engines:
                await engine.write_note()
        return int(ExitCode.OK)

    async def _sent(self) -> None:
        """Wait until all outboxes are empty; without a connection, not at all."""
        for engine in self._engines if self._is_connected else ():
            await engine.emptied()

    async def _keep_notes(self) -> None:
        while True:
            await asyncio.sleep(_NOTE_EVERY_S)
            for engine in self._engines:
                await engine.write_note()

    async def _keep_connected(self) -> None:
        attempt, wait_s = 0, _FIRST_WAIT_S
        while True:
            server = self._options.servers[attempt % len(self._options.servers)]
            try:
                await self._connection(server)
            except Away as error:
                if self._has_sent():  # that was a good connection: the next attempt comes soon
                    wait_s, self._complaint = _FIRST_WAIT_S, ""
                self._say_away(server, str(error))
            attempt += 1
            # Many relays lose one broker at the same time.
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    async def _connection(self, server: Server) -> None:
        """One connection, to its end. Raises Away."""
        broker = make_broker(server, self._options.wanted)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        senders: list[asyncio.Task[None]] = []
        try:
            stored = await broker.open()
            for engine in self._engines:
                engine.outbox.meet(stored.get(engine.name, Position()))
                engine.is_known.set()
                engine.has_room.set()
            self._is_connected = True
            if not self._is_announced:
                with contextlib.suppress(BrokenPipeError, MpengineError):  # nobody reads that any more
                    write_text(f"relaying {', '.join(self._options.wanted.engines)} to {server}, {broker.about}\n")
                self._is_announced = True
            senders = [asyncio.create_task(engine.send(broker, failed)) for engine in self._engines]
            ends: list[asyncio.Future[Any]] = [broker.lost, failed, *senders]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():  # a broker may refuse a message and end the connection: the refusal says why
                failed.result()
            if broker.lost.done():
                raise Away(broker.lost.result())
            for sender in senders:
                if sender.done():
                    sender.result()
        finally:
            self._is_connected = False
            if not failed.cancel() and not failed.cancelled():
                failed.exception()  # asyncio complains of an error that nobody has asked for
            await _end(senders)
            for engine in self._engines:
                engine.outbox.disconnect()
            await broker.close()

    def _has_sent(self) -> bool:
        """Whether something was acknowledged since this was asked before."""
        has_sent = any(engine.outbox.sent for engine in self._engines)
        for engine in self._engines:
            engine.outbox.sent = 0
        return has_sent

    def _say_away(self, server: Server, why: str) -> None:
        text = f"{server}: {harmless(why)}; trying again"
        if text != self._complaint:
            complain(text)
            self._is_announced = False
        self._complaint = text


def _pass_over_lost_connections(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Print no traceback for a task of a broker's library that ends with its connection: that end is told in words."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def make_broker(server: Server, wanted: Wanted) -> Broker:
    """A connection of the kind that `server` speaks, not yet open. Only the library for it is loaded."""
    if server.kind.is_mqtt:
        from mpengine.relay.mqtt import Mqtt  # noqa: PLC0415

        return Mqtt(server, wanted)
    from mpengine.relay.jetstream import JetStream  # noqa: PLC0415

    return JetStream(server, wanted)


async def _end(tasks: "Sequence[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

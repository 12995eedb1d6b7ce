"""`listen --exec` and `--exec-each`: how messages become items for a command, and where that goes on after an end."""

import os
import shlex
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing

from mpengine.cli.handing.conversation import Item
from mpengine.cli.handing.hands import Each, Hand, LineByLine, Rules
from mpengine.cli.handing.position_file import Place, PositionFile
from mpengine.cli.outlet import Commands, Outlet
from mpengine.cli.terminal.in_place import write_notice
from mpengine.client.position import Hole, Received
from mpengine.formats.base import Position
from mpengine.shared import messages
from mpengine.shared.errors import ConfigError
from mpengine.shared.messages import Published
from mpengine.shared.standard_streams import complain


def hand_out(commands: Commands, position: Position, topics: frozenset[str], stack: ExitStack) -> Outlet:
    """An outlet to a command, which `stack` ends. Raises ConfigError when it cannot be started."""
    words = [*commands.words[1:]] if commands.words[:1] == ["--"] else [*commands.words]
    if not words:
        raise ConfigError(commands.option, "expected a command and its arguments behind it")
    if shutil.which(words[0]) is None:
        raise ConfigError(
            commands.option, f"cannot run {words[0]}: no such command, or not executable{_advice(words[0])}"
        )
    file = None
    if commands.state is not None:
        file = stack.enter_context(closing(PositionFile(os.path.abspath(commands.state))))
    places = dict(file.places) if file is not None else {}
    kind = Each if commands.is_each else LineByLine
    hand = kind(Rules(words, commands.timeout_s, commands.with_engine), file)
    hand.start()

    def end(raised: type[BaseException] | None, *_: object) -> None:
        hand.close(drains=raised is None)

    stack.push(end)
    out = _Out(hand, topics, places, begins_now=position.since is None)
    since = {name: (place.run, place.done) for name, place in places.items()}
    return Outlet(out.show, write_notice, position, topics, since, hears_status=True)


def _advice(word: str) -> str:
    """What would make `word` a command, where it names a file. A bare word is not looked for in this directory."""
    path = word if os.path.dirname(word) else os.path.join(os.curdir, word)
    if not os.path.isfile(path):
        return ""
    is_executable = os.access(path, os.X_OK)
    return f"; did you mean {path}?" if is_executable else f"; first: chmod +x {shlex.quote(path)}"


class _Out:
    """Makes items of messages.

    `places`: what was handed over before. `begins_now`: engines without a place begin now.
    """

    def __init__(self, hand: Hand, topics: frozenset[str], places: Mapping[str, Place], *, begins_now: bool) -> None:
        self._hand = hand
        self._topics = topics
        self._begins_now = begins_now
        self._begun = set(places)
        self._ended = {name: place.run for name, place in places.items() if place.is_over}
        self._later = {(name, place.run, seq) for name, place in places.items() for seq in place.later}

    def show(self, received: Received, message: Published | Hole | None) -> None:
        """Hand `received` over, if it is of the topics; tell holes, and note beginnings and ends."""
        name = received.name
        if isinstance(message, Hole):
            if message.last_seq is not None or self._ended.get(name) != message.run:
                complain(_lost(name, message))
            return
        if message is None:
            return
        run, seq, is_wanted = message.run, message.seq, received.topic in self._topics
        if self._begins_now and seq and name not in self._begun:
            self._begun.add(name)
            self._hand.put(Item(name, run, seq - 1 if is_wanted else seq))
        if is_wanted and (name, run, seq) not in self._later:
            self._hand.put(Item(name, run, seq, received.body, message))
        if isinstance(message, messages.Status) and message.state in messages.OVER:
            self._hand.put(Item(name, run, 0))


def _lost(name: str, hole: Hole) -> str:
    if hole.last_seq is None:
        return f'the last messages ({hole.topic}) of the run {hole.run} of "{name}" may be lost'
    return f'messages ({hole.topic}) of "{name}" are lost: some of {hole.run}:{hole.first_seq} to {hole.last_seq}'

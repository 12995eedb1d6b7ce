"""Hands messages over to commands: `listen --exec` (one long-lived command) and `--exec-each` (one for each message).

Who owns what: the main thread puts messages in; the thread of a `Hand` owns the commands, their pipes and the file of
positions. The queue between them is bounded: where it is full, the main thread waits, and it is told once.
"""

import abc
import collections
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpengine.cli.handing.command import END_S, Command, Pipe, with_content
from mpengine.cli.handing.conversation import Backoff, Conversation, Item, brief, how, line_of, variables_of
from mpengine.cli.handing.position_file import PositionFile
from mpengine.shared.standard_streams import complain
from mpengine.shared.wake import Wake

_MOST_ITEMS, _MOST_BYTES = 1000, 8 << 20
_SLICE_S = 0.5  # a signal that comes just before a wait begins is handled only after the wait


class Rules(NamedTuple):
    """How messages are handed over. `timeout_s`: see each `Hand`; None for its default."""

    words: Sequence[str]
    timeout_s: float | None = None
    with_engine: bool = False


class Hand(abc.ABC):
    """A thread that hands over what is put in. `position` is None where nobody needs to know it."""

    def __init__(self, rules: Rules, position: PositionFile | None, tell: Callable[[str], None] = complain) -> None:
        self._rules = rules
        self._position = position
        self._tell = tell
        self._name = brief(rules.words)
        self._wake = Wake()
        self._changed = threading.Condition()
        self._queue: collections.deque[Item] = collections.deque()
        self._queued_bytes = 0
        self._is_full = self._is_over = False
        self._ends_at_once = False
        self._error: Exception | None = None
        self._begun = dict(position.places) if position else {}
        self._thread = threading.Thread(target=self._run, name="hand", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    # The main thread

    def put(self, item: Item) -> None:
        """Hand `item` over after all those before. Waits while there is no room. Raises what ended the thread."""
        with self._changed:
            self._raise()
            if not self._has_room and not self._is_full:
                self._is_full = True
                self._tell(f"{self._name} is slow: {len(self._queue)} messages wait for it")
            while not self._has_room:
                self._changed.wait(_SLICE_S)
                self._raise()
            begun = self._begun.get(item.name)
            is_again = begun is not None and (begun.run, begun.doing) == (item.run, item.seq) and bool(item.seq)
            self._queue.append(item._replace(is_again=is_again))
            self._queued_bytes += len(item.body)
        self._wake.set()

    def close(self, *, drains: bool) -> None:
        """End the thread and its command. With `drains`, what waits is handed over first. Tells what is not."""
        with self._changed:
            self._is_over = True
            self._ends_at_once = not drains
        self._wake.set()
        try:
            while self._thread.is_alive():
                self._thread.join(_SLICE_S)
        except KeyboardInterrupt:  # once more: nothing is waited for any more
            self._ends_at_once = True
            self._wake.set()
            raise
        if self._queue:
            later = "; the next start goes on with them" if self._position else ""
            self._tell(f"{len(self._queue)} messages were not handed over{later}")
        self._raise()

    @property
    def _has_room(self) -> bool:
        return len(self._queue) < _MOST_ITEMS and self._queued_bytes < _MOST_BYTES

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    # The thread

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001  `put` and `close` raise it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    @abc.abstractmethod
    def _work(self) -> None:
        """Hand over until it is over."""

    def _take(self) -> Item | None:
        """The next message; None if none waits."""
        while True:
            with self._changed:
                if not self._queue:
                    return None
                item = self._queue.popleft()
                self._queued_bytes -= len(item.body)
                self._is_full &= len(self._queue) > _MOST_ITEMS // 2
                self._changed.notify_all()
            if item.message is not None:
                return item
            self._mark(item)

    def _put_back(self, item: Item) -> None:
        with self._changed:
            self._queue.appendleft(item)
            self._queued_bytes += len(item.body)

    def _mark(self, mark: Item) -> None:
        """Note a place at which no message is: the beginning, where there is none yet, or the end of a run."""
        if self._position is None:
            return
        if mark.seq:
            self._position.adopt(mark.name, mark.run, mark.seq)
        else:
            self._position.end(mark.name, mark.run)

    def _is_left(self, item: Item) -> None:
        """`item` is to be handed over again, by this listener or the next one."""
        if self._position is not None:
            self._position.left(item.name, item.run, item.seq, may_be_done=item.is_again, is_final=item.is_final)

    def _is_doing(self, item: Item) -> None:
        """From now on `item` may be handed over at any moment."""
        if self._position is not None:
            self._position.begin(item.name, item.run, item.seq)

    def _is_done(self, item: Item) -> None:
        """`item` is handed over."""
        if self._position is not None:
            self._position.finish(item.name, item.run, item.seq, is_final=item.is_final)

    def _wait(self, poller: "select.poll", limit_s: float) -> None:
        """Wait for `poller` or a wake-up."""
        poller.register(self._wake, select.POLLIN)
        poller.poll(int(limit_s * 1000) + 1)
        self._wake.drain()

    def _pause(self, limit_s: float) -> None:
        """Wait, but not beyond an end at once."""
        give_up = time.monotonic() + limit_s
        while not self._ends_at_once and (rest_s := give_up - time.monotonic()) > 0:
            self._wait(select.poll(), rest_s)


class Each(Hand):
    """One command for each message, one after the other. One that takes longer than `timeout_s` (30) is ended."""

    _LIMIT_S = 30.0
    _has_hope = True  # of starting a command

    def _work(self) -> None:
        backoff = Backoff()
        while self._has_hope and not self._ends_at_once:
            is_over = self._is_over  # asked first: what was put in before is taken before the end
            item = self._take()
            if item is not None:
                self._hand_over(item, backoff)
            elif is_over:
                return
            else:
                self._wait(select.poll(), 3600.0)

    def _hand_over(self, item: Item, backoff: Backoff) -> None:
        self._is_doing(item)
        was_told = False
        while True:
            backoff.started(time.monotonic())
            try:
                with with_content(line_of(item, with_engine=self._rules.with_engine)) as content:
                    command = Command(self._rules.words, content.fileno(), {**os.environ, **variables_of(item)})
            except OSError as error:
                if not was_told:
                    self._tell(f"cannot start {self._name}: {error.strerror}; trying again")
                was_told = True
                self._pause(max(1.0, backoff.ended(time.monotonic())))
                if self._is_over:  # at the end, no hope is enough
                    self._is_left(item)
                    self._put_back(item)
                    self._has_hope = False
                    return
                continue
            break
        try:
            self._follow(command, item)
        finally:
            command.close()
        self._is_done(item)

    def _follow(self, command: Command, item: Item) -> None:
        limit_s = self._rules.timeout_s or self._LIMIT_S
        give_up = time.monotonic() + limit_s
        while (status := command.status) is None and (rest_s := give_up - time.monotonic()) > 0:
            if self._ends_at_once:
                status = command.wait(min(rest_s, END_S))
                break
            poller = select.poll()
            self._wait(poller, command.watch(poller, rest_s))
        if status is None:
            command.end()
            why = "was ended" if self._ends_at_once else f"took longer than {limit_s:g} s and was ended"
            self._tell(f"{self._name} {why}; it had {item.label}")
        elif status:
            self._tell(f"{self._name} ended with {how(status)} for {item.label}")


class LineByLine(Hand):
    """One long-lived command, which reads a line for each message. It is started again whenever it ends.

    It has one line at a time in its pipe. With `timeout_s`, a command that does not read its line for so long is ended.
    """

    _SLOW_S = 30.0  # after that it is told

    def _work(self) -> None:
        talk, backoff = Conversation(), Backoff()
        while True:
            backoff.started(time.monotonic())
            try:
                pipe = Pipe(self._rules.words)
            except OSError as error:
                has_read, status, wait_s = False, None, max(1.0, backoff.ended(time.monotonic()))
                self._tell(f"cannot start {self._name}: {error.strerror}; trying again in {wait_s:g} s")
            else:
                try:
                    status = self._speak(pipe, talk)
                    has_read = talk.taken is not None or (talk.given is not None and pipe.is_read)
                    self._heed_end(pipe, talk, status)
                finally:
                    pipe.close()
                backoff = Backoff() if has_read and not status else backoff
                wait_s = backoff.ended(time.monotonic())
            is_done = not self._queue and talk.is_idle
            if self._ends_at_once or (self._is_over and (is_done or not has_read)):  # at the end, no hope is enough
                break
            if status is not None and (status or wait_s):
                again = f" in {wait_s:g} s" if wait_s else ""
                self._tell(f"{self._name} has ended ({how(status)}); starting it again{again}")
            self._pause(wait_s)
        for item in reversed(talk.rest()):
            self._put_back(item)

    def _speak(self, pipe: Pipe, talk: Conversation) -> int:
        """Hand over line by line until the command ends; returns its exit status."""
        limit_s = self._rules.timeout_s
        since = time.monotonic()  # the last progress
        was_told = False
        while (status := pipe.command.status) is None:
            if pipe.is_read and (item := talk.read()) is not None:
                self._is_done(item)
                since, was_told = time.monotonic(), False
            if self._ends_at_once:
                return pipe.finish()
            if talk.given is None:
                is_over = self._is_over  # asked first: what was put in before is taken before the end
                item = talk.next_again() or self._take()
                if item is not None:
                    self._is_doing(item)
                    talk.give(item)
                    pipe.put(line_of(item, with_engine=self._rules.with_engine))
                    since = time.monotonic()
                    continue
                if is_over:
                    return pipe.finish()
            waited_s = time.monotonic() - since
            if talk.given is not None and limit_s is not None and waited_s >= limit_s:
                self._tell(f"{self._name} has not read {talk.given.label} for {limit_s:g} s and is ended")
                return pipe.command.end()
            if talk.given is not None and waited_s >= self._SLOW_S and not was_told:
                was_told = True
                self._tell(f"{self._name} has not read {talk.given.label} for {self._SLOW_S:g} s")
            if self._is_over and waited_s >= self._SLOW_S:  # nobody waits longer for the last ones
                return pipe.finish()
            poller = select.poll()
            rest_s = max(0.1, min(limit_s or self._SLOW_S, self._SLOW_S) - waited_s)
            rest_s = pipe.watch(poller, rest_s) if talk.given is not None else 3600.0
            self._wait(poller, pipe.command.watch(poller, rest_s))
            pipe.push()
        return status

    def _heed_end(self, pipe: Pipe, talk: Conversation, status: int) -> None:
        unread_bytes = pipe.unread_bytes
        given = talk.given
        for item in talk.ended(status, unread=unread_bytes > 0, untouched=unread_bytes >= pipe.put_bytes):
            self._tell(f"{self._name} has ended twice ({how(status)}) on {item.label}, which is given up")
        if given is not None and not unread_bytes:
            self._is_done(given)
        if talk.first_again is not None:
            self._is_left(talk.first_again)

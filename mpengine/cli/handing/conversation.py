"""What is handed over to a command, and what is in doubt when the command or the listener ends. Pure.

A message is handed over when the command has read it. The end of the command leaves one message in doubt at most: the
last one that it read, for a command reads the next one when it is done. A good end (exit code 0) leaves none. One in
doubt is handed over once more, marked with `"again": true`; if the command ends badly on that too, it is given up.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mpengine.formats import jsonl
from mpengine.formats.jsonl import line
from mpengine.shared import messages
from mpengine.shared.text import harmless

# A command that ends again and again is started again after ever longer waits.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_LONG_LIFE_S = 10.0


class Item(NamedTuple):
    """A message on its way to a command. `body`: its JSON. `is_again`: it may have been handed over before.

    `message` is None for a mark: with a `seq` it says where the listener began, without one that the run has ended
    behind all messages before.
    """

    name: str
    run: str
    seq: int
    body: bytes = b""
    message: messages.Published | None = None
    is_again: bool = False

    @property
    def is_final(self) -> bool:
        """Whether it is a final: these alone come in order, each after all those before."""
        return isinstance(self.message, messages.Transcript) and self.message.is_final

    @property
    def label(self) -> str:
        """How a person finds it: in the format jsonl, or by `--since`."""
        return f"{self.run}:{self.seq}"


def line_of(item: Item, *, with_engine: bool) -> bytes:
    """The line for a command: the message as it came, and `engine` and `again` where they say something."""
    text = line(item.body).strip()
    if with_engine:
        text = jsonl.with_engine(text, item.name)
    if item.is_again:
        text = b'%s,"again":true}' % text[:-1]
    return text + b"\n"


def variables_of(item: Item) -> dict[str, str]:
    """The environment of a command that gets one message. All values are text without NUL; an unknown one is empty."""
    message = item.message
    variables = {"NAME": item.name, "RUN": item.run, "SEQ": str(item.seq), "AGAIN": "1" if item.is_again else ""}
    variables |= {"TEXT": "", "START_S": "", "END_S": "", "USER": "", "LANGUAGE": "", "TYPE": ""}
    if message is not None:
        variables["TYPE"] = str(message.__struct_config__.tag)
    match message:
        case messages.Transcript(text=text, user_name=user_name, language=language):
            variables |= {"TEXT": text, "USER": user_name, "LANGUAGE": language or ""}
        case messages.Error(message=text):
            variables["TEXT"] = text
        case messages.Gap(reason=reason):
            variables["TEXT"] = reason
    match message:
        case messages.Transcript(start_s=start_s, end_s=end_s) | messages.Gap(start_s=start_s, end_s=end_s):
            variables |= {"START_S": f"{start_s:.3f}", "END_S": f"{end_s:.3f}"}
    return {f"MPENGINE_{key}": _for_a_system_call(value) for key, value in variables.items()}


_MOST_BYTES = 100_000  # of a variable; Linux takes 128 KiB


def _for_a_system_call(value: str) -> str:
    data = value.replace("\0", "\ufffd").encode(errors="replace")[:_MOST_BYTES]
    return data.decode(errors="ignore")


class Backoff:
    """How long to wait before a command is started again. `now` is monotonic time."""

    def __init__(self) -> None:
        self._wait_s = 0.0
        self._started_at = 0.0

    def started(self, now: float) -> None:
        """It was started, or could not be."""
        self._started_at = now

    def ended(self, now: float) -> float:
        """It has ended, or could not be started. Returns the seconds to wait: none after a long life."""
        if now >= self._started_at + _LONG_LIFE_S:
            self._wait_s = 0.0
        wait_s = self._wait_s
        self._wait_s = min(_LONGEST_WAIT_S, max(_FIRST_WAIT_S, 2 * wait_s))
        return wait_s


class Conversation:
    """The messages between a listener and one command that reads line after line.

    `given` is in the pipe. `taken` was read by the command; it is in doubt until the command reads the next one.
    """

    def __init__(self) -> None:
        self.given: Item | None = None
        self.taken: Item | None = None
        self._again: list[Item] = []

    def next_again(self) -> Item | None:
        """The message to hand over before all others: one that a command before has left."""
        return self._again.pop(0) if self._again else None

    @property
    def first_again(self) -> Item | None:
        """What `next_again` will return."""
        return self._again[0] if self._again else None

    def rest(self) -> Sequence[Item]:
        """All that was to be handed over again, in order. It is no more."""
        rest, self._again = self._again, []
        return rest

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing is to be handed over once more."""
        return self.given is None and not self._again

    def give(self, item: Item) -> None:
        """`item` goes into the pipe."""
        self.given = item

    def read(self) -> Item | None:
        """The pipe is empty: what was in it was read, and is handed over. Returns that."""
        if self.given is None:
            return None
        self.taken, self.given = self.given, None
        return self.taken

    def ended(self, status: int, *, unread: bool, untouched: bool) -> Sequence[Item]:
        """The command has ended with `status`. Of what was given, it has left a part `unread`, or all (`untouched`).

        Returns the messages that are given up.
        """
        given, taken = self.given, self.taken
        self.given = self.taken = None
        if given is not None and not unread:
            given, taken = None, given
        elif given is not None and not untouched:
            taken = None  # it was done with that, for it has read on
        if given is not None:
            self._again.insert(0, given)
        if status == 0 or taken is None:
            return ()
        if taken.is_again:
            return (taken,)
        self._again.insert(0, taken._replace(is_again=True))
        return ()


def how(status: int) -> str:
    """How a command has ended; `status` as in `subprocess`."""
    return f"exit code {status}" if status >= 0 else f"signal {-status}"


def brief(words: Sequence[str]) -> str:
    """The command in `words`, short enough for a line."""
    text = harmless(" ".join(words))
    return text if len(text) <= 60 else f"{text[:60]}…"

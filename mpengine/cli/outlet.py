"""Where `listen` puts messages: an output in some format, or a command. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mpengine.cli.topic_choice import EVERY, OTHERS
from mpengine.client.follow import Since
from mpengine.client.position import Hole, Received
from mpengine.formats.base import Position
from mpengine.shared.messages import Published

# Takes a message as it came, and what it says.
Show = Callable[[Received, Published | Hole | None], None]


class Outlet(NamedTuple):
    """The output of `listen`.

    `show` takes the messages of `topics`, and `notice` lines for the person at the terminal. `position`: from where on
    to listen, and what is there already; `since` has other positions for engines by their names. `hears_status`: `show`
    wants to know how the engines are, too.
    """

    show: Show
    notice: Callable[[str], None]
    position: Position
    topics: frozenset[str]
    since: Mapping[str, Since] = {}
    hears_status: bool = False

    def wants(self, received: Received, message: Published | Hole | None) -> bool:
        """Whether the message is to be shown; a hole is if its topic is."""
        topic = message.topic if isinstance(message, Hole) else received.topic
        is_other = OTHERS in self.topics and topic not in EVERY
        is_chosen = topic in self.topics or is_other or (self.hears_status and topic == "status")
        return is_chosen and not self.position.holds(message)


class Commands(NamedTuple):
    """The options of a command. `state`: the path of the file of positions. `with_engine`: see `line_of`."""

    words: Sequence[str]
    is_each: bool = False
    timeout_s: float | None = None
    state: str | None = None
    with_engine: bool = False

    @property
    def option(self) -> str:
        """The option that names it."""
        return "--exec-each" if self.is_each else "--exec"

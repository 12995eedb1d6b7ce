"""What microphones there are now, which one is meant, and which one the sound server gives us.

The source of audio calls `look_for` before each opening and `prepare` for the choice that it opens. After the opening
it makes a `Feed`, which it asks about once a second. One thread makes all calls.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

from mpengine.capture import cards, portaudio
from mpengine.capture.choosing import VARIABLES, Choice, choices, led, moved
from mpengine.capture.identity import Wanted
from mpengine.capture.inventory import Present, ServerSource
from mpengine.capture.sound_server import ANSWER_S, ServerError, SoundServer
from mpengine.shared.errors import DeviceError

_BRIEFLY_S = 0.05
_AT_START = {name: os.environ.get(name) for name in VARIABLES}


def present() -> Present:
    """Everything that there is. It takes at most a second, where a sound server hangs. Raises DeviceError."""
    sources, server = _asked()
    return Present(portaudio.inputs(), cards.pcms(), sources, server)


def look_for(wanted: Wanted | Sequence[str | int], remembered: str) -> list[Choice]:
    """The microphones that `wanted` means now, best first, see `choosing.choices`. Raises DeviceError.

    The sound server is asked only where its answer may matter: for a name, and for the words of an error.
    """
    if wanted is None or isinstance(wanted, int):
        with contextlib.suppress(DeviceError):
            return choices(wanted, remembered, Present(portaudio.inputs(), cards.pcms()))
    return choices(wanted, remembered, present())


def prepare(choice: Choice) -> None:
    """Set the variables by which the sound server will know `choice`, right before its opening."""
    for name, before in _AT_START.items():
        value = choice.environment.get(name, before)
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def settle(choice: Choice, remembered: str) -> Choice:
    """`choice`, which has just been opened, see `choosing.led`. Raises DeviceError when it is another card."""
    if choice.is_card or choice.source is not None or sys.platform != "linux":
        return choice
    return led(choice, remembered, cards.pcms(), os.getpid())


class Feed:
    """Which source of the sound server feeds the microphone that is open. A card has no server between."""

    def __init__(self, choice: Choice) -> None:
        """Begin to ask. `choice` has just been opened.

        This takes about 5 ms, and at most a second where a source was chosen and the server hangs.
        """
        self._choice = choice
        self._server: SoundServer | None = None
        if choice.is_card or choice.led_to or sys.platform != "linux":
            return
        try:
            self._server = SoundServer()
            self._server.settle(_BRIEFLY_S if choice.source is None else ANSWER_S)
        except ServerError:
            self.close()

    def may_have_moved(self) -> bool:
        """Whether to ask for the `source` before anything is read: a source was chosen, and the server has news."""
        return self._server is not None and self._choice.source is not None and self._server.has_news()

    def source(self) -> str | None:
        """The source that the sound server has chosen, or the card to which the ALSA configuration has led.

        None while it is unknown, and where the server has no choice.
        Raises DeviceError when another source was chosen by name, which has gone.
        """
        if self._server is None:
            return self._choice.led_to or None
        try:
            feeding = self._server.feeding()
        except ServerError:
            self.close()
            return None
        if feeding is not None and (words := moved(self._choice, feeding)) is not None:
            raise DeviceError(words)
        return feeding if self._choice.source is None else None

    def close(self) -> None:
        """Ask no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


def _asked() -> tuple[list[ServerSource], str]:
    """The sources of the sound server, or why there are none."""
    if sys.platform != "linux":
        return [], ""
    try:
        server = SoundServer()
    except ServerError as error:
        return [], str(error)
    try:
        return server.sources(), ""
    except ServerError as error:
        return [], str(error)
    finally:
        server.close()

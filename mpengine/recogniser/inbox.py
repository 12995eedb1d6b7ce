"""What a connection has received and the decoder has not yet worked off.

It is read as fast as it comes. Otherwise a ping of the client, or its close, would wait behind all the audio sent
before it: the sockets' buffers alone held 80 s of audio, 11 s of decoding, longer than the client waits for its
pong. The engine never has more on the way than its replay window holds; the bound below is for others.
"""

import threading
from collections import deque
from collections.abc import Iterator

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

BOUND = 32 * 2**20  # bytes; 17 minutes of audio. Beyond it the client is slowed down by TCP


class Inbox:
    """Iterates over the messages of `connection` until it is closed, by whichever side.

    A thread of its own reads; everything it shares with the iterating thread is under `_changed`.
    """

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._messages: deque[str | bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="inbox", daemon=True)

    def start(self) -> None:
        """Read from now on; only a client that is known may fill the memory."""
        self._thread.start()

    def close(self) -> None:
        """Close the connection, if that has not been done, and leave no thread."""
        self._end()
        self._connection.close()
        if self._thread.ident is not None:
            self._thread.join()

    def __iter__(self) -> Iterator[str | bytes]:
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> str | bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._ended)
            if not self._messages:
                return None
            message = self._messages.popleft()
            self._bytes -= len(message)
            self._changed.notify()
            return message

    def _read(self) -> None:
        try:
            for message in self._connection:
                with self._changed:
                    self._changed.wait_for(lambda: self._bytes < BOUND or self._ended)
                    self._messages.append(message)
                    self._bytes += len(message)
                    self._changed.notify()
        except ConnectionClosed:
            pass  # that it is closed is all that matters
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

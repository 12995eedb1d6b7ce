"""What a fake recogniser remembers of one client's connection: what came, when, and after how much audio."""

import json
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.frames import Close

if TYPE_CHECKING:
    from tests.rig.server import Server


class Received(NamedTuple):
    """One message or control frame of the client."""

    kind: str
    """audio, text, ping, pong or close"""
    data: bytes
    position: int
    """bytes of audio that this connection had received before it"""
    at: float
    """time.monotonic()"""

    @property
    def json(self) -> Any:
        """The payload as JSON, None if it is none."""
        try:
            return json.loads(self.data)
        except ValueError:
            return None


class Record:
    """The remembering half of a Connection; it stays readable when the connection has ended."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.number = 0
        """1 for the server's first upgraded connection; 0 if the upgrade was refused"""
        self.status: int | None = None
        """HTTP status of the answer to the upgrade; None while there was none"""
        self.path = ""
        self.query: dict[str, list[str]] = {}
        self.headers: dict[str, str] = {}
        """request headers, names in lower case"""
        self.request_id = str(uuid.uuid4())
        self.frames: list[Received] = []
        self.violations: list[str] = []
        """what a client must never do, and this one did"""
        self.sample_rate, self.channels = 16000, 1
        self.auth: Any = None
        """the managed protocol's auth message"""
        self.closing = False
        """the client has said that no audio follows"""
        self.ready = False
        """the recogniser takes audio: at once, or after the proxy's `ready`"""
        self.finishing = False
        """the client has asked for its last results: a responder gives what it has left"""
        self.memory = SimpleNamespace()
        """a responder's own state of this connection"""
        self.opened_at: float | None = None
        self.closed_at: float | None = None
        self.close_received: Close | None = None
        self.close_sent: Close | None = None
        self.lost_by: BaseException | None = None
        """why TCP ended, None for an orderly end"""
        self._audio = bytearray()

    @property
    def audio(self) -> bytes:
        """All audio of this connection so far."""
        with self.server.changed:
            return bytes(self._audio)

    def pcm(self, first: int, end: int) -> bytes:
        """The mono samples [first, end) of it. In the server's thread alone: nothing is copied but these."""
        return bytes(self._audio[2 * first : 2 * end])

    @property
    def audio_bytes(self) -> int:
        """How much of it there is."""
        return len(self._audio)

    @property
    def samples(self) -> int:
        """The same in samples (of all channels together one)."""
        return len(self._audio) // (2 * self.channels)

    @property
    def texts(self) -> list[Received]:
        """The text messages, each with its position in the audio."""
        return self.of_kind("text")

    def of_kind(self, kind: str) -> list[Received]:
        """The frames of one kind (`audio`, `text`, `ping`, `pong`, `close`), in order."""
        with self.server.changed:
            return [frame for frame in self.frames if frame.kind == kind]

    @property
    def authorization(self) -> str | None:
        """The Authorization header."""
        return self.headers.get("authorization")

    @property
    def open(self) -> bool:
        """Upgraded, and TCP not ended."""
        return self.opened_at is not None and self.closed_at is None

    def violation(self, what: str) -> None:
        """Note what no client may do."""
        self.violations.append(f"connection {self.number}, after {len(self._audio)} bytes of audio: {what}")

"""The managed proxy: an auth message, `ready`, then audio in and transcripts out."""

import json
from typing import Any

from tests.rig.connection import Connection
from tests.rig.echo import float32
from tests.rig.record import Received
from tests.rig.server import Server


class FakeProxy(Server):
    """Beyond the knobs of Server:

    auth_answer         what follows the auth message: READY, SILENCE, CLOSE, NOT_JSON, `FakeProxy.error(..)`,
                        or any other dict (sent as JSON) or str (sent as it is)
    auth_delay_s        how long that takes
    times               transcripts carry start, duration, confidence and words
    finalize_extension  `ready` carries "features":["finalize"], and a text {"type":"finalize"} is answered by
                        the last finals, session_end and close 1000

    After a client's close frame the last finals and session_end are sent before the frame is answered.
    `connection.auth` is the auth message; `violations` collects audio before `ready` and frames out of order.
    """

    path = "/ws/transcribe"

    READY = "READY"
    SILENCE = "SILENCE"
    CLOSE = "CLOSE"
    NOT_JSON = "welcome, please wait"

    def __init__(
        self,
        *,
        auth_answer: str | dict[str, Any] = READY,
        auth_delay_s: float = 0.0,
        times: bool = False,
        finalize_extension: bool = False,
        **knobs: Any,
    ) -> None:
        super().__init__(**knobs)
        self.auth_answer, self.auth_delay_s = auth_answer, auth_delay_s
        self.times, self.finalize_extension = times, finalize_extension

    @staticmethod
    def error(message: str, code: str | None = None) -> dict[str, Any]:
        """The proxy's refusal, for `auth_answer` or `push`."""
        return {"type": "error", "message": message} | ({} if code is None else {"code": code})

    @property
    def server_url(self) -> str:
        """What belongs into `remote.server_url`."""
        return self.address

    @property
    def auths(self) -> list[Any]:
        """The auth messages of all connections."""
        with self.changed:
            return [connection.auth for connection in self.connections if connection.auth is not None]

    def audio_received(self, connection: Connection) -> None:
        if not connection.ready:
            connection.violation("audio before ready")
        elif connection.closing:
            connection.violation("audio after finalize")
        else:
            self.respond(connection)

    def text_received(self, connection: Connection, text: Received) -> None:
        message = text.json if isinstance(text.json, dict) else {}
        if connection.auth is None and message.get("type") == "auth":
            connection.auth = message
            config = message.get("config", {})
            connection.sample_rate = config.get("sample_rate", 16000)
            connection.channels = config.get("channels", 1)
            connection.later(self.auth_delay_s, lambda: self._answer_auth(connection))
        elif self.finalize_extension and connection.ready and message.get("type") == "finalize":
            connection.closing = True
            connection.later(self.flush_delay_s, lambda: self._finish(connection))
        else:
            connection.violation(f"text that the proxy does not know: {text.data[:80]!r}")

    def close_received(self, connection: Connection) -> None:
        if not connection.ready:
            connection.answer_close()
        elif not connection.closing:  # else the last finals are under way already, and the answer after them
            connection.closing = True
            connection.later(self.flush_delay_s, lambda: self._finish(connection))

    def transcript(
        self,
        connection: Connection,
        text: str,
        start: int,
        end: int,
        *,
        final: bool = True,
        words: Any = (),
        confidence: float = 0.97998047,
        **_ignored: Any,
    ) -> dict[str, Any]:
        """A transcript message, with times if the proxy passes them on."""

        def seconds(sample: int) -> float:
            return float32(sample / connection.sample_rate)

        message = {"type": "transcript", "text": text, "is_final": final}
        if self.times:
            listed = [
                {"word": word, "start": seconds(first), "end": seconds(last), "confidence": confidence}
                for word, first, last in words
            ]
            message |= {"start": seconds(start), "duration": seconds(end - start), "confidence": confidence}
            message |= {"words": listed}
        return message

    def _answer_auth(self, connection: Connection) -> None:
        answer = self.auth_answer
        if answer == self.READY:
            connection.ready = True
            features = {"features": ["finalize"]} if self.finalize_extension else {}
            connection.send({"type": "ready"} | features)
        elif answer == self.CLOSE:
            connection.close(1008, "unauthorized")
        elif answer != self.SILENCE:
            connection.send(answer if isinstance(answer, str) else json.dumps(answer))

    def _finish(self, connection: Connection) -> None:
        self.respond(connection, last=True)
        seconds_used = connection.samples // connection.sample_rate
        connection.send({"type": "session_end", "seconds_used": seconds_used})
        connection.answer_close()
        connection.close(1000)

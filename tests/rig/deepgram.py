"""Deepgram's /v1/listen as its documentation and recorded traffic have it."""

from typing import Any

from websockets.http11 import Response

from tests.rig.connection import Connection
from tests.rig.echo import float32
from tests.rig.record import Received
from tests.rig.server import Server

NET_0001 = (
    "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
)
NET_0000 = "Deepgram did not provide a response message within the timeout window. See https://dpgr.am/net0000"


class FakeDeepgram(Server):
    """Beyond the knobs of Server:

    api_key          if set, any other `Authorization: Token KEY` gets 401 INVALID_AUTH
    silence_limit_s  if set, close 1011 NET-0001 after so long without a frame (KeepAlive counts only once
                     there was audio); the real service's limit is 10
    answer_finalize  False: Finalize remains unanswered (as the real one may, without much audio); None: it is answered
                     with an Error and close 4400, as by WhisperLiveKit
    says_metadata    False: CloseStream is answered without Metadata, as by other people's servers
    end_code         the code of the close after the last results; None: a close without a code

    `connection.authorization`, `.query` and `.texts` tell what the client sent; `violations` collects empty
    or odd binary frames, KeepAlive before audio, audio after CloseStream and unparseable text.
    """

    path = "/v1/listen"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        silence_limit_s: float | None = None,
        answer_finalize: bool | None = True,
        says_metadata: bool = True,
        end_code: int | None = 1000,
        **knobs: Any,
    ) -> None:
        super().__init__(**knobs)
        self.api_key, self.silence_limit_s, self.answer_finalize = api_key, silence_limit_s, answer_finalize
        self.says_metadata, self.end_code = says_metadata, end_code

    def refusal(self, connection: Connection) -> Response | None:
        refused = super().refusal(connection)
        given = connection.authorization
        if refused is None and self.api_key is not None and given != f"Token {self.api_key}":
            body = {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}
            self.refuse(401, body=body | {"request_id": connection.request_id})
            refused = super().refusal(connection)
        return refused

    def response_headers(self, connection: Connection) -> dict[str, str]:
        return {"dg-request-id": connection.request_id}

    def opened(self, connection: Connection) -> None:
        connection.sample_rate = int(connection.query.get("sample_rate", ["16000"])[0])
        connection.channels = int(connection.query.get("channels", ["1"])[0])
        connection.ready = True
        self._rearm(connection)

    def audio_received(self, connection: Connection) -> None:
        if connection.closing:
            connection.violation("audio after CloseStream")
        self._rearm(connection)
        self.respond(connection)

    def text_received(self, connection: Connection, text: Received) -> None:
        kind = text.json.get("type") if isinstance(text.json, dict) else None
        if kind == "KeepAlive" and not connection.audio_bytes:
            connection.violation("KeepAlive before any audio")
        else:
            self._rearm(connection)
        if kind == "CloseStream" and not connection.closing:
            connection.closing = True
            connection.later(self.flush_delay_s, lambda: self.finish(connection))
        elif kind == "Finalize" and self.answer_finalize is None:
            connection.send({"type": "Error", "description": "unknown message type: Finalize"})
            connection.close(4400, "bad request")
        elif kind == "Finalize" and self.answer_finalize:
            connection.later(self.flush_delay_s, lambda: self.respond(connection, last=True))
        elif kind not in ("CloseStream", "Finalize", "KeepAlive", "Configure"):
            connection.violation(f"text that the service does not know: {text.data[:80]!r}")
            problem = "Could not deserialize last text message"
            sent = text.data.decode(errors="replace")
            connection.send({"type": "Error", "variant": "SchemaError", "description": problem, "message": sent})

    def finish(self, connection: Connection) -> None:
        """What follows a CloseStream: the last results, Metadata, close 1000."""
        self.respond(connection, last=True)
        if self.says_metadata:
            connection.send(self.metadata(connection))
        connection.close(self.end_code)

    def transcript(
        self,
        connection: Connection,
        text: str,
        start: int,
        end: int,
        *,
        final: bool = True,
        words: Any = (),
        speech_final: bool = False,
        from_finalize: bool | None = None,
        confidence: float = 0.97998047,
        **_ignored: Any,
    ) -> dict[str, Any]:
        """A Results message; `from_finalize` is set by itself while the client waits for its last results."""

        def seconds(sample: int) -> float:
            return float32(sample / connection.sample_rate)

        listed = [
            {
                "word": word.lower().strip(".,?!"),
                "start": seconds(first),
                "end": seconds(last),
                "confidence": confidence,
                "punctuated_word": word,
            }
            for word, first, last in words
        ]
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": seconds(end - start),
            "start": seconds(start),
            "is_final": final,
            "speech_final": speech_final and final,
            "channel": {
                "alternatives": [{"transcript": text, "confidence": confidence if text else 0.0, "words": listed}]
            },
            "metadata": {
                "request_id": connection.request_id,
                "model_info": {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"},
                "model_uuid": "40bd3654-e622-47c4-a111-63a61b23bfe8",
            },
            "from_finalize": connection.finishing if from_finalize is None else from_finalize,
        }

    def metadata(self, connection: Connection) -> dict[str, Any]:
        """The message before the end; its duration is the audio that was processed."""
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": connection.request_id,
            "sha256": "incomplete",
            "created": "2026-08-25T21:11:31.685Z",
            "duration": float32(connection.samples / connection.sample_rate),
            "channels": connection.channels,
        }

    def _rearm(self, connection: Connection) -> None:
        if self.silence_limit_s is not None:
            count = len(connection.frames)

            def judge() -> None:
                if not any(_counts(frame) for frame in connection.frames[count:]):
                    connection.send(self.metadata(connection))
                    connection.close(1011, NET_0001)

            connection.later(self.silence_limit_s, judge)


def _counts(frame: Received) -> bool:
    if frame.kind == "text":
        return frame.position > 0 or not isinstance(frame.json, dict) or frame.json.get("type") != "KeepAlive"
    return frame.kind == "audio"

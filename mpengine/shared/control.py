"""The control channel: what children tell the supervisor (`Up`) and what it tells them (`Down`). Pure.

msgpack, one message each, over ROUTER (supervisor) and DEALER (child, identity ``NAME.INCARNATION``). Positions are
indexes on the run's sample clock. It never leaves the machine and both ends are of one version: no envelope.
"""

import msgspec

from mpengine.shared import messages
from mpengine.shared.messages import ErrorKind


class _Tagged(msgspec.Struct, tag_field="type", frozen=True, kw_only=True):
    """Base of all control messages: told apart by the class name."""


# Children -> supervisor


class Hello(_Tagged, tag=True, frozen=True, kw_only=True):
    """The child's work loop runs."""

    pid: int


class CaptureBeat(_Tagged, tag=True, frozen=True, kw_only=True):
    """Progress of capture, about once a second, from its work loop. `is_waiting` for the disk: nothing is read then."""

    captured: int
    is_waiting: bool = False


class StreamBeat(_Tagged, tag=True, frozen=True, kw_only=True):
    """Progress of streaming.

    `sent`: end of what went out on the current connection, 0 before its first audio; `highest_sent`: of all that ever
    went out; `replayed`: samples sent a second time.
    """

    sent: int
    highest_sent: int
    replayed: int


class RecogniserBeat(_Tagged, tag=True, frozen=True, kw_only=True):
    """Progress of the local recogniser, in bytes of audio: `decoded` stays behind `received` where decoding hangs."""

    received: int = 0
    decoded: int = 0


class DeviceOpened(_Tagged, tag=True, frozen=True, kw_only=True):
    """The source delivers; `latency_s` is what PortAudio says of it."""

    name: str
    sample_rate: int
    channels: int
    latency_s: float


class DeviceClosed(_Tagged, tag=True, frozen=True, kw_only=True):
    """The device is free (paused or stopping)."""


class Anchor(_Tagged, tag=True, frozen=True, kw_only=True):
    """Sample `sample` was captured at `utc_ns`."""

    sample: int
    utc_ns: int


class LevelHeard(_Tagged, tag=True, frozen=True, kw_only=True):
    """Loudness over the last quarter of a second."""

    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool


class SamplesMissing(_Tagged, tag=True, frozen=True, kw_only=True):
    """[first, end) will reach no recogniser; `uncertainty` in samples, of the length."""

    first: int
    end: int
    reason: str
    uncertainty: int = 0


class SourceEnded(_Tagged, tag=True, frozen=True, kw_only=True):
    """Nothing is captured from `end` on: the file is over, or the device was closed to stop."""

    end: int


class Fault(_Tagged, tag=True, frozen=True, kw_only=True):
    """An error to publish. With `exit_code` the child is about to end with it. `kind`: see `messages.ErrorKind`."""

    code: str
    message: str
    request_id: str | None = None
    exit_code: int | None = None
    kind: str = ErrorKind.ENGINE


class Connecting(_Tagged, tag=True, frozen=True, kw_only=True):
    """An attempt begins. `endpoint` carries neither query nor secrets."""

    connection: int
    endpoint: str


class ConnectionReady(_Tagged, tag=True, frozen=True, kw_only=True):
    """The recogniser takes audio; capture may be told to send."""

    connection: int
    endpoint: str
    request_id: str | None = None


class ConnectionDown(_Tagged, tag=True, frozen=True, kw_only=True):
    """The attempt failed, or the connection was lost; the next one comes in `next_try_in_s`."""

    connection: int
    reason: str
    next_try_in_s: float


class Result(_Tagged, tag=True, frozen=True, kw_only=True):
    """A transcript as it will be published, but for the name of the speaker and the time of day.

    It tells of the samples [first, end). `acknowledges`: finals cover all samples before that one; None for an interim.
    `tolerance`: samples by which the recogniser's times may be off.
    """

    first: int
    end: int
    transcript: messages.Transcript
    acknowledges: int | None = None
    tolerance: int = 0


class Said(_Tagged, tag=True, frozen=True, kw_only=True):
    """Something else that the recogniser said on `connection`, as it will be published."""

    connection: int
    message: messages.Published


class EndTaken(_Tagged, tag=True, frozen=True, kw_only=True):
    """The frame that ends the stream has arrived in streaming: until then capture's socket must stay open."""


class StreamEnded(_Tagged, tag=True, frozen=True, kw_only=True):
    """The recogniser confirmed that it is done with all that went out on the connection, which ended at `sent`."""

    sent: int


Up = (
    Hello
    | CaptureBeat
    | StreamBeat
    | RecogniserBeat
    | DeviceOpened
    | DeviceClosed
    | Anchor
    | LevelHeard
    | SamplesMissing
    | SourceEnded
    | Fault
    | Connecting
    | ConnectionReady
    | ConnectionDown
    | Result
    | Said
    | EndTaken
    | StreamEnded
)


# Supervisor -> children


class OpenDevice(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: open the device, now and after a pause."""


class CloseDevice(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: close the device and go on sending what is in the window."""


class Grant(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: send from `sample` on, for the connection of this number: it marks the frames."""

    connection: int
    sample: int


class Acknowledge(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: samples before `sample` are journalled and published; the window may forget them."""

    sample: int


class Expect(_Tagged, tag=True, frozen=True, kw_only=True):
    """Streaming: whether audio can come. While none can, no connection is tried; one that is there is kept."""

    audio: bool


class Finish(_Tagged, tag=True, frozen=True, kw_only=True):
    """Come to an end, and stay until SIGTERM.

    Capture: close the device, send the rest of the window and the end mark. Streaming, where no capture process is
    there to send one: as if the end mark had come.
    """


Down = OpenDevice | CloseDevice | Grant | Acknowledge | Expect | Finish

encode = msgspec.msgpack.Encoder().encode
decode_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)
decode_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)

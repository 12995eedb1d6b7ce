"""The messages of the control channel, from children to the supervisor (`Up`) and back (`Down`). Pure.

Each is one msgpack object, over ROUTER (supervisor) and DEALER (child, identity ``NAME.TOKEN``). Positions are
indexes on the run's sample clock. They need no envelope: they stay on the machine, and both ends have one version.
"""

import msgspec

from mpengine.shared import messages
from mpengine.shared.clocks import Clocks
from mpengine.shared.messages import ErrorKind
from mpengine.shared.ranges import Range


class _Tagged(msgspec.Struct, tag_field="type", frozen=True, kw_only=True):
    """Base of all control messages. The class name is the tag."""


# Children -> supervisor


class Hello(_Tagged, tag=True, frozen=True, kw_only=True):
    """The child has its settings and can hear commands. Its work loop comes next."""

    pid: int


class CaptureBeat(_Tagged, tag=True, frozen=True, kw_only=True):
    """Progress of capture, about once a second, from its work loop.

    `captured`: the end of the captured samples. `is_waiting`: capture reads nothing because it waits for the disk.
    """

    captured: int
    is_waiting: bool = False


class StreamBeat(_Tagged, tag=True, frozen=True, kw_only=True):
    """Progress of streaming.

    `sent`: the end of the samples sent on the current connection, 0 before its first audio. `highest_sent`: the highest
    end of all connections. `replayed`: how many samples were sent a second time. `passed`: the recogniser is done with
    the samples of the current connection before this one, see `passage.Passage`.
    """

    sent: int
    highest_sent: int
    replayed: int
    passed: int = 0


class RecogniserBeat(_Tagged, tag=True, frozen=True, kw_only=True):
    """Progress of the local recogniser, in bytes of audio. Where decoding hangs, `decoded` stays below `received`."""

    received: int = 0
    decoded: int = 0


class DeviceOpened(_Tagged, tag=True, frozen=True, kw_only=True):
    """The source is open. It ends a `DeviceLost`.

    `sample_rate` and `channels`: what is sent. `latency_s`: the latency that PortAudio reports. `device_rate_hz`: the
    rate at which the device itself is read; 0: not known. `identity`: what takes exactly this device again, after a
    loss and after a restart; empty for a source that has none. `samples`: how many a file has in all, as they are
    sent; 0: not known, or without end.
    """

    name: str
    sample_rate: int
    channels: int
    latency_s: float
    device_rate_hz: int = 0
    identity: str = ""
    samples: int = 0


class DeviceFed(_Tagged, tag=True, frozen=True, kw_only=True):
    """The sound server feeds the open device from `source`, which it chooses itself. Sent when that changes."""

    source: str


class DeviceLost(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture has no device. It tries again by itself, next in `next_try_in_s`, until a `DeviceOpened`.

    Sent at the loss, and again at each try that fails. `reason`: why, in words for a person. Capture sends beats
    meanwhile, though it captures nothing.
    """

    reason: str
    next_try_in_s: float


class DeviceClosed(_Tagged, tag=True, frozen=True, kw_only=True):
    """The device is free (paused or stopping)."""


class Anchor(_Tagged, tag=True, frozen=True, kw_only=True):
    """Sample `sample` was captured at `utc_ns`. `clocks`: as they were read for this."""

    sample: int
    utc_ns: int
    clocks: Clocks = Clocks()


class LevelHeard(_Tagged, tag=True, frozen=True, kw_only=True):
    """Loudness over the last quarter of a second, which had the samples [first, end).

    `rms_dbfs` leaves the DC offset out, `peak_dbfs` does not. `clipped`: the share of samples at full scale. `dc`: the
    mean, as a share of full scale, with its sign.
    """

    first: int
    end: int
    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool
    clipped: float = 0.0
    dc: float = 0.0


class SamplesMissing(_Tagged, tag=True, frozen=True, kw_only=True):
    """The samples [first, end) will reach no recogniser. `uncertainty`: how many samples more or less it may be."""

    first: int
    end: int
    reason: str
    uncertainty: int = 0


class Gated(_Tagged, tag=True, frozen=True, kw_only=True):
    """The silence gate has judged the samples [first, end) silent: they are not sent. Each is told once.

    `is_closed`: the gate is closed at the moment. Otherwise it has just opened, and the range may be empty.
    """

    first: int
    end: int
    is_closed: bool = True


class Rested(_Tagged, tag=True, frozen=True, kw_only=True):
    """Streaming has ended `connection` in a silence, and the recogniser has given all results before sample `sent`.

    The next connection is made when audio is expected again.
    """

    connection: int
    sent: int


class SourceEnded(_Tagged, tag=True, frozen=True, kw_only=True):
    """No sample is captured from `end` on: the file is over, or the device was closed for a stop."""

    end: int


class Fault(_Tagged, tag=True, frozen=True, kw_only=True):
    """An error to publish. `exit_code`: the child is about to end with this one. `kind`: see `messages.ErrorKind`."""

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
    """The recogniser takes audio: capture may get a grant."""

    connection: int
    endpoint: str
    request_id: str | None = None


class ConnectionDown(_Tagged, tag=True, frozen=True, kw_only=True):
    """The attempt failed, or the connection was lost; the next one comes in `next_try_in_s`.

    `in_silence`: it was lost while the silence gate was closed, which is no fault.
    `is_refusal`: the recogniser, or somebody on the way, does not let us in. Somebody has to mend that.
    """

    connection: int
    reason: str
    next_try_in_s: float
    is_refusal: bool = False
    in_silence: bool = False


class Result(_Tagged, tag=True, frozen=True, kw_only=True):
    """A transcript as it will be published, except for the speaker's name and the time of day.

    It covers the samples [first, end). `acknowledges`: finals cover all samples of the connection before this one; None
    for an interim. `is_repeated`: it has the text and the times of the final just before it on its channel.
    """

    first: int
    end: int
    transcript: messages.Transcript
    acknowledges: int | None = None
    is_repeated: bool = False


class Said(_Tagged, tag=True, frozen=True, kw_only=True):
    """Another message of the recogniser on `connection`, as it will be published."""

    connection: int
    message: messages.Published


class FramesMissed(_Tagged, tag=True, frozen=True, kw_only=True):
    """Frames of this `attempt` of a grant went astray: another attempt is needed, from `sample` on.

    `sample` is 0 where nothing was sent on this connection.
    """

    connection: int
    attempt: int
    sample: int


class EndTaken(_Tagged, tag=True, frozen=True, kw_only=True):
    """The frame that ends the stream has arrived in streaming: until then capture's socket must stay open."""


class StreamEnded(_Tagged, tag=True, frozen=True, kw_only=True):
    """The recogniser has confirmed that it is done with all audio of the connection, which ended at `sent`."""

    sent: int


Up = (
    Hello
    | CaptureBeat
    | StreamBeat
    | RecogniserBeat
    | DeviceOpened
    | DeviceFed
    | DeviceLost
    | DeviceClosed
    | Anchor
    | LevelHeard
    | SamplesMissing
    | Gated
    | SourceEnded
    | Fault
    | Connecting
    | ConnectionReady
    | ConnectionDown
    | Rested
    | Result
    | Said
    | FramesMissed
    | EndTaken
    | StreamEnded
)


# Supervisor -> children


class OpenDevice(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: open the device, now and after a pause."""


class CloseDevice(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: close the device, and go on sending the audio in the window."""


class Grant(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: send from `sample` on, for the connection of this number. Each frame carries that number.

    `skipped`: later samples that need no result any more, in order. They are not sent. `attempt`: higher than in all
    grants before; each frame carries it.
    """

    connection: int
    sample: int
    skipped: list[Range] = []
    attempt: int = 0


class Acknowledge(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: samples before `sample` are journalled and published; the window may forget them."""

    sample: int


class MakeAgain(_Tagged, tag=True, frozen=True, kw_only=True):
    """Capture: the frames socket or the window's file may have lost its name in the file system; then make it again."""


class Expect(_Tagged, tag=True, frozen=True, kw_only=True):
    """Streaming: whether audio can come. While none can, streaming keeps its connection but opens no new one."""

    audio: bool


class Finish(_Tagged, tag=True, frozen=True, kw_only=True):
    """Finish the work, and wait for SIGTERM.

    Capture: close the device, send the rest of the window and the end mark. Streaming gets this where no capture
    process can send an end mark, and acts as if the end mark had come.
    """


Down = OpenDevice | CloseDevice | Grant | Acknowledge | MakeAgain | Expect | Finish

encode = msgspec.msgpack.Encoder().encode
decode_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)
decode_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)

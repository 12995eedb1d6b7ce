"""The answer to a `snapshot` question: what somebody who comes late, or has lost something, can still get. Pure."""

import msgspec

from mpengine.shared.messages import VERSION

FINALS = "transcript.final"
# The topics of which the engine keeps the last messages. Each message counts there, and none replaces another.
KEPT = (FINALS, "gap", "error")

NOTHING = msgspec.Raw(b"null")


class SnapshotAnswer(msgspec.Struct, tag_field="type", tag="snapshot", frozen=True, kw_only=True):
    """Messages as they were published, none before `since`, in order of `seq`; with `more`, ask again from the last.

    `complete` maps each topic that is kept to a `seq`: all its messages behind that one, up to `seq`, are there.
    `status` is the last one, `interim` the one that has no final yet, or null.
    """

    v: int = VERSION
    run: str = ""
    boot: str = ""
    seq: int = 0
    status: msgspec.Raw = NOTHING
    interim: msgspec.Raw = NOTHING
    messages: list[msgspec.Raw] = []
    complete: dict[str, int] = {}
    more: bool = False


class Stamp(msgspec.Struct, frozen=True):
    """What the bus wrote into a message; `seq` is 0 in what did not come from a bus."""

    type: str = ""
    is_final: bool = False
    run: str = ""
    boot: str = ""
    seq: int = 0
    prev: int = 0
    time_ns: int = 0

    @property
    def topic(self) -> str:
        """The topic without the engine's name."""
        if self.type != "transcript":
            return self.type
        return FINALS if self.is_final else "transcript.interim"


read_stamp = msgspec.json.Decoder(Stamp).decode
read_answer = msgspec.json.Decoder(SnapshotAnswer).decode

"""What a trial of the recogniser has found, see `mpengine.streaming.trial`. Pure."""

from typing import NamedTuple

from mpengine.shared.errors import ExitCode
from mpengine.streaming.websocket.way import Certificate, Stage


class Way(NamedTuple):
    """The way to a server, as far as it went. `trouble`: why it went no further than `stage`; empty at its end.

    `addresses` and `address` are those of the server, or those of the `proxy` in the environment, if there is one.
    """

    stage: Stage
    trouble: str = ""
    addresses: tuple[str, ...] = ()
    address: str = ""
    proxy: str = ""
    certificate: Certificate | None = None


class Answer(NamedTuple):
    """What the recogniser made of a second of silence.

    `reason`: why it did not take the silence, or did not confirm the end. `exit_code`: with which a run
    would end; None where a run would try again for ever. `request_id` is for the recogniser's support.
    """

    is_accepted: bool
    reason: str = ""
    exit_code: ExitCode | None = None
    request_id: str | None = None

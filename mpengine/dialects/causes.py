"""Why a connection failed, and whether another try can help. Pure.

These are the causes of all recognisers: the HTTP status of the upgrade, and the close codes of RFC 6455, section 7.4.1.
A dialect has those of its own recogniser. After a transient cause the engine tries again, without end; a permanent one
ends the engine with `exit_code`.
"""

from typing import NamedTuple

import msgspec

from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import UNREADABLE, ErrorCode, ErrorKind

_json = msgspec.json.Decoder()


class Cause(NamedTuple):
    """Why a connection failed."""

    code: str
    """For programs."""
    reason: str
    """For people."""
    exit_code: ExitCode | None = None
    """None: try again."""
    request_id: str | None = None
    slow: bool = False
    """Whether the recogniser asks to wait longer before the next try."""
    kind: ErrorKind = ErrorKind.CONNECTION
    """HANDSHAKE: the recogniser was reached, but did not accept us."""


_STATUS = {
    400: (ErrorCode.BAD_REQUEST, ExitCode.CONFIG),
    401: (ErrorCode.UNAUTHORIZED, ExitCode.ACCOUNT),
    402: (ErrorCode.PAYMENT_REQUIRED, ExitCode.ACCOUNT),
    403: (ErrorCode.FORBIDDEN, ExitCode.ACCOUNT),
    404: (ErrorCode.NOT_FOUND, ExitCode.CONFIG),
    405: (ErrorCode.NOT_ALLOWED, ExitCode.CONFIG),
}
# By these codes the peer says that our data is wrong. It would be as wrong the next time.
_CLOSED_FOR_GOOD = {
    1002: ErrorCode.PROTOCOL_ERROR,
    1003: ErrorCode.UNSUPPORTED_DATA,
    1007: ErrorCode.INVALID_DATA,
    1008: ErrorCode.POLICY_VIOLATION,
}


def refused(status: int, error: str, body: str, request_id: str | None) -> Cause:
    """The upgrade was answered with an HTTP status other than 101."""
    reason = f"HTTP {status}: {_explanation(body) or error or body.strip() or 'no explanation'}"
    if status in _STATUS:
        code, exit_code = _STATUS[status]
        return Cause(code, reason, exit_code, request_id)
    return Cause(f"http_{status}", reason, None, request_id, slow=status == 429)


def _explanation(body: str) -> str:
    """The recogniser's explanation from the body, if it has one of the known shapes; otherwise empty."""
    try:
        answer = _json.decode(body)
    except UNREADABLE:
        return ""
    if not isinstance(answer, dict):
        return ""
    code, words = answer.get("err_code") or answer.get("category"), answer.get("err_msg") or answer.get("message")
    return ": ".join(str(part) for part in (code, words) if part and isinstance(part, (str, int)))


def closed(code: int, reason: str, request_id: str | None, *, name: str = "") -> Cause:
    """The peer closed the connection, unasked. `name`: the recogniser's own name for the cause, if it has one."""
    words = f"closed by the recogniser: {code} {reason}".rstrip()
    if code in _CLOSED_FOR_GOOD:
        exit_code = ExitCode.ACCOUNT if code == 1008 and not name else ExitCode.CONFIG
        return Cause(name or _CLOSED_FOR_GOOD[code], words, exit_code, request_id)
    return Cause(name or f"closed_{code}", words, None, request_id)


def lost(reason: str, kind: ErrorKind = ErrorKind.CONNECTION) -> Cause:
    """The connection was lost; with HANDSHAKE, before the recogniser said that it is ready."""
    return Cause(ErrorCode.CONNECTION_LOST, reason, kind=kind)

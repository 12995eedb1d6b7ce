"""Why a connection failed, who said so, and whether another try can help. Pure.

These are the causes of all recognisers: the HTTP status of the upgrade, and the close codes of RFC 6455, section 7.4.1.
A dialect has those of its own recogniser. After a transient cause the engine tries again, without end. A refusal has an
`exit_code`: the engine ends with it, but only before the first result of the run, see `mpengine.streaming.outage`.

A proxy, a gateway or a captive portal on the way can refuse a connection in the service's place. A refusal is `signed`
where only the service can have said it.
"""

from typing import NamedTuple

import msgspec

from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import UNREADABLE, ErrorCode, ErrorKind, brief

_json = msgspec.json.Decoder()


class Cause(NamedTuple):
    """Why a connection failed."""

    code: str
    """For programs."""
    reason: str
    """For people."""
    exit_code: ExitCode | None = None
    """With which the engine may end. None: another try may help."""
    request_id: str | None = None
    slow: bool = False
    """Whether the recogniser asks to wait longer before the next try."""
    kind: ErrorKind = ErrorKind.CONNECTION
    """HANDSHAKE: the recogniser was reached, but did not accept us."""
    signed: bool = False
    """Whether the service itself has said it."""
    retry_after_s: float = 0.0
    """The least wait before the next try that the peer asks for."""


_STATUS = {
    400: (ErrorCode.BAD_REQUEST, ExitCode.CONFIG),
    401: (ErrorCode.UNAUTHORIZED, ExitCode.ACCOUNT),
    402: (ErrorCode.PAYMENT_REQUIRED, ExitCode.ACCOUNT),
    403: (ErrorCode.FORBIDDEN, ExitCode.ACCOUNT),
    404: (ErrorCode.NOT_FOUND, ExitCode.CONFIG),
    405: (ErrorCode.NOT_ALLOWED, ExitCode.CONFIG),
}
_PASSING = frozenset({408, 429, *range(500, 600)})
# By these codes the peer says that our data is wrong. It would be as wrong the next time.
_CLOSED_FOR_GOOD = {
    1002: ErrorCode.PROTOCOL_ERROR,
    1003: ErrorCode.UNSUPPORTED_DATA,
    1007: ErrorCode.INVALID_DATA,
    1008: ErrorCode.POLICY_VIOLATION,
}
# RFC 6455, section 7.4.2: codes from here on belong to the application. Many are an HTTP status plus 4000.
FIRST_PRIVATE = 4000


def refused(status: int, error: str, body: str, request_id: str | None) -> Cause:
    """The upgrade was answered with an HTTP status other than 101. `error`: the reason in the answer's head."""
    answer = _fields(body)
    signed = request_id is not None or "err_code" in answer
    speaker = "the service" if signed else "somebody on the way (a proxy?)"
    words = _explanation(answer) or error or body.strip() or "no explanation"
    reason = f"refused by {speaker}: HTTP {status}: {brief(words)}"
    if status in _STATUS:
        code, exit_code = _STATUS[status]
        return Cause(code, reason, exit_code, request_id, signed=signed)
    return Cause(f"http_{status}", reason, None, request_id, slow=status == 429, signed=signed)


def _fields(body: str) -> dict[str, object]:
    try:
        answer = _json.decode(body)
    except UNREADABLE:
        return {}
    return answer if isinstance(answer, dict) else {}


def _explanation(answer: dict[str, object]) -> str:
    """The recogniser's explanation, if `answer` has one of the known shapes; otherwise empty."""
    code, words = answer.get("err_code") or answer.get("category"), answer.get("err_msg") or answer.get("message")
    return ": ".join(str(part) for part in (code, words) if part and isinstance(part, (str, int)))


def closed(code: int, reason: str, request_id: str | None, *, name: str = "") -> Cause:
    """The peer closed the connection, unasked. `name`: the recogniser's own name for the cause, if it has one."""
    speaker = "the recogniser" if name else "the recogniser or somebody on the way"
    words = f"closed by {speaker}: {code} {reason}".rstrip()
    if code in _CLOSED_FOR_GOOD:
        exit_code = ExitCode.ACCOUNT if code == 1008 and not name else ExitCode.CONFIG
        return Cause(name or _CLOSED_FOR_GOOD[code], words, exit_code, request_id, signed=bool(name))
    return Cause(name or f"closed_{code}", words, None, request_id)


def complained(cause: Cause, code: int, error: str, words: str, *, is_young: bool) -> Cause:
    """`cause` of a close with `code`, behind the recogniser's message of an error with the code `error` and `words`.

    `is_young`: the connection had just been opened. Then a private close code, too, is a refusal: servers that check
    the audio's format after the upgrade refuse it so. A status that passes by itself (429, 5xx) plus 4000 is none.
    """
    exit_code = cause.exit_code
    if is_young and code >= FIRST_PRIVATE and code - FIRST_PRIVATE not in _PASSING:
        _, exit_code = _STATUS.get(code - FIRST_PRIVATE, ("", ExitCode.CONFIG))
    verb = "closed" if exit_code is None else "refused"
    reason = f"{verb} by the service: {brief(words)} (closed: {code})"
    # A private code alone is not enough to end the engine at once: it may stand for passing trouble.
    return cause._replace(
        code=error or cause.code, reason=reason, exit_code=exit_code, signed=cause.exit_code is not None
    )


def lost(reason: str, kind: ErrorKind = ErrorKind.CONNECTION) -> Cause:
    """The connection was lost; with HANDSHAKE, before the recogniser said that it is ready."""
    return Cause(ErrorCode.CONNECTION_LOST, reason, kind=kind)

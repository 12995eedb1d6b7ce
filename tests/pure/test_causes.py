"""Which causes end the engine and which are tried again, whichever recogniser it is."""

import pytest

from mpengine.dialects import causes
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorKind

CONFIG, ACCOUNT = ExitCode.CONFIG, ExitCode.ACCOUNT


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "slow"),
    [
        (400, "bad_request", CONFIG, False),
        (401, "unauthorized", ACCOUNT, False),
        (402, "payment_required", ACCOUNT, False),
        (403, "forbidden", ACCOUNT, False),
        (404, "not_found", CONFIG, False),
        (405, "not_allowed", CONFIG, False),
        (408, "http_408", None, False),
        (429, "http_429", None, True),
        (499, "http_499", None, False),
        (500, "http_500", None, False),
        (502, "http_502", None, False),
        (503, "http_503", None, False),
        (504, "http_504", None, False),
    ],
)
def test_a_refused_upgrade(status, code, exit_code, slow):
    cause = causes.refused(status, "", "", "r-1")
    assert (cause.code, cause.exit_code, cause.slow, cause.request_id) == (code, exit_code, slow, "r-1")


@pytest.mark.parametrize(
    ("error", "body", "words"),
    [
        ("", '{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials."}', "INVALID_AUTH: Invalid credentials."),
        ("", '{"category":"INVALID_AUTH","message":"No.","details":"x"}', "INVALID_AUTH: No."),
        ("", '{"err_msg":"No such model"}', "No such model"),
        ("of the header", '{"err_msg":"of the body"}', "of the body"),
        ("of the header", "plain text", "of the header"),
        ("", " plain text \n", "plain text"),
        ("", '{"other":"shape"}', '{"other":"shape"}'),
        ("", "[]", "[]"),
        ("", "", "no explanation"),
        ("", " \n", "no explanation"),
    ],
)
def test_a_refusal_is_told_in_the_services_words(error, body, words):
    assert causes.refused(401, error, body, "r-1").reason == f"refused by the service: HTTP 401: {words}"


@pytest.mark.parametrize(
    ("body", "request_id", "signed"),
    [
        ("", "r-1", True),
        ('{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials."}', None, True),
        ('{"err_code":""}', None, True),
        ("<html>404</html>", None, False),
        ('{"message":"no route"}', None, False),
        ('["err_code"]', None, False),
        ("", None, False),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 408, 429, 500, 503])
def test_a_refusal_says_who_spoke(status, body, request_id, signed):
    cause = causes.refused(status, "No", body, request_id)
    speaker = "the service" if signed else "somebody on the way (a proxy?)"
    assert cause.signed is signed
    assert cause.reason.startswith(f"refused by {speaker}: HTTP {status}: ")


def test_a_refusal_in_many_words_is_cut():
    assert len(causes.refused(404, "x" * 100_000, "", None).reason) < 600
    assert len(causes.refused(404, "", "y" * 4096, None).reason) < 600
    assert len(causes.complained(causes.closed(4400, "", None), 4400, "", "z" * 100_000, is_young=True).reason) < 600


@pytest.mark.parametrize(
    "body",
    ["[" * 4096, '{"err_code":[[1]],"err_msg":{"a":1}}', '"\\ud800"', "\ufffd"],
    ids=["deep", "other types", "half a surrogate", "no text"],
)
def test_no_body_of_a_refusal_breaks_anything(body):
    assert causes.refused(401, "", body, None).code == "unauthorized"


@pytest.mark.parametrize(
    ("code", "reason", "name", "exit_code"),
    [
        (1000, "", "closed_1000", None),
        (1001, "going away", "closed_1001", None),
        (1002, "", "protocol_error", CONFIG),
        (1003, "", "unsupported_data", CONFIG),
        (1005, "", "closed_1005", None),
        (1006, "", "closed_1006", None),
        (1007, "", "invalid_data", CONFIG),
        (1008, "token expired", "policy_violation", ACCOUNT),
        (1008, "", "policy_violation", ACCOUNT),
        (1009, "", "closed_1009", None),
        (1011, "internal error", "closed_1011", None),
        (1012, "service restart", "closed_1012", None),
        (1013, "", "closed_1013", None),
        (4000, "", "closed_4000", None),
        (4999, "", "closed_4999", None),
    ],
)
def test_a_close_frame(code, reason, name, exit_code):
    cause = causes.closed(code, reason, "r-1")
    assert (cause.code, cause.exit_code, cause.request_id) == (name, exit_code, "r-1")


@pytest.mark.parametrize(
    ("code", "exit_code"), [(1002, CONFIG), (1008, CONFIG), (1011, None)], ids=["protocol", "policy", "passing"]
)
def test_a_close_has_the_recognisers_own_name_for_the_cause(code, exit_code):
    cause = causes.closed(code, "NAME-1", None, name="name-1")
    assert (cause.code, cause.exit_code, cause.signed) == ("name-1", exit_code, exit_code is not None)
    assert cause.reason == f"closed by the recogniser: {code} NAME-1"
    assert not causes.closed(code, "", None).signed


@pytest.mark.parametrize(
    ("code", "is_young", "exit_code", "signed"),
    [
        (4400, True, CONFIG, False),
        (4401, True, ACCOUNT, False),
        (4403, True, ACCOUNT, False),
        (4999, True, CONFIG, False),
        (4408, True, None, False),
        (4429, True, None, False),
        (4503, True, None, False),
        (4400, False, None, False),
        (1011, True, None, False),
        (1008, False, ACCOUNT, True),
        (1003, True, CONFIG, True),
    ],
)
def test_a_close_behind_an_error_has_the_words_of_the_error(code, is_young, exit_code, signed):
    closed = causes.closed(code, "Bad Request", "r-1")
    cause = causes.complained(closed, code, "SAMPLE_RATE", "16 kHz only", is_young=is_young)
    assert (cause.code, cause.exit_code, cause.signed, cause.request_id) == ("SAMPLE_RATE", exit_code, signed, "r-1")
    verb = "closed" if exit_code is None else "refused"
    assert cause.reason == f"{verb} by the service: 16 kHz only (closed: {code})"
    assert causes.complained(closed, code, "", "16 kHz only", is_young=is_young).code == closed.code


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("NET-0001", "closed by the recogniser or somebody on the way: 1011 NET-0001"),
        ("", "closed by the recogniser or somebody on the way: 1011"),
    ],
)
def test_a_close_is_told_with_its_code_and_words(reason, told):
    assert causes.closed(1011, reason, None).reason == told


def test_a_lost_connection_is_tried_again():
    assert causes.lost("reset by peer") == causes.Cause("connection_lost", "reset by peer")


def test_a_recogniser_that_does_not_say_that_it_is_ready_is_no_lost_connection():
    assert causes.lost("timed out", ErrorKind.HANDSHAKE).kind == ErrorKind.HANDSHAKE

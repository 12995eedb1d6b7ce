"""Which causes end the engine and which are tried again: the whole table."""

import pytest

from mpengine.dialects import causes
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorKind

CONFIG, ACCOUNT = ExitCode.CONFIG, ExitCode.ACCOUNT
SENTENCE = "Deepgram did not {}. See https://dpgr.am/{}"


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
    assert causes.refused(401, error, body, None).reason == f"HTTP 401: {words}"


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
        (1008, "DATA-0000", "data-0000", CONFIG),
        (1008, "token expired", "policy_violation", ACCOUNT),
        (1008, "", "policy_violation", ACCOUNT),
        (1009, "", "closed_1009", None),
        (1011, "NET-0000", "net-0000", None),
        (1011, "NET-0001", "net-0001", None),
        (1011, "NET-0002", "net-0002", None),
        (1011, "NET-0004", "net-0004", None),
        (1011, "MESSAGE-0000", "message-0000", None),
        (1011, "BIG-0000", "big-0000", None),
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
    ("code", "bare", "sentence"),
    [
        (1011, "NET-0000", SENTENCE.format("provide a response message within the timeout window", "net0000")),
        (1011, "NET-0001", SENTENCE.format("receive audio data or a text message within the timeout", "net0001")),
        (1008, "DATA-0000", SENTENCE.format("find any audio", "data0000")),
    ],
    ids=["NET-0000", "NET-0001", "DATA-0000"],
)
def test_the_long_sentence_means_what_the_bare_code_means(code, bare, sentence):
    long, short = causes.closed(code, sentence, None), causes.closed(code, bare, None)
    assert (long.code, long.exit_code) == (short.code, short.exit_code)


@pytest.mark.parametrize(
    ("reason", "told"),
    [("NET-0001", "closed by the recogniser: 1011 NET-0001"), ("", "closed by the recogniser: 1011")],
)
def test_a_close_is_told_with_its_code_and_words(reason, told):
    assert causes.closed(1011, reason, None).reason == told


def test_a_lost_connection_is_tried_again():
    assert causes.lost("reset by peer") == causes.Cause("connection_lost", "reset by peer")


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("unauthorized", ACCOUNT),
        ("invalid_token", ACCOUNT),
        ("no_credits", ACCOUNT),
        ("", ACCOUNT),
        ("anything else", ACCOUNT),
        ("unsupported", CONFIG),
        ("bad_request", CONFIG),
        ("invalid_config", CONFIG),
        ("INVALID_REQUEST", CONFIG),
        ("busy", None),
        ("capacity", None),
        ("overloaded", None),
        ("rate_limited", None),
        ("too_many_requests", None),
        ("internal_error", None),
        ("upstream", None),
        ("Unavailable", None),
        ("timeout", None),
        ("429", None),
        ("500", None),
        ("503", None),
        ("401", ACCOUNT),
        ("418", ACCOUNT),
        ("5000", ACCOUNT),
        ("1503", ACCOUNT),
    ],
)
def test_a_refused_auth_message(code, exit_code):
    assert causes.handshake_refused(code, "no").exit_code is exit_code


def test_a_refused_auth_message_is_told_as_the_origin_engine_told_it():
    assert causes.handshake_refused("", "bad token") == causes.Cause(
        "unauthorized", "Proxy auth error: bad token", ACCOUNT, kind=ErrorKind.HANDSHAKE
    )


@pytest.mark.parametrize("code", ["busy", "429", "503"])
def test_a_proxy_that_asks_for_patience_gets_it(code):
    cause = causes.handshake_refused(code, "later")
    assert (cause.slow, cause.kind) == (True, ErrorKind.HANDSHAKE)

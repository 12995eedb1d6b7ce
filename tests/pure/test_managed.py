"""The managed proxy's dialect: every row of what the origin engine did, and the optional additions."""

import json

import pytest

from mpengine.dialects.base import LeftOut, Malformed, Ready, Said, ServiceError, Unknown
from mpengine.dialects.causes import Cause
from mpengine.dialects.managed import LocalConfig, ManagedConfig, transcribe_url
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import CreditsLow, ErrorKind, SessionEnd, UtteranceEnd
from tests.pure.support import hypothesis, within, word

CONFIG, ACCOUNT = ExitCode.CONFIG, ExitCode.ACCOUNT


def dialect(server_url="proxy.example"):
    return ManagedConfig(server_url=server_url, auth_token=Secret("TOKEN")).dialect(AudioConfig())


def decode(message):
    (meaning,) = dialect().decode(message if isinstance(message, str) else json.dumps(message))
    return meaning


# The request


@pytest.mark.parametrize(
    ("server_url", "url"),
    [
        ("proxy.example", "wss://proxy.example/ws/transcribe"),
        ("proxy.example/", "wss://proxy.example/ws/transcribe"),
        ("proxy.example:8443//", "wss://proxy.example:8443/ws/transcribe"),
        ("wss://proxy.example", "wss://proxy.example/ws/transcribe"),
        ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/transcribe"),
        ("wss://proxy.example/api/", "wss://proxy.example/api/ws/transcribe"),
    ],
)
def test_the_url_is_the_servers_with_the_path_of_the_proxy(server_url, url):
    assert transcribe_url(server_url) == url
    assert dialect(server_url).url == url


def test_what_is_shown_has_no_credentials():
    assert dialect("wss://user:password@proxy.example").endpoint == "wss://proxy.example/ws/transcribe"


def test_no_secret_goes_into_the_headers():
    assert list(dialect().headers) == []


def test_the_auth_message_is_the_origin_engines():
    assert json.loads(dialect().greeting) == {
        "type": "auth",
        "token": "TOKEN",
        "config": {
            "model": "nova-2",
            "language": "en-US",
            "sample_rate": 16000,
            "channels": 1,
            "encoding": "linear16",
            "interim_results": True,
        },
    }


def test_the_auth_message_is_the_same_on_every_connection():
    proxy = dialect()
    assert proxy.greeting == proxy.greeting


def test_the_proxy_knows_no_keep_alive():
    assert dialect().keep_alive is None


@pytest.mark.parametrize(
    ("features", "texts"),
    [(["finalize", "later"], ['{"type":"finalize"}']), ("finalize", ['{"type":"finalize"}']), ([], []), (None, [])],
)
def test_a_proxy_that_can_is_asked_to_finalize(features, texts):
    proxy = dialect()
    assert list(proxy.decode(json.dumps({"type": "ready", "features": features}))) == [Ready()]
    assert list(proxy.finish()) == texts


def test_a_proxy_that_says_ready_again_can_still_finalize_until_the_next_connection():
    proxy = dialect()
    proxy.decode('{"type":"ready","features":["finalize"]}')
    proxy.decode('{"type":"ready"}')
    assert list(proxy.finish()) == ['{"type":"finalize"}']
    proxy.opened()
    assert list(proxy.finish()) == []


# What it says


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "ready"}, Ready()),
        ({"type": "ready", "session": "abc"}, Ready()),
        ({"type": "ready", "features": []}, Ready()),
        ({"type": "ready", "features": ["finalize", "later"]}, Ready()),
        ({"type": "error", "code": "no_credits", "message": "none left"}, ServiceError("no_credits", "none left")),
        ({"type": "error", "message": "none left"}, ServiceError("", "none left")),
        ({"type": "error", "code": None, "message": "none left"}, ServiceError("", "none left")),
        ({"type": "error", "code": 402, "message": "none left"}, ServiceError("402", "none left")),
        ({"type": "error"}, ServiceError("", "Unknown error")),
        ({"type": "error", "code": int("9" * 400), "message": "no"}, ServiceError("", "no")),
        ({"type": "error", "message": ["no", "credits"]}, ServiceError("", '["no", "credits"]')),
        ({"type": "error", "error": {"code": "busy", "message": "later"}}, ServiceError("busy", "later")),
        ({"type": "transcript", "text": "Hello", "is_final": False}, hypothesis("Hello", is_final=False)),
        ({"type": "transcript", "text": "Hello.", "is_final": True}, hypothesis("Hello.", is_final=True)),
        ({"type": "transcript", "text": "Hello"}, hypothesis("Hello", is_final=False)),
        ({"type": "transcript", "text": " \n", "is_final": True}, hypothesis(" \n", is_final=True)),
        ({"type": "transcript"}, hypothesis("", is_final=False)),
        ({"type": "credits_low", "seconds_remaining": 60}, Said(CreditsLow(seconds_remaining=60.0))),
        ({"type": "credits_low"}, Said(CreditsLow(seconds_remaining=0.0))),
        ({"type": "credits_low", "seconds_remaining": "few"}, Said(CreditsLow(seconds_remaining=0.0))),
        ({"type": "session_end", "seconds_used": 12.5}, Said(SessionEnd(seconds_used=12.5), is_last=True)),
        ({"type": "session_end", "reason": "quota"}, Said(SessionEnd(seconds_used=0.0), is_last=True)),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_message_means(message, said):
    assert decode(message) == said


def test_times_confidence_and_words_are_taken_where_a_proxy_passes_them_on():
    message = {
        "type": "transcript",
        "text": "Hello.",
        "is_final": True,
        "start": 1.0,
        "duration": 0.5,
        "confidence": 0.75,
        "speech_final": True,
        "words": [{"word": "hello", "start": 1.0, "end": 1.5, "confidence": 0.5, "punctuated_word": "Hello."}],
    }
    assert decode(message) == hypothesis(
        "Hello.",
        True,
        1.0,
        0.5,
        speech_final=True,
        confidence=0.75,
        words=(word("hello", 1.0, 1.5, confidence=0.5, punctuated_word="Hello."),),
    )


@pytest.mark.parametrize(
    "text", ["", "no json", "{", "[]", "null", "5", "{}", '{"type":"pong"}', '{"type":null}', '{"type":5}', "\ufffd"]
)
def test_what_is_unknown_or_no_json_is_no_error(text):
    assert isinstance(decode(text), Unknown)


@pytest.mark.parametrize(
    "message",
    [{"type": "transcript", "text": 5, "x": "private"}, {"type": "transcript", "text": ["private"], "is_final": True}],
    ids=json.dumps,
)
def test_a_transcript_whose_text_is_none_is_malformed_and_not_shown(message):
    assert decode(message) == Malformed("transcript: `$.text`", is_final="is_final" in message)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"type": "transcript", "text": "private", "is_final": "yes"}, "is_final"),
        ({"type": "transcript", "text": "private", "start": "soon"}, "start"),
        ({"type": "ready", "features": {"private": 1}}, "features[0]`, `$.features"),
        ({"type": "credits_low", "seconds_remaining": ["private"]}, "seconds_remaining"),
    ],
)
def test_another_field_of_a_wrong_shape_is_left_out_and_not_shown(message, field):
    meaning, left_out = dialect().decode(json.dumps(message))
    assert left_out == LeftOut(f"{message['type']}: `$.{field}`")
    assert not isinstance(meaning, Malformed)


@pytest.mark.parametrize(
    ("fields", "is_final", "words"),
    [
        ({"words": None}, False, []),
        ({"words": ["hello", "there"], "start": 1, "duration": 2}, False, [("hello", 1.0, 2.0), ("there", 2.0, 3.0)]),
        ({"words": ["hello", "there"]}, False, [("hello", 0.0, 0.0), ("there", 0.0, 0.0)]),
        ({"confidence": "0.93", "speech_final": None}, False, []),
        ({"is_final": 1}, True, []),
        ({"is_final": 1.0, "speech_final": 0.0}, True, []),
        ({"is_final": "true"}, True, []),
        ({"is_final": "1"}, True, []),
        ({"is_final": "False"}, False, []),
        ({"is_final": 0}, False, []),
    ],
)
def test_what_a_field_means_counts_more_than_its_type(fields, is_final, words):
    (heard,) = dialect().decode(json.dumps({"type": "transcript", "text": "hello there", **fields}))
    assert (heard.transcript.text, heard.transcript.is_final) == ("hello there", is_final)
    assert [(word.word, word.start_s, word.end_s) for word in heard.transcript.words] == words


def test_an_empty_final_that_ends_an_utterance_tells_that():
    proxy = dialect()
    proxy.decode('{"type":"transcript","text":"hello","is_final":true}')
    heard, end = proxy.decode('{"type":"transcript","text":" ","is_final":true,"speech_final":true}')
    assert heard.transcript.text == " "
    assert end == Said(UtteranceEnd(at_s=1e9))  # beyond all audio: at the end of what was sent


HOSTILE = {
    "type is a list": '{"type":["transcript"]}',
    "type is an object": '{"type":{"a":1}}',
    "lists in lists": "[" * 100_000,
    "depth in an unknown field": '{"type":"transcript","unknown":' + "[" * 100_000,
    "huge seconds remaining": '{"type":"credits_low","seconds_remaining":' + "9" * 400 + "}",
    "huge seconds used": '{"type":"session_end","seconds_used":' + "9" * 400 + "}",
    "a huge code": '{"type":"error","code":' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_message_breaks_the_process(text):
    with within(2):
        meaning, *_ = dialect().decode(text)
    assert isinstance(meaning, (Malformed, Said, ServiceError, Unknown))


# Why it failed


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
    assert dialect().turned_away(ServiceError(code, "no")).exit_code is exit_code


def test_a_refused_auth_message_is_told_as_the_origin_engine_told_it():
    assert dialect().turned_away(ServiceError("", "bad token")) == Cause(
        "unauthorized", "Proxy auth error: bad token", ACCOUNT, kind=ErrorKind.HANDSHAKE, signed=True
    )


@pytest.mark.parametrize("code", ["busy", "429", "503"])
def test_a_proxy_that_asks_for_patience_gets_it(code):
    cause = dialect().turned_away(ServiceError(code, "later"))
    assert (cause.slow, cause.kind) == (True, ErrorKind.HANDSHAKE)


def test_the_words_of_the_service_behind_the_proxy_are_heard():
    refused = dialect().refused(403, "No", "", {"dg-request-id": "r-1", "dg-error": "no such model"})
    assert (refused.reason, refused.request_id) == ("refused by the service: HTTP 403: no such model", "r-1")
    assert dialect().closed(1011, "NET-0001", None).code == "net-0001"


# The local recogniser


def test_the_local_recogniser_is_a_proxy_that_the_supervisor_has_started():
    assert LocalConfig().starts_recogniser
    remote = LocalConfig(language="en-GB", hold_s=1.5).started_at("ws://127.0.0.1:5", Secret("t"))
    assert remote == ManagedConfig(server_url="ws://127.0.0.1:5", auth_token=Secret("t"), language="en-GB", hold_s=1.5)

"""Deepgram's dialect: the request, and what its messages mean (samples verbatim from recorded traffic)."""

import json
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.dialects.base import Ignored, LeftOut, Malformed, Said, ServiceError, Unknown
from mpengine.dialects.deepgram import ByokConfig
from mpengine.shared import control
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Metadata, SpeechStarted, UtteranceEnd
from mpengine.streaming.actions import Mention, Tell
from mpengine.streaming.placing import Placing
from tests.pure.support import hypothesis, within, word

URL = "wss://api.deepgram.com/v1/listen"


def dialect(url=URL, model="nova-2", language="en-US", sample_rate=16000, channels=1, parameters=None):
    remote = ByokConfig(
        byok_url=url,
        byok_api_key=Secret("KEY"),
        deepgram_model=model,
        language=language,
        parameters=parameters or {},
    )
    return remote.dialect(AudioConfig(sample_rate=sample_rate, channels=channels))


def query(**options):
    return parse_qsl(urlsplit(dialect(**options).url).query, keep_blank_values=True)


def decode(message):
    (meaning,) = dialect().decode(message if isinstance(message, str) else json.dumps(message))
    return meaning


def transcript(message):
    return decode(message).transcript


# The request


def test_the_request_is_the_origin_engines():
    assert dialect().url == (
        "wss://api.deepgram.com/v1/listen?model=nova-2&language=en-US&interim_results=true&punctuate=true"
        "&smart_format=true&encoding=linear16&sample_rate=16000&channels=1"
    )


@pytest.mark.parametrize(
    ("parameter", "pairs"),
    [
        ({"numerals": True}, [("numerals", "true")]),
        ({"numerals": False}, [("numerals", "false")]),
        ({"endpointing": 300}, [("endpointing", "300")]),
        ({"x": 0.5}, [("x", "0.5")]),
        ({"keyterm": ["Ann", "Bob Ray"]}, [("keyterm", "Ann"), ("keyterm", "Bob Ray")]),
        ({"keyterm": []}, []),
        ({"tag": "a&b=c/d?e#f+ü"}, [("tag", "a&b=c/d?e#f+ü")]),
        ({"tag": ""}, [("tag", "")]),
    ],
)
def test_further_parameters_are_passed_through(parameter, pairs):
    assert query(parameters=parameter)[8:] == pairs


@pytest.mark.parametrize(("name", "value"), [("interim_results", False), ("model", "nova-3"), ("punctuate", False)])
def test_a_parameter_replaces_what_would_be_sent(name, value):
    assert [found for key, found in query(parameters={name: value}) if key == name] == [str(value).lower()]


def test_a_space_goes_out_as_percent_20():
    assert "keyterm=Bob%20Ray" in dialect(parameters={"keyterm": "Bob Ray"}).url


def test_model_language_rate_and_channels_are_the_configured_ones():
    found = dict(query(model="nova-3", language="de", sample_rate=48000, channels=2))
    assert {key: found[key] for key in ("model", "language", "sample_rate", "channels")} == {
        "model": "nova-3",
        "language": "de",
        "sample_rate": "48000",
        "channels": "2",
    }


@pytest.mark.parametrize(
    ("url", "begin"),
    [
        ("wss://api.eu.deepgram.com/v1/listen", "wss://api.eu.deepgram.com/v1/listen?model="),
        ("ws://127.0.0.1:8080/v1/listen", "ws://127.0.0.1:8080/v1/listen?model="),
        ("wss://host/v1/listen?tag=x", "wss://host/v1/listen?tag=x&model="),
    ],
)
def test_another_server_is_asked_the_same(url, begin):
    assert dialect(url=url).url.startswith(begin)


def test_the_key_goes_into_a_header_as_token():
    assert list(dialect().headers) == ["Authorization: Token KEY"]


@pytest.mark.parametrize(
    ("key", "header"),
    [
        ("KEY", "Token KEY"),
        ("Bearer KEY", "Bearer KEY"),
        ("eyJhbGciOi.eyJzdWIi.c2ln-_", "Bearer eyJhbGciOi.eyJzdWIi.c2ln-_"),
        ("eyJ.x", "Token eyJ.x"),
    ],
)
def test_a_temporary_token_is_sent_as_such(key, header):
    made = ByokConfig(byok_api_key=Secret(key)).dialect(AudioConfig())
    assert list(made.headers) == [f"Authorization: {header}"]
    assert made.secret == header.split()[1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, URL),
        ("wss://user:password@host:1/v1/listen?key=x", "wss://host:1/v1/listen"),
        ("wss://host", "wss://host"),
    ],
)
def test_what_is_shown_has_neither_query_nor_credentials(url, shown):
    assert dialect(url=url).endpoint == shown


def test_nothing_is_said_before_audio():
    assert dialect().greeting is None


def test_the_texts_are_the_services():
    assert dialect().keep_alive == '{"type":"KeepAlive"}'
    assert list(dialect().finish()) == ['{"type":"CloseStream"}']


# Results

RESULTS = """{"type":"Results","channel_index":[0,1],"duration":1.0,"start":0.0,"is_final":false,"speech_final":false,
 "channel":{"alternatives":[{"transcript":"Paris at a moment","confidence":0.97998047,
   "words":[{"word":"paris","start":0.0,"end":0.39999998,"confidence":0.97265625,"speaker":0,
     "punctuated_word":"Paris"}]}]},
 "metadata":{"request_id":"01a07aad-cb1e-78c3-80ef-181d08b56576",
   "model_info":{"name":"general-nova-3","version":"2025-04-17.21547","arch":"nova-3"},
   "model_uuid":"40bd3654-e622-47c4-a111-63a61b23bfe8",
   "diarize_info":{"model_uuid":"6ff6f59c-c349-443b-aba1-352de7d75943","arch":"v1"}},
 "from_finalize":false}"""


def results(**fields):
    return {**json.loads(RESULTS), **fields}


def test_recorded_results_are_heard():
    assert decode(RESULTS) == hypothesis(
        "Paris at a moment",
        is_final=False,
        start_s=0.0,
        duration_s=1.0,
        speech_final=False,
        confidence=0.97998047,
        words=(word("paris", 0.0, 0.39999998, confidence=0.97265625, punctuated_word="Paris", speaker=0),),
        channel=0,
        channels=1,
        language=None,
    )


@pytest.mark.parametrize(("is_final", "speech_final"), [(False, False), (True, False), (True, True)])
def test_final_and_speech_final_are_told_apart(is_final, speech_final):
    heard = transcript(results(is_final=is_final, speech_final=speech_final))
    assert (heard.is_final, heard.speech_final) == (is_final, speech_final)


def test_final_and_speech_final_are_false_when_they_are_not_there():
    message = json.loads(RESULTS)
    del message["is_final"], message["speech_final"]
    assert (transcript(message).is_final, transcript(message).speech_final) == (False, False)


def test_the_channel_and_their_number_are_told():
    heard = decode(results(channel_index=[1, 2]))
    assert (heard.transcript.channel, heard.channels) == (1, 2)


@pytest.mark.parametrize("channel_index", [[], [0], 0, None, "0"])
def test_an_incomplete_channel_index_means_the_only_one(channel_index):
    heard = decode(results(channel_index=channel_index))
    assert (heard.transcript.channel, heard.channels) == (0, 1)


@pytest.mark.parametrize("channel_index", [2, [2], [2, 2], [2, 0, 5]])
def test_a_channel_without_a_sane_count_is_one_of_no_known_number(channel_index):
    heard = decode(results(channel_index=channel_index))
    assert (heard.transcript.channel, heard.channels) == (2, 1)


@pytest.mark.parametrize("blank", [{"transcript": ""}, {"transcript": " "}, {"transcript": None}, {}])
def test_of_several_alternatives_the_first_one_with_a_text_counts(blank):
    alternatives = [blank, blank, {"transcript": "said"}, {"transcript": "other"}]
    assert transcript(results(channel={"alternatives": alternatives})).text == "said"


def test_only_the_best_alternative_counts():
    alternatives = [{"transcript": "best"}, {"transcript": "second"}]
    assert transcript(results(channel={"alternatives": alternatives})).text == "best"


def test_the_first_of_several_languages_is_told():
    alternative = {"transcript": "hola", "languages": ["es", "en"]}
    assert transcript(results(channel={"alternatives": [alternative]})).language == "es"


def test_a_word_has_what_is_required_and_may_lack_the_rest():
    alternative = {"transcript": "a", "words": [{"word": "a", "start": 1.0, "end": 2.0}]}
    assert transcript(results(channel={"alternatives": [alternative]})).words == (word("a", 1.0, 2.0),)


def test_an_empty_final_is_a_final_for_what_it_covers():
    message = results(is_final=True, start=3.0, duration=2.0, channel={"alternatives": [{"transcript": ""}]})
    assert decode(message) == hypothesis("", True, 3.0, 2.0)


@pytest.mark.parametrize("channel", [{}, {"alternatives": []}])
def test_a_final_without_alternatives_covers_its_time_without_text(channel):
    assert decode(results(is_final=True, channel=channel)) == hypothesis("", True, 0.0, 1.0)


@pytest.mark.parametrize("channel", [{}, {"alternatives": []}])
def test_an_interim_without_alternatives_means_nothing(channel):
    assert isinstance(decode(results(channel=channel)), Ignored)


def test_fields_that_came_later_are_ignored():
    assert transcript(results(entities=[{"label": "NAME"}], invented_later=1)).text == "Paris at a moment"


ENTITY = {"label": "NAME", "value": "Ann", "raw_value": "ann", "confidence": 0.5, "start_word": 0, "end_word": 1}


def test_entities_and_the_languages_of_words_are_passed_on():
    words = [{"word": "ann", "start": 0.0, "end": 0.5, "language": "en"}, {"word": "sí", "start": 0.5, "end": 1.0}]
    alternative = {"transcript": "Ann sí", "words": words, "languages": ["es", "en"], "entities": [ENTITY]}
    heard = transcript(results(channel={"alternatives": [alternative]}))
    assert heard.entities == (ENTITY,)
    assert [word.language for word in heard.words] == ["en", None]


@pytest.mark.parametrize("value", [10**30, [[[]]] * 2, "x"])
def test_an_entity_is_passed_on_as_received_if_it_can_be_published(value):
    alternative = {"transcript": "a", "entities": [{"value": value}]}
    meanings = dialect().decode(json.dumps(results(channel={"alternatives": [alternative]})))
    assert meanings[0].transcript.text == "a"
    if value == 10**30:
        assert meanings[0].transcript.entities == ()
        assert meanings[1:] == (LeftOut("Results: `$.channel.alternatives[0].entities[0].value`"),)
    else:
        assert meanings[0].transcript.entities == ({"value": value},)
        assert len(meanings) == 1


# The end of an utterance


def final(text, start_s, *, speech_final=False, channel=0, words=()):
    listed = [{"word": word, "start": first, "end": end} for word, first, end in words]
    channels = {"alternatives": [{"transcript": text, "words": listed}]}
    more = {"is_final": True, "speech_final": speech_final, "channel_index": [channel, 2]}
    return json.dumps(results(start=start_s, duration=1.0, channel=channels, **more))


def ends(*messages):
    """The ends of utterances that one connection tells, as (place, channel)."""
    service = dialect()
    meanings = [meaning for message in messages for meaning in service.decode(message)]
    said = [meaning.message for meaning in meanings if isinstance(meaning, Said)]
    return [(message.at_s, message.channel) for message in said]


def test_an_empty_final_with_speech_final_ends_the_utterance_at_its_last_word():
    assert ends(
        final("a b", 0.0, words=[("a", 0.1, 0.3), ("b", 0.4, 0.75)]),
        final("", 1.0, speech_final=True),
        final("c", 2.0),
        final("", 3.0, speech_final=True),
    ) == [(0.75, 0), (3.0, 0)]


def test_it_is_still_a_final_for_what_it_covers():
    heard, end = dialect().decode(final("", 1.0, speech_final=True))
    assert heard == hypothesis("", True, 1.0, 1.0, speech_final=True, channels=2)
    assert end == Said(UtteranceEnd(at_s=1.0))  # where no word is known, at its start


def test_the_end_of_an_utterance_is_told_once_however_long_the_silence_is():
    silence = [final("", start_s, speech_final=True) for start_s in (1.0, 2.0, 3.0)]
    assert ends(*silence) == [(1.0, 0)]
    assert ends(final("a", 0.0), *silence) == [(1.0, 0)]
    end = '{"type":"UtteranceEnd","channel":[0,2],"last_word_end":0.5}'
    assert ends(final("a", 0.0), end, *silence, end) == [(0.5, 0), (0.5, 0)]


def test_each_channel_has_utterances_of_its_own():
    assert ends(
        final("a", 0.0, channel=0),
        final("b", 1.0, channel=1),
        final("", 2.0, channel=1, speech_final=True),
        final("", 3.0, channel=0, speech_final=True),
    ) == [(2.0, 1), (1.0, 0)]


def test_another_connection_has_other_utterances():
    service = dialect()
    service.decode(final("a", 5.0))
    service.opened()
    assert service.decode(final("", 1.0, speech_final=True))[1] == Said(UtteranceEnd(at_s=1.0))


@pytest.mark.parametrize("message", [final("", 1.0), final("a", 1.0, speech_final=True)])
def test_no_other_final_is_such_an_end(message):
    assert ends(message) == []


# Other messages

METADATA = """{"type":"Metadata","transaction_key":"deprecated","request_id":"a","sha256":"incomplete",
 "created":"2026-08-25T21:11:31.685Z","duration":44.259937,"channels":1,"models":["7e3b"],
 "model_info":{"7e3b":{"name":"2-phonecall-nova","version":"2024-02-07.20824","arch":"nova-2"}}}"""


@pytest.mark.parametrize(("channel", "number"), [("[0,1]", 0), ("[1,2]", 1), ("1", 1), ("null", 0)])
def test_the_events_of_speech_have_a_channel(channel, number):
    started = decode(f'{{"type":"SpeechStarted","channel":{channel},"timestamp":9.54}}')
    ended = decode(f'{{"type":"UtteranceEnd","channel":{channel},"last_word_end":2.395}}')
    assert started == Said(SpeechStarted(at_s=9.54, channel=number))
    assert ended == Said(UtteranceEnd(at_s=2.395, channel=number))


def test_types_in_the_spelling_of_compatible_servers_are_known():
    assert transcript(results(type="results")).text == "Paris at a moment"
    assert decode('{"type":"utterance_end","last_word_end":2}') == Said(UtteranceEnd(at_s=2.0))
    assert decode('{"type":"speech_started","timestamp":2}') == Said(SpeechStarted(at_s=2.0))
    assert decode('{"type":"metadata","x":1}') == Said(Metadata(data={"type": "metadata", "x": 1}), is_last=True)
    assert decode('{"type":"error","message":"no"}') == ServiceError("", "no")


@pytest.mark.parametrize(
    "message",
    ['{"type":"UtteranceEnd","channel":[0,1],"last_word_end":-1}', '{"type":"UtteranceEnd","last_word_end":-1.0}'],
)
def test_an_utterance_end_that_asks_to_be_disregarded_is(message):
    assert isinstance(decode(message), Ignored)


@pytest.mark.parametrize(
    "message",
    [
        METADATA,
        '{"type":"Metadata","transaction_key":"deprecated","request_id":"a","duration":0.0,"channels":1}',
        '{"type":"ConfigureSuccess","request_id":"550e8400","keyterms":["Deepgram","customer service"]}',
        '{"type":"ConfigureFailure","request_id":"a","code":"CONFIGURE_KEYTERMS_NOT_SUPPORTED","description":"b"}',
        '{"type":"Warning","code":"X"}',
    ],
    ids=["Metadata", "Metadata without audio", "ConfigureSuccess", "ConfigureFailure", "Warning"],
)
def test_what_the_service_notes_is_passed_on_as_received(message):
    data = json.loads(message)
    assert decode(message) == Said(Metadata(data=data), is_last=data["type"] == "Metadata")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            {"type": "Error", "variant": "SchemaError", "description": "unknown field", "message": '{"type": "X"}'},
            ServiceError("SchemaError", "unknown field"),
        ),
        ({"type": "Error", "code": "NET-0001", "message": "slow"}, ServiceError("NET-0001", "slow")),
        ({"type": "Error", "code": "A", "variant": "B", "description": "c"}, ServiceError("A", "c")),
        ({"type": "Error"}, ServiceError("", "unknown error")),
        ({"error": "no such model"}, ServiceError("", "no such model")),
        ({"err_code": "A", "err_msg": "no"}, ServiceError("A", "no")),
        ({"type": "ErrorResponse", "error_code": 7, "error_message": "no"}, ServiceError("7", "no")),
        ({"type": "Error", "err_code": "A", "err_msg": "no"}, ServiceError("A", "no")),
        ({"type": "Error", "error": "no"}, ServiceError("", "no")),
        ({"type": "Error", "error": {"code": "A", "message": "no"}}, ServiceError("A", "no")),
        ({"type": "Error", "description": {"text": "x"}}, ServiceError("", '{"text": "x"}')),
        ({"type": "Error", "description": ["x" * 1000]}, ServiceError("", f'["{"x" * 298}')),
    ],
)
def test_an_error_is_told_in_each_of_its_shapes(message, error):
    assert decode(message) == error


@pytest.mark.parametrize(
    "message",
    [
        results(channel=[0, 1]),
        results(channel={"alternatives": 5}),
        results(channel={"alternatives": [{"transcript": 5}]}),
        results(channel={"alternatives": [{"transcript": {"text": "a"}}, {"transcript": ["b"]}]}),
        {"type": "SpeechStarted", "timestamp": "soon"},
        {"type": "SpeechStarted"},
        {"type": "UtteranceEnd", "last_word_end": "never"},
    ],
)
def test_what_a_message_is_about_must_fit(message):
    assert decode(message).why.startswith(f"{message['type']}: ")
    assert isinstance(decode(message), Malformed)


def test_a_malformed_message_is_told_without_its_content():
    message = results(channel={"alternatives": [{"transcript": ["private words"]}]})
    assert "private" not in decode(message).why


@pytest.mark.parametrize(
    ("fields", "span_s"),
    [({"start": 3.0}, (3.0, 4.0)), ({"start": "3.0"}, (3.0, 4.0)), ({"start": None}, None), ({"start": "x"}, None)],
)
@pytest.mark.parametrize("is_final", [True, "true", 1])
def test_a_final_without_a_text_says_where_it_was(fields, span_s, is_final):
    found = decode(results(is_final=is_final, channel={"alternatives": [{"transcript": 5}]}, **fields))
    why = "Results: `$.channel.alternatives[0].transcript`, `$.channel.alternatives[0]`, `$.channel.alternatives`, "
    assert found == Malformed(found.why, is_final=True, span_s=span_s)
    assert found.why.startswith(why)


# Fields that do not fit


def heard(alternative=(), **fields):
    """What is heard of a final "hello there" from 1 to 2 s, and what is left out of it."""
    channel = {"alternatives": [{"transcript": "hello there", **dict(alternative)}]}
    message = results(**{"is_final": True, "start": 1.0, "duration": 1.0, "channel": channel, **fields})
    meaning, *others = dialect().decode(json.dumps(message))
    assert (meaning.transcript.text, meaning.transcript.is_final) == ("hello there", True)
    return meaning, [other.why.partition(": ")[2].replace("`", "") for other in others]


WHOLE = {"word": "hello", "start": 1.0, "end": 1.5}


@pytest.mark.parametrize(
    ("words", "found", "left_out"),
    [
        (None, [], []),
        ([None, WHOLE], [("hello", 1.0, 1.5)], []),
        (WHOLE, [("hello", 1.0, 1.5)], []),
        (["hello", "there"], [("hello", 1.0, 1.5), ("there", 1.5, 2.0)], []),
        ([{"word": "hello"}, {"word": "there"}], [("hello", 1.0, 1.5), ("there", 1.5, 2.0)], []),
        ([WHOLE, {"word": "there", "start": None, "end": None}], [("hello", 1.0, 1.5), ("there", 1.5, 2.0)], []),
        ([WHOLE, {"word": "there", "start": 1.75, "end": None}], [("hello", 1.0, 1.5), ("there", 1.75, 2.0)], []),
        ([{"word": "hello", "start": "1.0", "end": "1.5"}], [("hello", 1.0, 1.5)], []),
        (
            ["a", WHOLE, "b", {"word": "c", "start": 1.75, "end": 2}],
            [("a", 1.0, 1.0), ("hello", 1.0, 1.5), ("b", 1.5, 1.75), ("c", 1.75, 2.0)],
            [],
        ),
        (
            [{**WHOLE, "start": "soon"}, {**WHOLE, "end": [1]}],
            [("hello", 1.0, 1.5), ("hello", 1.0, 2.0)],
            ["$.channel.alternatives[0].words[0].start, $.channel.alternatives[0].words[1].end"],
        ),
        (
            [{"word": 5}, WHOLE],
            [("hello", 1.0, 1.5)],
            ["$.channel.alternatives[0].words[0].word, $.channel.alternatives[0].words[0]"],
        ),
        ("hello", [("hello", 1.0, 2.0)], []),
        (5, [], ["$.channel.alternatives[0].words[0], $.channel.alternatives[0].words"]),
    ],
)
def test_of_words_each_is_taken_as_far_as_it_fits(words, found, left_out):
    meaning, others = heard({"words": words})
    assert [(word.word, word.start_s, word.end_s) for word in meaning.transcript.words] == found
    assert others == left_out


@pytest.mark.parametrize(
    ("speaker", "found"), [("SPEAKER_00", "SPEAKER_00"), (0.0, 0), (2, 2), ("2", "2"), (None, None), ([1], None)]
)
def test_a_speaker_is_a_number_or_a_name(speaker, found):
    (word,) = heard({"words": [{**WHOLE, "speaker": speaker}]})[0].transcript.words
    assert word.speaker == found


@pytest.mark.parametrize("times", [{"start": "1.0", "duration": "1"}, {"start": 1, "duration": 1}])
def test_times_may_be_numbers_in_text(times):
    meaning, left_out = heard(**times)
    assert (meaning.transcript.start_s, meaning.transcript.end_s, meaning.has_times) == (1.0, 2.0, True)
    assert left_out == []


@pytest.mark.parametrize(
    ("times", "left_out"),
    [({"start": None}, []), ({"start": "soon"}, ["$.start"]), ({"duration": [1]}, ["$.duration"])],
)
def test_without_usable_times_a_final_has_none(times, left_out):
    meaning, others = heard(**times)
    assert (meaning.has_times, others) == (False, left_out)


@pytest.mark.parametrize(
    ("alternative", "fields"),
    [
        ({"languages": None}, {}),
        ({"languages": "en"}, {}),
        ({"confidence": None}, {"speech_final": None}),
        ({"confidence": "0.5"}, {"speech_final": "false"}),
        ({"entities": None}, {"channel_index": None}),
    ],
)
def test_null_and_numbers_in_text_are_no_misfits(alternative, fields):
    assert heard(alternative, **fields)[1] == []


def test_all_fields_that_do_not_fit_are_named_but_not_without_end():
    alternative = {"words": [{**WHOLE, "confidence": []}] * 999 + [{**WHOLE, "language": []}], "confidence": []}
    (others,) = heard(alternative, start=[], duration=[], channel_index="left", speech_final="no")[1]
    best = "$.channel.alternatives[0]"
    fields = f"{best}.confidence, {best}.words[0].confidence, {best}.words[999].language, $.channel_index, $.start"
    assert others == f"{fields}, $.duration and 1 more"


def test_the_first_alternative_that_has_a_text_is_the_best():
    alternatives = [{"transcript": 5}, {"transcript": "hello"}]
    meaning, left_out = dialect().decode(json.dumps(results(channel={"alternatives": alternatives})))
    assert meaning.transcript.text == "hello"
    assert left_out == LeftOut("Results: `$.channel.alternatives[0].transcript`, `$.channel.alternatives[0]`")


@pytest.mark.parametrize(
    "channel",
    [None, {"alternatives": None}, {"alternatives": [None]}, {"alternatives": [{"transcript": None, "words": None}]}],
)
def test_a_final_whose_text_is_null_has_an_empty_one(channel):
    assert decode(results(is_final=True, channel=channel)) == hypothesis("", True, 0.0, 1.0)


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_a_field_that_is_nested_without_end_does_not_cost_the_text(brackets):
    opening, closing = brackets[:-1], brackets[-1]
    nested = opening * 20_000 + '"]"' + closing * 20_000
    message = json.dumps(results(is_final=True, start="NESTED", more=["[", 'a"]'], others="NESTED"))
    with within(1):
        meaning, left_out = dialect().decode(message.replace('"NESTED"', nested))
    assert (meaning.transcript.text, meaning.transcript.is_final) == ("Paris at a moment", True)
    assert left_out == LeftOut("Results: `$.start`")


def test_a_byte_order_mark_is_no_error():
    assert decode("\ufeff" + RESULTS) == decode(RESULTS)


@pytest.mark.parametrize(("escape", "text"), [("a\\ud800b", "a?b"), ("\\ud83d\\ude00", "\U0001f600"), ("a\nb", "a\nb")])
def test_a_text_that_json_does_not_allow_is_taken(escape, text):
    message = json.dumps(results(is_final=True, channel={"alternatives": [{"transcript": "TEXT"}]}))
    assert transcript(message.replace("TEXT", escape)).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{",
        "[]",
        "null",
        "5",
        '"text"',
        "{}",
        '{"type":"InventedLater","x":1}',
        '{"type":null}',
        "\ufffd",
    ],
)
def test_what_is_unknown_or_no_json_is_no_error(text):
    assert isinstance(decode(text), Unknown)


def test_an_unknown_type_is_named():
    assert decode('{"type":"TurnInfo"}') == Unknown("TurnInfo")


# Hostile messages

HOSTILE = {
    "type is a list": '{"type":["Results"]}',
    "type is an object": '{"type":{"a":1}}',
    "lists in lists": "[" * 100_000,
    "objects in objects": '{"a":' * 100_000,
    "depth in a note": '{"type":"Metadata","a":' + "[" * 100_000,
    "depth in an unknown field": '{"type":"Results","unknown":' + "[" * 100_000,
    "a huge integer in a note": '{"type":"Metadata","duration":' + "9" * 400 + "}",
    "a large integer in a note": '{"type":"Metadata","duration":' + "9" * 30 + "}",
    "a huge timestamp": '{"type":"SpeechStarted","timestamp":1e308}',
    "a huge negative timestamp": '{"type":"SpeechStarted","timestamp":-1e308}',
    "a huge last word": '{"type":"UtteranceEnd","last_word_end":1e308}',
    "times that add up to infinity": json.dumps(results(start=1e308, duration=1e308)),
    "huge negative times": json.dumps(results(start=-1e308, duration=-1e308, is_final=True)),
    "a negative duration": json.dumps(results(start=5.0, duration=-5.0, is_final=True)),
    "countless channels": json.dumps(results(is_final=True, channel_index=[0, 2**62])),
    "negative channels": json.dumps(results(is_final=True, channel_index=[-5, -3])),
    "channels beyond 64 bits": json.dumps(results(is_final=True, channel_index=[2**70, 2**70])),
}


def told(text):
    """What the supervisor is told of a message in the middle of a stream, as it is decoded on its side."""
    placing = Placing(sample_rate=16000, sample_bytes=2, hold_s=3.0, sent_before=0)
    placing.connected(1)
    actions = [action for meaning in dialect().decode(text) for action in placing.said(meaning, 100.0)]
    assert all(isinstance(action, (Tell, Mention)) for action in actions)
    return [control.decode_up.decode(control.encode(action.message)) for action in actions]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_message_breaks_or_holds_up_the_process(text):
    with within(1):
        told(text)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "start", "channel", "words"]), inner),
        max_leaves=8,
    ),
    st.sampled_from(["Results", "Metadata", "Error", "SpeechStarted", "UtteranceEnd", "Other"]),
    st.sampled_from(
        ["start", "duration", "channel", "channel_index", "timestamp", "last_word_end", "description", "is_final", "x"]
    ),
)
def test_any_value_of_any_field_is_answered_without_an_exception(value, kind, field):
    text = msgspec.json.encode({**results(type=kind), field: value}).decode() if is_encodable(value) else "{}"
    with within(2):
        told(text)


def is_encodable(value):
    try:
        msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return False
    return True


# Why it failed

SENTENCE = "Deepgram did not {}. See https://dpgr.am/{}"


@pytest.mark.parametrize(
    ("code", "reason", "name", "exit_code"),
    [
        (1008, "DATA-0000", "data-0000", ExitCode.CONFIG),
        (1008, "token expired", "policy_violation", ExitCode.ACCOUNT),
        (1011, "NET-0000", "net-0000", None),
        (1011, "NET-0001", "net-0001", None),
        (1011, "NET-0002", "net-0002", None),
        (1011, "NET-0004", "net-0004", None),
        (1011, "MESSAGE-0000", "message-0000", None),
        (1011, "BIG-0000", "big-0000", None),
        (1011, "internal error", "closed_1011", None),
    ],
)
def test_a_close_frame(code, reason, name, exit_code):
    cause = dialect().closed(code, reason, "r-1")
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
    long, short = dialect().closed(code, sentence, None), dialect().closed(code, bare, None)
    assert (long.code, long.exit_code) == (short.code, short.exit_code)


def test_a_refusal_has_the_words_and_the_id_of_the_headers():
    assert set(dialect().answer_headers) == {"dg-request-id", "dg-error"}
    cause = dialect().refused(401, "Unauthorized", "", {"dg-request-id": "r-1", "dg-error": "wrong key"})
    assert (cause.reason, cause.request_id) == ("refused by the service: HTTP 401: wrong key", "r-1")
    assert dialect().refused(503, "Busy", "", {}).reason == "refused by somebody on the way (a proxy?): HTTP 503: Busy"


def test_the_id_of_a_connection_is_in_the_headers_of_its_answer():
    assert dialect().request_id({"dg-request-id": "r-1"}) == "r-1"
    assert dialect().request_id({}) is None


# The silence gate


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [
        ({}, 1.0),
        ({"endpointing": 300}, 1.0),
        ({"endpointing": 1500}, 2.0),
        ({"endpointing": "2000"}, 2.5),
        ({"endpointing": False}, 1.0),
        ({"endpointing": True}, 1.0),
        ({"endpointing": "soon"}, 1.0),
        ({"endpointing": [100, 200]}, 1.0),
        ({"utterance_end_ms": 1000}, 2.0),
        ({"utterance_end_ms": 1000, "endpointing": 3000}, 3.5),
    ],
)
def test_the_gate_stays_open_longer_than_deepgram_measures_silence(parameters, seconds):
    assert ByokConfig(parameters=parameters).hang_over_s == seconds


@pytest.mark.parametrize(
    ("url", "texts"),
    [
        (URL, ('{"type":"Finalize"}',)),
        ("wss://api.eu.deepgram.com/v1/listen", ('{"type":"Finalize"}',)),
        ("wss://deepgram.com.example/v1/listen", ()),
        ("ws://127.0.0.1:8080/v1/listen", ()),
    ],
)
def test_only_deepgram_itself_is_asked_for_its_results_in_a_silence(url, texts):
    assert dialect(url).flush() == texts

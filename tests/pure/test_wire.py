"""Hostile and odd JSON, for both dialects: what cannot be taken is said with its field, and nothing ever breaks."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpengine.dialects.base import Hypothesis, LeftOut, Malformed, Unknown
from mpengine.dialects.deepgram import ByokConfig
from mpengine.dialects.managed import ManagedConfig
from mpengine.shared import control
from mpengine.shared import messages as published
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.frames import Frame
from mpengine.shared.messages import FINALS
from mpengine.streaming.actions import Mention, Tell
from mpengine.streaming.placing import Placing
from mpengine.supervisor.bus.history import History
from tests.pure.support import RUN, pcm, within

S = 16000
BYOK = ByokConfig(byok_api_key=Secret("K")).dialect(AudioConfig())
MANAGED = ManagedConfig(server_url="proxy", auth_token=Secret("T")).dialect(AudioConfig())
FAR = "9" * 400


def results(alternative=None, **fields):
    message = {"type": "Results", "is_final": True, "start": 0.0, "duration": 1.0}
    return json.dumps({**message, "channel": {"alternatives": [alternative or {"transcript": "a"}]}, **fields})


def word(**fields):
    return {"transcript": "a", "words": [{"word": "a", "start": 0.0, "end": 1.0, **fields}]}


def transcript(**fields):
    return json.dumps({"type": "transcript", "is_final": True, "text": "a", "start": 0.0, "duration": 1.0, **fields})


@pytest.mark.parametrize(
    ("dialect", "text", "field"),
    [
        (BYOK, results(start=1e305), "$.start"),
        (BYOK, results(start=-1e308), "$.start"),
        (BYOK, results(duration=1e305), "$.duration"),
        (BYOK, results(start=int(FAR)), "$.start"),
        (BYOK, results(start="REPLACED").replace('"REPLACED"', "1e999"), "$.start"),
        (BYOK, results(channel_index=[0, 1_000_000_000]), "$.channel_index"),
        (BYOK, results(channel_index=[-1, 1]), "$.channel_index"),
        (BYOK, results(channel_index=[0] * 65), "$.channel_index"),
        (BYOK, results(word(speaker=10**30)), "$.channel.alternatives[0].words[0].speaker"),
        (BYOK, results(word(speaker=-(2**31) - 1)), "$.channel.alternatives[0].words[0].speaker"),
        (BYOK, results(word(start=1e305)), "$.channel.alternatives[0].words[0].start"),
        (BYOK, results(word(end=-1e308)), "$.channel.alternatives[0].words[0].end"),
        (BYOK, results({"transcript": "a", "words": word()["words"] * 10_001}), "$.channel.alternatives[0].words"),
        (BYOK, '{"type":"SpeechStarted","timestamp":1e305}', "$.timestamp"),
        (BYOK, '{"type":"UtteranceEnd","last_word_end":1e305}', "$.last_word_end"),
        (BYOK, '{"type":"Metadata","a":{"b":[0,1' + "0" * 30 + "]}}", "$.a.b[1]"),
        (BYOK, '{"type":"Metadata","duration":' + FAR + "}", "$.duration"),
        (BYOK, '{"type":"Metadata","duration":1e999}', "$.duration"),
        (BYOK, '{"type":"Metadata","a":' + "[" * 100 + "]" * 100 + "}", "$.a[0][0]"),
        (MANAGED, transcript(start=1e305), "$.start"),
        (MANAGED, transcript(duration=-1e308), "$.duration"),
        (MANAGED, transcript(words=word(speaker=10**30)["words"]), "$.words[0].speaker"),
        (MANAGED, '{"type":"credits_low","seconds_remaining":1e305}', "$.seconds_remaining"),
        (MANAGED, '{"type":"session_end","seconds_used":' + FAR + "}", "$.seconds_used"),
    ],
)
def test_what_no_recogniser_means_is_left_out_and_names_the_field(dialect, text, field):
    *others, said = dialect.decode(text)
    is_event = "timestamp" in text or "last_word_end" in text
    assert isinstance(said, Malformed if is_event else LeftOut)
    assert [type(other) for other in others if isinstance(other, (LeftOut, Malformed))] == []
    assert len(others) == (0 if is_event else 1)
    assert field in said.why
    assert len(said.why) < 300


@pytest.mark.parametrize("dialect", [BYOK, MANAGED])
@pytest.mark.parametrize(
    "text",
    [
        '{"type":[]}',
        '{"type":{}}',
        '{"type":1e400}',
        '{"type":' + FAR + "}",
        '{"type":"\\ud800"}',
        '{"type":"\ud800"}',
        '{"type":' * 100_000,
        "[" * 1_000_000,
        FAR * 20,
    ],
    ids=range(9),
)
def test_what_has_no_type_is_unknown(dialect, text):
    with within(2):
        (meaning,) = dialect.decode(text)
    assert isinstance(meaning, Unknown)


TYPES = [
    "Results", "SpeechStarted", "UtteranceEnd", "Error", "Metadata", "ConfigureSuccess", "Warning",
    "ready", "transcript", "error", "credits_low", "session_end", "unknown",
]  # fmt: skip
FIELDS = [
    "alternatives", "channel", "channel_index", "code", "confidence", "description", "duration", "end", "features",
    "is_final", "languages", "last_word_end", "message", "punctuated_word", "seconds_remaining", "seconds_used",
    "speaker", "speech_final", "start", "text", "timestamp", "transcript", "variant", "word", "words",
]  # fmt: skip
NUMBERS = st.sampled_from(
    ["0", "1", "-1", "1e305", "-1e308", "1e999", "-0.0", str(2**31), str(2**63), str(2**64), "1" + "0" * 30, FAR]
)
STRINGS = st.sampled_from(['"text"', '"\\ud800"', '"\\ud83d\\ude00"', '"\ud800"', '"\ufffd"', '""', '"no'])
SCALARS = NUMBERS | STRINGS | st.integers().map(str) | st.sampled_from(["null", "true", "false"])


def listed(inner):
    return st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")


def objects(inner):
    pairs = st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    return pairs.map(lambda found: f"{{{','.join(f'{json.dumps(key)}:{item}' for key, item in found.items())}}}")


VALUES = st.recursive(SCALARS, lambda inner: listed(inner) | objects(inner), max_leaves=12)
WORDS = listed(st.builds('{{"word":"a","start":{},"end":{},"speaker":{}}}'.format, NUMBERS, NUMBERS, SCALARS))
CHANNELS = st.builds('{{"alternatives":[{{"transcript":"a","words":{}}}]}}'.format, WORDS)


@st.composite
def messages(draw):
    """The text of a message: of a known type mostly, with fields that may be anything."""
    kind = draw(st.sampled_from(TYPES).map(json.dumps) | VALUES)
    fields = draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5))
    fields |= draw(
        st.fixed_dictionaries({}, optional={"channel": CHANNELS, "words": WORDS, "is_final": st.just("true")})
    )
    fields |= draw(st.fixed_dictionaries({}, optional={"start": NUMBERS, "duration": NUMBERS}))
    return "{" + ",".join([f'"type":{kind}', *(f"{json.dumps(key)}:{value}" for key, value in fields.items())]) + "}"


@pytest.mark.slow
@pytest.mark.parametrize("dialect", [BYOK, MANAGED], ids=["byok", "managed"])
@given(messages() | VALUES | st.text())
@example(results(channel_index=[63, 64]))
@example(transcript(words=[{"word": "a", "start": 1e9, "end": -1e9, "speaker": 2**31 - 1}] * 10_000))
@example('{"type":"Metadata","a":' + '{"a":' * 29 + "1" + "}" * 29 + "}")
def test_whatever_comes_what_is_told_of_it_reaches_the_supervisor(dialect, text):
    placing = Placing(sample_rate=S, sample_bytes=2, hold_s=3.0, sent_before=0)
    placing.connected(1)
    placing.sending(Frame(RUN, 1, 0, pcm(0, 320)), 100.0)
    placing.sending(Frame(RUN, 1, 5000, pcm(5000, 5320)), 100.0)
    actions = [action for meaning in dialect.decode(text) for action in placing.said(meaning, 101.0)]
    assert all(isinstance(action, (Tell, Mention)) for action in actions)
    for action in actions:
        assert control.decode_up.decode(control.encode(action.message)) == action.message


# The text decides


RECORDED = {
    "Results": """{"type":"Results","channel_index":[0,1],"duration":1.0,"start":0.0,"is_final":true,
 "speech_final":true,"channel":{"alternatives":[{"transcript":"Hola, Paris.","confidence":0.97998047,
   "languages":["es","en"],"entities":[{"label":"CITY","value":"Paris","confidence":0.9,"start_word":1,"end_word":2}],
   "words":[{"word":"hola","start":0.0,"end":0.39999998,"confidence":0.97,"speaker":0,"speaker_confidence":0.5,
     "punctuated_word":"Hola,","language":"es"},{"word":"paris","start":0.5,"end":0.9,"punctuated_word":"Paris."}]}]},
 "metadata":{"request_id":"01a07aad","model_info":{"name":"general-nova-3"}},"from_finalize":false}""",
    "transcript": """{"type":"transcript","text":"Hola, Paris.","is_final":true,"start":0.5,"duration":1.0,
 "confidence":0.75,"speech_final":true,"words":[{"word":"hola","start":0.5,"end":1.0,"confidence":0.5,"speaker":1},
 {"word":"paris","start":1.0,"end":1.5,"punctuated_word":"Paris."}]}""",
}
DECIDING = {"type", "channel", "alternatives", "transcript", "text", "is_final"}


def places(value, path=()):
    """The path of every field and item inside of `value` that does not hold the text."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        holds_text = key in DECIDING or path[-1:] == ("alternatives",)
        if not holds_text:
            yield (*path, key)
        yield from places(item, (*path, key))


def replaced(message, changes):
    for (*path, last), value in changes:
        parent = message
        for key in path:
            parent = parent[key]
        parent[last] = value
    return message


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECORDED)
@given(st.data())
def test_whatever_a_field_beside_the_text_holds_the_text_is_told(kind, data):
    dialect = BYOK if kind == "Results" else MANAGED
    message = json.loads(RECORDED[kind])
    chosen = data.draw(st.lists(st.sampled_from(list(places(message))), min_size=1, max_size=4, unique=True))
    # The deepest first: a change further out may take its place away.
    chosen.sort(key=len, reverse=True)
    marks = [f"MARK{index}" for index in range(len(chosen))]
    text = json.dumps(replaced(message, list(zip(chosen, marks, strict=True))))
    for mark in marks:
        text = text.replace(f'"{mark}"', data.draw(VALUES.filter(is_json)))
    said, *others = dialect.decode(text)
    assert isinstance(said, Hypothesis), text
    assert (said.transcript.text, said.transcript.is_final) == ("Hola, Paris.", True)
    assert {type(other) for other in others} <= {LeftOut}
    placing = Placing(sample_rate=S, sample_bytes=2, hold_s=3.0, sent_before=0)
    placing.connected(1)
    placing.sending(Frame(RUN, 1, 0, pcm(0, S)), 100.0)
    (action,) = placing.said(said, 101.0)
    assert control.decode_up.decode(control.encode(action.message)).transcript.text == "Hola, Paris."


def test_it_is_told_with_all_of_its_fields_where_they_fit():
    (heard,) = BYOK.decode(RECORDED["Results"])
    assert [word.language for word in heard.transcript.words] == ["es", None]
    assert [len(heard.transcript.entities), heard.transcript.language] == [1, "es"]


# Bounds


LONGEST = 128 << 10


FULL_WORD = {"word": "", "start": 123456.789012345, "end": 123456.789012345, "confidence": 0.12345678901234567}
FULL_WORD |= {"punctuated_word": "", "speaker": 2**31 - 1, "language": ""}


@pytest.mark.parametrize("letter", ["x", "ü", "\\u0001"])
@pytest.mark.parametrize("words", [[FULL_WORD] * 750, [{"word": ""}] * 1000], ids=["full", "short"])
def test_the_longest_final_fits_the_history_with_all_its_words(letter, words):
    text = results({"transcript": "@", "words": words})
    text = text.replace("@", letter * ((LONGEST - len(text)) // len(letter.encode())))
    assert LONGEST - 10 < len(text.encode()) <= LONGEST
    heard, *others = BYOK.decode(text)
    assert others == []
    assert len(heard.transcript.words) == len(words)
    history = History()
    history.add(FINALS, 1, 0, published.encode(heard.transcript), 0.0)
    assert history.forgotten[FINALS] == 0


def test_more_words_or_entities_than_may_be_cost_only_themselves():
    words = [{"word": "a", "start": 0.0, "end": 1.0}] * 1001
    heard, left_out = MANAGED.decode(transcript(text="all", words=words, is_final=True))
    assert (heard.transcript.text, heard.transcript.words) == ("all", ())
    assert left_out == LeftOut("transcript: `$.words`")
    for entities in ([{"label": "a"}] * 101, [{"label": "a" * 17_000}]):
        heard, left_out = BYOK.decode(results({"transcript": "all", "entities": entities}))
        assert (heard.transcript.text, heard.transcript.entities) == ("all", ())
        assert left_out == LeftOut("Results: `$.channel.alternatives[0].entities`")

"""A server of somebody else: WhisperLiveKit, which speaks Deepgram's protocol, with a small Whisper model.

`scripts/whisper` installs and starts the server, and runs these tests. The model mishears a short word now and then,
writes numbers as digits, and gives no result for silence. So the tests compare content words.
"""

import os
import re

import pytest

from tests.rig.speech import PATH, SENTENCES, pcm
from tests.rig.waiting import promised

URL, KEY = os.environ.get("MPENGINE_REAL_SERVER", ""), os.environ.get("MPENGINE_REAL_SERVER_KEY", "")
"""The server's endpoint (ws://127.0.0.1:PORT/v1/listen), and the only key that it takes."""

pytestmark = [
    pytest.mark.skipif(not URL, reason="needs a server of somebody else: scripts/whisper starts one"),
    pytest.mark.slow,
]

SILENT_SAMPLES = 6400
"""So much silence of its own does the speech have behind the last word; without that the word is not final yet."""

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def byok(**remote):
    return {"remote": {"mode": "byok", "byok_url": URL, "byok_api_key": KEY, **remote}}


def content(texts):
    """The words of three letters and more, in small letters, and the numbers as digits."""
    words = (word for text in texts for word in re.findall(r"\w+", text.lower()))
    digits = (str(NUMBERS.index(word)) if word in NUMBERS else word for word in words)
    return [word for word in digits if len(word) > 2 or word.isdigit()]


def assert_all_was_published(running):
    """Each content word of the speech once, in order, with times that stand in order; nothing is unacknowledged."""
    finals = running.bus.finals()
    assert content(final["text"] for final in finals) == content(SENTENCES)
    starts = [final["start_s"] for final in finals]
    assert starts == sorted(starts)
    last = running.bus.of_type("status")[-1]
    assert (last["state"], last["unacknowledged_s"]) == ("stopped", 0)
    assert {error["code"] for error in running.bus.of_type("error")} == set()
    running.assert_nothing_left()


def test_all_sentences_of_a_file_are_published(engine):
    running = engine(byok() | {"audio": {"source": str(PATH), "paced": False}})
    assert running.bus
    assert running.wait(120) == 0
    assert_all_was_published(running)


def test_a_stop_brings_the_last_words(microphone, engine):
    running = engine(byok(), microphone)
    running.wait_for_state("running")
    microphone.play_and_wait(pcm()[: -2 * SILENT_SAMPLES], timeout=60)
    assert running.stop() == 0
    stopping = next(m for m in running.bus.of_type("status") if m["state"] == "stopping")
    assert running.bus.finals()[-1]["seq"] > stopping["seq"]
    assert_all_was_published(running)


@pytest.mark.parametrize(
    ("tables", "exit_code", "words"),
    [
        (byok() | {"audio": {"sample_rate": 8000}}, 2, "the service: WhisperLiveKit supports sample_rate=16000 only."),
        (byok() | {"audio": {"channels": 2}}, 2, "the service: WhisperLiveKit supports channels=1 only."),
        (byok(byok_api_key="a-wrong-key"), 4, "HTTP 403"),
    ],
    ids=["rate", "channels", "key"],
)
def test_a_refusal_ends_it_in_the_words_of_the_server(microphone, engine, tables, exit_code, words):
    limit_s = promised(10)
    running = engine(tables, microphone)
    assert running.wait(limit_s) == exit_code
    assert words in running.log_text()
    running.assert_nothing_left()

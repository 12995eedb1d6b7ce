"""The captions page in a real Chromium: what it shows, how soon, and over reloads and restarts.

It needs Chromium (`scripts/install --browser`); without it these tests are skipped.
"""

import time

import pytest

from mpengine.shared import messages
from mpengine.shared.messages import Transcript
from tests.rig.browser import Browser
from tests.rig.live_bus import LiveBus
from tests.rig.waiting import PATIENCE_S, wait_until
from tests.rig.web import Web

FINALS = "#log .final"
# Notes for each final when it came into the page, on this machine's clock.
WATCHING = """
window.seen = {};
document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver(() => {
    for (const each of document.querySelectorAll("#log .final, #now .interim")) seen[each.textContent] ??= Date.now();
  }).observe(document.body, { childList: true, subtree: true });
});
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def engine(tmp_path):
    with LiveBus(tmp_path) as engine:
        yield engine


@pytest.fixture
def web(tmp_path):
    with Web(tmp_path) as web:
        yield web


@pytest.fixture
def opened(browser, web):
    pages = []

    def show(query="", **options):
        pages.append(browser.page(web.url + query, **options))
        return pages[-1]

    yield show
    for page in pages:
        page.close()


def spoken(text, speaker):
    word = messages.Word(word=text, start_s=0.0, end_s=0.5, speaker=speaker)
    return Transcript(text=text, is_final=True, words=(word,), user_name="Ann")


def test_captions_come_soon_and_survive_reloads_and_restarts(engine, web, opened):
    said = [f"final {number}" for number in range(40)]
    page = opened(script=WATCHING)
    page.wait_for(".state", ["listening"])
    published = {}
    for text in said[:30]:
        published[text] = time.time()
        engine.say(text)
        time.sleep(0.02)  # somebody speaks fast
    page.wait_for(FINALS, said[:30])
    seen = page.evaluate("seen")
    delays_ms = sorted(seen[text] - published[text] * 1000 for text in published)
    print(f"published to shown: p50 {delays_ms[15]:.0f} ms, p95 {delays_ms[28]:.0f} ms, most {delays_ms[-1]:.0f} ms")
    page.reload()
    page.wait_for(FINALS, said[:30])
    assert web.stop() == 0
    page.wait_for("#trouble", ["Not connected to the captions server; trying again."])
    engine.say(*said[30:35])
    web.start()
    page.wait_for(FINALS, said[:35])
    page.wait_for("#trouble", [""])
    engine.say(*said[35:])
    page.wait_for(FINALS, said)


def test_interims_finals_names_gaps_and_outages_are_told_in_words(engine, opened):
    page = opened()
    page.wait_for(".state", ["listening"])
    engine.publish(Transcript(text="so", is_final=False))
    page.wait_for("#now .interim", ["so"])
    engine.publish(
        Transcript(text="<b>so</b> it is", is_final=False), Transcript(text="other", is_final=False, channel=1)
    )
    page.wait_for("#now .interim", ["<b>so</b> it is", "channel 1: other"])
    engine.publish(Transcript(text="<b>So</b> it is.", is_final=True))
    page.wait_for("#now .interim", ["channel 1: other"])
    engine.publish(Transcript(text="", is_final=False, channel=1))
    page.wait_for("#now .interim", [])
    engine.publish(spoken("Hello.", 0), spoken("Hi.", 1), spoken("Yes.", 1))
    page.wait_for("#log .name", ["channel 0", "Ann #0 · channel 0", "Ann #1 · channel 0"])
    first, second, third = page.evaluate(
        "[...document.querySelectorAll('.name')].map(each => getComputedStyle(each).color)"
    )
    assert len({first, second, third}) == 3
    engine.publish(messages.Gap(start_s=1.0, end_s=3.5, samples=40000, reason="device"))
    page.wait_for("#log .note", ["2.5 s lost: the microphone was away"])
    engine.publish(messages.Status(state="degraded", reason="device: the microphone is gone"))
    page.wait_for("#trouble", ["default: in trouble: device: the microphone is gone"])
    engine.publish(messages.Level(rms_dbfs=-30.0, peak_dbfs=-20.0, digital_silence=False))
    wait_until(lambda: page.evaluate("document.querySelector('.level i').offsetWidth") > 40, PATIENCE_S, "a level")
    engine.close()
    page.wait_for("#trouble", ["default does not run, or cannot be reached."])


def test_over_a_picture_there_are_the_last_lines_which_fade(engine, opened):
    engine.say(*(f"line {number}" for number in range(9)))
    page = opened("?lines=2&size=48&background=transparent&fade=3&engine=default", width=800, height=300)
    wait_until(lambda: "line 8" in page.texts(FINALS), PATIENCE_S, "the last line")
    seen = page.evaluate(
        "(() => { const box = words.getBoundingClientRect(); return [...document.querySelectorAll('.final')]"
        ".filter(each => each.getBoundingClientRect().top >= box.top - 1).map(each => each.textContent); })()"
    )
    assert seen == ["line 7", "line 8"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('.final')).fontSize") == "48px"
    assert page.evaluate("getComputedStyle(bar).display") == "none"
    page.wait_for(FINALS, [])


def test_a_narrow_window_needs_no_scrolling_sideways_and_a_light_one_is_light(engine, opened):
    engine.say("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft " * 3)
    page = opened(width=320, height=560, is_dark=False)
    wait_until(lambda: page.texts(FINALS), PATIENCE_S, "the line")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate("words.scrollWidth <= words.clientWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 249)"


def test_nothing_but_the_page_itself_may_run_in_it(opened):
    page = opened()
    page.wait_for(".state", ["not heard"])
    page.evaluate(
        "(() => { const made = document.createElement('script'); made.textContent = 'window.ran = 1';"
        " document.body.append(made); })()"
    )
    assert page.evaluate("window.ran ?? 0") == 0

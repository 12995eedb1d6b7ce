"""A whole engine, `mpengine web` and its readers: each final once, over kills of the engine, of web, of both."""

import contextlib
import shutil
import threading
import time

import pytest

from mpengine import Subscriber
from mpengine.shared.messages import Transcript
from tests.rig.browser import PROGRAMS, Browser
from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.waiting import PREFIX, wait_until
from tests.rig.web import Web


class EventSource:
    """What a browser does: it connects again, with the last id that it had, whenever the answer ends."""

    def __init__(self, web, query):
        self.events = []
        self._web, self._query = web, query
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"{PREFIX}event-source")
        self._thread.start()

    def _read(self):
        last_id = ""
        while not self._done.is_set():
            with contextlib.suppress(OSError), self._web.events(self._query, last_id=last_id) as reader:
                for event in reader:
                    last_id = event.id or last_id
                    self.events.append(event.data)
                    if self._done.is_set():
                        break
            time.sleep(0.05)

    def close(self):
        """Call this while the server lives: it tells of something every second."""
        self._done.set()
        self._thread.join()

    def of(self, kind):
        return [event for event in self.events if event["type"] == kind]

    def finals(self):
        return [(event["run"], event["seq"], event["text"]) for event in self.of("transcript")]


def kill_web(engine, web):
    web.kill()
    web.start()


def kill_engine(engine, web):
    engine.kill()
    engine.start()


def kill_both(engine, web):
    web.kill()
    engine.kill()
    engine.start()
    web.start()


@pytest.mark.slow
def test_readers_have_each_final_once_over_kills_of_engine_server_and_both(engine, tmp_path):
    with FakeDeepgram(responder=Echo(0.1, 0.3)) as server, contextlib.ExitStack() as stack:
        running = engine(byok(server) | silent_file(tmp_path / "talk.wav", 600))
        web = stack.enter_context(Web(running.directory, "--name", running.name))
        source = EventSource(web, "topics=transcript.final,metrics")
        stack.callback(source.close)
        page = None
        if any(map(shutil.which, PROGRAMS)):
            page = stack.enter_context(Browser()).page(web.url)
        for kill in (kill_web, kill_engine, kill_both):
            before = len(source.finals())
            wait_until(lambda before=before: len(source.finals()) > before + 2, 30, "finals")
            kill(running, web)
        before = len(source.finals())
        wait_until(lambda: len(source.finals()) > before + 2, 30, "finals after the last kill")
        with Subscriber(
            running.name, publish=f"ipc://{running.runtime}/results", query=f"ipc://{running.runtime}/query"
        ) as subscriber:
            expected = []
            while len(expected) < len(source.finals()):
                message = subscriber.receive(30)
                if isinstance(message, Transcript) and message.is_final:
                    expected.append((message.run, message.seq, message.text))
            got = source.finals()[: len(expected)]
            assert got == expected
            assert source.of("hole") == []
            assert len({text for _, _, text in got}) == len(got) > 8
            if page is not None:
                texts = [text for _, _, text in got]
                wait_until(lambda: len(page.texts("#log .final")) >= len(texts), 30, "the page's finals")
                assert page.texts("#log .final")[: len(texts)] == texts

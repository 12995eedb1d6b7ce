"""`scripts/screenshot`: the captions page and its view for OBS, in a real browser, as pictures."""

import os
import sys
import tempfile
import wave
from pathlib import Path

from tests.rig import speech
from tests.rig.browser import Browser, Page
from tests.rig.processes import spawn
from tests.rig.waiting import wait_until
from tests.rig.web import Web

_SETTINGS = ("engine.name=desk", "engine.user_name=Ann", "remote.mode=local")
_TIMES = 6  # on a busy machine the words come long after they are said
_OVER = "?lines=2&size=40&background=transparent"
# What stands behind the captions in OBS.
_SCENE = "addEventListener('load', () => { document.documentElement.style.background = '#6d8a78'; })"


def _has_words(page: Page) -> bool:
    """Whether the engine runs, and there are finals and an interim of some words."""
    interims = page.texts("#now .interim")
    is_running = page.texts(".state") == ["listening"]
    return is_running and bool(page.texts("#log .final")) and bool(interims) and len(interims[0].split()) >= 4


def main(directory: str) -> None:
    """Run the engine and the server, and write page.png and over.png into `directory`."""
    with tempfile.TemporaryDirectory(prefix="s-") as runtime, Web(Path(runtime), "--name", "desk") as web:
        source = Path(runtime, "speech.wav")
        with wave.open(str(speech.PATH)) as once, wave.open(str(source), "wb") as often:
            often.setparams(once.getparams())
            often.writeframes(once.readframes(once.getnframes()) * _TIMES)
        settings = [word for setting in (*_SETTINGS, f"audio.source={source}") for word in ("--set", setting)]
        command = [sys.executable, "-m", "mpengine", "run", *settings, "--log-level", "error"]
        with Browser() as browser:
            page = browser.page(web.url, width=900, height=200)
            over = browser.page(web.url + _OVER, width=900, height=160, script=_SCENE)
            engine = spawn(command, env={**os.environ, "XDG_RUNTIME_DIR": runtime})
            try:
                wait_until(lambda: _has_words(page), 90, "captions", every=0.05)
                for view, file in ((page, "page.png"), (over, "over.png")):
                    Path(directory, file).write_bytes(view.picture())
                    print(f"==> {Path(directory, file)}")
            finally:
                engine.terminate()
                engine.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`scripts/screenshot --commands FOLDER`: what each command shows, at three widths, light and dark, as SVGs on a page.

An engine with the local recogniser plays the recorded voice beside the last of them. Faint text is drawn gray: the
emulator does not know it.
"""

import html
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pyte

from mpengine.cli import COMMANDS
from mpengine.shared.text import wrapped
from tests.rig import speech
from tests.rig.configs import write_wav
from tests.rig.processes import spawn
from tests.rig.terminal import Terminal
from tests.rig.waiting import wait_until

WIDTHS = (50, 80, 120)
_ROWS = 60
_CELL_WIDTH, _CELL_HEIGHT, _BORDER = 8, 17, 10
_MPENGINE = [sys.executable, "-m", "mpengine"]
_LOCAL = ("--local", "--config", os.devnull)
_SOURCE = ("--set", f"audio.source={speech.PATH}")
# The recorded voice, again and again.
_TALK = "talk.wav"
_TIMES = 30
# Each with its name, and for those that go on until somebody ends it: what has to be on the screen then.
_ALONE = (
    ("mpengine", [], ""),
    ("help", ["help"], ""),
    ("run", ["run"], ""),
    ("wrong", ["run", "--set", "audio.blok_ms=20"], ""),
    ("check", ["check", *_LOCAL, *_SOURCE], ""),
    ("devices", ["devices"], ""),
    ("transcribe", ["transcribe", "--local", str(speech.PATH)], ""),
    ("bar", ["transcribe", "--local", _TALK], ":.. left"),
    ("run-local", ["run", *_LOCAL, *_SOURCE, "--name", "other"], ""),
    *((f"{name}-help", [name, "--help"], "") for name in COMMANDS),
)
_BESIDE = (
    ("status", ["status"], ""),
    ("watch", ["status", "--watch"], "dBFS"),
    ("list", ["list"], ""),
    ("listen", ["listen", "--timestamps", "--since", "start"], "people for this project"),
    ("rename", ["rename", "Ann"], ""),
    ("pause", ["pause"], ""),
    ("resume", ["resume"], ""),
)
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")
_PALETTES = {
    "dark": {
        "ground": "#1e1e1e", "default": "#e6e6e6", "gray": "#8a8a8a", "red": "#f14c4c", "green": "#23d18b",
        "brown": "#e5e510", "blue": "#6cb0f5", "magenta": "#d670d6", "cyan": "#29b8db", "white": "#e5e5e5",
        "black": "#000000",
    },
    "light": {
        "ground": "#ffffff", "default": "#1e1e1e", "gray": "#8a8a8a", "red": "#cd3131", "green": "#00a33f",
        "brown": "#949800", "blue": "#0451a5", "magenta": "#bc05bc", "cyan": "#0598bc", "white": "#a5a5a5",
        "black": "#000000",
    },
}  # fmt: skip


def _with_gray(found: re.Match[bytes]) -> bytes:
    """A code for colours, with gray where it says faint."""
    words = found[1].split(b";")
    return b"\x1b[%sm" % b";".join(b"90" if word == b"2" and b"38" not in words else word for word in words)


def screen_of(written: bytes, columns: int) -> Any:
    """The screen of a terminal to which this was written."""
    screen: Any = pyte.Screen(columns, _ROWS)
    pyte.ByteStream(screen).feed(_SGR.sub(_with_gray, written))
    return screen


def drawing(screen: Any, prompt: str, colours: dict[str, str]) -> str:
    """An SVG of the screen below its prompt."""
    used = [number for number, line in enumerate(screen.display) if line.strip()]
    rows = used[-1] + 1 if used else 0
    prompts = wrapped(prompt, screen.columns)
    texts = [_text(0, row, line, colours["gray"], "") for row, line in enumerate(prompts)]
    for row in range(rows):
        for column, run in _runs(screen.buffer[row], screen.columns):
            colour, is_bold, text = run
            weight = ' font-weight="bold"' if is_bold else ""
            texts.append(_text(column, len(prompts) + row, text, colours.get(colour, colours["gray"]), weight))
    width, height = screen.columns * _CELL_WIDTH + 2 * _BORDER, (len(prompts) + rows) * _CELL_HEIGHT + 2 * _BORDER
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="13">\n'
        f'<rect width="100%" height="100%" rx="6" fill="{colours["ground"]}" stroke="#888"/>\n'
        + "\n".join(texts)
        + "\n</svg>\n"
    )


def _text(column: int, row: int, text: str, colour: str, more: str) -> str:
    x, y = _BORDER + column * _CELL_WIDTH, _BORDER + row * _CELL_HEIGHT + 13
    length = len(text) * _CELL_WIDTH
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" textLength="{length}"{more} xml:space="preserve">'
        f"{html.escape(text)}</text>"
    )


def _runs(line: Any, columns: int) -> Iterator[tuple[int, tuple[str, bool, str]]]:
    """The words of a line that look the same, each with its first column."""
    begin, looks, text = 0, ("default", False), ""
    for column in range(columns + 1):
        cell = line[column] if column < columns else None
        here = None if cell is None else (cell.fg, cell.bold)
        if here != looks:
            if text.strip():
                yield begin, (*looks, text)
            begin, looks, text = column, here or looks, ""
        text += "" if cell is None else cell.data


def _shown(arguments: Sequence[str], columns: int, until: str) -> bytes:
    terminal = Terminal([*_MPENGINE, *arguments], rows=_ROWS, columns=columns)
    try:
        if until:
            terminal.wait_for(lambda lines: re.search(until, "\n".join(lines)), 120)
        else:
            terminal.wait_for_end(120)
        return terminal.written
    finally:
        terminal.close()


def _is_running() -> bool:
    return spawn([*_MPENGINE, "status", "--check"], stdout=DEVNULL, stderr=DEVNULL).wait() == 0


def main(folder: str) -> None:
    """Write COMMAND-WIDTH-LOOK.svg for each, and index.html with all of them."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="s-") as place:
        os.environ |= {"XDG_RUNTIME_DIR": place, "XDG_CONFIG_HOME": place, "XDG_CACHE_HOME": place}
        os.environ.pop("DEEPGRAM_API_KEY", None)
        os.chdir(place)
        write_wav(Path(_TALK), _TIMES * speech.pcm())
        pages = [_pictures(folder, *each) for each in _ALONE]
        source = ("--set", f"audio.source={_TALK}", "--set", "audio.paced=true")
        engine = spawn([*_MPENGINE, "run", *_LOCAL, *source, "--log-level", "error"])
        try:
            wait_until(_is_running, 60, "an engine")
            pages += [_pictures(folder, *each) for each in _BESIDE]
        finally:
            engine.kill()
            engine.wait()
    Path(folder, "index.html").write_text("<meta charset=utf-8>\n" + "\n".join(pages))
    print(f"==> {folder}/index.html")


def _pictures(folder: str, name: str, arguments: Sequence[str], until: str) -> str:
    """Write the pictures of a command; returns what the page has for it."""
    shown = [f"<h2>{name}</h2>"]
    prompt = " ".join(["$ mpengine", *(os.path.basename(word) for word in arguments)])
    for columns in WIDTHS:
        screen = screen_of(_shown(arguments, columns, until), columns)
        for look, colours in _PALETTES.items():
            file = f"{name}-{columns}-{look}.svg"
            Path(folder, file).write_text(drawing(screen, prompt, colours))
            shown.append(f'<img src="{file}">')
    return "\n".join(shown)


if __name__ == "__main__":
    main(*sys.argv[1:])

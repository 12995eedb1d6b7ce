"""`scripts/screenshot`: live captions of the recorded voice as an SVG, drawn from what a terminal shows."""

import html
import os
import sys
from pathlib import Path
from typing import Any

from tests.rig import speech
from tests.rig.processes import spawn
from tests.rig.terminal import Terminal

_ROWS, _COLUMNS = 7, 64
_CELL_WIDTH, _CELL_HEIGHT, _BORDER = 9, 20, 14
_MPENGINE = [sys.executable, "-m", "mpengine"]
_SETTINGS = ("engine.name=screenshot", "remote.mode=local", f"audio.source={speech.PATH}")
# Where in the last sentence the picture is taken.
_LAST_WORDS = "four five"


def drawing(lines: list[str], dim: set[int]) -> str:
    """An SVG of `lines`; those with the numbers in `dim` are faint, as interims are."""
    width, height = _COLUMNS * _CELL_WIDTH + 2 * _BORDER, (_ROWS * _CELL_HEIGHT) + 2 * _BORDER
    texts = "\n".join(
        f'  <text x="{_BORDER}" y="{_BORDER + _CELL_HEIGHT * number + 15}" xml:space="preserve"'
        f"{' opacity=' + chr(34) + '0.55' + chr(34) if number in dim else ''}>{html.escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="15" fill="#e6e6e6">\n'
        f'  <rect width="100%" height="100%" rx="8" fill="#1e1e1e"/>\n{texts}\n</svg>\n'
    )


def main(path: str) -> None:
    """Run the engine, look at the terminal, and write the picture to `path`."""
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    listening = [*_MPENGINE, "listen", "--name", "screenshot", "--timestamps", "--exit-on-stop"]
    # The words alone, without what is told about the engine.
    terminal = Terminal(["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *listening], rows=_ROWS, columns=_COLUMNS)
    engine = spawn([*_MPENGINE, "run", "--config", os.devnull, *settings, "--log-level", "error"])
    try:
        lines = terminal.wait_for(lambda lines: _is_the_moment(lines, terminal.screen), timeout=60)
        prompt = "$ mpengine listen --timestamps"
        Path(path).write_text(drawing([prompt, *lines], {len(lines)}))
        assert engine.wait(60) == 0
    finally:
        terminal.close()
        engine.kill()
        engine.wait()
    print(f"==> {path}")


def _is_the_moment(lines: list[str], screen: Any) -> bool:
    return len(lines) == 4 and _LAST_WORDS in lines[-1] and screen.cursor.y == 3


if __name__ == "__main__":
    main(*sys.argv[1:])

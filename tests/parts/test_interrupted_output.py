"""Ctrl-C at each instant of a write to standard output: what was written once does not come again."""

import os
import pty
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO, TextIOWrapper
from typing import Any

import pyte
import pytest

from mpengine.cli.terminal.in_place import Live
from mpengine.formats.base import Style
from mpengine.formats.captions import Captions
from mpengine.shared.messages import Transcript
from mpengine.shared.standard_streams import Output, write_bytes, write_text

MOST_INSTANTS = 3000


@contextmanager
def at_instant(number: int, deed: Callable[[], None]) -> Iterator[None]:
    """Do the `deed` at that call of a function, or return from one, as a signal handler comes between two of them."""
    left = number

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sys.setprofile(None)
            deed()

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        if left > 0:
            raise EndedBefore


class EndedBefore(Exception):
    """There is no such instant: the block has fewer."""


def interrupt() -> None:
    raise KeyboardInterrupt


@contextmanager
def terminal(monkeypatch) -> Iterator[int]:
    """The outer end of a terminal; meanwhile standard output is the inner one."""
    outer, inner = pty.openpty()
    with TextIOWrapper(Output(FileIO(inner, "w")), line_buffering=True) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)  # not in a fixture: pytest sets it once more behind these
        try:
            yield outer
        finally:
            os.close(outer)


def read_from(outer: int) -> str:
    written = b""
    while select.select([outer], [], [], 0)[0]:
        written += os.read(outer, 65536)
    return written.decode()


@pytest.mark.parametrize("write", [write_text, lambda text: write_bytes(text.encode())], ids=["text", "bytes"])
def test_a_line_comes_once_or_not_at_all(monkeypatch, write):
    found = set()
    with terminal(monkeypatch) as outer:
        for number in range(1, MOST_INSTANTS):
            try:
                with at_instant(number, interrupt):
                    write("door: Who is it?\n")
            except KeyboardInterrupt:
                sys.stdout.flush()
                found.add(read_from(outer))
            except EndedBefore:
                break
    assert found == {"", "door: Who is it?\r\n"}


def said(text, *, is_final):
    return Transcript(text=text, is_final=is_final)


@pytest.mark.slow
def test_captions_that_are_being_drawn_become_whole_before_ctrl_c_ends_them(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    found = []
    try:
        with terminal(monkeypatch) as outer:
            for number in range(1, MOST_INSTANTS):
                live = Live(Captions(Style(engines=("desk", "door")), is_live=True))
                try:
                    with live:
                        live.show(said("nobody", is_final=False), "desk")
                        live.show(said("who is", is_final=False), "door")
                        with at_instant(number, lambda: signal.raise_signal(signal.SIGINT)):
                            live.show(said("Who is it?", is_final=True), "door")
                except KeyboardInterrupt:
                    found.append(shown(read_from(outer)))
                except EndedBefore:
                    break
    finally:
        signal.signal(signal.SIGINT, before)
    before_it, whole = ["desk: nobody", "door: who is"], ["door: Who is it?", "desk: nobody"]
    begun = found.index(whole)
    assert found == [before_it] * begun + [whole] * (len(found) - begun)
    assert begun < len(found) // 2


def shown(written: str) -> list[str]:
    """What a person sees there."""
    screen: Any = pyte.Screen(50, 10)
    pyte.Stream(screen).feed(written)
    return [line.rstrip() for line in screen.display if line.strip()]

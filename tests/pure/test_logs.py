"""Log lines: one a line, whatever is in them."""

import logging
import re
import sys

import pytest

from mpengine.shared import logs
from mpengine.shared.config_tables import Secret
from mpengine.shared.logs import Event


@pytest.fixture
def log():
    """Sets logging up, and everything back afterwards."""
    logger = logging.getLogger("mpengine")
    before = logger.handlers, logger.propagate, logger.level
    yield lambda level="info": logs.setup("capture", level)
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("started"), "started"),
        (Event("device_opened", rate_hz=16000), "device_opened rate_hz=16000"),
        (Event("gap", length_s=0.12345), "gap length_s=0.123"),
        (Event("fault", why="no room"), 'fault why="no room"'),
        (Event("fault", why=""), 'fault why=""'),
        (Event("fault", why='say "no"'), r'fault why="say \"no\""'),
        (Event("fault", why="a\nb\r\x1b[31m"), r'fault why="a\nb\r\u001b[31m"'),
        (Event("fault", why="a=b"), 'fault why="a=b"'),
        (Event("opened", name="größer"), 'opened name="größer"'),
        (Event("opened", url="wss://h:1/p", name=None), "opened url=wss://h:1/p"),
        (Event("opened", key=Secret("abc")), 'opened key="Secret(***)"'),
        (Event("opened", name="x"), "opened name=x"),
    ],
)
def test_an_event_is_its_name_and_pairs(event, line):
    assert str(event) == line


def test_a_line_has_utc_time_level_process_and_event(log, capsys):
    log()
    logging.getLogger("mpengine.capture").info(Event("started", pid=7))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO capture started pid=7\n", capsys.readouterr().err)


def test_time_is_utc(log, capsys):
    log()
    record = {"msg": "started", "levelname": "INFO", "levelno": logging.INFO, "created": 0.0, "msecs": 0.0}
    logging.getLogger("mpengine").handle(logging.makeLogRecord(record))
    assert capsys.readouterr().err.startswith("1970-01-01T00:00:00.000Z ")


@pytest.mark.parametrize(("level", "shown"), [("debug", "debug info warning"), ("info", "info warning"), ("error", "")])
def test_lines_below_the_level_are_not_written(log, capsys, level, shown):
    log(level)
    logger = logging.getLogger("mpengine.capture")
    for name in ("debug", "info", "warning"):
        getattr(logger, name)(Event(name))
    assert " ".join(line.split()[-1] for line in capsys.readouterr().err.splitlines()) == shown


def test_setting_up_twice_writes_each_line_once(log, capsys):
    log()
    log()
    logging.getLogger("mpengine.capture").info(Event("started"))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nothing_is_written_to_standard_output(log, capsys):
    log()
    logging.getLogger("mpengine.capture").info(Event("started"))
    assert capsys.readouterr().out == ""


def test_a_closed_standard_error_ends_nothing(log, monkeypatch, tmp_path):
    with (tmp_path / "err").open("w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        log()
    logging.getLogger("mpengine.capture").info(Event("started"))
    assert (tmp_path / "err").read_text() == ""

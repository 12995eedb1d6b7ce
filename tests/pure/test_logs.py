"""Log lines: one a line, whatever is in them, as text and as JSON."""

import enum
import json
import logging
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from mpengine.shared import logs
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.shared.logs import Event, lines
from mpengine.shared.logs.output import LONGEST_LINE_BYTES
from mpengine.supervisor.children.settings_for import SettingsFor
from mpengine.supervisor.decide import actions

LOGGER = logging.getLogger("mpengine.capture")
FORMATS = ("text", "json")


class Child(enum.StrEnum):
    CAPTURE = "capture"


class Code(enum.IntEnum):
    DEVICE = 3


class Unspeakable:
    def __str__(self):
        raise ValueError


class Clock:
    """Time, as logs asks for it."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return 1.5


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    return clock


@pytest.fixture
def log(monkeypatch):
    """Sets logging up, and everything back afterwards."""
    logger = logging.getLogger("mpengine")
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers = []
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield lambda level="info", log_format="text": logs.setup("capture", level, log_format)
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture
def written(log, monkeypatch, tmp_path):
    """`written(format)` sets logging up, to a file, and returns what gives the lines since it was last called."""
    with (tmp_path / "err").open("w") as stderr, (tmp_path / "err").open() as reader:

        def set_up(log_format):
            monkeypatch.setattr(sys, "stderr", stderr)
            log(log_format=log_format)
            return lambda: reader.read().splitlines()

        yield set_up


@pytest.fixture
def objects(written):
    """Logs JSON; gives the objects since it was last called."""
    lines = written("json")
    return lambda: [json.loads(line) for line in lines()]


def end_of_process():
    for handler in logging.getLogger("mpengine").handlers:
        handler.close()


def refuse(text):
    raise OSError(text)


def fail(text="no room"):
    try:
        refuse(text)
    except OSError:
        LOGGER.exception(Event("failed"))


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
        (Event("fault", why="a\u2028b\x85c\x9b\u202e"), r'fault why="a\u2028b\u0085c\u009b\u202e"'),
        (Event("a plain\nmessage"), r'"a plain\nmessage"'),
    ],
)
def test_an_event_is_its_name_and_pairs(event, line):
    assert str(event) == line


def test_a_line_has_utc_time_level_process_and_event(log, capfd):
    log()
    logging.getLogger("mpengine.capture").info(Event("started", pid=7))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO capture started pid=7\n", capfd.readouterr().err)


def test_time_is_utc(log, capfd):
    log()
    record = {"msg": "started", "levelname": "INFO", "levelno": logging.INFO, "created": 0.0, "msecs": 0.0}
    logging.getLogger("mpengine").handle(logging.makeLogRecord(record))
    assert capfd.readouterr().err.startswith("1970-01-01T00:00:00.000Z ")


@pytest.mark.parametrize(("level", "shown"), [("debug", "debug info warning"), ("info", "info warning"), ("error", "")])
def test_lines_below_the_level_are_not_written(log, capfd, level, shown):
    log(level)
    logger = logging.getLogger("mpengine.capture")
    for name in ("debug", "info", "warning"):
        getattr(logger, name)(Event(name))
    assert " ".join(line.split()[-1] for line in capfd.readouterr().err.splitlines()) == shown


def test_setting_up_twice_writes_each_line_once(log, capfd):
    log()
    log()
    logging.getLogger("mpengine.capture").info(Event("started"))
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_nothing_is_written_to_standard_output(log, capfd):
    log()
    logging.getLogger("mpengine.capture").info(Event("started"))
    assert capfd.readouterr().out == ""


def test_a_closed_standard_error_ends_nothing(log, monkeypatch, tmp_path):
    with (tmp_path / "err").open("w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        log()
    logging.getLogger("mpengine.capture").info(Event("started"))
    assert (tmp_path / "err").read_text() == ""


def test_a_process_without_standard_error_logs_to_nowhere(log, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", None)
    log()
    LOGGER.info(Event("started"))
    assert capfd.readouterr() == ("", "")


def test_a_value_that_cannot_be_text_ends_nothing(written):
    lines = written("text")
    LOGGER.info(Event("opened", name=Unspeakable()))
    LOGGER.info(Event("started"))
    assert [line.split()[-1] for line in lines()] == ["started"]


# JSON


def test_a_json_line_has_utc_time_level_process_and_event(objects):
    LOGGER.warning(Event("fault"))
    (line,) = objects()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "warning", "process": "capture", "event": "fault"}


def test_json_time_is_utc_with_milliseconds(objects):
    record = {"msg": "started", "levelname": "INFO", "levelno": logging.INFO, "created": 86400.0625}
    logging.getLogger("mpengine").handle(logging.makeLogRecord(record))
    assert objects()[0]["time"] == "1970-01-02T00:00:00.062Z"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, 7),
        (2**70, 2**70),
        (0.125, 0.125),
        (True, True),
        (Code.DEVICE, 3),
        ("größer\n\u2028\x9b", "größer\n\u2028\x9b"),
        (Child.CAPTURE, "capture"),
        (Secret("abc"), "Secret(***)"),
        ([1, 2], "[1, 2]"),
        (OSError("no room"), "no room"),
        (b"pcm", "b'pcm'"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        ("\ud800", "\ud800"),
    ],
)
def test_json_keeps_strings_and_numbers_and_makes_text_of_the_rest(objects, value, shown):
    LOGGER.info(Event("opened", value=value))
    assert objects()[0]["value"] == shown


def test_json_leaves_none_out(objects):
    LOGGER.info(Event("opened", name=None))
    assert "name" not in objects()[0]


def test_a_field_does_not_replace_what_every_json_line_has(objects):
    LOGGER.info(Event("opened", time=1, event="x", process="y"))
    (line,) = objects()
    assert (line["event"], line["process"], line["time_"], line["event_"], line["process_"]) == (
        "opened", "capture", 1, "x", "y"
    )  # fmt: skip


def test_a_plain_message_is_the_event(objects):
    LOGGER.info("reader %d has ended", 3)
    assert objects()[0]["event"] == "reader 3 has ended"


def test_children_are_told_the_format():
    settings_for = SettingsFor(
        Config.parse({"remote": {"mode": "local"}}),
        path="/run",
        run="0" * 16,
        window_path="",
        log_level="info",
        log_format="json",
        listener=None,
        token=Secret(""),
    )
    assert settings_for(actions.Child.RECOGNISER, "recogniser.1", None).log_format == "json"


# Exceptions


@pytest.mark.parametrize("log_format", FORMATS)
def test_an_exception_stays_on_its_line(written, log_format):
    lines = written(log_format)
    fail("no\nroom")
    (line,) = lines()
    assert "Traceback" in line
    assert "room" in line


def test_an_exception_is_a_field(objects):
    fail()
    text = objects()[0]["exception"].splitlines()
    assert (text[0], text[-1]) == ("Traceback (most recent call last):", "OSError: no room")


def test_of_a_long_exception_the_end_is_kept(objects):
    fail("x" * 10_000 + "the end")
    text = objects()[0]["exception"]
    assert text.startswith("…x")
    assert text.endswith("the end")


def test_an_exception_that_nobody_caught_is_a_line(objects):
    error = OSError("no room")
    sys.excepthook(OSError, error, None)
    (line,) = objects()
    assert (line["level"], line["event"], line["exception"]) == ("critical", "uncaught_exception", "OSError: no room")


def test_an_exception_that_nobody_caught_in_a_thread_is_a_line(objects):
    def run():
        raise OSError("no room")

    thread = threading.Thread(target=run, name="reader")
    thread.start()
    thread.join()
    (line,) = objects()
    assert (line["event"], line["thread"]) == ("uncaught_exception", "reader")
    assert line["exception"].endswith("OSError: no room")


def test_a_thread_that_is_left_by_system_exit_is_no_fault(objects):
    threading.excepthook(SimpleNamespace(exc_type=SystemExit, exc_value=SystemExit(), exc_traceback=None, thread=None))
    assert objects() == []


# Length


@pytest.mark.parametrize("text", ["x" * 5000, "ö" * 5000, "\0" * 5000, "𝄞" * 5000, "x" * 1_000_000])
@pytest.mark.parametrize("log_format", FORMATS)
def test_a_long_line_is_cut_visibly(written, log_format, text):
    lines = written(log_format)
    LOGGER.info(Event("opened", name=text, also=text))
    (line,) = lines()
    assert len(line.encode()) < LONGEST_LINE_BYTES
    if log_format == "text":
        assert line.endswith("…")
    else:
        assert json.loads(line)["name"].endswith("…")


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_that_just_fits_is_not_cut(written, log_format):
    lines = written(log_format)
    LOGGER.info(Event("opened", name=""))
    room = LONGEST_LINE_BYTES - 1 - len(lines()[0]) + (2 if log_format == "text" else 0)  # a plain x has no quotes
    LOGGER.info(Event("opened", name="x" * room))
    (line,) = lines()
    assert len(line) == LONGEST_LINE_BYTES - 1
    assert room > 3900
    LOGGER.info(Event("opened", name="x" * (room + 1)))
    assert "…" in (lines()[0] if log_format == "text" else json.loads(lines()[0])["name"])


def test_json_with_more_fields_than_a_line_holds_is_json_still(objects):
    LOGGER.info(Event("opened", **{f"name_{number}": "x" * 50 for number in range(200)}))
    (line,) = objects()
    assert (line["event"], line["fields"]) == ("opened", "…")


# Lines for which there is no room


class Output:
    """Takes a line, or does not, as it was told."""

    def __init__(self, answers):
        self.answers = iter(answers)
        self.taken = []

    def write(self, line):
        is_taken = next(self.answers)
        if is_taken:
            self.taken.append(line.decode().rstrip().partition(" ")[2])
        return is_taken


def test_lines_wait_behind_the_one_that_tells_how_many_were_dropped(clock):
    output = Output([False, False, True, False, True, True])
    handler = logs._Stderr(output, logs._OneLine("capture", lines.as_text))
    for number in range(4):
        record = {"msg": Event("opened", number=number), "levelname": "INFO", "levelno": logging.INFO}
        handler.handle(logging.makeLogRecord(record))
    assert output.taken == [
        "WARNING capture lines_dropped lines=2",
        "WARNING capture lines_dropped lines=1",
        "INFO capture opened number=3",
    ]


# Repeats


def test_a_fault_that_repeats_is_written_once_then_counted(objects, clock):
    for second in range(61):
        clock.now = 1000.0 + second
        LOGGER.warning(Event("fault", child="capture"))
    first, second = objects()
    assert "repeated" not in first
    assert second["repeated"] == 59


def test_the_count_is_a_pair_in_text(written, clock):
    lines = written("text")
    for now in (1000.0, 1001.0, 1061.0):
        clock.now = now
        LOGGER.warning(Event("fault", child="capture"))
    assert lines()[1].endswith(" WARNING capture fault child=capture repeated=1")


def test_what_is_no_fault_may_repeat(objects, clock):
    for _ in range(3):
        LOGGER.info(Event("opened"))
    assert len(objects()) == 3


def test_what_was_held_back_is_said_before_a_line_that_is_no_fault(objects, clock):
    for now in (1000.0, 1001.0, 1002.0):
        clock.now = now
        LOGGER.warning(Event("down", next_try_in_s=now))
    LOGGER.info(Event("connected"))
    assert [(line["event"], line.get("next_try_in_s"), line.get("repeated")) for line in objects()] == [
        ("down", 1000.0, None),
        ("down", 1002.0, 1),
        ("connected", None, None),
    ]


def test_what_was_held_back_is_said_in_the_end(objects, clock):
    for _ in range(3):
        LOGGER.error(Event("fault"))
    end_of_process()
    assert [line.get("repeated") for line in objects()] == [None, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"child": "capture"}, {"child": "streaming"}),
        ({"child": "capture"}, {"child": "capture", "reason": "gone"}),
        ({"is_fatal": False}, {"is_fatal": True}),
        ({"code": "1008"}, {"code": "1011"}),
    ],
)
def test_faults_with_different_words_are_different(objects, clock, one, other):
    LOGGER.warning(Event("fault", **one))
    LOGGER.warning(Event("fault", **other))
    assert len(objects()) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"next_try_in_s": 0.5}, {"next_try_in_s": 0.75}),
        ({"pid": 7}, {"pid": 8}),
        ({"request_id": "abc"}, {"request_id": "def"}),
        ({"child": Child.CAPTURE}, {"child": "capture"}),
    ],
)
def test_numbers_and_ids_make_no_other_fault(objects, clock, one, other):
    LOGGER.warning(Event("fault", **one))
    LOGGER.warning(Event("fault", **other))
    assert len(objects()) == 1


def test_a_fault_of_another_level_is_another(objects, clock):
    LOGGER.warning(Event("fault"))
    LOGGER.error(Event("fault"))
    assert len(objects()) == 2


def test_faults_in_ever_new_words_are_written_twenty_a_minute_then_counted(objects, clock):
    for number in range(100):
        LOGGER.warning(Event("fault", message=f"words {number}"))
    clock.now += 60.0
    LOGGER.warning(Event("gap"))
    told = objects()
    assert [each.get("repeated") for each in told if each["event"] == "fault"] == [None] * 21 + [78]


def test_what_a_recogniser_can_cause_at_will_is_counted_too_and_lets_no_held_fault_out(objects, clock):
    for number in range(200):
        LOGGER.info(Event("withheld", words=f"words {number}"))
        LOGGER.warning(Event("down", next_try_in_s=number))
    clock.now += 60.0
    LOGGER.info(Event("connected"))
    told = objects()
    assert [each.get("repeated") for each in told if each["event"] == "withheld"] == [None] * 21 + [178]
    assert [each.get("repeated") for each in told if each["event"] == "down"] == [None, 198]


@pytest.mark.parametrize("log_format", FORMATS)
def test_no_piece_of_a_secret_stands_in_a_line(written, log_format):
    lines = written(log_format)
    logs.strike_out("0123456789abcdef", "short")
    LOGGER.warning(Event("fault", message="invalid: 0123456789abcdef, 3456789a; a short one stays, 0123456 too"))
    (line,) = lines()
    assert "invalid: ***, ***; a short one stays, 0123456 too" in line


def test_what_is_kept_for_counting_keeps_nothing_else_alive():
    error = OSError("no room")
    record = logging.makeLogRecord({"msg": Event("fault", why=error), "exc_info": (OSError, error, None)})
    assert {type(value) for value in lines.entry_of(record).fields.values()} == {str}

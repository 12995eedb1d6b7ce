"""The journal: what a supervisor that is started again finds of the one that was killed."""

import os
import resource
import struct
import subprocess
import sys
import zlib
from random import Random

import msgspec
import pytest

from mpengine.shared import messages
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Counters, Final, Identity, Journal, Note, OpenDevice, ToldGap

IDENTITY = Identity(run="00" * 8, machine_boot="b", sample_rate=16000, channels=1, source="portaudio")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal")


def final(seq, covers=0, text=b"{}"):
    return Final(seq, text, covers)


def spoken(seq, prev=0, text="x", covers=0):
    """A final as the bus appends it."""
    transcript = messages.Transcript(text=text, is_final=True, run="r", boot="b", seq=seq, prev=prev, time_ns=seq)
    return Final(seq, messages.encode(transcript), covers)


def told(journal, entry, topic="transcript.final"):
    """As the bus does: the history first, so that a journal written anew has it."""
    body = entry.body
    stamp = msgspec.json.decode(body)
    journal.history.add(topic, stamp["seq"], stamp["prev"], body, 0.0)
    journal.append(entry)


def recovered(path):
    journal, found = Journal.recover(path)
    journal.close(remove=False)
    return found


def test_without_a_journal_there_is_nothing_to_recover(path):
    assert Journal.recover(path) is None


def test_a_new_journal_holds_its_identity_and_nothing_else(path):
    Journal.create(path, IDENTITY).close(remove=False)
    assert recovered(path) == (IDENTITY, 0, 0, 0, 0, 0, [], [], [], None)


def test_what_was_appended_and_not_marked_is_unpublished(path):
    journal = Journal.create(path, IDENTITY)
    for seq in (3, 5):
        journal.append(final(seq))
    journal.published(3)
    journal.close(remove=False)
    assert [each.seq for each in recovered(path).unpublished] == [5]


def test_the_acknowledged_position_is_the_furthest_of_finals_and_blank_ones(path):
    journal = Journal.create(path, IDENTITY)
    journal.append(final(1, covers=100))
    assert recovered(path).acknowledged == 100
    journal.acknowledge(300)
    assert recovered(path).acknowledged == 300
    journal.append(final(2, covers=500))
    assert recovered(path).acknowledged == 500
    journal.close(remove=False)


def test_the_last_finals_are_kept_though_they_are_published(path):
    journal = Journal.create(path, IDENTITY)
    for seq in range(1, 301):
        journal.append(final(seq))
    journal.published(300)
    journal.close(remove=False)
    found = recovered(path)
    assert [each.seq for each in found.recent] == list(range(201, 301))
    assert found.unpublished == []


def test_the_history_finds_what_it_had_kept(path):
    """Over many times that the journal is written anew, with gaps and errors between the finals."""
    journal = Journal.create(path, IDENTITY, History(finals=150))
    before = {}
    for seq in range(1, 2001):
        if seq % 10:
            told(journal, spoken(seq, before.get("final", 0), "x" * 3000))
            before["final"] = seq
        else:
            gap = messages.Gap(start_s=0, end_s=1, samples=1, reason="x", seq=seq, prev=before.get("gap", 0))
            told(journal, Note("gap", messages.encode(gap)), "gap")
            before["gap"] = seq
        journal.published(seq - 3)
    assert journal.history.forgotten == {"transcript.final": 1833, "gap": 1000, "error": 0}
    expected = [(entry.topic, entry.seq) for entry in journal.history.entries()]
    journal.close(remove=False)
    history = History(finals=150)
    Journal.recover(path, history, now=1000.0, utc_ns=2_000_000_000)[0].close(remove=False)
    assert [(entry.topic, entry.seq) for entry in history.entries()] == expected
    assert history.forgotten == journal.history.forgotten
    assert next(iter(history.entries())).at_s == pytest.approx(998.0)


def test_what_a_full_disk_kept_out_of_the_journal_is_known_to_be_missing(path):
    journal = Journal.create(path, IDENTITY)
    for seq, prev in ((1, 0), (2, 1), (5, 4)):  # 4 could not be appended
        journal.append(spoken(seq, prev))
    journal.close(remove=False)
    history = History()
    Journal.recover(path, history)[0].close(remove=False)
    assert history.forgotten["transcript.final"] == 4


def test_seq_never_goes_back(path):
    journal = Journal.create(path, IDENTITY)
    used = 0
    for seq in range(1, 5000):
        journal.reserve(seq)
        used = seq
        if seq % 777 == 0:
            assert recovered(path).seq >= used
    journal.close(remove=False)


def test_told_gaps_are_kept(path):
    journal = Journal.create(path, IDENTITY)
    journal.append(final(1))
    journal.append(ToldGap(100, 200))
    journal.close(remove=False)
    assert recovered(path).gaps == [(100, 200)]
    assert [each.seq for each in recovered(path).unpublished] == [1]


def test_progress_is_kept(path):
    journal = Journal.create(path, IDENTITY)
    journal.progress(captured=30, sent=20, connection=7)
    journal.close(remove=False)
    found = recovered(path)
    assert (found.captured, found.sent, found.connection) == (30, 20, 7)


@pytest.mark.parametrize("cut", [1, 3, 8, 9, 20])
def test_a_torn_record_ends_the_journal_and_is_overwritten(path, cut):
    journal = Journal.create(path, IDENTITY)
    journal.append(final(1, covers=10))
    journal.append(final(2, covers=20, text=b"x" * 30))
    journal.close(remove=False)
    os.truncate(path, os.path.getsize(path) - cut)
    journal, found = Journal.recover(path)
    assert (found.acknowledged, [each.seq for each in found.unpublished]) == (10, [1])
    journal.append(final(3, covers=30))
    journal.close(remove=False)
    assert [each.seq for each in recovered(path).unpublished] == [1, 3]


def test_arbitrary_bytes_are_no_journal_or_a_right_one(path):
    """Damage costs records; it never makes one that was not written."""
    journal = Journal.create(path, IDENTITY)
    for seq in range(1, 20):
        journal.append(final(seq, covers=seq * 10))
    journal.close(remove=False)
    with open(path, "rb") as file:
        whole = file.read()
    chance = Random(4)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(512, len(data))] = chance.randrange(256)
        with open(path, "wb") as file:
            file.write(data[: chance.randrange(len(data))])
        found = Journal.recover(path)
        if found is None:
            continue
        found[0].close(remove=False)
        assert all(each.covers == each.seq * 10 for each in found[1].unpublished)


def test_a_long_run_keeps_the_journal_small(path):
    journal = Journal.create(path, IDENTITY, History(finals=100))
    largest = 0
    for seq in range(1, 2000):
        told(journal, spoken(seq, seq - 1, "x" * 5000, covers=seq))
        journal.acknowledge(seq)
        journal.published(seq - 3)
        largest = max(largest, os.path.getsize(path))
    journal.close(remove=False)
    assert largest < 1_000_000 + 101 * 5500  # the growth, and the last hundred finals
    found = recovered(path)
    assert (found.acknowledged, [each.seq for each in found.unpublished]) == (1999, [1997, 1998, 1999])
    assert [each.seq for each in found.recent] == list(range(1900, 2000))


def test_the_last_device_is_there_after_a_long_run_too(path):
    journal = Journal.create(path, IDENTITY, History(finals=100))
    journal.append(OpenDevice("usb:1", "None"))
    journal.append(OpenDevice("usb:2", "None"))
    assert recovered(path).device == OpenDevice("usb:2", "None")
    for seq in range(1, 500):  # written anew on the way
        told(journal, spoken(seq, seq - 1, "x" * 5000, covers=seq))
        journal.acknowledge(seq)
        journal.published(seq)
    journal.close(remove=False)
    assert recovered(path).device == OpenDevice("usb:2", "None")


@pytest.mark.slow
def test_a_long_outage_keeps_the_journal_small(path):
    """A full window tells a gap a second, each the neighbour of the one before."""
    journal = Journal.create(path, IDENTITY)
    for second in range(200_000):
        journal.append(ToldGap(second, second + 1))
    journal.close(remove=False)
    assert os.path.getsize(path) < 1_100_000
    assert sum(gap.end - gap.first for gap in recovered(path).gaps) == 200_000


def test_what_another_version_wrote_is_no_journal(path):
    journal = Journal.create(path, IDENTITY)
    body = msgspec.msgpack.encode(["SomethingNew", 1])
    journal.close(remove=False)
    with open(path, "ab") as file:
        file.write(struct.pack("<II", len(body), zlib.crc32(body)) + body)
    assert Journal.recover(path) is None


def test_without_room_to_write_it_anew_the_old_one_goes_on(path):
    journal = Journal.create(path, IDENTITY)
    os.mkdir(f"{path}.new")  # so that it cannot be made
    for seq in range(1, 1000):
        journal.append(final(seq, covers=seq, text=b"x" * 5000))
        journal.published(seq)
    journal.close(remove=False)
    os.rmdir(f"{path}.new")
    assert recovered(path).acknowledged == 999


def test_on_a_full_disk_nothing_half_written_stays(path):
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from mpengine.shared import messages
from mpengine.supervisor.bus.journal import Journal
from mpengine.supervisor.bus.journal import Final, Identity
journal = Journal.create({path!r}, Identity("00", "b", 16000, 1, "portaudio"))
journal.append(Final(1, b"kept", 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
for _ in range(3):
    try:
        journal.append(Final(2, b"x" * 500, 20))
        raise SystemExit("it fitted")
    except OSError:
        pass
"""
    assert resource.RLIMIT_FSIZE is not None
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert [each.seq for each in recovered(path).unpublished] == [1]


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ({"run": "other"}, True),
        ({"machine_boot": "other"}, False),
        ({"sample_rate": 8000}, False),
        ({"channels": 2}, False),
        ({"source": "/a.wav"}, False),
    ],
)
def test_a_run_goes_on_only_on_the_same_boot_with_the_same_audio(change, goes_on):
    fields = {"run": "r", "machine_boot": "b", "sample_rate": 16000, "channels": 1, "source": "portaudio"}
    assert Identity(**fields).continues(Identity(**(fields | change))) is goes_on


def test_a_final_of_another_version_has_no_transcript(path):
    assert final(1, text=b'{"something": "new"}').transcript() is None
    body = messages.encode(messages.Transcript(text="hi", is_final=True, start_s=0.0, end_s=1.0))
    assert final(1, text=body).transcript().text == "hi"


@pytest.mark.slow
def test_however_long_finals_and_gaps_are_the_journal_has_four_megabytes_at_most(path):
    journal = Journal.create(path, IDENTITY, History(finals=1000))
    largest = 0
    for seq in range(1, 200):
        told(journal, spoken(seq, seq - 1, "x" * 300_000, covers=seq))  # published by nobody
        largest = max(largest, os.path.getsize(path))
    journal.close(remove=False)
    assert largest <= 4_000_000
    assert [each.seq for each in recovered(path).recent][-1] == 199


# Counters


def damaged(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def used(path):
    journal = Journal.create(path, IDENTITY)
    journal.reserve(10)
    journal.append(spoken(3))
    journal.acknowledge(300)
    journal.progress(captured=500, sent=400, connection=7)
    journal.close(remove=False)


@pytest.mark.parametrize("at", [*range(16, 76, 7), *range(96, 156, 7)])
def test_counters_that_are_damaged_in_one_place_stand_in_the_other(path, at):
    used(path)
    before = recovered(path)
    damaged(path, at, b"\xff\xff\xff\xff")
    assert recovered(path) == before


@pytest.mark.parametrize("at", [20, 40, 70])
def test_counters_that_are_damaged_in_both_places_are_not_believed(path, at):
    used(path)
    damaged(path, at, b"\xff")
    damaged(path, at + 80, b"\xff")
    assert Journal.recover(path) is None


def test_counters_that_are_whole_must_be_possible():
    """As a bug would write them: the checksum is right."""
    possible = {"connection": 2**31 - 1, "captured": 17000, "acknowledged": 17000, "sent": 17000, "reserved": 2**53 - 1}
    assert Counters(**possible).can_be(5)
    for impossible in (
        {"connection": 2**31},
        {"acknowledged": 17001},
        {"sent": 17001},
        {"captured": 2**53},
        {"reserved": 2**53},
        {"reserved": 5, "published": 6},
        {"reserved": 5, "transcribed": 6},
    ):
        assert not Counters(**(possible | impossible)).can_be(5)


def test_what_was_sent_or_acknowledged_was_captured(path):
    """Capture tells of its progress once a second, and an unpaced file is read thousands of times as fast."""
    journal = Journal.create(path, IDENTITY)
    journal.acknowledge(9000)
    assert recovered(path).captured == 9000
    journal.progress(captured=1000, sent=9500, connection=1)
    assert recovered(path).captured == 9500
    journal.acknowledge(9700)
    journal.progress(captured=9600, sent=9500, connection=1)
    assert recovered(path).captured == 9700
    journal.close(remove=False)


def test_a_journal_of_version_1_is_none(path):
    used(path)
    damaged(path, 0, b"mpjourn1")
    assert Journal.recover(path) is None


def test_how_far_the_transcript_file_got_is_kept(path):
    journal = Journal.create(path, IDENTITY)
    journal.reserve(10)
    journal.has_transcribed(7)
    journal.has_transcribed(5)
    journal.close(remove=False)
    journal, _ = Journal.recover(path)
    assert journal.transcribed == 7
    journal.close(remove=False)


def test_a_journal_whose_name_vanished_is_written_again_with_all_it_needs(path):
    used(path)
    journal, before = Journal.recover(path, History())
    os.unlink(path)
    journal.write_again()
    journal.append(spoken(4))
    assert os.stat(path).st_ino == journal.file_id[1]
    journal.close(remove=False)
    found = recovered(path)
    assert [each.seq for each in found.unpublished] == [3, 4]
    assert found._replace(recent=[], unpublished=[]) == before._replace(recent=[], unpublished=[])


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_anything_but_a_file_in_its_place_is_an_error_and_left_as_it_is(path, put):
    put(path)
    with pytest.raises(OSError, match=r"not a regular file; name another one, or remove it|Is a directory"):
        Journal.recover(path)


def test_a_link_in_the_way_of_a_new_journal_is_not_followed(path, tmp_path):
    (tmp_path / "target").write_text("precious")
    os.symlink(tmp_path / "target", f"{path}.new")
    Journal.create(path, IDENTITY).close(remove=False)
    assert (tmp_path / "target").read_text() == "precious"

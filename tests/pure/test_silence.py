"""What counts as silence, and what of it is acknowledged without a final."""

from random import Random

import pytest

from mpengine.shared import control, messages
from mpengine.shared.ranges import Range, Ranges, total
from mpengine.supervisor.decide.results import Results
from mpengine.supervisor.decide.silence import Floor, Silence
from tests.pure.engine_history import CAPTURE, STREAMING, Engine, S, device_opened, down, heard, published, resumes
from tests.pure.support import result

QUARTER = S // 4
ROOM = -70.0  # RMS and peak of a calm room
LOUD = -30.0


def level(number, db, *, peak_over_rms=12.0):
    """The level of quarter second `number`, whose RMS is `db`."""
    return control.LevelHeard(
        first=number * QUARTER,
        end=(number + 1) * QUARTER,
        rms_dbfs=db,
        peak_dbfs=min(0.0, db + peak_over_rms),
        digital_silence=db == -120.0,
    )


def hearing(*stretches, silence=None, first_s=0):
    """Silence that has heard stretches of (seconds, dBFS), one after the other."""
    silence = silence or Silence(S)
    number = first_s * 4
    for seconds, db in stretches:
        for _ in range(round(seconds * 4)):
            silence.level(level(number, db))
            number += 1
    return silence


def found(silence, before_s=1000.0, words=()):
    """The silence in seconds."""
    ranges = silence.before(round(before_s * S), [(round(first * S), round(end * S)) for first, end in words])
    return [(first / S, end / S) for first, end in ranges]


# The level


def test_silence_is_a_second_away_from_everything_audible():
    assert found(hearing((20, ROOM), (1, LOUD), (10, ROOM))) == [(1.0, 19.0), (22.0, 30.0)]


@pytest.mark.parametrize(("over_db", "is_silent"), [(0, True), (6, True), (6.5, False), (20, False)])
def test_a_level_up_to_6_db_over_that_of_the_room_is_inaudible(over_db, is_silent):
    silent = found(hearing((20, ROOM), (5, ROOM + over_db), (10, ROOM)))
    assert silent == ([(1.0, 34.0)] if is_silent else [(1.0, 19.0), (26.0, 34.0)])


def test_a_click_with_a_low_rms_is_audible_by_its_peak():
    silence = hearing((20, ROOM))
    silence.level(level(80, ROOM + 3, peak_over_rms=40.0))
    for number in range(81, 120):
        silence.level(level(number, ROOM))
    assert found(silence) == [(1.0, 19.0), (21.25, 29.0)]


@pytest.mark.parametrize("room_db", [-20.0, -45.0, -80.0, -120.0])
def test_the_room_decides_and_no_fixed_level(room_db):
    assert found(hearing((30, room_db))) == [(1.0, 29.0)]


def test_a_quiet_speaker_is_audible_in_a_quiet_room():
    """Recognisers understand speech with a peak of -60 dBFS."""
    assert found(hearing((15, -90.0), (5, -72.0), (10, -90.0))) == [(1.0, 14.0), (21.0, 29.0)]


def test_after_digital_zeros_everything_is_audible_for_a_minute():
    assert found(hearing((20, -120.0), (10, -90.0)), 1000) == [(1.0, 19.0)]


def test_the_soft_end_of_a_word_is_not_silence():
    assert found(hearing((20, ROOM), (1, LOUD), (0.5, ROOM + 2), (10, ROOM)))[-1][0] == 22.0


def test_short_silence_is_not_worth_a_seam():
    assert found(hearing((20, ROOM), (1, LOUD), (2.75, ROOM), (1, LOUD))) == [(1.0, 19.0)]


def test_a_speaker_without_a_pause_is_not_taken_for_the_room():
    """Half a minute of speech whose level never falls by 6 dB, after a second of room."""
    assert found(hearing((1, ROOM), (30, -60.0), (1, ROOM))) == []


def test_a_room_that_becomes_louder_is_known_after_a_minute():
    silent = found(hearing((20, ROOM), (90, ROOM + 10)))
    assert silent[0] == (1.0, 19.0)
    assert 70 < silent[1][0] < 90


def test_a_voice_from_the_first_sample_on_is_not_the_room():
    """Its pauses come later, and show how quiet the room is."""
    assert found(hearing((4, -50.0), (0.25, ROOM), (4, -50.0))) == []
    assert found(hearing((4, -50.0), (0.25, ROOM), (4, -50.0), (10, ROOM))) == [(9.25, 17.25)]


def test_nothing_is_known_of_a_room_before_ten_seconds():
    assert found(hearing((9.75, ROOM))) == []
    assert found(hearing((10, ROOM))) == [(1.0, 9.0)]


def test_another_device_has_another_noise():
    silence = hearing((20, -40.0))
    silence.opened()
    for number in range(80, 100):
        silence.level(level(number, -42.0))
    assert found(silence) == [(1.0, 19.0)]


def test_audio_without_a_level_is_audible():
    silence = hearing((20, ROOM))
    for number in range(82, 122):
        silence.level(level(number, ROOM))
    assert found(silence) == [(1.0, 19.0), (21.5, 29.5)]


def test_levels_that_come_again_are_the_same_silence():
    """A file is read again."""
    silence = hearing((30, ROOM))
    assert found(hearing((30, ROOM), silence=silence)) == [(1.0, 29.0)]


# Words


def test_audio_with_words_is_no_silence_however_soft_they_were():
    silence = hearing((30, ROOM))
    assert found(silence, words=[(10, 11)]) == [(1.0, 9.0), (12.0, 29.0)]
    silence.spoken(20 * S, 21 * S)
    assert found(silence, words=[(10, 11)]) == [(1.0, 9.0), (12.0, 19.0), (22.0, 29.0)]


def test_only_the_silence_before_a_sample_is_asked_for():
    assert found(hearing((30, ROOM)), before_s=12.5) == [(1.0, 12.5)]


def test_words_without_end_are_bounded_and_none_is_forgotten():
    silence = hearing((10, LOUD), (2000, ROOM))
    for second in range(20, 1900, 4):
        silence.spoken(second * S, (second + 1) * S)
    words = Ranges((second * S, (second + 1) * S) for second in range(20, 1900, 4))
    for first, end in silence.before(2000 * S):
        assert words.cut(first, end) == [Range(first, end)]


def test_silence_that_was_acknowledged_is_forgotten():
    silence = hearing((20, ROOM), (1, LOUD), (10, ROOM))
    silence.forget_before(20 * S)
    assert found(silence) == [(22.0, 30.0)]


def test_the_floor_is_the_lowest_level_of_the_last_minute():
    random = Random(1)
    floor, levels = Floor(5 * S), []
    for number in range(2000):
        levels.append(random.choice([-90.0, -60.0, -50.0]) + random.random() + number / 100)
        floor.add((number + 1) * QUARTER, levels[-1])
        assert min(levels[-65 * 4 :]) <= floor.level <= min(levels[-54 * 4 :])


# What is acknowledged


def new_results(*stretches):
    results = Results(sample_rate=S, user_name="Ann")
    hearing(*stretches, silence=results.silence)
    results.ledger.granted()
    return results


def covered(results):
    return [(first / S, end / S) for first, end in results.ledger.covered]


def test_passed_silence_is_acknowledged_and_the_rest_still_waits():
    results = new_results((3, LOUD), (30, ROOM), (2, LOUD))
    assert results.passed(30 * S) == []
    assert covered(results) == [(0, 0), (4.0, 30.0)]
    assert total(results.ledger.uncovered(0, 35 * S)) == 9 * S


def test_silence_that_adjoins_acknowledged_audio_moves_the_window():
    results = new_results((3, LOUD), (30, ROOM))
    results.result(result(0, 4 * S, acknowledges=4 * S))
    acknowledge, send = results.passed(30 * S)
    assert acknowledge.sample == send.message.sample == 30 * S


def test_the_words_of_a_lost_interim_are_no_silence():
    results = new_results((40, ROOM))
    results.result(result(20 * S, 21 * S, is_final=False))
    results.interrupted()
    results.passed(38 * S)
    assert covered(results)[1:] == [(1.0, 19.0), (22.0, 38.0)]


def test_words_that_were_taken_back_are_no_silence():
    results = new_results((40, ROOM))
    results.result(result(20 * S, 21 * S, is_final=False))
    results.result(result(20 * S, 21 * S, "", is_final=False))
    results.passed(38 * S)
    assert covered(results)[1:] == [(1.0, 19.0), (22.0, 38.0)]


def test_the_words_of_an_interim_whose_final_is_shorter_are_no_silence():
    results = new_results((20, ROOM), (1, LOUD), (19, ROOM))
    results.result(result(20 * S, 25 * S, is_final=False))
    results.result(result(20 * S, 22 * S, acknowledges=22 * S))
    results.passed(38 * S)
    assert covered(results) == [(0, 22.0), (26.0, 38.0)]


def test_the_words_of_a_final_that_does_not_acknowledge_them_are_no_silence():
    """The times of a proxy's finals are guessed, and its last seconds may be sent again."""
    results = new_results((15, ROOM), (1, LOUD), (24, ROOM))
    results.result(result(15 * S, 20 * S, acknowledges=2 * S, estimated=True))
    results.passed(38 * S)
    assert covered(results) == [(0, 14.0), (21.0, 38.0)]


def test_a_voice_that_was_taken_for_the_room_ends_all_silence_for_a_minute():
    """It is as soft as the noise around it, or as even as that. Its words tell."""
    results = new_results((100, ROOM))
    results.result(result(30 * S, 32 * S, acknowledges=32 * S))
    results.passed(98 * S)
    assert covered(results) == [(0, 32.0), (93.0, 98.0)]


def test_a_final_may_tell_it_late():
    results = new_results((30, ROOM), (1, LOUD), (59, ROOM))
    results.result(result(10 * S, 12 * S, acknowledges=12 * S))
    results.passed(88 * S)
    assert covered(results) == [(0, 12.0), (73.0, 88.0)]


def test_a_voice_that_is_audible_somewhere_in_its_final_tells_nothing_about_the_room():
    results = new_results((20, ROOM), (1, LOUD), (79, ROOM))
    results.result(result(19 * S, 24 * S, acknowledges=24 * S))
    results.passed(98 * S)
    assert covered(results) == [(0, 98.0)]


@pytest.mark.parametrize(("first_s", "end_s", "is_known"), [(28, 31, True), (29, 32, False), (40, 41, False)])
def test_a_final_may_come_before_the_levels_of_its_end(first_s, end_s, is_known):
    results = new_results((30, ROOM))
    results.result(result(first_s * S, end_s * S, acknowledges=first_s * S))
    hearing((60, ROOM), silence=results.silence, first_s=30)
    results.passed(88 * S)
    assert (covered(results) == [(0, first_s)]) is is_known


def test_a_final_without_a_length_tells_nothing_about_the_room():
    results = new_results((5, LOUD), (60, ROOM))
    results.result(result(3 * S, 3 * S, acknowledges=3 * S))
    results.passed(60 * S)
    assert covered(results) == [(0, 3.0), (6.0, 60.0)]


def test_pauses_without_end_are_bounded():
    results = new_results((10, ROOM))
    number = 40
    for _ in range(300):
        for db in (LOUD, *[ROOM] * 16):
            results.silence.level(level(number, db))
            number += 1
        results.passed(number * QUARTER)
    assert 50 < len(results.ledger.covered) < 150


def quiet_engine(**beat):
    """An engine that has captured half a minute of room after three loud seconds; all of it was sent."""
    engine = Engine().run()
    hearing((3, LOUD), (30, ROOM), silence=engine.coordinator.results.silence)
    engine.says(CAPTURE, control.CaptureBeat(captured=33 * S))
    engine.says(STREAMING, control.StreamBeat(sent=33 * S, highest_sent=33 * S, replayed=0, **beat))
    return engine


def test_a_grant_names_the_silence_that_is_not_sent_again():
    engine = quiet_engine(passed=30 * S)
    engine.says(STREAMING, heard(0, 3 * S, acknowledges=3 * S), down(1))
    (grant,) = resumes(engine.connect(2))
    assert grant == control.Grant(connection=2, sample=3 * S, skipped=[Range(4 * S, 30 * S)], attempt=2)


def test_silence_is_neither_unacknowledged_nor_backlog():
    engine = quiet_engine(passed=30 * S)
    assert engine.status().unacknowledged_s == 7.0
    engine.says(STREAMING, down(1))
    assert engine.coordinator.situation.backlog == 7 * S
    engine.connect(2)
    engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=33 * S, replayed=2 * S))
    assert engine.coordinator.situation.backlog == 5 * S


def test_what_a_voice_as_even_as_a_room_says_to_a_stalled_recogniser_is_sent_again():
    """The recogniser answers pings and says nothing, which looks as if it were mute in silence."""
    engine = Engine().run()
    hearing((33, LOUD), silence=engine.coordinator.results.silence)
    engine.says(CAPTURE, control.CaptureBeat(captured=33 * S))
    engine.says(STREAMING, heard(2 * S, 3 * S, acknowledges=3 * S))
    engine.says(STREAMING, control.StreamBeat(sent=33 * S, highest_sent=33 * S, replayed=0, passed=20 * S), down(1))
    (grant,) = resumes(engine.connect(2))
    assert grant == control.Grant(connection=2, sample=3 * S, attempt=2)


def test_the_beat_of_a_lost_connection_proves_nothing():
    engine = quiet_engine()
    engine.says(STREAMING, down(1))
    engine.says(STREAMING, control.StreamBeat(sent=33 * S, highest_sent=33 * S, replayed=0, passed=30 * S))
    assert engine.status().unacknowledged_s == 33.0


def test_silence_that_the_window_has_dropped_is_no_gap():
    engine = quiet_engine(passed=30 * S)
    lost = control.SamplesMissing(first=2 * S, end=31 * S, reason="window_full")
    gaps = published(engine.says(CAPTURE, lost), messages.Gap)
    assert [(gap.start_s, gap.end_s) for gap in gaps] == [(2.0, 4.0), (30.0, 31.0)]
    assert published(engine.says(CAPTURE, lost), messages.Gap) == []


def test_a_supervisor_that_goes_on_knows_of_no_silence():
    engine = Engine()
    engine.coordinator.continues(acknowledged=3 * S, captured=33 * S, sent=33 * S, connection=1)
    engine.start()
    (grant,) = resumes(engine.connect(2))
    assert grant == control.Grant(connection=2, sample=3 * S, attempt=1)
    assert engine.status().unacknowledged_s == 30.0


def test_a_device_that_opens_makes_the_room_unknown():
    engine = quiet_engine(passed=S)
    engine.says(CAPTURE, device_opened(), *[level(number, LOUD) for number in range(132, 160)])
    engine.says(STREAMING, control.StreamBeat(sent=40 * S, highest_sent=40 * S, replayed=0, passed=39 * S))
    assert covered(engine.coordinator.results) == [(0, 0), (4.0, 32.0)]


@pytest.mark.parametrize("seed", range(10))
def test_no_audible_sample_is_ever_acknowledged_as_silence(seed):
    """A calm room, sounds at random, softer ones too; messages and drops at random. Only finals cover sounds."""
    random = Random(seed)
    sounds = [False] * 40
    while len(sounds) < 1200:
        sounds += [False] * random.randint(1, 60) + [True] * random.randint(1, 12)
    room = random.uniform(-85.0, -40.0)
    results = Results(sample_rate=S, user_name="Ann")
    results.ledger.granted()
    audible, by_finals, passed, sent = Ranges(), Ranges([(0, 0)]), 0, 0
    connection = 1
    for number, is_sound in enumerate(sounds):
        db = room + (random.uniform(8.6, 40.0) if is_sound else random.uniform(0.0, 2.5))
        results.silence.level(level(number, db))
        sent = (number + 1) * QUARTER
        if is_sound:
            audible.join(sent - QUARTER - S + 1, sent + S)
        match random.random():
            case chance if chance < 0.3:
                passed = random.randint(passed, sent)
                results.passed(passed)
            case chance if chance < 0.34:
                end = random.randint(0, sent)
                by_finals.join(0, end)
                results.result(result(max(0, end - S), end, acknowledges=end, connection=connection))
            case chance if chance < 0.37:
                results.interrupted()
                connection += 1
                passed = results.ledger.granted()
        for first, end in results.ledger.covered:
            for part in by_finals.cut(first, end):
                assert audible.cut(*part) == [part], (number, part)
    assert total(results.ledger.uncovered(0, sent)) < sent / 2  # and much silence is

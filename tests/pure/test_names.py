"""Which names in the file system are still the engine's, by looks at them."""

import itertools

from mpengine.supervisor.decide.names import Name, Names

CAPTURE, SUCCESSOR = 100, 101
OWN = {name: (1, number) for number, name in enumerate(Name) if name not in {Name.FRAMES, Name.WINDOW}}
MADE = {Name.FRAMES: (1, 50), Name.WINDOW: (1, 51)}
ALL = {**OWN, **MADE}


def looked(names, found=ALL, *, own=OWN, capture=CAPTURE):
    return names.looked(own, found, capture=capture)


def test_as_long_as_all_are_there_nothing_is_lost():
    names = Names()
    assert [looked(names) for _ in range(100)] == [None] * 100


def test_a_name_that_is_gone_or_another_file_is_lost():
    for changed, lost in itertools.product((None, (1, 99)), Name):
        names = Names()
        assert looked(names) is None
        assert looked(names, ALL | {lost: changed}).names == [lost]


def test_what_has_no_path_is_not_looked_at():
    """A bus on tcp has no socket's file."""
    found = {name: at for name, at in ALL.items() if name not in {Name.RESULTS, Name.QUERY}}
    own = {name: at for name, at in OWN.items() if name in found}
    assert looked(Names(), found, own=own) is None


def test_what_capture_makes_is_missed_only_while_one_works():
    names, without = Names(), ALL | dict.fromkeys(MADE)
    assert looked(names, without, capture=None) is None
    assert looked(names, without).names == [Name.FRAMES, Name.WINDOW]


def test_a_successor_of_capture_may_have_made_others():
    names, others = Names(), ALL | {Name.FRAMES: (1, 60)}
    assert looked(names) is None
    assert looked(names, others, capture=SUCCESSOR) is None
    assert looked(names, capture=SUCCESSOR).names == [Name.FRAMES]


def test_capture_is_told_until_it_has_made_them_and_people_once():
    names, without = Names(), ALL | {Name.FRAMES: None}
    assert looked(names) is None
    first, second = looked(names, without), looked(names, without)
    assert (first.names, first.new) == ([Name.FRAMES], [Name.FRAMES])
    assert (second.names, second.new) == ([Name.FRAMES], [])
    again = ALL | {Name.FRAMES: (1, 70)}
    assert looked(names, again) is None
    assert looked(names, again | {Name.FRAMES: (1, 71)}).new == [Name.FRAMES]


def test_after_sixteen_losses_there_is_no_other_try():
    names = Names()
    for _ in range(16):
        assert not looked(names, ALL | {Name.RESULTS: None}).is_too_often
        assert looked(names) is None
    assert looked(names, ALL | {Name.QUERY: None}).is_too_often

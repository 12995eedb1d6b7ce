"""Which subscriptions a connection may have."""

from mpengine.supervisor.bus.topics import Topics, Verdict

PEER = (5, 1000)


def wanted(topics, *names, peer=PEER):
    return [topics.wanted(peer, name) for name in names]


def test_a_connection_has_so_many_topics_and_is_expelled_beyond():
    topics = Topics(most=3, longest=10)
    assert wanted(topics, b"a", b"b", b"b", b"c") == [Verdict.TAKEN] * 4
    assert wanted(topics, b"d", b"e", b"a") == [Verdict.TOO_MANY, Verdict.LATE, Verdict.LATE]


def test_what_has_ended_does_not_count():
    topics = Topics(most=1, longest=10)
    for number in range(5):
        assert wanted(topics, b"%d" % number) == [Verdict.TAKEN]
        topics.ended(PEER, b"%d" % number)


def test_a_topic_that_is_too_long_is_told_once_and_counts():
    topics = Topics(most=3, longest=2)
    assert wanted(topics, b"aa", b"aaa", b"bbb") == [Verdict.TAKEN, Verdict.TOO_LONG, Verdict.REFUSED]
    assert wanted(topics, b"ccc") == [Verdict.TOO_MANY]


def test_another_connection_at_the_same_descriptor_begins_anew():
    topics = Topics(most=1, longest=10)
    assert wanted(topics, b"a", b"b") == [Verdict.TAKEN, Verdict.TOO_MANY]
    assert wanted(topics, b"a", peer=(5, 1001)) == [Verdict.TAKEN]
    topics.ended(PEER, b"a")
    assert wanted(topics, b"b", peer=(5, 1001)) == [Verdict.TOO_MANY]


def test_a_connection_that_is_gone_gets_nothing():
    assert wanted(Topics(most=1, longest=10), b"a", peer=(5, 0)) == [Verdict.LATE]

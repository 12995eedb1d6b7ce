"""What every dialect has, and what the session makes of the hooks of one that remembers what was said."""

import pytest

from mpengine.dialects import kind, packed, secret_of, unpacked, with_secret
from mpengine.dialects.base import Dialect, ServiceError
from mpengine.dialects.causes import Cause
from mpengine.dialects.managed import LocalConfig
from mpengine.shared.config_tables import Secret
from mpengine.shared.messages import ErrorKind
from tests.rig.structure import PATHS, room


class Plain(Dialect):
    """One that has nothing but an address."""

    url = endpoint = "ws://here"
    secret = ""


def test_a_dialect_need_not_say_what_most_have_not():
    plain = Plain()
    assert (plain.greeting, plain.keep_alive, plain.headers, plain.answer_headers) == (None, None, (), ())
    assert plain.finish() == plain.ended() == ()
    assert plain.request_id({"dg-request-id": "r-1"}) is None


def test_a_dialect_without_causes_of_its_own_has_the_common_ones():
    plain = Plain()
    refused = plain.refused(401, "No", "", {"dg-error": "wrong"})
    assert refused.reason == "refused by somebody on the way (a proxy?): HTTP 401: No"
    assert plain.closed(1011, "NET-0001", "r-1") == Cause(
        "closed_1011", "closed by the recogniser or somebody on the way: 1011 NET-0001", None, "r-1"
    )
    assert plain.turned_away(ServiceError("", "no")) == Cause("refused", "no", kind=ErrorKind.HANDSHAKE)


@pytest.mark.parametrize("words", ['"dg-', "CloseStream", "linear16", "DEEPGRAM_API_KEY", "byok"])
def test_the_rooms_of_processes_have_no_words_of_a_recogniser(words):
    rooms = {"streaming", "supervisor", "shared", "processes", "shared.config"}
    assert [name for name, path in PATHS.items() if room(name) in rooms and words in path.read_text()] == []


@pytest.mark.parametrize(("mode", "key"), [("byok", "byok_api_key"), ("managed", "auth_token")])
def test_a_secret_can_be_replaced_in_each_table_that_has_one(mode, key):
    remote = kind(mode)(**{key: Secret("before", "/a/file")})
    assert secret_of(remote).path == "/a/file"
    assert secret_of(with_secret(remote, Secret("after"))).reveal() == "after"
    assert secret_of(unpacked(packed(remote))) == Secret("before")


def test_the_local_recogniser_has_no_secret():
    assert not secret_of(LocalConfig())
    with pytest.raises(ValueError, match="local"):
        with_secret(LocalConfig(), Secret("t"))

"""Who may read over HTTP: strangers' pages, names that point here, the token and the cookie."""

import pytest

from mpengine.web.access import Access

TOKEN = "a-token-of-some-length"
COOKIE = Access(token=TOKEN).cookie_name


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8714", "127.0.0.1:8714", "[::1]:8714", "192.168.1.7", "desk.localhost", "box", "box.:80"],
)
def test_addresses_and_own_names_are_ours(host):
    assert Access(token=None, hosts=("Box",)).refusal({"host": host}) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.com", "evil.com:8714", "127.0.0.1.evil.com", "localhost.evil.com", "[::1", "a b", "127.0.0.1:99999"],
)
def test_another_name_is_refused_also_with_the_token(host):
    headers = {"host": host, "authorization": f"Bearer {TOKEN}"}
    assert Access(token=TOKEN).refusal(headers).status == 421
    assert Access(token=None).refusal({}).status == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8714", None),
        ("https://127.0.0.1:8714", None),  # behind a proxy with TLS
        ("http://127.0.0.1:9000", 403),
        ("http://evil.com", 403),
        ("null", 403),
        ("", 403),
        ("http://[::1", 403),
        ("HTTP://127.0.0.1:8714", None),
        ("http://user@127.0.0.1:8714", 403),
        ("chrome-extension://127.0.0.1:9", 403),
    ],
)
def test_pages_of_other_servers_may_not_read(origin, status):
    refusal = Access(token=None).refusal({"host": "127.0.0.1:8714", "origin": origin})
    assert (refusal and refusal.status) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, None),
        ({"authorization": f"bearer   {TOKEN} "}, None),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer é"}, 401),
        ({"cookie": f"{COOKIE}={TOKEN}"}, 401),  # the token itself is no cookie
        ({"cookie": f"{COOKIE}="}, 401),
        ({"cookie": "=;;\x00 bad"}, 401),
        ({"cookie": f"a=b; {COOKIE}={Access(token=TOKEN).cookie}; c=d"}, None),
        # What other servers of the same host have set is theirs, and need not follow any rule.
        ({"cookie": f'a[1]={{"b": "c d"}}; e; =f; g@h=\xe9; "; {COOKIE}={Access(token=TOKEN).cookie};i'}, None),
        ({"cookie": f"{COOKIE}={Access(token=TOKEN + 'x').cookie}"}, 401),
        ({"cookie": f"{COOKIE}={Access(token=TOKEN).cookie}; " + "a" * 9000}, 401),
    ],
)
def test_with_a_token_only_who_has_it_may_read(headers, status):
    refusal = Access(token=TOKEN).refusal({"host": "localhost", **headers})
    assert (refusal and refusal.status) == status


def test_without_a_token_nothing_is_the_token():
    assert not Access(token=None).is_token("")
    assert Access(token=TOKEN).is_token(TOKEN)
    assert not Access(token=TOKEN).is_token("é")


def test_servers_of_one_host_do_not_take_each_other_s_cookies():
    assert Access(token=TOKEN).cookie_name != Access(token=TOKEN + "x").cookie_name

"""Which hosts are this very machine."""

import pytest

from mpengine.shared.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.0.53",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "localhost",
        "LocalHost",
        "speech.localhost",
    ],
)
def test_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "0.0.0.0",
        "::",
        "192.168.0.1",
        "fe80::1",
        "::ffff:192.168.0.1",
        "127.0.0.1.evil",
        "127.1",
        "[127.0.0.1",
        "localhost.evil",
        "notlocalhost",
        "localhost.",
        "example.com",
    ],
)
def test_another_machine_or_one_that_cannot_be_told(host):
    assert not is_loopback(host)

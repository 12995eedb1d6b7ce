"""The proxy of the environment, by the rules that curl and requests have."""

import pytest

from mpengine.streaming.websocket.proxies import Proxy, UnusableProxyError, proxy_for

HOST = "api.example.org"


def found(environment, host=HOST, port=443, *, is_secure=True):
    return proxy_for(host, port, is_secure=is_secure, environment=environment)


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("http://10.0.0.1:3128", Proxy(False, "10.0.0.1", 3128, None, "https_proxy")),
        ("http://proxy.test/", Proxy(False, "proxy.test", 80, None, "https_proxy")),
        ("https://proxy.test", Proxy(True, "proxy.test", 443, None, "https_proxy")),
        ("HTTPS://proxy.test:8443/x?y", Proxy(True, "proxy.test", 8443, None, "https_proxy")),
        ("proxy.test:3128", Proxy(False, "proxy.test", 3128, None, "https_proxy")),
        ("proxy.test", Proxy(False, "proxy.test", 80, None, "https_proxy")),
        ("http://[::1]:3128", Proxy(False, "::1", 3128, None, "https_proxy")),
        ("http://me:p%40ss@proxy.test:1", Proxy(False, "proxy.test", 1, ("me", "p@ss"), "https_proxy")),
        ("me:a@b@proxy.test:1", Proxy(False, "proxy.test", 1, ("me", "a@b"), "https_proxy")),
        ("http://me@proxy.test", Proxy(False, "proxy.test", 80, ("me", ""), "https_proxy")),
        (" http://proxy.test\n", Proxy(False, "proxy.test", 80, None, "https_proxy")),
    ],
)
def test_a_proxy_is_read(value, proxy):
    assert found({"https_proxy": value}) == proxy


@pytest.mark.parametrize(
    ("environment", "is_secure", "variable"),
    [
        ({}, True, None),
        ({"https_proxy": "a", "HTTPS_PROXY": "b", "all_proxy": "c", "http_proxy": "d"}, True, "https_proxy"),
        ({"https_proxy": "a", "HTTPS_PROXY": "b", "all_proxy": "c", "http_proxy": "d"}, False, "http_proxy"),
        ({"HTTPS_PROXY": "b", "all_proxy": "c"}, True, "HTTPS_PROXY"),
        ({"HTTP_PROXY": "b", "all_proxy": "c"}, False, "HTTP_PROXY"),
        ({"http_proxy": "b"}, True, None),
        ({"all_proxy": "c", "ALL_PROXY": "d"}, True, "all_proxy"),
        ({"ALL_PROXY": "d"}, False, "ALL_PROXY"),
        ({"https_proxy": "", "HTTPS_PROXY": "b", "all_proxy": "c"}, True, None),
        ({"wss_proxy": "b"}, True, None),
    ],
)
def test_the_variable_goes_by_the_scheme_and_all_proxy_comes_last(environment, is_secure, variable):
    proxy = found(environment, is_secure=is_secure)
    assert (proxy and proxy.variable) == variable


@pytest.mark.parametrize(
    ("host", "excepted"),
    [
        (HOST, "*"),
        (HOST, "other.test, *"),
        (HOST, "api.example.org"),
        (HOST, "API.Example.ORG"),
        (HOST, "api.example.org."),
        ("api.example.org.", "example.org"),
        (HOST, "example.org"),
        (HOST, ".example.org"),
        (HOST, "*.example.org"),
        (HOST, "org"),
        (HOST, "a.test,,example.org"),
        (HOST, "a.test example.org"),
        (HOST, "example.org:443"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.9/24"),
        ("10.1.2.3", "10.1.2.3:443"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("fd00::1", "fd00::/8"),
        ("fd00::1", "[fd00::1]"),
        ("fd00::1", "[fd00::1]:443"),
        ("fd00::1", "[fd00::]/8"),
        ("fd00::1", "fd00:0::1"),
    ],
)
def test_a_server_in_the_list_is_reached_directly(host, excepted):
    assert found({"https_proxy": "proxy.test", "no_proxy": excepted}, host) is None


@pytest.mark.parametrize(
    ("host", "excepted"),
    [
        (HOST, ""),
        (HOST, ","),
        (HOST, "."),
        (HOST, "pi.example.org"),
        (HOST, "ample.org"),
        (HOST, "example.org:80"),
        (HOST, "www.api.example.org"),
        (HOST, "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "10.2.0.0/16"),
        ("10.1.2.3", "10.0.0.0/99"),
        ("10.1.2.3", "2.3"),
        ("10.1.2.3", "fd00::/8"),
        ("fd00::1", "10.0.0.0/8"),
        ("fd00::1", "[fd00::1]:80"),
    ],
)
def test_another_server_is_not(host, excepted):
    assert found({"https_proxy": "proxy.test", "no_proxy": excepted}, host) is not None


@pytest.mark.parametrize(
    ("lower", "upper", "is_direct"), [("", "example.org", True), ("a.test", "example.org", False), (None, "*", True)]
)
def test_the_list_in_upper_case_counts_where_the_other_one_is_empty(lower, upper, is_direct):
    environment = {"https_proxy": "proxy.test", "NO_PROXY": upper} | ({} if lower is None else {"no_proxy": lower})
    assert (found(environment) is None) is is_direct


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "x.localhost"])
def test_this_machine_has_no_proxy(host):
    assert found({"https_proxy": "proxy.test"}, host) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://me:hidden@proxy.test:1080", "is a socks5:// one, which is not supported"),
        ("SOCKS5h://proxy.test", "is a socks5h:// one, which is not supported"),
        ("ftp://proxy.test", "is a ftp:// one, which is not supported"),
        ("http://", "expected the name or the address of a host"),
        ("http://me:hidden@", "expected the name or the address of a host"),
        ("http://proxy.test:99999", "expected a port from 1 to 65535"),
        ("proxy test", "expected the name or the address of a host"),
        ("http://[::1", "expected HOST or HOST:PORT"),
    ],
)
def test_what_is_no_usable_proxy_is_told_without_its_password(value, why):
    with pytest.raises(UnusableProxyError, match="the proxy in ALL_PROXY") as caught:
        found({"ALL_PROXY": value})
    assert why in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("http://me:hidden@proxy.test:1", "proxy http://proxy.test:1 (https_proxy)"),
        ("https://[fd00::1]", "proxy https://[fd00::1]:443 (https_proxy)"),
    ],
)
def test_a_proxy_is_shown_without_its_user(value, text):
    assert str(found({"https_proxy": value})) == text

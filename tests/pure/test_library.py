"""The parts of websocket-client that its documentation does not promise: that this release still has each of them."""

import importlib
import inspect

import pytest
import websocket

from mpengine.streaming.websocket import library


def complaint(missing: str) -> str:
    return (
        f"websocket-client {websocket.__version__} no longer has {missing}: "
        "change mpengine/streaming/websocket/library.py, or the upper bound in pyproject.toml"
    )


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        ("websocket._http", "_tunnel", ["sock", "host", "port", "auth"]),
        ("websocket._url", "parse_url", ["url"]),
    ],
)
def test_a_private_function_is_there_and_takes_what_it_is_given(module, name, parameters):
    function = getattr(importlib.import_module(module), name, None)
    assert function is not None, complaint(f"{module}.{name}")
    taken = [*inspect.signature(function).parameters][: len(parameters)]
    assert taken == parameters, complaint(f"{module}.{name}({', '.join(parameters)}), but ({', '.join(taken)})")


@pytest.mark.parametrize("name", ["recv_frame", "recv_header", "recv_length"])
def test_a_method_of_the_frame_buffer_is_there_and_takes_nothing(name):
    method = getattr(websocket.frame_buffer, name, None)
    assert method is not None, complaint(f"frame_buffer.{name}")
    assert [*inspect.signature(method).parameters] == ["self"], complaint(f"frame_buffer.{name}()")


@pytest.mark.parametrize("name", ["header", "length"])
def test_a_field_of_the_frame_buffer_is_there(name):
    buffer = websocket.frame_buffer(bytes, skip_utf8_validation=True)
    assert hasattr(buffer, name), complaint(f"frame_buffer.{name}")


def test_the_frame_buffer_calls_what_is_overridden_and_has_its_fields_in_the_known_order():
    judged = []

    class Reader(library.FrameReader):
        def judge_header(self, header):
            judged.append(header)

        def judge_length(self, opcode, length):
            judged.append((opcode, length))

    stream = bytearray(b"\x82\x7e\x00\x80" + bytes(128))

    def receive(size):
        taken = bytes(stream[:size])
        del stream[:size]
        return taken

    frame = Reader(receive).next_frame()
    header = library.Header(final=1, rsv1=0, rsv2=0, rsv3=0, opcode=2, is_masked=0, length=126)
    assert judged == [header, (2, 128)], complaint("the fields of frame_buffer.header as they were")
    assert (frame.opcode, frame.fin, frame.data) == (2, 1, bytes(128)), complaint("the fields of ABNF as they were")


def test_an_address_is_taken_apart():
    address = library.parts_of("wss://example.org:4430/v1/listen?a=b")
    expected = library.Address("example.org", 4430, "/v1/listen?a=b", is_secure=True)
    assert address == expected, complaint("the four parts of parse_url")


@pytest.mark.parametrize(("status", "opens"), [("200 OK", True), ("407 No", False)])
def test_a_proxy_is_asked_for_a_tunnel_over_whatever_looks_like_a_socket(status, opens):
    class Link:
        sent = b""
        answer = bytearray(f"HTTP/1.1 {status}\r\n\r\n".encode())

        def recv(self, size):
            taken = bytes(self.answer[:size])
            del self.answer[:size]
            return taken

        def send(self, data):
            self.sent += data
            return len(data)

        def gettimeout(self):
            return 0.0

    link = Link()
    if opens:
        library.ask_for_tunnel(link, "example.org", 443, ("me", "secret"))
    else:
        with pytest.raises(websocket.WebSocketProxyException):
            library.ask_for_tunnel(link, "example.org", 443, ("me", "secret"))
    assert link.sent.startswith(b"CONNECT example.org:443 HTTP/1.1\r\n"), complaint("a tunnel over any socket")
    assert b"Proxy-Authorization: Basic" in link.sent

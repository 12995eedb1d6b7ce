"""Where a broker is, and under which names it gets an engine's results. Pure."""

import re
from typing import NamedTuple

from mpengine.shared import addresses
from mpengine.shared.messages import FINALS

ROOT = "mpengine"
_MOST_SERVERS = 16
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_HOST = 64


class Kind(NamedTuple):
    """A kind of broker, and whether it is spoken to inside TLS."""

    is_mqtt: bool
    is_tls: bool
    port: int


SCHEMES = {
    "nats": Kind(is_mqtt=False, is_tls=False, port=4222),
    "tls": Kind(is_mqtt=False, is_tls=True, port=4222),
    "mqtt": Kind(is_mqtt=True, is_tls=False, port=1883),
    "mqtts": Kind(is_mqtt=True, is_tls=True, port=8883),
}


class Server(NamedTuple):
    """One server of a broker."""

    scheme: str
    host: str
    port: int

    @property
    def kind(self) -> Kind:
        """What speaks there."""
        return SCHEMES[self.scheme]

    def __str__(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def servers_in(text: str) -> tuple[Server, ...]:
    """The servers in `text`: URLs with commas between them. Raises ValueError, whose words repeat nothing of `text`."""
    found = tuple(_server(url.strip()) for url in text.split(","))
    if len({server.scheme for server in found}) > 1 or len(found) > _MOST_SERVERS:
        raise ValueError(f"expected at most {_MOST_SERVERS} servers of one kind")
    return found


def _server(url: str) -> Server:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        kinds = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"expected an address with one of {kinds} before it, as nats://broker:4222")
    if "@" in rest:
        what_to_do = "leave it out, and use --user and --password-file, or --creds"
        raise ValueError(f"all programs of this machine can read a name or a password in an address: {what_to_do}")
    rest = rest.removesuffix("/")
    if any(sign in rest for sign in "/?#"):
        raise ValueError("expected an address and a port, and nothing behind them")
    kind = SCHEMES[scheme.lower()]
    try:
        place = addresses.place(rest)
    except ValueError:
        raise ValueError("expected ADDRESS or ADDRESS:PORT behind the ://") from None
    return Server(scheme.lower(), place.host, place.port or kind.port)


def host_token(text: str) -> str:
    """A machine's name as one part of a subject: without its domain, and with `_` for what subjects cannot have."""
    return _UNUSUAL.sub("_", text.partition(".")[0])[:_LONGEST_HOST] or "unknown"


class Names(NamedTuple):
    """The names of the results of one machine."""

    host: str

    def subject(self, engine: str, topic: str) -> str:
        """For NATS."""
        return f"{ROOT}.{self.host}.{engine}.{type_of(topic)}"

    def topic(self, engine: str, topic: str) -> str:
        """For MQTT."""
        return f"{ROOT}/{self.host}/{engine}/{type_of(topic)}"


def type_of(topic: str) -> str:
    """The `type` of the messages of a topic: only finals are relayed of the transcripts."""
    return "transcript" if topic == FINALS else topic

"""Whether a host is this very machine, so that data sent there stays here. Pure."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, can only be this machine. An IPv6 address may stand in brackets.

    Names are not looked up: by RFC 6761, `localhost` and names that end in `.localhost` are loopback, no others.
    """
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_loopback

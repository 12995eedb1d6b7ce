"""A key or token as people hand it over: what they copy with it is taken away. Pure.

An `.env` file has `NAME="key"`, a page about an API has `Authorization: Token key`. Sent as it is, such a text is
refused as a wrong key, and nobody sees why.
"""

import re

BEARER = "Bearer"
# A name before `=`. The underscore tells it from a CURVE key, which may have any other sign; base64 has `=` at its end.
_NAME = re.compile(
    r"\A(?:(?:export\s+|set\s+)[A-Za-z_]\w*|(?=\w*_)[A-Za-z]\w*|key|token|secret|password)\s*=\s*(?=[^=\s])",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\AAuthorization\s*:\s*", re.IGNORECASE)
_SCHEME = re.compile(r"\A(?P<scheme>Bearer|Token)\s+(?=\S)", re.IGNORECASE)
_PAIRS = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb")
_QUOTES = frozenset('"`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb')
# RFC 7519: three parts in base64url, of which the first is a JSON object.
_JSON_WEB_TOKEN = re.compile(r"\AeyJ[\w-]+\.[\w-]+\.[\w-]+\Z", re.ASCII)


def mended(text: str) -> str:
    """The key in `text`, without a name, quotes, and `Token` before it. `Bearer` stays: see `scheme_of`.

    Raises ValueError if a quote is left: nobody knows where the key begins.
    """
    key, before = text, None
    while key != before:
        before = key
        key = _HEADER.sub("", _NAME.sub("", key))
        if len(key) >= 2 and key[0] + key[-1] in _PAIRS:
            key = key[1:-1].strip()
        if (found := _SCHEME.match(key)) and found["scheme"].lower() == "token":
            key = key[found.end() :]
    if _QUOTES.intersection(key):
        raise ValueError("expected the key alone, without a quote in it")
    scheme, bare = scheme_of(key)
    return f"{scheme} {bare}" if scheme and _SCHEME.match(key) else key


def scheme_of(key: str) -> tuple[str, str]:
    """The scheme by which `key` is sent, and the key alone. The scheme of most keys is up to the recogniser: empty.

    `Bearer` is for a key that says so, and for temporary tokens, which are JSON web tokens.
    """
    found = _SCHEME.match(key)
    bare = key[found.end() :] if found else key
    return BEARER if found or _JSON_WEB_TOKEN.match(bare) else "", bare

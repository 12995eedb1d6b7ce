"""The captions page: one file with its style and its script inside, and the policy that lets in nothing else."""

import base64
import hashlib
import os
import re

_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "captions.html")
_INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


class Page:
    """The page's bytes, and the Content-Security-Policy that fits them: the hashes are those of this very file."""

    def __init__(self) -> None:
        with open(_PATH, "rb") as file:
            self.body = file.read()
        hashes = {kind: _hash(content) for kind, content in _INLINE.findall(self.body)}
        self.policy = (
            f"default-src 'none'; style-src {hashes[b'style']}; script-src {hashes[b'script']}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        )


def _hash(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"

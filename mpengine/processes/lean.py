"""Importing without what libraries would like to have, and do as well without.

Only for processes of our own: in somebody else's program it is not for us to say what can be imported.
"""

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

# msgspec asks for it, and takes `typing` where there is none: half a megabyte, and `inspect` with it.
_NEEDLESS = "typing_extensions"
# websocket-client looks into callbacks with it, of which we have none. It loads `ast`, `dis`, `tokenize`: a megabyte.
_LATER = "inspect"


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """While it lasts, `typing_extensions` cannot be imported; `inspect` is, but is only loaded once it is used."""
    if _LATER not in sys.modules:
        _import_later(_LATER)
    if _NEEDLESS in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[_NEEDLESS] = None  # documented: import raises ModuleNotFoundError
    try:
        yield
    finally:
        del sys.modules[_NEEDLESS]


def _import_later(name: str) -> None:
    """As importlib.util.LazyLoader does, whose modules load at the next `import` though (CPython 3.11)."""

    def load(attribute: str) -> Any:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    module = types.ModuleType(name)
    module.__spec__ = importlib.util.find_spec(name)
    module.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = module

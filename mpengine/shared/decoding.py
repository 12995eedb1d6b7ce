"""What decoding a message from outside can raise; whoever decodes one catches all of it. Pure."""

import msgspec

# Bad syntax or types; bad UTF-8 (and numbers that no type holds); nesting as deep as it gets.
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)

"""The table of `origin_table.py` against the origin engine's class itself, which is not part of this repository.

    python -m tests.rig.origin_class FILE [ROW…]

FILE is the module with `DeepgramTranscriptionEngine`; it needs numpy beside what the tests need. Says of each row
whether the class does what the table has of it; exit code 1 if one differs.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.rig.microphone import VirtualMicrophone
from tests.rig.origin_table import TABLE


def load(path: Path) -> type[Any]:
    """The class out of the module at `path`, with its one fixed address led to `remote.byok_url`."""
    spec = importlib.util.spec_from_file_location("origin_engine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["origin_engine"] = module
    spec.loader.exec_module(module)

    class Engine(module.DeepgramTranscriptionEngine):  # type: ignore[misc, name-defined]
        def _build_ws_url_and_headers(self) -> tuple[str, Any]:
            url, headers = super()._build_ws_url_and_headers()
            address = self.config.get("remote.byok_url", "")
            return url.replace("wss://api.deepgram.com/v1/listen", address), headers

    return Engine


def main() -> int:
    """Run the rows, print a line for each."""
    engine_class, names = load(Path(sys.argv[1])), sys.argv[2:]
    differing = 0
    with VirtualMicrophone() as microphone, tempfile.TemporaryDirectory() as directory:
        os.environ.update(microphone.environment)
        os.environ["XDG_RUNTIME_DIR"] = directory
        for row in TABLE:
            if names and row.name not in names:
                continue
            seen = row.script(engine_class)
            differing += seen != row.origin
            print(f"{row.name}: {'as in the table' if seen == row.origin else seen}", flush=True)
            if row.why:
                print(f"    mpengine differs: {row.why}", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # One row leaves a thread of the origin engine behind that would never end.
    os._exit(code)

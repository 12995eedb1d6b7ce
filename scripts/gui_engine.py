#!/usr/bin/env python3
"""Uses an Engine as a GUI does, with a terminal as its window: Enter starts and stops a recording, Ctrl-D ends.

With a key in DEEPGRAM_API_KEY, Deepgram transcribes; otherwise this machine does, without an account.
"""

import os
import sys

from mpengine import Engine, TranscriptionResult


def show(result: TranscriptionResult) -> None:
    """Show interims in place, finals on lines of their own."""
    end = "\n" if result.is_final else " ..."
    print(f"\r\033[K{result.timestamp:%H:%M:%S} {result.user_name}: {result.text}", end=end, flush=True)


def main() -> int:
    """Start and stop a recording at each Enter; returns the exit code."""
    key = os.environ.get("DEEPGRAM_API_KEY", "")
    config = {"remote.mode": "byok" if key else "local", "remote.byok_api_key": key}
    engine = Engine(config, user_name="Ann")
    engine.set_callbacks(realtime_callback=show, final_callback=show)
    engine.set_error_callback(lambda text: print(f"\r\033[K! {text}"))
    if not engine.initialize():
        return 2
    print("Enter: start and stop a recording. Ctrl-D: end.")
    try:
        for _ in sys.stdin:
            if engine.is_recording_active():
                engine.stop_recording()
                print("stopped")
            else:
                print("speak" if engine.start_recording() else f"not started: {engine.last_error}")
    except KeyboardInterrupt:
        pass
    finally:
        engine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

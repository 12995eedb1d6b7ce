"""`mpengine.Engine`: the class that GUIs know from the origin engine, with a whole engine behind it."""

import functools
import logging
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from mpengine.dialects import MODES
from mpengine.embedded import files
from mpengine.embedded.callback_thread import CallbackThread
from mpengine.embedded.callbacks import Call, CreditsLow, Trouble, Words
from mpengine.embedded.gui_config import Getter, config_of
from mpengine.embedded.recording import Recording
from mpengine.shared.config import Config
from mpengine.shared.errors import ConfigError

log = logging.getLogger("mpengine.engine")

# For callbacks of the last words: a GUI's thread that waits for us may be what they wait for.
_DELIVERY_LIMIT_S = 5.0
_FAILED_START_LIMIT_S = 2.0


@dataclass
class TranscriptionResult:
    """Recognised speech, as callbacks get it: the origin engine's class, field by field.

    `timestamp` is local time without a zone, as from `datetime.now()`: when it was published.
    """

    text: str
    is_final: bool
    timestamp: datetime
    user_name: str


OnResult = Callable[[TranscriptionResult], object]


class Engine:
    """Transcribes the microphone, in processes of its own, and calls back from one thread.

    `config` is any object with ``get("remote.mode", default)``. All methods may be called from any thread, from
    callbacks too. The attributes are read when a recording starts. The processes end with this one, whatever ends it,
    and with the last reference to the Engine.
    """

    _connect_limit_s = 15.0

    def __init__(self, config: Getter, user_name: str = "User", input_device_index: int | str | None = None) -> None:
        self.config, self.user_name, self.input_device_index = config, user_name, input_device_index
        self.mode: str = config.get("remote.mode", "managed")
        self.server_url: str = config.get("remote.server_url", "")
        self.auth_token: str = config.get("remote.auth_token", "")
        self.byok_api_key: str = config.get("remote.byok_api_key", "")
        self.deepgram_model: str = config.get("remote.deepgram_model", "nova-2")
        self.language: str = config.get("remote.language", "en-US")
        self.sample_rate = 16000
        self.channels = 1
        self.blocksize = 320  # as told; `audio.block_ms` sets it
        self.realtime_callback: OnResult | None = None
        self.final_callback: OnResult | None = None
        self.last_error: str | None = None
        self._on_error: Callable[[str], object] | None = None
        self._on_credits_low: Callable[[int], object] | None = None
        self._is_initialized = False
        self._settle()

    def __repr__(self) -> str:
        state = "recording" if self.is_recording_active() else "ready" if self._is_initialized else "not initialised"
        return f"<{type(self).__name__} {self.name!r}, {self.mode} mode, {state}>"

    def __del__(self) -> None:
        # In any thread, between any two instructions, inside of locks: neither of the two takes one.
        if (recording := getattr(self, "_recording", None)) is not None:
            recording.kill()
            self._callbacks.close()

    # Callbacks

    def set_callbacks(self, realtime_callback: OnResult | None = None, final_callback: OnResult | None = None) -> None:
        """Who gets interim results, and who gets final ones."""
        self.realtime_callback = realtime_callback
        self.final_callback = final_callback

    def set_error_callback(self, fn: Callable[[str], object] | None) -> None:
        """Who gets one line of text about what went wrong."""
        self._on_error = fn

    def set_credits_low_callback(self, fn: Callable[[int], object] | None) -> None:
        """Who gets the seconds that the account has left."""
        self._on_credits_low = fn

    # What is asked

    def initialize(self) -> bool:
        """Check the configuration. False, and a line in the log, when it cannot work."""
        if self._is_initialized:
            return True
        if problem := self._problem():
            log.error("%s", problem)
            return False
        self._is_initialized = True
        log.info("engine initialised in %s mode", self.mode)
        return True

    def start_recording(self) -> bool:
        """Record. True once the recogniser is connected and the device open; False when that cannot be.

        It is False after 15 s at the latest. `last_error` says why.
        """
        if not self._is_initialized:
            log.error("Engine not initialised -- call initialize() first")
            return False
        try:
            recording, is_new = self._begin()
        except (ConfigError, RuntimeError) as error:
            return self._not_started(str(error))
        problem = recording.wait_started(self._connect_limit_s)
        if problem is None:
            if is_new:
                log.info("Recording started")
            return True
        if is_new:
            recording.kill()
            recording.wait_ended(_FAILED_START_LIMIT_S)
        return self._not_started(problem)

    def stop_recording(self) -> None:
        """Stop. The last words have been called back when this returns (but not to a callback that calls it).

        It takes `supervisor.stop_limit_s` at most, and 5 s for callbacks that do not return.
        """
        if self._pid != os.getpid():  # the recording is our parent's, and nobody may ever let go of the lock
            return
        with self._lock:
            recording = self._recording
        if recording is None:
            return
        is_first = recording.ask_to_end()
        if not recording.wait_ended():
            log.error("the engine's thread does not end")
        self._callbacks.wait(_DELIVERY_LIMIT_S)
        if is_first:
            log.info("Recording stopped; %.1f s without a result", recording.unacknowledged_s)

    def stop(self) -> None:
        """Stop, and be as before `initialize`."""
        self.stop_recording()
        self._is_initialized = False
        self._callbacks.close()
        log.info("engine shut down")

    def is_ready(self) -> bool:
        """Whether `initialize` found nothing wrong."""
        return self._is_initialized

    def is_recording_active(self) -> bool:
        """Whether it records, or is about to: not after `stop_recording`, and not when it has ended for good."""
        return self._recording is not None and self._recording.is_active

    def set_user_name(self, user_name: str) -> None:
        """Name the speaker in results from now on."""
        self.user_name = user_name
        if recording := self._recording:
            recording.rename(user_name)

    # Inside

    def _settle(self) -> None:
        """Have what only one process can have: in another, which it forks, nothing of it is alive."""
        self._pid = os.getpid()
        self.name = files.new_name()
        self._lock = Lock()  # of the recording; held for no longer than it takes to start a thread
        self._recording: Recording | None = None
        self._callbacks = CallbackThread()

    def _problem(self) -> str:
        """What is wrong with the configuration; the first lines are the origin engine's."""
        if self.mode == "managed" and not self.server_url:
            return "Managed mode requires a server URL (remote.server_url)"
        if self.mode == "managed" and not self.auth_token:
            return "Managed mode requires an auth token (remote.auth_token)"
        if self.mode == "byok" and not self.byok_api_key:
            return "BYOK mode requires an API key (remote.byok_api_key)"
        if self.mode not in MODES:
            return f"Unknown remote mode: {self.mode} (expected {', '.join(map(repr, MODES))})"
        try:
            self._config()
        except ConfigError as error:
            return str(error)
        return ""

    def _config(self) -> Config:
        keys = ("mode", "server_url", "auth_token", "byok_api_key", "deepgram_model", "language")
        return config_of(
            self.config,
            name=self.name,
            user_name=self.user_name,
            remote={key: getattr(self, key) for key in keys},
            device=self.input_device_index,
            sample_rate=self.sample_rate,
            channels=self.channels,
        )

    def _begin(self) -> tuple[Recording, bool]:
        """The recording that runs, or a new one, and whether it is new. Raises ConfigError, RuntimeError."""
        if self._pid != os.getpid():
            self._settle()
        with self._lock:
            before = self._recording
            if before is not None and before.is_active:
                return before, False
            # The thread of a recording must not keep the Engine: who drops it wants it to end.
            deliver = functools.partial(_deliver, weakref.ref(self), self._callbacks)
            config = self._config()
            self.blocksize = config.audio.block_samples
            self._callbacks.open()
            self._recording = Recording(config, deliver, after=before)
            return self._recording, True

    def _not_started(self, problem: str) -> bool:
        log.error("%s", problem)
        self.last_error = self._last_error = problem
        return False

    def _call(self, call: Call) -> None:
        """Call back; on the callbacks' thread."""
        try:
            match call:
                case Words(is_final=is_final):
                    callback = self.final_callback if is_final else self.realtime_callback
                    if callback is not None:
                        callback(self._result(call))
                case CreditsLow(seconds_remaining=seconds) if self._on_credits_low is not None:
                    self._on_credits_low(seconds)
                case Trouble(text=text) if self._on_error is not None:
                    self._on_error(text)
        except Exception as error:
            log.exception("a callback of the engine failed")
            if self._on_error is not None and not isinstance(call, Trouble):
                self._on_error(f"Callback error: {error}")

    def _result(self, words: Words) -> TranscriptionResult:
        at = datetime.fromtimestamp(words.time_ns / 1e9)  # noqa: DTZ006  local, as the origin engine's
        return TranscriptionResult(words.text, words.is_final, at, self.user_name)


def _deliver(engine: "weakref.ref[Engine]", callbacks: CallbackThread, call: Call) -> None:
    """Have the Engine call back, if it is still there then."""
    match call:
        case Trouble(text=text):
            log.warning("%s", text)
        case CreditsLow(seconds_remaining=seconds):
            log.warning("Credits low -- %d seconds remaining", seconds)
    callbacks.put(functools.partial(_call, engine, call), is_interim=isinstance(call, Words) and not call.is_final)


def _call(engine: "weakref.ref[Engine]", call: Call) -> None:
    if (there := engine()) is not None:
        there._call(call)  # noqa: SLF001  our own

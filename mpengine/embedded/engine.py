"""`mpengine.Engine`: the origin engine's class for GUIs, which starts and follows a whole engine."""

import functools
import logging
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from mpengine.dialects import MODES
from mpengine.embedded import files, gui_config
from mpengine.embedded.callback_thread import CallbackThread
from mpengine.embedded.callbacks import Call, CreditsLow, Trouble, Words
from mpengine.embedded.gui_config import Getter
from mpengine.embedded.recording import Recording
from mpengine.shared.config import Config
from mpengine.shared.errors import ConfigError

log = logging.getLogger("mpengine.engine")

# How long a stop waits for the last callbacks. They may wait for the very thread that has called `stop_recording`.
_DELIVERY_LIMIT_S = 5.0
_FAILED_START_LIMIT_S = 2.0


@dataclass
class TranscriptionResult:
    """Recognised speech, the argument of callbacks: the origin engine's class, field by field.

    `timestamp` is the time of publication: local and without a zone, as from `datetime.now()`.
    """

    text: str
    is_final: bool
    timestamp: datetime
    user_name: str


OnResult = Callable[[TranscriptionResult], object]


class Engine:
    """Transcribes the microphone in processes of its own, and calls back from one thread.

    `config` is any object with ``get("remote.mode", default)``, or a dict of tables as in our TOML file. Any thread may
    call any method, callbacks too. The attributes are read when a recording starts. The processes end with the last
    reference to the Engine, and with this process, in whatever way it ends.
    """

    _connect_limit_s = 15.0

    def __init__(
        self, config: Getter | Mapping[str, Any], user_name: str = "User", input_device_index: int | str | None = None
    ) -> None:
        self.config, self.user_name, self.input_device_index = config, user_name, input_device_index
        given = gui_config.getter(config)
        self.mode: str = given.get("remote.mode", "managed")
        self.server_url: str = given.get("remote.server_url", "")
        self.auth_token: str = given.get("remote.auth_token", "")
        self.byok_api_key: str = given.get("remote.byok_api_key", "")
        self.deepgram_model: str = given.get("remote.deepgram_model", "nova-2")
        self.language: str = given.get("remote.language", "en-US")
        self.sample_rate = 16000
        self.channels = 1
        self.blocksize = 320  # for information; `audio.block_ms` sets it
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
        # This runs in any thread, between any two instructions, also inside of locks. Neither call takes a lock.
        if (recording := getattr(self, "_recording", None)) is not None:
            recording.kill()
            self._callbacks.close()

    # Callbacks

    def set_callbacks(self, realtime_callback: OnResult | None = None, final_callback: OnResult | None = None) -> None:
        """Set the callbacks for interim results and for final ones."""
        self.realtime_callback = realtime_callback
        self.final_callback = final_callback

    def set_error_callback(self, fn: Callable[[str], object] | None) -> None:
        """Set the callback for errors. Its argument is one line of text."""
        self._on_error = fn

    def set_credits_low_callback(self, fn: Callable[[int], object] | None) -> None:
        """Set the callback for low credits. Its argument is the seconds that the account has left."""
        self._on_credits_low = fn

    # Methods of the origin engine

    def initialize(self) -> bool:
        """Check the configuration. Returns False when it cannot work. Then `last_error` says why."""
        if self._is_initialized:
            return True
        for text in gui_config.unread(self.config):
            log.warning("%s", text)
        if problem := self._problem():
            return self._fails(problem)
        self._is_initialized = True
        log.info("engine initialised in %s mode", self.mode)
        return True

    def start_recording(self) -> bool:
        """Start to record. Returns True once the recogniser is connected and the device is open.

        Returns False when that cannot be, and after 15 s. Then `last_error` says why.
        """
        if not self._is_initialized:
            return self._fails("Engine not initialised -- call initialize() first")
        try:
            recording, is_new = self._begin()
        except (ConfigError, RuntimeError) as error:
            return self._fails(str(error))
        problem = recording.wait_started(self._connect_limit_s)
        if problem is None:
            if is_new:
                log.info("Recording started")
            return True
        if is_new:
            recording.kill()
            recording.wait_ended(_FAILED_START_LIMIT_S)
        return self._fails(problem)

    def stop_recording(self) -> None:
        """Stop. When this returns, the callbacks have got the last results (unless a callback has called this).

        It takes at most `supervisor.stop_limit_s` (10 s by default), 3 s more until an engine that does not end is
        killed, and 5 s more for callbacks that do not return.
        """
        if self._pid != os.getpid():  # forked: the recording is the parent's, and the lock may stay locked for ever
            return
        with self._lock:
            recording = self._recording
        if recording is None:
            return
        is_first = recording.ask_to_end()
        if not recording.wait_ended():
            log.error("the engine's thread has not ended in time")
        self._callbacks.wait(_DELIVERY_LIMIT_S)
        if is_first:
            log.info("Recording stopped; %.1f s of audio without a result", recording.unacknowledged_s)

    def stop(self) -> None:
        """Stop, and return to the state before `initialize`."""
        self.stop_recording()
        self._is_initialized = False
        self._callbacks.close()
        log.info("engine shut down")

    def is_ready(self) -> bool:
        """Whether `initialize` found nothing wrong."""
        return self._is_initialized

    def is_recording_active(self) -> bool:
        """Whether a recording runs or starts. False after `stop_recording`, and after a recording ended by itself."""
        return self._recording is not None and self._recording.is_active

    def set_user_name(self, user_name: str) -> None:
        """Set the speaker's name in results from now on."""
        self.user_name = user_name
        if recording := self._recording:
            recording.rename(user_name)

    # Inside

    def _settle(self) -> None:
        """Make everything that belongs to one process. In a forked process it must be made again."""
        self._pid = os.getpid()
        self.name = files.new_name()
        self._lock = Lock()  # guards `_recording`; held no longer than it takes to start a thread
        self._recording: Recording | None = None
        self._callbacks = CallbackThread()

    def _problem(self) -> str:
        """The mistake in the configuration, or ""; the first texts are the origin engine's."""
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
        return gui_config.config_of(
            self.config,
            name=self.name,
            user_name=self.user_name,
            remote={key: getattr(self, key) for key in gui_config.ORIGIN_KEYS},
            device=self.input_device_index,
            sample_rate=self.sample_rate,
            channels=self.channels,
        )

    def _begin(self) -> tuple[Recording, bool]:
        """The active recording, or a new one, and whether it is new. Raises ConfigError, RuntimeError."""
        if self._pid != os.getpid():
            self._settle()
        with self._lock:
            before = self._recording
            if before is not None and before.is_active:
                return before, False
            # The thread of a recording must not keep the Engine alive: without references the Engine ends.
            deliver = functools.partial(_deliver, weakref.ref(self), self._callbacks)
            config = self._config()
            self.blocksize = config.audio.block_samples
            self._callbacks.open()
            self._recording = Recording(config, deliver, after=before)
            return self._recording, True

    def _fails(self, problem: str) -> bool:
        log.error("%s", problem)
        self.last_error = self._last_error = problem
        return False

    def _call(self, call: Call) -> None:
        """Call the callback that `call` is for; on the callback thread."""
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
    """Log `call`, and queue it for the callbacks of the Engine, as long as that exists."""
    match call:
        case Trouble(text=text):
            log.warning("%s", text)
        case CreditsLow(seconds_remaining=seconds):
            log.warning("Credits low -- %d seconds remaining", seconds)
    callbacks.put(functools.partial(_call, engine, call), is_interim=isinstance(call, Words) and not call.is_final)


def _call(engine: "weakref.ref[Engine]", call: Call) -> None:
    if (there := engine()) is not None:
        there._call(call)  # noqa: SLF001  our own

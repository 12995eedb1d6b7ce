"""`mpengine transcribe` turns recordings into their words or subtitles, one after the other."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import NamedTuple

from mpengine import formats
from mpengine.cli.chosen import choose, read_overrides
from mpengine.cli.options import add_format, add_set
from mpengine.cli.output_file import OutputFile
from mpengine.cli.recordings import decode, outputs
from mpengine.cli.recordings.engine import Told, config_for, recognise
from mpengine.cli.recordings.outputs import Job
from mpengine.cli.recordings.work import Work
from mpengine.cli.terminal import bar as bars
from mpengine.cli.terminal.bar import Bar
from mpengine.cli.terminal.handlers import ending_in_order
from mpengine.cli.terminal.progress import Progress, h_mm_ss
from mpengine.client.position import decode as message_of
from mpengine.formats.base import Place, Style
from mpengine.processes import beginning
from mpengine.shared.config import Config
from mpengine.shared.errors import ConfigError, ExitCode, MpengineError
from mpengine.shared.messages import Transcript
from mpengine.shared.sources import STANDARD_INPUT
from mpengine.shared.standard_streams import write_bytes

_PACED = "audio.paced"
_PART = ".part"
_GOES_ON = "what is done is kept: the same command with --resume goes on there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a WAV file, or with ffmpeg any audio or video file")
    add_format(parser)
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="the output file; for several recordings a directory (default: standard output for one recording, a file "
        "beside each of several)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on where the same command was killed, and leave finished files alone"
    )
    existing.add_argument("--force", action="store_true", help="replace output files that exist")
    parser.add_argument("--local", action="store_true", help="use the recogniser of this machine (English, small)")
    parser.add_argument("--config", metavar="FILE", help="TOML file, of which [remote], [audio] and [engine] count")
    add_set(
        parser,
        "override a key of the configuration; may be repeated. audio.paced=true: at the pace of speech, for "
        "services that ask for that",
    )


def main(arguments: argparse.Namespace) -> int:
    """See `transcribe`."""
    overrides = read_overrides(arguments.set)
    chosen = choose(
        arguments.config, overrides, os.environ, is_local=arguments.local, command="mpengine transcribe FILE"
    )
    beginning.leave_no_core()
    options = Options(
        config=Config.load(chosen.path, overrides=chosen.overrides),
        format=outputs.format_of(arguments.format, arguments.output, arguments.files),
        paced=bool(overrides.get(_PACED, False)),
        resume=arguments.resume,
        force=arguments.force,
    )
    return transcribe(outputs.jobs_of(arguments.files, arguments.output, options.format), options)


class Options(NamedTuple):
    """The options of `transcribe`. `paced`: at the pace of speech; otherwise as fast as the recogniser takes it."""

    config: Config
    format: str
    paced: bool = False
    resume: bool = False
    force: bool = False


def transcribe(jobs: Sequence[Job], options: Options) -> int:
    """Do the `jobs` one after the other, also after one that fails. Returns the highest of their exit codes.

    A refused account ends it: the others would be refused, too. Ctrl-C and SIGTERM end it with 1, and --resume goes on.
    Raises ConfigError where an output file exists or cannot be made.
    """
    for job in jobs:
        _check_output(job, may_replace=options.resume or options.force)
    if any(job.source == STANDARD_INPUT for job in jobs):
        text = "a stream cannot be read again: save it in a file, or use mpengine run --set audio.source=- for it"
        raise ConfigError("", text)
    bar = Bar()
    worst = 0
    recording: _Recording | None = None
    with ending_in_order():
        try:
            for number, job in enumerate(jobs, 1):
                label = f"{number}/{len(jobs)} {job.name}" if len(jobs) > 1 else job.name
                recording = _Recording(job, options, bar, Progress(label))
                code = recording.exit_code()
                worst = max(worst, code)
                if code == ExitCode.ACCOUNT:
                    break
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not disturb the end
            bar.end()
            bar.say("interrupted" if recording is None else recording.with_advice("interrupted"))
            return max(worst, int(ExitCode.CRASH))
    return worst


def _check_output(job: Job, *, may_replace: bool) -> None:
    """Raise ConfigError before anything begins where the output file exists, or cannot be made."""
    if job.output is None:
        return
    if os.path.isfile(job.output) and not may_replace:
        text = f"{job.output} exists; --resume passes over what is done, --force replaces it"
        raise ConfigError("--output", text)
    folder = os.path.dirname(job.output) or "."
    if not os.path.exists(job.output) and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise ConfigError("--output", f"cannot write {job.output}: {folder} is no directory that you may write to")


class _Recording:
    """One recording on its way."""

    def __init__(self, job: Job, options: Options, bar: Bar, progress: Progress) -> None:
        self._job, self._options = job, options
        self._bar, self._progress = bar, progress
        self._note = ""
        self._said: set[str] = set()
        self._began_at = time.monotonic()
        self._is_kept = False  # whether the next try can go on with results of this one

    def exit_code(self) -> int:
        """Transcribe it, and say what goes wrong."""
        try:
            self._transcribe()
        except MpengineError as error:
            self._bar.end()
            self._bar.say(self.with_advice(str(error)))
            return int(error.exit_code)
        finally:
            self._bar.end()
        return int(ExitCode.OK)

    def with_advice(self, text: str) -> str:
        """`text`, with the name of the recording, and with what the next try can do."""
        named = text if self._job.source in text else f"{self._job.name}: {text}"
        return f"{named}; {_GOES_ON}" if self._is_kept else named

    def _transcribe(self) -> None:
        job, options = self._job, self._options
        with closing(Work(job.source, options.config)) as work:
            if options.resume and job.output is not None and os.path.isfile(job.output):
                self._bar.say(f"{job.output} is there already: it stays as it is")
                return
            if not options.resume:
                work.begin_anew()
            audio_path = self._audio_path(work)
            config = config_for(options.config, audio_path, work, paced=options.paced)
            output = _Output(job, options.format, self._bar)
            try:
                with closing(output):
                    recognise(config, work, Told(output.show, self._on_progress, self._on_state, self._on_trouble))
                    output.finish()
            except BrokenPipeError:  # the reader of the output has gone (head, less): nobody will go on
                work.remove()
                raise
            finally:
                self._is_kept = work.has_finals
                if not self._is_kept:
                    output.remove_part()
            work.remove()
        self._bar.end()
        if not output.has_words:
            self._on_trouble("no words were heard in it")
        if job.output is not None and bars.is_possible():
            took = h_mm_ss(time.monotonic() - self._began_at)
            self._bar.say(f"{job.name}: {h_mm_ss(self._progress.total_s)} of audio in {took}, into {job.output}")

    def _audio_path(self, work: Work) -> str:
        """The WAV file for the engine. Raises MpengineError."""
        source = self._job.source
        why = decode.why_no_wav(source)
        if why is None:
            return source
        if not os.path.exists(work.audio):
            complaint = decode.decode(
                source,
                why,
                work.audio,
                self._options.config.audio,
                on_progress=lambda seconds: self._bar.show(f"{self._job.name}  decoding  {h_mm_ss(seconds)}"),
            )
            if complaint:
                self._on_trouble(f"ffmpeg says: {complaint}")
        return work.audio

    def _on_progress(self, done_s: float, total_s: float) -> None:
        self._progress.heard(time.monotonic(), done_s, total_s)
        self._draw()

    def _on_state(self, reason: str) -> None:
        self._note = reason
        self._draw()

    def _on_trouble(self, text: str) -> None:
        if text not in self._said:  # each trouble once
            self._said.add(text)
            self._bar.say(f"{self._job.name}: {text}")

    def _draw(self) -> None:
        if self._progress.total_s:
            self._bar.show(self._progress.line(bars.columns(), is_ascii=bars.is_ascii(), note=self._note))


class _Output:
    """Writes results in their format: to standard output, or into FILE.part, which becomes FILE at the end."""

    def __init__(self, job: Job, format_name: str, bar: Bar) -> None:
        """Raises ConfigError when the file cannot be opened, or another process writes it."""
        self._output, self._bar = job.output, bar
        self.has_words = False
        """Whether a result had a word."""
        self._part: str | None = None
        self._file: OutputFile | None = None
        place = Place.FILE
        if self._output is None:
            # As text, a terminal gets what a pipe gets: interims are for live captions.
            place = Place.TERMINAL if sys.stdout.isatty() and format_name == "jsonl" else Place.PIPE
        elif os.path.exists(self._output) and not os.path.isfile(self._output):  # a FIFO, /dev/null
            self._file = OutputFile(self._output, append=False, force=True)
        else:
            self._part = f"{self._output}{_PART}"
            self._file = OutputFile(self._part, append=False, force=True)
        self._format = formats.load(format_name)(Style(), place)
        self._write(self._format.header)

    def show(self, line: bytes) -> None:
        """Write the result that is `line` in JSON."""
        message = message_of(line)
        self.has_words = self.has_words or (isinstance(message, Transcript) and bool(message.text))
        self._write(self._format.show(line, message))

    def finish(self) -> None:
        """All is there. Raises MpengineError when the file cannot get its name."""
        if self._part is not None and self._output is not None:
            try:
                os.replace(self._part, self._output)
            except OSError as error:
                raise MpengineError(f"cannot write {self._output}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def remove_part(self) -> None:
        """Nobody will go on with the file."""
        if self._part is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._part)

    def _write(self, piece: bytes) -> None:
        if self._file is not None:
            self._file.write(piece)
        elif piece:
            is_same_terminal = sys.stdout.isatty()
            if is_same_terminal:
                self._bar.clear()
            write_bytes(piece)
            if is_same_terminal:
                self._bar.draw()

"""Which recording goes into which file."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from mpengine import formats
from mpengine.shared.errors import ConfigError

_OPTION = "--output"


class Job(NamedTuple):
    """A recording at `source`, and the file for its words; None: standard output."""

    source: str
    output: str | None

    @property
    def name(self) -> str:
        """What a person calls the recording."""
        return os.path.basename(self.source) or self.source


def format_of(output_format: str | None, output: str | None, sources: Sequence[str]) -> str:
    """The name of the format: the one that was asked for, or by the ending of the one output file, or text."""
    if output_format is not None:
        return output_format
    return "text" if output is None or _is_directory(output, sources) else formats.name_for(output)


def jobs_of(sources: Sequence[str], output: str | None, format_name: str) -> list[Job]:
    """What to do, in order. One recording goes to standard output, or into the file or directory `output`.

    Several ones go each into a file beside it, or into the directory `output`, which is made where it is missing.
    Raises ConfigError where two recordings would go into one file, and where an output is one of the recordings.
    """
    if output is None and len(sources) == 1:
        return [Job(sources[0], None)]
    if output is not None and not _is_directory(output, sources):
        jobs = [Job(sources[0], output)]
    else:
        ending = formats.ending_of(format_name)
        jobs = [Job(source, _file_for(source, output, ending)) for source in sources]
    _refuse_collisions(jobs)
    if output is not None and _is_directory(output, sources):
        try:
            os.makedirs(output, exist_ok=True)
        except OSError as error:
            raise ConfigError(_OPTION, f"cannot make the directory {output}: {error.strerror}") from None
    return jobs


def _is_directory(output: str, sources: Sequence[str]) -> bool:
    return len(sources) > 1 or os.path.isdir(output) or output.endswith(os.sep)


def _file_for(source: str, directory: str | None, ending: str) -> str:
    stem = os.path.splitext(os.path.basename(source))[0]
    return os.path.join(os.path.dirname(source) if directory is None else directory, f"{stem}.{ending}")


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    found: dict[str, str] = {}
    sources = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        assert job.output is not None
        real = os.path.realpath(job.output)
        if real in sources:
            raise ConfigError(_OPTION, f"{job.output} is a recording, which would be overwritten; name another file")
        if real in found:
            text = f"{found[real]} and {job.source} would both go into {job.output}; transcribe them one by one"
            raise ConfigError(_OPTION, text)
        found[real] = job.source

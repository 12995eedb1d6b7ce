"""What processes use, as the kernel counts it: processor time, context switches, memory, descriptors.

Processor time comes from schedstat (nanoseconds on a processor, per thread); the ticks of /proc/PID/stat are as long
as what is measured here.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.rig.processes import all_processes, descendants

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PULSE_THREAD = "threaded-ml"  # PulseAudio's client: hardware read through ALSA alone has none


class Thread(NamedTuple):
    """One thread's counters."""

    process: str
    name: str
    cpu_ns: int
    switches: int


class Snapshot(NamedTuple):
    """All threads of some processes, by thread id, at one time."""

    at_ns: int
    threads: dict[int, Thread]


class Used(NamedTuple):
    """What happened between two snapshots. `lost_threads` ended in between: their last part is not in the sums."""

    seconds: float
    cpu_by_process: dict[str, float]
    """percent of one core"""
    pulse_cpu: float
    switches_per_s: float
    lost_threads: int

    @property
    def cpu(self) -> float:
        """Of all processes, in percent of one core."""
        return sum(self.cpu_by_process.values())


class Memory(NamedTuple):
    """Of a tree of processes, in MB (10^6 bytes)."""

    pss: float
    uss: float
    rss: float
    anonymous: float
    """the part of `pss` that no file is behind: nobody else shares it (0 before Linux 5.9)"""


def tree(root: int) -> dict[int, str]:
    """The pids of `root` and all that descends from it, with their names."""
    processes = all_processes()
    pids = descendants([root], processes)
    return {info.pid: name(info.pid) for info in processes if info.pid in pids and info.running}


def name(pid: int) -> str:
    """What the kernel calls a process; the engine's children carry theirs."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def snapshot(pids: Mapping[int, str]) -> Snapshot:
    """Now; `pids` maps processes to what they shall be called."""
    threads = {}
    at_ns = time.monotonic_ns()
    for pid, process in pids.items():
        for entry in _entries(f"/proc/{pid}/task"):
            thread = _thread(f"/proc/{pid}/task/{entry}", process)
            if thread is not None:
                threads[int(entry)] = thread
    return Snapshot(at_ns, threads)


def used(before: Snapshot, after: Snapshot) -> Used:
    """The difference. Threads that began in between are counted whole."""
    nothing = Thread("", "", 0, 0)
    window_ns = after.at_ns - before.at_ns
    cpu_ns: dict[str, int] = dict.fromkeys((thread.process for thread in after.threads.values()), 0)
    pulse_ns = switches = 0
    for number, thread in after.threads.items():
        earlier = before.threads.get(number, nothing)
        cpu_ns[thread.process] += thread.cpu_ns - earlier.cpu_ns
        pulse_ns += (thread.cpu_ns - earlier.cpu_ns) * (thread.name == PULSE_THREAD)
        switches += thread.switches - earlier.switches
    return Used(
        seconds=window_ns / 1e9,
        cpu_by_process={process: 100 * ns / window_ns for process, ns in cpu_ns.items()},
        pulse_cpu=100 * pulse_ns / window_ns,
        switches_per_s=switches / (window_ns / 1e9),
        lost_threads=len(before.threads.keys() - after.threads.keys()),
    )


def memory(pids: Iterable[int]) -> Memory:
    """Now, summed over the processes; shared pages count in proportion in `pss`, not at all in `uss`."""
    sums = dict.fromkeys(("Pss", "Pss_Anon", "Private_Clean", "Private_Dirty", "Rss"), 0)
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            key, _, rest = line.partition(":")
            if key in sums:
                sums[key] += int(rest.split()[0]) * 1024
    return Memory(
        pss=sums["Pss"] / 1e6,
        uss=(sums["Private_Clean"] + sums["Private_Dirty"]) / 1e6,
        rss=sums["Rss"] / 1e6,
        anonymous=sums["Pss_Anon"] / 1e6,
    )


def distinct_mb(pids: Iterable[int]) -> float | None:
    """The pages that the processes have in memory, each counted once, in MB: their PSS if nobody else were there (the
    benchmark itself maps the same interpreter, and a PulseAudio daemon the same libc). None where the kernel does not
    tell which page is which, that is without root.
    """
    pages: set[int] = set()
    for pid in pids:
        for start, end in _mappings(pid):
            pages |= _page_numbers(pid, start, end)
    return len(pages) * PAGE_BYTES / 1e6 if pages else None


def descriptors(pids: Iterable[int]) -> int:
    """How many are open."""
    return sum(len(_entries(f"/proc/{pid}/fd")) for pid in pids)


def busy_cores(before: tuple[int, int], after: tuple[int, int]) -> float:
    """How many cores the whole machine kept busy between two `machine_ticks`."""
    busy, total = after[0] - before[0], after[1] - before[1]
    return (os.cpu_count() or 1) * busy / total if total else 0.0


def machine_ticks() -> tuple[int, int]:
    """Ticks in which a core was busy, and all ticks, since boot."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def _thread(path: str, process: str) -> Thread | None:
    try:
        cpu_ns = int(Path(path, "schedstat").read_text().split()[0])
        status = Path(path, "status").read_text()
    except OSError:  # it has just ended
        return None
    counts = [line.split()[1] for line in status.splitlines() if "ctxt_switches" in line]
    return Thread(process, status.split("\n", 1)[0].partition("\t")[2], cpu_ns, sum(map(int, counts)))


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _mappings(pid: int) -> Iterable[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if "[vvar]" not in line and "[vsyscall]" not in line and "[vdso]" not in line:
            start, _, end = line.split(maxsplit=1)[0].partition("-")
            yield int(start, 16), int(end, 16)


def _page_numbers(pid: int, start: int, end: int) -> set[int]:
    """The numbers of the page frames behind a range of addresses: proc_pid_pagemap(5). 0 stands for "not told"."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(start // PAGE_BYTES * 8)
        entries = memoryview(file.read((end - start) // PAGE_BYTES * 8)).cast("Q")
    present, number = 1 << 63, (1 << 55) - 1
    return {entry & number for entry in entries if entry & present} - {0}

"""What /proc shows of a process: variables taken out of it, and another title, in real interpreters."""

import subprocess
import sys

import pytest

from tests.pure.support import ENVIRONMENT, in_fresh_interpreter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

HIDE = """
import os, sys
from mpengine.processes import proc_title
assert proc_title.hide(["A_TOKEN", "ANOTHER", "NOT_THERE"])
print(open("/proc/self/environ").read().replace("\\0", " "))
print(os.environ["A_TOKEN"], os.environ["A_TOKEN_FILE"], flush=True)
pid = os.fork()
if pid == 0:
    print(open("/proc/self/environ").read().replace("\\0", " "), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("without", ["", "proc_title"])
def test_a_hidden_variable_is_gone_from_proc_for_this_process_and_those_it_forks(without):
    secrets = {"A_TOKEN": "s3cr3t", "A_TOKEN_FILE": "a.file", "ANOTHER": "wörd"}
    environment = {**ENVIRONMENT, **secrets, "MPENGINE_WITHOUT": without}
    done = subprocess.run([sys.executable, "-c", HIDE], env=environment, capture_output=True, text=True, check=True)
    shown, kept, forked = done.stdout.splitlines()
    for text in (shown, forked):
        assert "s3cr3t" not in text
        assert "A_TOKEN=" not in text
        assert "ANOTHER" not in text
        assert "A_TOKEN_FILE=a.file" in text
        assert f"PYTHONPATH={ENVIRONMENT['PYTHONPATH']}" in text
    assert kept == "s3cr3t a.file"  # for whoever asks this process itself


def test_where_proc_cannot_be_written_it_says_that_nothing_is_hidden():
    code = """
import os
from mpengine.processes import proc_title
def refuse(*_): raise PermissionError
os.open = refuse
print(proc_title.hide(["HOME"]))
proc_title.show_as("x")
"""
    assert in_fresh_interpreter(code) == "False\n"


@pytest.mark.parametrize("title", ["mpengine.processes.zygote", "x" * 5000])
def test_the_title_stands_instead_of_the_arguments_as_far_as_there_is_room(title):
    code = f"""
from mpengine.processes import proc_title
before = open("/proc/self/cmdline", "rb").read()
environment = open("/proc/self/environ", "rb").read()
proc_title.show_as({title!r})
after = open("/proc/self/cmdline", "rb").read()
assert open("/proc/self/environ", "rb").read() == environment
print(after.rstrip(b"\\0").decode(), len(before))
"""
    shown, room = in_fresh_interpreter(code).split()
    assert shown == title[: int(room) - 1]

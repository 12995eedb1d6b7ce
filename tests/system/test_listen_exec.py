"""`listen --exec` and `--exec-each` while command, listener and engine are killed: every final once, or told."""

import contextlib
import json
import os
import random
import re
import signal
import sys
import time

import pytest

from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.processes import all_processes, descendants, spawned
from tests.rig.waiting import scaled, wait_until

LIVES = 8
# Each appends whole lines, so that a kill leaves none in part.
READER = 'while read -r line; do printf "%s\\n" "$line" >>"$0"; done'
RUNNER = 'printf "%s %s %s\\n" "$MPENGINE_SEQ" "$MPENGINE_AGAIN" "$MPENGINE_TEXT" >>"$0"'


def handed(out, option):
    """The seq of each final that was handed over, and whether it was marked as one that may come again."""
    lines = out.read_text().splitlines() if out.exists() else []
    if option == "--exec":
        return [(each["seq"], each.get("again", False)) for each in map(json.loads, lines)]
    return [(int(seq), again == "1") for seq, again, _ in (line.split(" ", 2) for line in lines)]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--exec", "--exec-each"])
def test_through_kills_of_all_three_every_final_is_handed_over_once_or_told(engine, tmp_path, option):
    out, state, told = tmp_path / "out", tmp_path / "state", tmp_path / "told"
    chance = random.Random(option)
    script = READER if option == "--exec" else RUNNER
    with FakeDeepgram(responder=Echo(interim_s=0.1, final_s=0.2)) as server, told.open("ab") as errors:
        running = engine(byok(server) | silent_file(tmp_path / "talk.wav", 120))
        running.wait_for_state("running")
        words = ["listen", "--name", running.name, "--since", "start", "--state", str(state)]
        ending = [option, "sh", "-c", script, str(out)]

        def wait_for_more():
            before = len(handed(out, option))
            wait_until(lambda: len(handed(out, option)) > before, 30, "another final", every=0.02)

        for life in range(LIVES):
            command = [sys.executable, "-m", "mpengine", *words, *ending]
            with spawned(command, env=running.environment, stderr=errors) as process:
                wait_for_more()
                for _ in range(2):  # the command dies by itself
                    for pid in descendants([process.pid], all_processes()) - {process.pid}:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    time.sleep(chance.uniform(0.0, 0.3))
                process.kill()
            if life == LIVES // 2:
                running.kill()
                running.start()
                running.wait_for_state("running")
        command = [sys.executable, "-m", "mpengine", *words, "--exit-on-stop", *ending]
        with spawned(command, env=running.environment, stderr=errors) as process:
            wait_for_more()
            assert running.stop() == 0
            assert process.wait(scaled(60)) == 0
    found = handed(out, option)
    wanted = {each["seq"] for each in running.bus.finals()}
    doubtful = {int(seq) for seq in re.findall(r"\b[0-9a-f]{16}:(\d+)\b", told.read_text())}
    assert len(wanted) > 10
    assert wanted - {seq for seq, _ in found} <= doubtful
    unmarked = [seq for seq, is_again in found if not is_again]
    assert len(unmarked) == len(set(unmarked))
    assert {seq for seq, _ in found} <= wanted
    running.assert_nothing_left()

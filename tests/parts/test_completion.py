"""The completions in real shells, and the man page."""

import os
import shutil
import subprocess
import sys

import pytest

from mpengine import cli
from mpengine.cli.completion import script
from mpengine.cli.man import man_page
from tests.rig.waiting import scaled

# Calls the function that bash would call, with the words of a command line of which the last one is not whole.
IN_BASH = """
source "$1"
function=$(complete -p mpengine | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(mpengine "${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMPREPLY=()
"$function" mpengine "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The paths of the scripts, by shell."""
    directory = tmp_path_factory.mktemp("completion")
    paths = {shell: directory / shell for shell in ("bash", "zsh", "fish")}
    for shell, path in paths.items():
        path.write_text(script(shell))
    return paths


def output(words, **environment):
    done = subprocess.run(
        words, env=os.environ | environment, capture_output=True, text=True, timeout=scaled(30), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def need(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_its_script(scripts, shell):
    need(shell)
    assert output([shell, "-n", str(scripts[shell])]) == ""


@pytest.fixture
def engines(tmp_path):
    for name in ("desk", "door"):
        (tmp_path / "mpengine" / name).mkdir(parents=True)
    (tmp_path / "mic.toml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["st"], {"status", "stop"}),
        (["status", "--na"], {"--name"}),
        (["status", "--name", ""], {"desk", "door"}),
        (["pause", "--name", "de"], {"desk"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["help", "con"], {"configuration"}),
    ],
)
def test_bash_completes_commands_options_engines_and_topics(scripts, engines, words, completed):
    need("bash")
    said = output(["bash", "-c", IN_BASH, "bash", str(scripts["bash"]), *words], XDG_RUNTIME_DIR=str(engines))
    assert set(said.split()) == completed


def test_bash_completes_files(scripts, engines):
    need("bash")
    words = ["run", "--config", str(engines / "mi")]
    said = output(["bash", "-c", IN_BASH, "bash", str(scripts["bash"]), *words])
    assert said.split() == [str(engines / "mic.toml")]


@pytest.mark.parametrize(
    ("words", "completed"),
    [("st", {"status", "stop"}), ("status --name ", {"desk", "door"}), ("help con", {"configuration"})],
)
def test_fish_completes_them_too(scripts, engines, words, completed):
    need("fish")
    command = f"source {scripts['fish']}; complete -C 'mpengine {words}'"
    said = output(["fish", "--no-config", "-c", command], XDG_RUNTIME_DIR=str(engines), HOME=str(engines))
    assert {line.split("\t")[0] for line in said.splitlines()} == completed


def test_without_shtab_the_command_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    said = capsys.readouterr().err
    assert said == "mpengine: shtab is not installed; pip install 'mpengine-stt[completion]' installs it\n"


# The man page


def test_the_man_page_has_the_help_of_each_command(capsys):
    assert cli.main(["help", "--man"]) == 0
    page = capsys.readouterr().out
    assert page == man_page(sorted(path for path in cli.module_of("help").topics()))
    assert [line.split()[-1] for line in page.splitlines() if line.startswith(".SS")] == list(cli.COMMANDS)
    assert r"\-\-client\-key FILE" in page
    assert not any(line.startswith("'") for line in page.splitlines())


def test_groff_has_nothing_to_complain_of(tmp_path):
    need("groff")
    path = tmp_path / "mpengine.1"
    path.write_text(man_page(["wire"]))
    assert "MPENGINE(1)" in output(["groff", "-man", "-ww", "-Tutf8", str(path)])

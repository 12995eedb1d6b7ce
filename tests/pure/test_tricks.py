"""The switch for the tricks of starting: in fresh interpreters, as it is read once."""

import pytest

from mpengine.processes.tricks import Trick, named_in
from mpengine.shared.errors import ConfigError, ExitCode
from tests.pure.support import in_fresh_interpreter


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", set()),
        ("zygote", {Trick.ZYGOTE}),
        (" give_back , zygote,", {Trick.ZYGOTE, Trick.GIVE_BACK}),
        (",".join(Trick), set(Trick)),
    ],
)
def test_a_list_names_the_tricks_that_are_left_out(text, named):
    assert named_in(text) == named


def test_a_word_that_is_no_trick_is_an_error_that_says_which_there_are():
    with pytest.raises(ConfigError, match="MPENGINE_WITHOUT: no trick is called zigote; there are zygote, ") as raised:
        named_in("give_back,zigote")
    assert raised.value.exit_code == ExitCode.CONFIG


_USED = """
import os, sys
os.environ["MPENGINE_WITHOUT"] = sys.argv[1]
from mpengine.processes import tricks
print(*(trick for trick in tricks.Trick if tricks.is_used(trick)))
"""


@pytest.mark.parametrize("trick", Trick)
def test_each_one_is_left_out_alone(trick):
    assert set(in_fresh_interpreter(_USED, trick).split()) == set(Trick) - {trick}


def test_without_the_variable_all_are_used():
    code = """
from mpengine.processes import tricks
print(all(map(tricks.is_used, tricks.Trick)))
"""
    assert in_fresh_interpreter(code) == "True\n"

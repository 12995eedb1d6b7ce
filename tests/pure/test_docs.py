"""README and the pages of the reference: short enough, whole, and complete where code can tell."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

import mpengine
from mpengine import dialects
from mpengine.cli.help import subject, topics
from mpengine.shared import messages
from mpengine.shared.config import Config
from mpengine.supervisor.decide.child_life import ChildState
from tests.rig.reference import with_tables

ROOT = Path(mpengine.__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "mpengine" / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`([a-z_]+(?:/[a-z_]+)*(?:/|/[a-z_]+(?:\.[a-z]+)?))[` ]")


def _page(topic):
    return (ROOT / "mpengine" / "docs" / f"{topic}.md").read_text(encoding="utf-8")


def _section(page, heading):
    """What stands under `heading`, up to the next heading of its rank or above."""
    rank = heading.partition(" ")[0]
    _, found, rest = page.partition(f"\n{heading}\n")
    assert found, heading
    return re.split(rf"\n#{{1,{len(rank)}}} ", rest)[0]


def _first_cells(text):
    """The code words in the first column of the tables in `text`."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return [word for cell in rows for word in re.findall(r"`([^`]+)`", cell)]


# README


def test_the_readme_is_a_face_and_no_reference():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 160


def test_the_two_commands_can_be_copied():
    assert "```\nscripts/demo\nscripts/test\n```" in README.read_text(encoding="utf-8")


def test_the_readme_names_each_page():
    links = LINK.findall(README.read_text(encoding="utf-8"))
    assert {link for link in links if link.startswith("mpengine/docs/")} == {
        f"mpengine/docs/{page.name}" for page in PAGES
    }


# All pages


def test_the_topics_of_help_are_the_pages():
    assert topics() == [page.stem for page in PAGES]
    assert set(topics()) >= {"captions", "changes", "configuration", "costs", "development", "engine", "failures"}


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.name)
def test_each_link_leads_to_a_file(path):
    links = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (path.parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.name)
def test_each_path_of_the_repository_that_a_page_names_is_there(path):
    named = [word.rstrip("/") for word in PATH.findall(path.read_text(encoding="utf-8"))]
    package = ROOT / "mpengine"
    folders = {folder.name for place in (ROOT, package) for folder in place.iterdir() if folder.is_dir()}
    ours = [word for word in named if word.partition("/")[0] in folders]
    assert [word for word in ours if not ((ROOT / word).exists() or (package / word).exists())] == []


def test_the_development_page_names_paths():
    assert {"shared/config_tables.py", "supervisor/decide/"} <= set(PATH.findall(_page("development")))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_begins_with_its_heading_and_one_sentence_about_it(path):
    heading, empty, sentence, *_ = path.read_text(encoding="utf-8").splitlines()
    assert heading.casefold() == f"# {path.stem}"
    assert empty == ""
    assert subject(path.read_text(encoding="utf-8")) == sentence


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.name)
def test_no_line_but_those_of_tables_is_too_long_for_an_editor(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


# Wire


def _fields(kind):
    return {field.name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("kind", messages.Published.__args__, ids=lambda kind: kind.__name__)
def test_the_wire_page_has_each_field_of_each_published_type(kind):
    tag = kind.__struct_config__.tag
    page = _page("wire")
    section = next(part for part in page.split("\n### ") if f"`{tag}`" in part.splitlines()[0])
    named = set(re.findall(r"`([a-z_]+)`", section))
    assert _fields(kind) - _fields(messages.Stamped) - named == set()


def test_the_wire_page_has_the_fields_of_all_messages_in_order():
    assert _first_cells(_section(_page("wire"), "## A published message")) == [
        "type",
        *(field.name for field in msgspec.structs.fields(messages.Stamped)),
    ]


def test_the_wire_page_has_each_field_of_words_children_and_their_usage():
    page = _page("wire")
    wanted = (messages.Word, messages.ChildStatus, messages.ChildMetrics, messages.ChildAnswer, messages.StatusAnswer)
    named = set(re.findall(r"`([a-z_]+)`", page))
    assert {field for kind in wanted for field in _fields(kind)} - named == set()


def test_the_wire_page_has_each_question():
    questions = {kind.__struct_config__.tag for kind in messages.Command.__args__}
    section = _section(_page("wire"), "## Questions and answers")
    assert set(re.findall(r'^\| `\{"type":"([a-z_]+)"', section, re.MULTILINE)) == questions


def test_the_wire_page_has_each_state_of_a_child():
    table = _section(_page("wire"), "### `status`").partition("| child's `state` |")[2]
    named = _first_cells(table)
    assert named == [state.value for state in ChildState]


# Failures


def test_the_failures_page_has_each_code_that_mpengine_gives():
    named = _first_cells(_section(_page("failures"), "## Error codes"))
    assert [code.value for code in messages.ErrorCode if code not in named] == []


@pytest.mark.slow
def test_no_code_stands_in_the_source_as_text():
    """They are words of `ErrorCode`; a recogniser's own codes come from its messages."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "mpengine").rglob("*.py")]
    calls = [(ast.unparse(node.func), node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    given = [keyword.value for _, call in calls for keyword in call.keywords if keyword.arg == "code"]
    given += [call.args[0] for name, call in calls if name == "Cause"]
    given += [call.args[1] for name, call in calls if name == "error"]
    assert len(given) > 20
    assert [value.value for value in given if isinstance(value, ast.Constant)] == []


@pytest.mark.parametrize(
    ("heading", "words"),
    [("### `gap`", messages.GapReason), ("### `status`", messages.EngineState), ("### `error`", messages.ErrorKind)],
)
def test_the_wire_page_has_each_word_of_an_enumeration(heading, words):
    named = re.findall(r"`([a-z_]+)`", _section(_page("wire"), heading))
    assert [word.value for word in words if word not in named] == []


# Configuration


def test_the_tables_of_the_configuration_page_are_those_of_the_code():
    assert with_tables(_page("configuration")) == _page("configuration"), "run scripts/reference"


def test_the_tables_are_written_anew_whatever_stands_there():
    page = _page("configuration")
    spoilt = re.sub(r"^\| `.*\n", "", page, flags=re.MULTILINE)
    assert "`block_ms` |" not in spoilt
    assert with_tables(spoilt) == page


def test_the_configuration_page_has_each_key():
    page = _page("configuration")
    for table in msgspec.structs.fields(Config):
        kinds = [dialects.kind(mode) for mode in dialects.MODES] if table.name == "remote" else [table.type]
        keys = {field.name for kind in kinds for field in msgspec.structs.fields(kind)}
        assert keys <= set(_first_cells(_section(page, f"## [{table.name}]")))


# Security


def test_each_threat_names_tests_that_are_there():
    rows = [line.split("|") for line in _section(_page("security"), "## Threats and limits").splitlines()]
    rows = [row for row in rows if len(row) > 1 and not row[1].startswith((" threat", " ---", " **"))]
    assert len(rows) > 40
    for _, threat, _, tests, _ in rows:
        named = re.findall(r"`(tests/[a-z_/]+\.py)(?:::(test_[a-z0-9_]+))?`", tests)
        assert named, threat
        assert len(named) == tests.count("`") // 2, tests
        for path, function in named:
            assert f"\ndef {function or 'test_'}" in (ROOT / path).read_text(encoding="utf-8"), (path, function)

"""README and the pages of the reference: short enough, whole, and complete where code can tell."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

import mpengine
from mpengine.cli.help import subject, topics
from mpengine.dialects import causes
from mpengine.shared import messages, tables
from mpengine.shared.config import Config
from mpengine.supervisor.decide.life import ChildState

ROOT = Path(mpengine.__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "mpengine" / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


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
    assert _fields(kind) - _fields(messages.Message) - named == set()


def test_the_wire_page_has_the_fields_of_all_messages_in_order():
    assert _first_cells(_section(_page("wire"), "## A published message")) == [
        "type",
        *(field.name for field in msgspec.structs.fields(messages.Message)),
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
    named = [word for word in _first_cells(_section(_page("wire"), "### `status`")) if word.isupper()]
    assert named == [state.value for state in ChildState]


# Failures


def test_the_failures_page_has_each_code_for_a_refusal_and_a_close():
    codes = _first_cells(_section(_page("failures"), "### From streaming"))
    refused = {causes.refused(status, "", "", None).code for status in (400, 401, 402, 403, 404, 405)}
    closed = {causes.closed(code, "", None).code for code in (1002, 1003, 1007, 1008)}
    assert refused | closed | {causes.lost("").code} <= set(codes)


def _codes_in_the_code():
    """The codes of errors that stand in the source as they are."""
    calls = [
        node
        for path in (ROOT / "mpengine").rglob("*.py")
        if not {"cli", "embedded", "client"} & set(path.parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    given = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "code"]
    given += [call.args[1] for call in calls if ast.unparse(call.func) == "error" and len(call.args) > 1]
    return {value.value for value in given if isinstance(value, ast.Constant)}


def test_the_failures_page_has_each_code_that_stands_in_the_source():
    codes = _codes_in_the_code()
    assert codes >= {"digital_silence", "journal_full", "crash", "hung", "unconfirmed_end"}
    assert codes <= set(_first_cells(_section(_page("failures"), "## Error codes")))


# Configuration


@pytest.mark.parametrize("table", msgspec.structs.fields(Config), ids=lambda table: table.name)
def test_the_configuration_page_has_each_key_in_order(table):
    keys = [field.name for field in msgspec.structs.fields(table.type)]
    rows = _section(_page("configuration"), f"## [{table.name}]").splitlines()
    assert [row.split("`")[1] for row in rows if row.startswith("| `")] == keys


@pytest.mark.parametrize("table", msgspec.structs.fields(Config), ids=lambda table: table.name)
def test_the_configuration_page_has_the_default_of_each_key(table):
    rows = _section(_page("configuration"), f"## [{table.name}]").splitlines()
    told = {row.split("`")[1]: row.split("|")[2].strip() for row in rows if row.startswith("| `")}
    for field in msgspec.structs.fields(table.type):
        match field.default:
            case bool():
                assert told[field.name] == f"`{str(field.default).lower()}`"
            case int() | float():
                assert told[field.name] == f"`{field.default}`"
            case str() if field.default:
                assert told[field.name] == f'`"{field.default}"`'
            case _:  # none, or one that depends on the machine
                assert "`" not in told[field.name]


def test_the_configuration_page_has_each_secret_with_its_variable():
    section = _section(_page("configuration"), "## Secrets")
    for (table, key), variable in tables.SECRETS.items():
        assert f"`{table}.{key}`" in section
        assert f"`{key}_file`" in section
        assert f"`{variable}`" in section

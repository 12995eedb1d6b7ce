"""`mpengine keys`: the files that it makes, and that a bus and its clients can use them."""

import os
import re
import stat
import tomllib

import pytest
import zmq

from mpengine.cli import main
from mpengine.shared.config import Config


def made(capsys, *arguments):
    assert main(["keys", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def table_of(said):
    """The lines for the configuration."""
    lines = [line.strip() for line in said.splitlines() if line.startswith("    ") and "export" not in line]
    return tomllib.loads("\n".join(lines))


def test_the_secret_halves_are_in_files_for_their_owner_and_the_public_halves_on_the_screen(tmp_path, capsys):
    said = made(capsys, tmp_path)
    secrets = {}
    for name in ("server", "client"):
        path = tmp_path / f"{name}.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        secrets[name] = path.read_bytes().strip()
        assert len(secrets[name]) == 40
        assert secrets[name].decode() not in said
    (server,) = re.findall(r"MPENGINE_CURVE_SERVER_KEY='(.{40})'", said)
    assert server.encode() == zmq.curve_public(secrets["server"])
    assert table_of(said)["bus"]["curve_clients"] == [zmq.curve_public(secrets["client"]).decode()]


def test_the_printed_lines_are_a_configuration(tmp_path, capsys):
    table = table_of(made(capsys, tmp_path))["bus"]
    file = tmp_path / "mic.toml"
    lines = [f"{key} = {value!r}" for key, value in table.items()]
    file.write_text("[remote]\nmode = 'local'\n[bus]\ncommand = 'tcp://*:5557'\n" + "\n".join(lines))
    bus = Config.load(file).bus
    assert bus.curve_clients == tuple(table["curve_clients"])
    assert bus.curve_secret_key.reveal() == (tmp_path / "server.key").read_text().strip()


def test_one_more_client_gets_a_file_of_its_own(tmp_path, capsys):
    said = made(capsys, tmp_path, "--client", "kitchen")
    assert os.listdir(tmp_path) == ["kitchen.key"]
    public = zmq.curve_public((tmp_path / "kitchen.key").read_bytes().strip()).decode()
    assert f'"{public}"' in said


def test_a_key_in_use_is_not_replaced_and_nothing_is_made_beside_it(tmp_path, capsys):
    (tmp_path / "client.key").write_text("in use")
    assert main(["keys", str(tmp_path)]) == 1
    assert "client.key exists" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"client.key": "in use"}


@pytest.mark.parametrize("name", ["../up", "", "a b", "x" * 65])
def test_a_name_that_is_no_file_is_a_configuration_error(tmp_path, capsys, name):
    assert main(["keys", str(tmp_path), "--client", name]) == 2
    assert capsys.readouterr().err == "mpengine: --client: expected 1 to 64 of A-Z a-z 0-9 _ -\n"


def test_a_folder_that_is_not_there_is_an_error_of_one_line(tmp_path, capsys):
    assert main(["keys", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == (
        f"mpengine: there is no directory {tmp_path}/none; first: mkdir -m 700 {tmp_path}/none\n"
    )

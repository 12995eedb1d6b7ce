"""The printed units: what must stand in them, whose they are, and that every path arrives as it is."""

import os
import re
import shlex
import sys

import pytest

from mpengine import cli
from mpengine.cli import service
from mpengine.shared.config import secrets
from mpengine.shared.config_tables import SupervisorConfig
from mpengine.shared.errors import ExitCode


def read(text):
    """The settings of a unit: {section: {key: [values]}}. Raises ValueError for a line that is nothing."""
    sections = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            section.setdefault(key, []).append(value)
    return sections


def unit(*, is_user=False, config="/etc/mpengine/mic.toml", name=None):
    return read(service.unit(is_user=is_user, config=config, name=name))


def command(section):
    """ExecStart as systemd understands it: shell quotes, then $$ and %%."""
    (line,) = section["ExecStart"]
    return [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]


@pytest.fixture(params=[False, True], ids=["system", "user"])
def is_user(request):
    return request.param


def test_both_units_have_their_three_sections(is_user):
    assert unit(is_user=is_user).keys() == {"Unit", "Service", "Install"}


def test_every_line_is_a_comment_a_section_or_a_setting(is_user):
    for line in service.unit(is_user=is_user, config="/x/mic.toml", name="a").splitlines():
        assert re.fullmatch(r"|#.*|\[\w+\]|[A-Z]\w+=.*", line)
        assert len(line) <= 120 or "=" in line
        assert not re.search(r"[{}]", line)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Restart", "on-failure"),
        ("KillMode", "mixed"),
        ("MemoryMax", "512M"),
        ("OOMPolicy", "continue"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("LockPersonality", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ],
)
def test_both_units_say(is_user, key, value):
    assert unit(is_user=is_user)["Service"][key] == [value]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", "audio"),
        ("DevicePolicy", "closed"),
        ("DeviceAllow", "char-alsa rw"),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
        ("UMask", "0077"),
        ("RuntimeDirectory", "mpengine"),
        ("RuntimeDirectoryMode", "0700"),
        ("Environment", "XDG_RUNTIME_DIR=%t/mpengine"),
        ("LoadCredential", list(secrets().values())),
    ],
)
def test_the_unit_of_the_machine_says(key, value):
    assert unit()["Service"][key] == (value if isinstance(value, list) else [value])


def test_the_unit_of_a_user_has_only_what_a_user_may_ask_for():
    of_machines = unit()["Service"].keys() - unit(is_user=True)["Service"].keys()
    assert {"DynamicUser", "RuntimeDirectory", "ProtectSystem", "DeviceAllow", "LoadCredential"} <= of_machines


def test_what_waits_for_its_result_survives_a_stop():
    assert unit()["Service"]["RuntimeDirectoryPreserve"] == ["yes"]
    # The files of a run are taken up only with the boot id, which stands in /proc/sys.
    assert "ProcSubset" not in unit()["Service"]


@pytest.mark.parametrize("key", ["PrivateDevices", "MemoryDenyWriteExecute", "PrivateNetwork"])
def test_what_the_engine_needs_is_not_taken_away(is_user, key):
    assert key not in unit(is_user=is_user)["Service"]


def test_only_a_wrong_configuration_is_not_tried_again(is_user):
    section = unit(is_user=is_user)["Service"]
    assert section["RestartPreventExitStatus"] == [f"{ExitCode.CONFIG:d}"]
    assert " mpengine run --wait --config " in section["ExecStart"][0]
    assert unit(is_user=is_user)["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_systemd_is_more_patient_than_the_engine(is_user):
    section, engine = unit(is_user=is_user)["Service"], SupervisorConfig()
    assert int(section["TimeoutStopSec"][0]) > engine.stop_limit_s
    assert int(section["TimeoutStartSec"][0]) > engine.first_frame_limit_s
    assert int(section["WatchdogSec"][0]) > engine.hang_limit_s


@pytest.mark.parametrize(("of_user", "target"), [(False, "multi-user.target"), (True, "default.target")])
def test_it_starts_with_the_machine_or_the_user(of_user, target):
    assert unit(is_user=of_user)["Install"]["WantedBy"] == [target]


# The command


def test_it_runs_this_installation_with_absolute_paths():
    assert command(unit()["Service"]) == [
        sys.executable, "-P", "-m", "mpengine", "run", "--wait", "--config", "/etc/mpengine/mic.toml",
    ]  # fmt: skip
    assert os.path.isabs(sys.executable)


def test_a_name_goes_to_the_engine_and_into_what_is_the_units_own():
    section = unit(name="kitchen_2")["Service"]
    assert command(section)[-1:] == ["--name=kitchen_2"]
    assert section["RuntimeDirectory"] == ["mpengine-kitchen_2"]
    assert section["Environment"] == ["XDG_RUNTIME_DIR=%t/mpengine-kitchen_2"]


@pytest.mark.parametrize(
    "path", ["/x/my mic.toml", '/x/"q".toml', "/x/100%/$HOME.toml", "/x/back\\slash.toml", "/x/größe;.toml", "/x/#a"]
)
def test_a_path_arrives_as_it_is(is_user, path):
    assert command(unit(is_user=is_user, config=path)["Service"])[-1] == path


# The template


def template(*, is_user=False, config="/etc/mpengine/%i.toml"):
    return service.template(is_user=is_user, config=config)


def test_an_instance_of_the_template_has_a_configuration_a_name_and_files_of_its_own():
    section = read(template())["Service"]
    assert shlex.split(section["ExecStart"][0])[-3:] == ["--config", "/etc/mpengine/%i.toml", "--name=%i"]
    assert section["RuntimeDirectory"] == ["mpengine-%i"]
    assert section["Environment"] == ["XDG_RUNTIME_DIR=%t/mpengine-%i"]


def test_the_template_is_the_unit_of_one_engine_but_for_its_name(is_user):
    """With an instance in the place of %i; only the first lines, which say where it belongs, differ."""
    (*says, rest), (*_, single) = (
        text.partition("# The engine ")
        for text in (
            template(is_user=is_user).replace("%i", "desk"),
            service.unit(is_user=is_user, config="/etc/mpengine/desk.toml", name="desk"),
        )
    )
    assert rest == single
    assert "mpengine@.service" in says[0]
    assert "/etc/mpengine/desk.toml" in says[0]


def test_all_but_the_instance_is_quoted_in_a_template(is_user):
    section = read(template(is_user=is_user, config="/x/100% $HOME/%i.toml"))["Service"]
    assert '--config "/x/100%% $$HOME/%i.toml" --name=%i' in section["ExecStart"][0]


def test_a_template_without_a_place_for_the_instance_is_refused(capsys):
    assert cli.main(["service", "--template", "--config", "/etc/mic.toml"]) == ExitCode.CONFIG
    assert "/etc/mic.toml: with --template the path of the configuration needs %i" in capsys.readouterr().err


def test_a_template_has_the_name_of_its_instance(capsys):
    assert cli.main(["service", "--template", "--name", "desk"]) == ExitCode.CONFIG
    assert "--name" in capsys.readouterr().err


# Beside an engine


def beside(command="record", *options, is_user=False, **more):
    return read(service.beside(command, options, is_user=is_user, **({"name": None} | more)))


def test_a_unit_beside_the_engine_is_tied_to_the_engines(is_user):
    found = beside(is_user=is_user)
    assert found["Unit"]["BindsTo"] == found["Unit"]["PartOf"] == ["mpengine.service"]
    assert found["Install"]["WantedBy"] == ["mpengine.service"]
    # Behind the engine's end, at which the last results and the last audio come.
    assert found["Unit"]["Before"] == ["mpengine.service"]
    assert "After" not in found["Unit"]


def test_a_unit_beside_the_engine_has_the_engines_sandbox(is_user):
    engine, found = unit(is_user=is_user)["Service"], beside(is_user=is_user)["Service"]
    kinds = ("Protect", "Restrict", "SystemCall", "Private", "Capab", "Dynamic")
    closed = {key for key in engine if key.startswith(kinds) and key != "RestartPreventExitStatus"}
    assert len(closed) >= (7 if is_user else 15)
    assert {key: found[key] for key in closed} == {key: engine[key] for key in closed}
    assert found["NoNewPrivileges"] == ["yes"]
    assert "DeviceAllow" not in found
    assert "LoadCredential" not in found  # the recogniser's keys are none of its business


@pytest.mark.parametrize(("name", "label"), [(None, "mpengine"), ("desk", "mpengine-desk")])
def test_it_is_of_the_engines_user_and_in_the_engines_directory(name, label):
    found = beside(name=name)["Service"]
    assert found["User"] == [label]  # that of a unit of this name with DynamicUser
    assert found["Environment"][0].startswith(f"XDG_RUNTIME_DIR=%t/{label} ")
    assert found["StateDirectory"] == [f"{label}.record"]
    assert f"record {'' if name is None else '--name=desk '}--output=%S/{label}.record" in found["ExecStart"][0]


def test_a_relays_certificate_and_key_are_credentials_of_its_unit():
    options = ("--to", "tls://broker", "--cert-file", "/etc/a.pem", "--key-file=/etc/b.pem")
    found = beside("relay", *options)["Service"]
    assert found["LoadCredential"] == ["cert-file:/etc/a.pem", "key-file:/etc/b.pem"]
    assert found["ExecStart"][0].endswith("--cert-file=%d/cert-file --key-file=%d/key-file")


def test_an_instance_beside_an_instance():
    text = service.beside("web", ["--listen", "127.0.0.1:0"], is_user=False, name=None, is_template=True)
    found = read(text)
    assert text.startswith("# /etc/systemd/system/mpengine.web@.service\n")
    assert found["Unit"]["BindsTo"] == found["Install"]["WantedBy"] == ["mpengine@%i.service"]
    assert found["Service"]["User"] == ["mpengine"]  # that of all instances
    assert found["Service"]["Environment"][0].startswith("XDG_RUNTIME_DIR=%t/mpengine-%i ")
    assert " web --name=%i --listen " in found["Service"]["ExecStart"][0]


def test_its_options_arrive_as_they_are(is_user):
    options = ["--keep-days", "3", "--client-key", "/x/100% $a.key"]
    (line,) = beside("record", *options, is_user=is_user)["Service"]["ExecStart"]
    assert " --keep-days 3 " in line
    assert line.endswith('"--client-key=/x/100%% $$a.key"' if is_user else "--client-key=%d/client-key")


def test_files_that_options_name_are_credentials():
    for options in (["--token-file", "/srv/a token"], ["--token-file=/srv/a token"]):
        section = beside("web", *options)["Service"]
        assert section["LoadCredential"] == ['token-file:"/srv/a token"']
        assert section["ExecStart"][0].endswith(" web --token-file=%d/token-file")


def test_a_user_may_say_where_recordings_go(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    section = beside("record", "--output", "tapes", is_user=True)["Service"]
    assert command(section)[-1] == f"--output={tmp_path}/tapes"


def test_every_line_beside_is_a_comment_a_section_or_a_setting(is_user):
    for line in service.beside("record", [], is_user=is_user, name="a" * 22).splitlines():
        assert re.fullmatch(r"|#.*|\[\w+\]|[A-Z]\w+=.*", line)
        assert len(line) <= 120 or "=" in line
        assert not re.search(r"[{}]", line)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--for", "record", "--", "--output", "/srv"], "leave out|below /var/lib"),
        (["--for", "record", "--name", "a" * 23], "use --template"),
        (["--for", "record", "--name", "a b"], "engine.name"),
        (["--", "--keep-days", "3"], "need --for"),
        (["--for", "web", "--", "--token-file", "a\nb"], "cannot stand in a unit"),
    ],
)
def test_what_cannot_be_beside_is_refused_in_one_line(capsys, arguments, says):
    assert cli.main(["service", *arguments]) == ExitCode.CONFIG
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert re.search(says, err)


def test_options_that_the_command_does_not_take_are_refused(capsys):
    assert cli.main(["service", "--for", "record", "--", "--nonsense"]) == ExitCode.CONFIG
    assert "record: unknown option --nonsense" in capsys.readouterr().err


# Homes

# Places of nobody here, but in the folders of all homes: that is what the unit looks at.
IN_A_HOME, IN_ROOTS_HOME = "/home/somebody", "/root"


def homes(monkeypatch, *, prefix, config):
    monkeypatch.setattr(service, "_installation", lambda: [prefix, "/usr"])
    return unit(config=config)["Service"]


def test_homes_are_closed_when_nothing_is_there(monkeypatch):
    section = homes(monkeypatch, prefix="/opt/mpengine/.venv", config="/etc/mpengine/mic.toml")
    assert section["ProtectHome"] == ["yes"]
    assert "BindReadOnlyPaths" not in section


def test_of_a_home_only_what_is_needed_is_seen(monkeypatch):
    section = homes(monkeypatch, prefix=f"{IN_A_HOME}/mpengine/.venv", config=f"{IN_ROOTS_HOME}/my: 5% $x.toml")
    assert section["ProtectHome"] == ["tmpfs"]
    assert section["BindReadOnlyPaths"] == [f"{IN_A_HOME}/mpengine/.venv", f'"{IN_ROOTS_HOME}/my\\: 5%% $x.toml"']


def test_a_folder_that_is_only_called_like_a_home_is_none(monkeypatch):
    assert homes(monkeypatch, prefix="/homes/x", config="/rooted")["ProtectHome"] == ["yes"]


@pytest.mark.parametrize("words", [(), ("--for", "web")], ids=["engine", "beside"])
@pytest.mark.parametrize(
    ("prefix", "option", "why"),
    [
        ("/tmp/mpengine/.venv", "--system", "the unit does not see that folder (PrivateTmp)"),
        ("/var/tmp/mpengine/.venv", "--user", "the machine removes old files there"),
        ("/tmpfiles/mpengine/.venv", "--system", None),
    ],
)
def test_an_installation_among_temporary_files_is_told(capsys, monkeypatch, words, prefix, option, why):
    monkeypatch.setattr(service, "_installation", lambda: [prefix, "/usr"])
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc")
    assert cli.main(["service", option, *words]) == 0
    unit, told = capsys.readouterr()
    assert unit.startswith("# ")
    advice = "put it elsewhere, and make the unit again"
    assert told == (f"mpengine: {prefix} is not for a service, because {why}: {advice}\n" if why else "")


def test_the_installation_is_this_one():
    assert {sys.prefix, os.path.dirname(service.__file__).removesuffix("/cli")} <= set(service._installation())


# The command line


def printed(capsys, *arguments):
    assert cli.main(["service", *arguments]) == 0
    return capsys.readouterr().out


def test_the_unit_of_the_machine_is_printed_unless_a_users_is_asked_for(capsys):
    assert printed(capsys) == printed(capsys, "--system")
    assert "DynamicUser" in printed(capsys)
    assert "DynamicUser" not in printed(capsys, "--user")


def test_a_relative_config_is_meant_from_here(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    section = read(printed(capsys, "--config", "mic.toml"))["Service"]
    assert command(section)[-1] == str(tmp_path / "mic.toml")


def test_without_a_config_it_is_the_usual_one(capsys, monkeypatch):
    monkeypatch.setenv("HOME", "/srv/h")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert command(read(printed(capsys))["Service"])[-1] == "/etc/mpengine/mic.toml"
    assert command(read(printed(capsys, "--user"))["Service"])[-1] == "/srv/h/.config/mpengine/mic.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/srv/h/settings")
    assert command(read(printed(capsys, "--user"))["Service"])[-1] == "/srv/h/settings/mpengine/mic.toml"


@pytest.mark.parametrize(
    "arguments", [("--name", "a b"), ("--name", ""), ("--name", "x\n[Service]"), ("--config", "a\nb")]
)
def test_what_cannot_stand_in_a_unit_is_refused_in_one_line(capsys, arguments):
    assert cli.main(["service", *arguments]) == ExitCode.CONFIG
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)

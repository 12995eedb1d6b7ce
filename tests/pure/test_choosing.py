"""Which microphone is meant."""

import tomllib
import unicodedata

import msgspec
import pytest

from mpengine.capture.choosing import Choice, choices, choose, led, moved
from mpengine.capture.inventory import Holder, Input, Pcm, Present, ServerSource, Way, known
from mpengine.shared.errors import DeviceError, ExitCode

BUILT_IN = Input(0, "Built-in Audio", "ALSA", 2, 44100)
USB = Input(2, "USB PnP Sound Device: Audio (hw:1,0)", "ALSA", 1, 48000)
YETI = Input(3, "Yeti Größe L", "ALSA", 2, 48000)
PULSE = Input(5, "pulse", "ALSA", 32, 44100)
DEFAULT = Input(6, "default", "ALSA", 32, 44100, is_default=True)
PIPEWIRE = Input(8, "pipewire", "ALSA", 64, 48000)
PULSE_JACK = Input(9, "pulse", "JACK", 32, 44100)
ALL = [BUILT_IN, USB, YETI, PULSE, DEFAULT, PULSE_JACK]

MIC = "USB PnP Sound Device: Audio"
MIC_1 = Pcm(1, 0, "Device", MIC, "usb-0000:00:14.0-1")
MIC_2 = Pcm(2, 0, "Device_1", MIC, "usb-0000:00:14.0-2")
CAMERA = Pcm(3, 0, "C920", "USB Camera: Audio", "usb-0000:00:14.0-3")

DESK = ServerSource("alsa_input.usb-C-Media.mono", "USB PnP Sound Device Mono", 1, 48000, card=1)
HEADSET = ServerSource("bluez_input.00_11", "Kopfhörer", 1, 16000, is_default=True)
MONITOR = ServerSource("alsa_output.hdmi.monitor", "Monitor of HDMI", 2, 48000, is_monitor=True)


def listed(pcm, number, device=None):
    """`pcm` as PortAudio lists it."""
    return Input(number, f"{pcm.name} (hw:{pcm.card},{pcm.device})", "ALSA", 1, 48000)


def plugged(*pcms, hidden=(), server="", sources=(), others=(DEFAULT,)):
    """Cards that PortAudio opens, and hidden ones."""
    inputs = [listed(pcm, number) for number, pcm in enumerate(pcms)]
    return Present([*inputs, *others], [*pcms, *hidden], sources, server)


def refused(wanted, present, remembered=""):
    """The words of the refusal."""
    with pytest.raises(DeviceError) as caught:
        choose(wanted, remembered, present)
    return str(caught.value)


def names(present):
    return [one.name for one in known(present)]


def test_a_misspelt_name_is_answered_with_the_one_that_was_meant():
    assert refused("Yetti", Present(ALL)).endswith('; did you mean "Yeti Größe L"?')
    assert refused("usb pnp sond", plugged(MIC_1, CAMERA)).endswith(f'; did you mean "{MIC}"?')
    for other in ("Jabra", 9, "hw:CARD=Devic", f"{CAMERA.name} [usb-1]"):
        assert "did you mean" not in refused(other, plugged(MIC_1, CAMERA))


# By name, number and default


@pytest.mark.parametrize(
    ("wanted", "device"),
    [
        (None, DEFAULT),
        (0, BUILT_IN),
        (3, YETI),
        ("Built-in Audio", BUILT_IN),
        ("built-in AUDIO", BUILT_IN),
        ("usb pnp", USB),
        ("USB PnP Sound Device: Audio", USB),
        ("USB PnP Sound Device: Audio (hw:1,0)", USB),
        ("USB PnP Sound Device: Audio (hw:7,0)", USB),
        ("hw:1,0", USB),
        ("YETI GRÖSSE", YETI),
        (unicodedata.normalize("NFD", "Yeti Größe"), YETI),
        ("pulse", PULSE),
        ("default", DEFAULT),
    ],
)
def test_a_device_is_meant_by_default_index_name_or_part_of_a_name(wanted, device):
    assert choose(wanted, "", Present(ALL)).number == device.number


def test_a_whole_name_wins_over_a_part_of_another():
    short, long = Input(0, "USB", "ALSA", 1, 48000), Input(1, "USB Microphone", "ALSA", 1, 48000)
    assert choose("usb", "", Present([long, short])).number == short.number


def test_the_printed_name_has_no_number_of_a_card_and_is_found():
    choice = choose("usb", "", Present(ALL))
    assert choice.name == "USB PnP Sound Device: Audio"
    assert choice[:4] == choose(choice.name, "", Present(ALL))[:4]


def test_without_a_default_no_other_device_is_taken():
    hidden = CAMERA._replace(holder=Holder(812, "arecord"))
    words = refused(None, plugged(MIC_1, hidden=[hidden], others=(), server="no sound server answers"))
    assert 'there is no default audio input device: ALSA\'s "default" takes no audio' in words
    assert '"USB Camera: Audio": it is busy: PID 812 (arecord) has it open; no sound server answers' in words
    assert words.endswith(f"; write under [audio]: device = '{MIC}'")
    words = refused(None, plugged(hidden=[hidden], others=(), server="no sound server answers"))
    assert words.endswith("no sound server answers)")  # nothing could be written that would help
    words = refused(None, plugged(MIC_1, CAMERA, others=()))
    assert words.endswith(
        f'; there are: "{MIC}", "{CAMERA.name}"; write under [audio]: device = \'{MIC}\', or another name'
    )
    # PortAudio calls its first entry the default where ALSA's is hidden.
    assert "no default" in refused(None, Present([YETI._replace(is_default=True)]))


@pytest.mark.parametrize(
    "name", ["USB Audio", "Ann's Mic", '"Studio"', '"Ann\'s"', "tab\tin it", r"back\slash \xff", "Größe", "日本"]
)
def test_the_line_to_write_into_the_configuration_means_that_microphone(name):
    present = plugged(MIC_1._replace(name=name), others=())
    line = refused(None, present).rpartition("; write under [audio]: ")[2]
    assert choose(tomllib.loads(line)["device"], "", present).name == name


def test_elsewhere_than_on_alsa_portaudio_says_which_is_the_default():
    macs = [Input(0, "Webcam", "Core Audio", 1, 48000), Input(1, "MacBook", "Core Audio", 1, 48000, is_default=True)]
    assert choose(None, "", Present(macs)).number == 1
    assert choose(["Jabra", "default"], "", Present(macs)).number == 1


@pytest.mark.parametrize("wanted", [1, -1, 99, "Blue Snowball", "2"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(wanted):
    words = refused(wanted, Present([BUILT_IN, USB]))
    assert repr(wanted) in words
    numbers = (" (number 2)", " (number 0)") if isinstance(wanted, int) else ("", "")
    assert '"USB PnP Sound Device: Audio"{}, "Built-in Audio"{}'.format(*numbers) in words


def test_a_part_that_fits_several_is_refused_with_those_it_fits():
    words = refused("audio", Present(ALL))
    assert words == (
        'audio.device \'audio\' fits several: "USB PnP Sound Device: Audio", "Built-in Audio"; name one of them'
    )


@pytest.mark.parametrize("wanted", [None, 0, "USB", ["USB"]])
def test_without_any_device_the_error_says_what_to_do(wanted):
    words = refused(wanted, Present([], server="no sound server answers at /run/user/1000/pulse/native"))
    assert words == (
        "there is no audio input device (no sound server answers at /run/user/1000/pulse/native); plug in a "
        "microphone, or set audio.source to a WAV file"
    )


def test_a_device_error_ends_the_command_with_3():
    assert DeviceError("x").exit_code == ExitCode.DEVICE == 3


# Equal names


def test_equal_names_are_told_apart_by_where_they_are_plugged_in():
    present = plugged(MIC_1, MIC_2)
    assert names(present)[:2] == [f"{MIC} [usb-0000:00:14.0-1]", f"{MIC} [usb-0000:00:14.0-2]"]
    assert "fits several" in refused("usb pnp", present)
    assert "fits several" in refused(MIC, present)
    for number, name in enumerate(names(present)[:2]):
        assert choose(name, "", present).number == number
    assert choose(f"{MIC} [device_1]", "", present).number == 1
    assert choose(f"{MIC} (hw:2,0)", "", present).number == 1


def test_the_mark_of_a_name_is_understood_when_the_other_one_is_away():
    assert choose(f"{MIC} [usb-0000:00:14.0-2]", "", plugged(MIC_2)).number == 0
    assert "no audio input device" in refused(f"{MIC} [usb-0000:00:14.0-1]", plugged(MIC_2))


def test_cards_without_a_socket_are_told_apart_by_their_ids_and_otherwise_by_their_numbers():
    a, b = MIC_1._replace(usb_path=""), MIC_2._replace(usb_path="")
    assert names(plugged(a, b))[:2] == [f"{MIC} [Device]", f"{MIC} [Device_1]"]
    bare = Present([listed(a, 0), listed(b, 1)])
    assert names(bare) == [f"{MIC} [hw:1,0]", f"{MIC} [hw:2,0]"]
    assert choose(names(bare)[1], "", bare).number == 1


def test_two_inputs_of_one_card_with_one_name_have_their_number_in_the_name():
    assert names(plugged(MIC_1, MIC_1._replace(device=2)))[:2] == [
        f"{MIC} [usb-0000:00:14.0-1,0]",
        f"{MIC} [usb-0000:00:14.0-1,2]",
    ]


# What was open before


@pytest.mark.parametrize("wanted", ["USB", MIC, 0, f"{MIC} (hw:1,0)", "hw:1,0"])
def test_what_was_open_is_meant_and_nothing_else_while_it_is_away(wanted):
    before = choose(wanted, "", plugged(MIC_1, others=()))
    twin = MIC_2._replace(card=1, card_id="Device")
    for others in [(CAMERA,), (twin,), (twin, CAMERA)]:
        words = refused(wanted, plugged(*others, others=()), before.identity)
        assert f'"{MIC} [usb-0000:00:14.0-1]", which was open before, is away' in words
    back = choose(wanted, before.identity, plugged(CAMERA, twin, MIC_1._replace(card=9)))
    assert back.number == 2
    assert back.identity == before.identity


def test_the_error_says_what_to_do_when_it_is_plugged_in_elsewhere():
    before = choose("USB", "", plugged(MIC_1))
    words = refused("USB", plugged(MIC_2), before.identity)
    name = f"{MIC} [usb-0000:00:14.0-2]"
    assert words.endswith(f'; if it is "{name}" now, set audio.device to that')
    assert choose(name, before.identity, plugged(MIC_2)).number == 0


def test_one_of_which_nothing_is_known_yet_is_not_the_one_that_was_open():
    mine = MIC_1._replace(card=5)
    before = choose("USB", "", plugged(MIC_1))
    assert "is away" in refused("USB", Present([listed(mine, 0)], [MIC_2]), before.identity)
    assert choose("USB", before.identity, plugged(mine)).number == 0


def test_with_a_serial_number_it_may_be_plugged_in_anywhere():
    mine, other = MIC_1._replace(serial="A1"), MIC_2._replace(serial="B2")
    before = choose("USB", "", plugged(mine))
    assert choose("USB", before.identity, plugged(other, mine._replace(usb_path="usb-0000:00:14.0-7"))).number == 1
    assert "is away" in refused("USB", plugged(other), before.identity)


def test_equal_serial_numbers_say_nothing():
    a, b = MIC_1._replace(serial="0"), MIC_2._replace(serial="0")
    before = choose(f"{MIC} [usb-0000:00:14.0-2]", "", plugged(a, b))
    assert choose("USB", before.identity, plugged(b)).number == 0
    before = choose("USB", "", plugged(b))
    assert choose("USB", before.identity, plugged(a, b)).number == 1


def test_cards_of_which_nothing_is_known_but_their_name_are_not_guessed():
    a, b = listed(MIC_1, 0), listed(MIC_2, 1)
    before = choose("USB", "", Present([a]))
    assert choose("USB", before.identity, Present([b])).number == 1
    assert "may be any of" in refused("USB", Present([a, b]), before.identity)


def test_a_whole_name_that_was_open_is_not_replaced_by_one_that_contains_it():
    d16, d16s = Input(0, "d16", "ALSA", 1, 16000), Input(1, "d16s", "ALSA", 1, 16000)
    before = choose("d16", "", Present([d16, d16s]))
    assert '"d16", which was open before, is away' in refused("d16", Present([d16s]), before.identity)
    assert choose("d16", "", Present([d16s])).number == 1


def test_the_default_is_the_default_again():
    before = choose(None, "", Present(ALL))
    assert "no default" in refused(None, Present([YETI]), before.identity)
    assert choose(None, before.identity, Present([YETI, DEFAULT])).number == DEFAULT.number


def test_another_wish_forgets_what_was_open():
    before = choose("USB", "", plugged(MIC_1))
    assert choose("Camera", before.identity, plugged(CAMERA)).number == 0
    assert choose(0, before.identity, plugged(CAMERA)).number == 0


@pytest.mark.parametrize("remembered", ["", "{", "[]", '{"\\"USB\\"": 3}', "\x00"])
def test_memory_that_cannot_be_read_is_none(remembered):
    assert choose("USB", remembered, plugged(MIC_1)).number == 0


def test_a_card_that_the_sound_server_has_taken_is_the_same_microphone():
    before = choose("USB", "", plugged(MIC_1))
    busy = MIC_1._replace(holder=Holder(700, "pulseaudio"))
    choice = choose("USB", before.identity, plugged(hidden=[busy], sources=[DESK, HEADSET], others=(PULSE,)))
    assert choice.source == DESK.name
    assert "PID 700 (pulseaudio)" in refused("USB", plugged(hidden=[busy], sources=[HEADSET]), before.identity)


# A list


def test_a_list_is_an_order_of_preference():
    present = plugged(CAMERA, MIC_1)
    assert [choice.name for choice in choices(["Jabra", MIC, "Camera", "default"], "", present)] == [
        MIC,
        CAMERA.name,
        "default",
    ]


def test_in_a_list_the_next_may_be_taken_and_the_better_one_is_taken_again():
    wanted = ["PnP", "Camera"]
    first = choose(wanted, "", plugged(MIC_1, CAMERA))
    second = choose(wanted, first.identity, plugged(CAMERA))
    assert (first.name, second.name) == (MIC, CAMERA.name)
    # The first entry still means the microphone that was open, and not the next one which fits.
    third = choose(wanted, second.identity, plugged(MIC_2, CAMERA))
    assert third.name == CAMERA.name
    assert choose(wanted, third.identity, plugged(MIC_2, CAMERA, MIC_1)).number == 2


def test_a_list_of_which_nothing_is_there_says_so_of_each():
    words = refused(["Jabra", 7], plugged(CAMERA))
    assert words.startswith("nothing of the list audio.device is there: 'Jabra': no audio input device 'Jabra'; ")
    assert "; 7: no audio input device 7; " in words
    assert refused(["Jabra"], plugged(CAMERA)).startswith("no audio input device 'Jabra'")


# ALSA names


@pytest.mark.parametrize(
    ("wanted", "number", "alsa_name"),
    [
        ("hw:CARD=Device", 0, None),
        ("hw:CARD=Device,DEV=0", 0, None),
        ("hw:Device,0", 0, None),
        ("hw:1", 0, None),
        ("plughw:CARD=Device", None, "plughw:CARD=Device"),
        ("plughw:CARD=Device,DEV=0", None, "plughw:CARD=Device,DEV=0"),
        ("plughw:1", None, "plughw:1,0"),
        ("front:CARD=Device,DEV=0", None, "front:CARD=Device,DEV=0"),
        ("plug:d48", None, "plug:d48"),
    ],
)
def test_alsa_names_are_taken_as_they_are(wanted, number, alsa_name):
    choice = choose(wanted, "", plugged(MIC_1, CAMERA))
    assert (choice.number, choice.alsa_name, choice.environment) == (number, alsa_name, {})


@pytest.mark.parametrize("wanted", ["hw:CARD=Other", "plughw:CARD=Other,DEV=0", "plughw:CARD=Device,DEV=3", "hw:8,0"])
def test_an_alsa_name_of_no_card_is_refused(wanted):
    assert refused(wanted, plugged(MIC_1)).startswith(f'no audio input device {wanted!r}; there are: "{MIC}"')


def test_where_no_card_is_known_alsa_judges_its_names():
    assert choose("plughw:CARD=Device", "", Present([DEFAULT])).alsa_name == "plughw:CARD=Device"
    assert choose("hw:CARD=Device", "", Present([DEFAULT])).alsa_name == "hw:CARD=Device"


def test_a_cards_number_is_followed_and_its_id_is_taken_at_its_word():
    before = choose("plughw:1,0", "", plugged(MIC_1))
    moved_card = MIC_1._replace(card=4)
    assert choose("plughw:1,0", before.identity, plugged(CAMERA._replace(card=1), moved_card)).alsa_name == "plughw:4,0"
    before = choose("plughw:CARD=Device", "", plugged(MIC_1))
    assert choose("plughw:CARD=Device", before.identity, plugged(MIC_2._replace(card_id="Device"))).alsa_name


# The sound server


SERVER = Present([PULSE, DEFAULT], sources=[DESK, HEADSET, MONITOR])


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        (DESK.name, DESK),
        (DESK.name.upper(), DESK),
        (DESK.description, DESK),
        ("C-Media", DESK),
        ("kopf", HEADSET),
        (unicodedata.normalize("NFD", "KOPFHÖRER"), HEADSET),
        (MONITOR.name, MONITOR),
        ("Monitor of HDMI", MONITOR),
    ],
)
def test_a_source_of_the_sound_server_is_opened_through_alsa(wanted, source):
    choice = choose(wanted, "", SERVER)
    assert choice[:4] == (source.name, PULSE.number, None, {"PULSE_SOURCE": source.name, "PIPEWIRE_NODE": source.name})
    assert choice.source == source.name


def test_a_monitor_is_only_found_by_its_whole_name():
    assert "no audio input device 'hdmi'" in refused("hdmi", SERVER)
    assert MONITOR.name not in names(SERVER)


def test_a_source_that_was_open_is_the_only_one_that_is_meant():
    before = choose("bluez", "", SERVER)
    other = ServerSource("bluez_input.00_22", "Other", 1, 16000)
    assert "is away" in refused("bluez", SERVER._replace(sources=[DESK, other]), before.identity)
    before = choose(MONITOR.name, "", SERVER)
    assert choose(MONITOR.name, before.identity, SERVER).source == MONITOR.name
    words = refused("bluez", Present([], server="no sound server answers"), choose("bluez", "", SERVER).identity)
    assert words == '"bluez_input.00_11", which was open before, is away (no sound server answers)'


def test_a_card_and_its_source_are_one_microphone():
    present = plugged(MIC_1, sources=[DESK, HEADSET], others=(PULSE, DEFAULT))
    assert choose("USB PnP", "", present).source == DESK.name
    assert choose(MIC, "", present).source is None


@pytest.mark.parametrize(("inputs", "number"), [([DEFAULT], 6), ([PIPEWIRE, DEFAULT], 8)])
def test_the_way_to_the_server_is_the_best_that_alsa_has(inputs, number):
    assert choose("bluez", "", Present(inputs, sources=[HEADSET])).number == number


def test_without_a_way_to_the_server_the_error_names_the_package():
    assert "apt-get install libasound2-plugins" in refused("bluez", Present([YETI], sources=[HEADSET]))


def test_another_source_than_the_wanted_one_is_a_lost_microphone():
    choice = choose("bluez", "", SERVER)
    assert moved(choice, HEADSET.name) is None
    assert moved(choice, DESK.name) == (
        f'"{HEADSET.name}" has gone: the sound server has put "{DESK.name}" in its place'
    )
    assert moved(choose(None, "", SERVER), DESK.name) is None


# What PortAudio hides

ONLY = "this user may not open it: only members of the group"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"holder": Holder(812, "arecord")}, "it is busy: PID 812 (arecord) has it open"),
        ({"needs_group": "audio"}, f"{ONLY} audio may (as root: usermod -aG audio USER; then log in again)"),
        (
            {"needs_group": "audio", "is_member": True},
            f"{ONLY} audio may, and this user became one after this session began: log in again",
        ),
        (
            {"needs_group": "29"},
            f"{ONLY} 29 may, which has no name here (for a container, docker run --group-add 29)",
        ),
        ({}, "PortAudio cannot open it"),
    ],
)
@pytest.mark.parametrize("wanted", ["pnp", MIC, f"{MIC} [Device]", "hw:CARD=Device", "hw:1,0"])
def test_a_hidden_card_is_refused_with_the_reason(wanted, facts, words):
    assert refused(wanted, plugged(CAMERA, hidden=[MIC_1._replace(**facts)])) == f'"{MIC}" is there, but {words}'


def test_a_hidden_card_is_tried_by_its_alsa_name_unless_it_is_known_to_be_in_vain():
    assert choose("plughw:1,0", "", plugged(hidden=[MIC_1])).alsa_name == "plughw:1,0"
    assert "PID 1 (x)" in refused("plughw:1,0", plugged(hidden=[MIC_1._replace(holder=Holder(1, "x"))]))


def test_a_hidden_card_stands_in_the_list_as_hidden():
    words = refused("Jabra", plugged(CAMERA, hidden=[MIC_1]))
    assert words.endswith(f'there are: "{CAMERA.name}", "{MIC}" (cannot be opened now), "default"')


def test_a_part_of_a_name_does_not_pass_over_a_hidden_card():
    assert "fits several" in refused("usb", plugged(CAMERA, hidden=[MIC_1]))


# Identity


def test_an_identity_is_text_that_names_the_microphone():
    choice = choose("pnp", "", plugged(MIC_1))
    assert isinstance(choice, Choice)
    assert msgspec.json.decode(choice.identity) == {
        '"pnp"': {"card_name": MIC, "card_id": "Device", "usb_path": "usb-0000:00:14.0-1"}
    }


def test_each_way_to_a_microphone_is_told():
    assert [one.way for one in known(plugged(MIC_1, sources=[DESK]))] == [Way.SERVER, Way.CARD, Way.OTHER]


# The card to which a name of the ALSA configuration leads

PID = 712


def held(pcm):
    """`pcm`, open in this process."""
    return pcm._replace(holder=Holder(PID, "mpengine.capture"))


def led_before(pcm=MIC_1, wanted=None):
    """The identity after "default" has led to `pcm`."""
    return led(choose(wanted, "", plugged(pcm)), "", [held(pcm)], PID).identity


@pytest.mark.parametrize("wanted", [None, "default", ["Jabra", "default"]])
def test_the_card_behind_the_default_is_remembered_and_followed_to_another_number(wanted):
    before, moved_to = led_before(wanted=wanted), MIC_1._replace(card=4)
    (default, card) = choices(wanted, before, plugged(CAMERA._replace(card=1), moved_to))
    assert (default.name, card.name, card.number, card.is_card) == ("default", MIC, 1, True)
    with pytest.raises(DeviceError, match=f'"default" leads to "{CAMERA.name}" now, and not to "{MIC} .usb-0000:00:14'):
        led(default, before, [held(CAMERA), moved_to], PID)
    # Through the card it is the same microphone, and the default is tried first the next time.
    assert [one.name for one in choices(wanted, card.identity, plugged(moved_to))] == ["default", MIC]


def test_the_card_behind_the_default_is_opened_where_the_default_leads_nowhere():
    moved_to = MIC_1._replace(card=4)
    assert [one.name for one in choices(None, led_before(), plugged(CAMERA, moved_to, others=()))] == [MIC]
    assert "no default" in refused(None, plugged(CAMERA, others=()), led_before())


def test_the_default_that_leads_to_the_same_card_is_used():
    before = led_before()
    first = choose(None, before, plugged(MIC_1))
    assert (first.name, first.led_to) == ("default", "")
    again = led(first, before, [held(MIC_1)], PID)
    assert (again.name, again.led_to, again.identity) == ("default", MIC, before)


def test_a_card_of_the_same_name_behind_the_default_is_taken_only_while_the_one_before_is_away():
    before = led_before()
    default = choose(None, before, plugged(MIC_2))
    assert led(default, before, [held(MIC_2), CAMERA], PID).led_to == MIC
    with pytest.raises(DeviceError, match="leads to"):
        led(default, before, [held(MIC_2), MIC_1], PID)


def test_a_default_that_leads_to_no_card_of_this_process_stays_as_it_is():
    default = choose(None, "", plugged(MIC_1))
    assert led(default, "", [MIC_1._replace(holder=Holder(1, "pulseaudio"))], PID) == default
    assert led(choose("pnp", "", plugged(MIC_1)), "", [held(MIC_1)], PID).led_to == ""


def test_a_sound_server_behind_the_default_forgets_the_card():
    assert (
        led(choose(None, led_before(), plugged(MIC_1)), led_before(), [MIC_1], PID).identity
        == choose(None, "", plugged(MIC_1)).identity
    )

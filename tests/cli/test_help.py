"""`--help` shows what is required and what most people set; `--help-all` shows everything."""

import re
from contextlib import suppress

import pytest

from beit.cli.help import COMMON
from beit.cli.main import main
from tests.settings.test_settings import EVERY, settings_in, shown


def settings_shown(capsys, command, option):
    """The settings that a help names, without those that every command has."""
    text = shown(capsys, command, option)
    return settings_in(text).keys() - {"recipe", "print_config", "help-all"}, text


@pytest.mark.parametrize("command", EVERY)
def test_the_short_help_is_a_part_of_the_whole_one(capsys, command):
    short, text = settings_shown(capsys, command, "--help")
    whole, whole_text = settings_shown(capsys, command, "--help-all")
    required = {name for name, account in settings_in(whole_text).items() if "(required, " in account}
    assert required <= short <= whole
    assert short == (COMMON[f"beit {command}"] | required if f"beit {command}" in COMMON else whole)
    more = re.search(rf"^(\d+) more settings: beit {command} --help-all$", text, re.M)
    assert (int(more[1]) if more else 0) == len(whole - short)
    assert len(text.splitlines()) < 100
    assert text.splitlines()[0] == whole_text.splitlines()[0], "the usage is the same"


def test_the_whole_help_stays_whole_after_a_short_one(capsys):
    before = shown(capsys, "pretrain", "--help-all")
    assert shown(capsys, "pretrain", "--help") == shown(capsys, "pretrain", "-h")
    assert shown(capsys, "pretrain", "--help-all") == before


def test_every_listed_command_exists():
    assert {name.removeprefix("beit ") for name in COMMON} <= set(EVERY)


@pytest.mark.parametrize("command", EVERY)
def test_no_heading_repeats_what_the_command_does(capsys, command):
    _, description, *parts = shown(capsys, command, "--help-all").split("\n\n")
    headings = [part.splitlines()[0] for part in parts if part.splitlines()[0].endswith(":")]
    said = " ".join(description.split()).casefold()
    assert headings[-1] == "options:"
    assert [heading for heading in headings if said.startswith(heading.rstrip(":").casefold())] == []


def test_a_usage_has_no_flags_that_its_command_refuses(capsys):
    assert "[--processes" not in shown(capsys, "tokenizer cluster", "--help").split("\n\n")[0]
    assert "[--processes" in shown(capsys, "tokenizer train", "--help").split("\n\n")[0]


@pytest.mark.parametrize("command", [[], ["tokenizer"], *(command.split() for command in EVERY)], ids=" ".join)
def test_it_fits_a_terminal_of_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    with suppress(SystemExit):
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8
    assert [line for line in lines if len(line) > 80] == []

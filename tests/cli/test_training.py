"""The flags that all training commands share."""

import pytest

from beit.cli.training import parse_training
from beit.errors import ConfigError
from beit.settings.pretrain import PretrainJob

GIVEN = ["--data.path=digits:train", "--tokenizer.path=digits"]


def parsed(tmp_path, *flags):
    return parse_training(
        PretrainJob, "beit pretrain", "", [*flags, *GIVEN, f"--run.output={tmp_path / 'run'}", "--train.max_steps=1"]
    )


@pytest.mark.parametrize(
    ("flags", "dry", "force"),
    [
        ([], False, False),
        (["--dry-run"], True, False),
        (["--dry-run", "true"], True, False),
        (["--dry-run=true", "--force"], True, True),
        (["--dry-run", "false", "--force", "true"], False, True),
        (["--force=false"], False, False),
    ],
)
def test_a_flag_stands_alone_or_is_true_or_false(tmp_path, flags, dry, force):
    (tmp_path / "digits").mkdir()
    asked = parsed(tmp_path, *flags)
    assert (asked.dry, asked.job.run.force) == (dry, force)


@pytest.mark.parametrize("flag", ["--dry-run", "--force"])
def test_another_value_of_a_flag_is_refused(tmp_path, flag):
    with pytest.raises(ConfigError, match=f"{flag} is 'yes'; expected true or false"):
        parsed(tmp_path, f"{flag}=yes")


def test_processes_are_those_of_a_dry_run(tmp_path):
    with pytest.raises(ConfigError, match="--processes belongs to --dry-run"):
        parsed(tmp_path, "--processes", "4", "--dry-run", "false")

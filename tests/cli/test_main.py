import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

from beit.cli import serve
from beit.cli.main import COMMANDS, main
from beit.files import atomic_folder
from tests.conftest import GOLDEN

MIM = GOLDEN / "hf_v4" / "mim"
PICTURE = GOLDEN / "processor" / "images" / "rgba.png"


def error_of(capsys, arguments, status=1):
    """Run a command that must fail; return its one line."""
    assert main(arguments) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("beit: ")
    return lines[0]


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(f"  {name} " in output for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "tokenizer train", "tokenizer encode", "tokenizer reconstruct"])
def test_every_command_has_help(command, capsys):
    try:
        status = main([*command.split(), "--help"])
    except SystemExit as end:
        status = end.code
    assert status == 0
    assert f"usage: beit {command}" in capsys.readouterr().out


def test_it_is_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "beit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "beit 0.1.0\n"


def test_the_whole_help_of_pretraining_speaks_to_a_newcomer(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "--help-all"])
    shown = capsys.readouterr().out
    usage = " ".join(shown.split("\n\n")[0].split())
    assert "[--dry-run [--processes N] [--device NAME [--price DOLLARS]]] [--force]" in usage
    for jargon in ("Literal", "Optional", "tuple", "Path to a configuration file", "NoneType"):
        assert jargon not in shown
    groups = ["Data", "Run", "Augmentation", "Model", "Mask", "Optimiser", "Length", "Gallery", "Tokenizer: its size"]
    places = [shown.index(f"\n{group}:\n") for group in groups]
    assert places == sorted(places), "what everyone needs first, the many settings of a tokenizer last"
    assert shown.count("default: ") > 60


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "beit 0.1.0\n"


def test_no_command_is_wrong_usage(capsys):
    assert main([]) == 2
    assert "usage: beit COMMAND" in capsys.readouterr().out


def test_print_config_is_a_complete_recipe(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "--optim.lr=0.002", "--print_config"])
    assert stopped.value.code == 0
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(capsys.readouterr().out)
    assert "lr: 0.002" in recipe.read_text()
    assert "does not exist" in error_of(capsys, ["pretrain", str(recipe), "--data.path=/nowhere"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain"], "data.path is missing; name it: folder of pictures (folders inside it are classes)"),
        (["pretrian"], "there is no command 'pretrian'; did you mean pretrain?"),
        (["tokenizer", "trian"], "did you mean train?"),
        (["distill", "--teacher=runs/a"], "teacher is a group of settings; name one"),
        (["pretrain", "--optim.lr=-1"], "optim.lr: input should be greater than 0, got -1.0"),
        (["pretrain", "--tokenizer.optim.lr=-1"], "tokenizer.optim.lr: input should be greater than 0, got -1.0"),
        (["pretrain", "--optim.lr=fast"], "optim.lr: expected float or auto, got fast"),
        (["pretrain", "--optim.learning_rate=1"], "there is no setting 'optim.learning_rate'; did you mean optim.lr?"),
        (["pretrain", "--batch_size=1"], "there is no setting 'batch_size'; did you mean train.batch_size?"),
        (["pretrain", "--output_dir=x"], "there is no setting 'output_dir'; did you mean run.output?"),
        (["pretrain", "--tokenizer.lr=1"], "there is no setting 'tokenizer.lr'; did you mean tokenizer.optim.lr?"),
        (["pretrain", "--optim.learnig_rate=1"], "there is no setting 'optim.learnig_rate'; did you mean optim.lr?"),
        (["pretrain", "--mask.cuont=1"], "did you mean mask.count?"),
        (["segment", "--label_map.path=x"], "did you mean label_maps.path?"),
        (["pretrain", "--optim.lrr=1"], "there is no setting 'optim.lrr'; did you mean optim.lr?"),
        (
            ["pretrain", "--model.size=huge"],
            "model.size: expected one of ['tiny', 'small', 'base', 'large'] or null, got huge",
        ),
        (
            ["pretrain", "--data.path=digits:train", "--model.image_mean=[1]"],
            "mean and standard deviation are of 1 and 3 channels, and data.channels is 3",
        ),
        (["pretrain", "--augment.crop_scale=[0.9, 0.1]"], "crop_scale is [0.9, 0.1]; expected 0 < first <= second"),
        (["pretrain", "/nowhere/recipe.yaml"], "/nowhere/recipe.yaml"),
        (["pretrain", "--data.path=/nowhere"], "data path '/nowhere' does not exist; expected a folder"),
        (["pretrain", "--mask.count=3"], "3 masked patches with blocks of at least 16"),
        (["pretrain", "--model.image_size=225"], "image height 225 is not a multiple of patch size 16"),
        (["pretrain", "--model.hidden_size=100"], "hidden_size 100 is not a multiple of num_attention_heads 12"),
        (["pretrain", "--tokenizer.path=/nowhere"], "/nowhere does not exist"),
        (["pretrain", "--run.device=cuda"], "there is no usable GPU"),
        (["finetune", "--checkpoint=/nowhere"], "/nowhere does not exist; expected a model folder, a file"),
        (["tokenizer", "train", "--image_size=113"], "image_size 113 is not a multiple of the 8 pixels of a token"),
        (["evaluate", "--model=/nowhere"], "/nowhere does not exist; expected a model folder, a file of weights"),
        (["predict", "/nowhere", "x.png"], "/nowhere does not exist"),
        (["evaluate"], "model is missing; name it: fine-tuned model: a folder"),
        (["predict", __file__, str(PICTURE)], "expected a checkpoint of torch.save or a plain pickle"),
        (["predict", str(MIM), "x.png", "--device=tpu"], "device: expected one of ['auto', 'cpu', 'cuda'], got tpu"),
        (["pretrain", "--optim.betas=[0.9, 1.5]"], "betas is [0.9, 1.5]; expected two numbers"),
        (["pretrain", "--model.image_std=[0, 1, 1]"], "image_std is [0.0, 1.0, 1.0]; expected numbers above 0"),
        (["pretrain", "--optim.lr=1e400"], "optim.lr: input should be a finite number, got inf"),
        (["pretrain", "--optim.weight_decay=.inf"], "optim.weight_decay: input should be a finite number, got inf"),
        (["pretrain", "--augment.crop_scale=[.nan, 1.0]"], "crop_scale: input should be a finite number, got nan"),
        (
            ["pretrain", "--train.max_steps=3", "--optim.warmup_epochs=10"],
            "warm-up of 96 steps is not shorter than the run of 3",
        ),
        (
            ["evaluate", f"--model={GOLDEN / 'bad/wrong_shape'}"],
            "wrong_shape does not fit the model, 1 of another shape",
        ),
        (["evaluate", f"--model={GOLDEN / 'bad/truncated'}"], "model.safetensors is damaged"),
        (["finetune", f"--checkpoint={MIM}", "--model.hidden_size=64"], "hidden_size is 64, the checkpoint has 32"),
        (["finetune", f"--checkpoint={MIM}", "--model.size=base"], "num_hidden_layers is 12, the checkpoint has 2"),
    ],
)
def test_bad_settings(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    if arguments == ["pretrain", "--run.device=cuda"]:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status = 2 if arguments == ["pretrian"] else 1
    if arguments[0] in ("pretrain", "finetune", "evaluate", "tokenizer") and "data" not in message:
        arguments = [*arguments, "--data.path=digits:train"]
    assert message in error_of(capsys, arguments, status)
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("optim:\n  lrr: 1\n", "there is no setting 'optim.lrr'; did you mean optim.lr?"),
        ("optimm:\n  lr: 1\n", "there is no setting 'optimm.lr'; did you mean optim.lr?"),
        ("optim:\n  lr: -1\n", "optim.lr: input should be greater than 0, got -1"),
        ("optim: 3\n", "recipe.yaml has 3 for the group optim; expected `group: {setting: value}`"),
        (
            "optim: /etc/passwd\n",
            "recipe.yaml has '/etc/passwd' for the group optim; expected `group: {setting: value}`",
        ),
        ('optim: "\\0"\n', "for the group optim; expected"),
        ("tokenizer:\n  codebook: x\n", "recipe.yaml has 'x' for the group tokenizer.codebook; expected"),
        ('run: {output: "\\ud800"}\n', "surrogates not allowed"),
        (f"train: {{max_steps: {'a' * 5000}}}\n", "aaa..."),
        (f"optim: {{lr: -1, betas: [{'1, ' * 5000}]}}\n", "betas"),
        ("- 3\n", "it holds a list, not an object"),
        ("optim: {lr: [\n", "while parsing a flow node"),
    ],
)
def test_bad_recipes(capsys, tmp_path, monkeypatch, recipe, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(recipe)
    said = error_of(capsys, ["pretrain", "recipe.yaml", "--data.path=digits:train"])
    assert message in said
    assert len(said) < 800
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_missing_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    for name in [name for name in sys.modules if name.startswith("beit.cli.") and name != "beit.cli.main"]:
        monkeypatch.delitem(sys.modules, name)
    assert "pip install -e '.[train]'" in error_of(capsys, ["pretrain"])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("pretrain", "beit: interrupted; the same command goes on from what was saved, if anything was"),
        ("convert", "beit: interrupted"),
    ],
)
def test_an_interrupted_command_promises_only_what_it_can(capsys, monkeypatch, command, said):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"beit.cli.{command}.run", interrupted)
    assert error_of(capsys, [command], status=130) == said


def test_a_terminated_command_leaves_nothing_half_done(capsys, monkeypatch, tmp_path):
    def terminated(arguments):
        with atomic_folder(tmp_path / "out") as temporary:
            (temporary / "half").touch()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("beit.cli.convert.run", terminated)
    assert main(["convert"]) == 143
    assert capsys.readouterr().err == "beit: terminated\n"
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_threads_that_serve_ended_processes_say_nothing_after_it(capsys, monkeypatch):
    """Such as that of multiprocessing which hands over files; what else fails is still shown."""

    def terminated(arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr("beit.cli.convert.run", terminated)
    assert main(["convert"]) == 143
    for error in (BrokenPipeError(32, "Broken pipe"), EOFError()):
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "beit: terminated\n"
    sys.excepthook(ValueError, ValueError("a fault"), None)
    assert capsys.readouterr().err == "ValueError: a fault\n"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_faults_of_disks_and_networks_are_one_line(capsys, monkeypatch, number):
    def failing(arguments):
        raise OSError(number, os.strerror(number), "/mnt/pictures/1.png")

    monkeypatch.setattr("beit.cli.info.run", failing)
    assert error_of(capsys, ["info"]).startswith(f"beit: cannot use /mnt/pictures/1.png: {os.strerror(number)}; see to")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST])
def test_what_lies_in_the_place_of_a_file_is_named_in_one_line(capsys, monkeypatch, number):
    def failing(arguments):
        raise OSError(number, os.strerror(number), "runs/mine/metrics.jsonl")

    monkeypatch.setattr("beit.cli.info.run", failing)
    expected = f"beit: cannot use runs/mine/metrics.jsonl: {os.strerror(number)}; see what lies there, and put the file"
    assert error_of(capsys, ["info"]).startswith(expected)


SWALLOWING = {
    "a callback of the collector": """
import gc
sent = []
def callback(phase, _):
    if not sent:
        sent.append(phase)
        os.kill(os.getpid(), signal.SIGTERM)
    return None
def begin():
    gc.callbacks.append(callback)
    gc.collect()
""",
    "__del__": """
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return None
def begin():
    Last()
""",
}


@pytest.mark.parametrize("where", SWALLOWING)
def test_sigterm_is_not_lost_where_python_ignores_what_is_raised(where):
    program = f"""
import os, signal, sys, time
from beit.cli import main
{SWALLOWING[where]}
class Command:
    def run(arguments):
        begin()
        time.sleep(20)
        return 0
main.import_module = lambda name: Command
sys.exit(main.main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (143, "beit: terminated\n")


@contextmanager
def full_output():
    """A disk without room under what is printed; what is still buffered must not come up at the end of Python."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full, redirect_stdout(full):
        yield full
        full.flush()  # goes nowhere by now


@pytest.mark.parametrize(
    "command", [[], ["--version"], ["--help"], ["recipes"], ["tokenizer"], ["recipes", "--help"]], ids=" ".join
)
def test_what_cannot_be_printed_is_one_line(capsys, command):
    with full_output():
        assert main(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("beit: cannot ")
    assert "No space left on device; free space" in said
    assert said.count("\n") == 1


def test_a_service_answers_though_it_cannot_print():
    with full_output() as output:
        serve._say("a model on http://127.0.0.1:1")
        assert os.path.samestat(os.fstat(output.fileno()), os.stat(os.devnull))


def test_a_folder_that_has_gone_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["recipes"]) == 1
    assert "the folder that this command runs in has gone; change to one that exists" in capsys.readouterr().err


def test_print_config_that_failed_is_forgotten(tmp_path, monkeypatch, capsys):
    """A parser is made once for all commands of a process: one after it ended in 'key'."""
    wrong, sound = tmp_path / "wrong.yaml", tmp_path / "sound.yaml"
    wrong.write_text("optim: {warmup-steps: 2}\n")
    sound.write_text("run: {seed: 1}\n")
    assert main(["pretrain", str(wrong), "--data.path=digits:train", "--print_config"]) == 1
    assert "there is no setting 'optim.warmup-steps'" in capsys.readouterr().err
    begun = []
    monkeypatch.setattr("beit.cli.training.check_early", lambda *_, **__: begun.append(1))
    monkeypatch.setattr("beit.cli.pretrain.say_forecast", lambda *_: None)
    assert main(["pretrain", str(sound), "--data.path=digits:train", "--dry-run"]) == 0
    assert begun

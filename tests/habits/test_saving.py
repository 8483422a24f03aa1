"""Arguments of `save_pretrained` and `from_pretrained`, and the files of other programs."""

import json

import accelerate
import pytest
import torch
from safetensors.torch import load_file, save_file

import beit
from beit.models_torch.placement import spread
from tests.habits.pairs import assert_close, both, made, pair, pixels, transformers


def answer(model):
    with torch.no_grad():
        return model.eval()(pixels()).logits


def loads(folder, expected, **options):
    for library in (beit, transformers):
        assert_close(answer(library.BeitForImageClassification.from_pretrained(folder, **options)), expected)


def test_the_idiom_of_accelerate(tmp_path, accelerator):
    model = accelerator.prepare(made(beit))
    accelerator.unwrap_model(model).save_pretrained(
        tmp_path,
        is_main_process=accelerator.is_main_process,
        save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(model),
    )
    loads(tmp_path, answer(made(beit)))


def test_state_dicts_of_wrapped_models_are_saved_bare(tmp_path):
    model = made(beit)
    wrapped = torch.nn.DataParallel(torch.compile(model))
    model.save_pretrained(tmp_path, state_dict=wrapped.state_dict())
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards(tmp_path, variant):
    ours, theirs = pair(tmp_path)
    expected = answer(ours)
    for name, model in (("ours", ours), ("theirs", theirs)):
        options = {} if name == "theirs" else {"save_peft_format": True, "token": None}
        model.save_pretrained(tmp_path / name, max_shard_size="50KB", variant=variant, **options)
        loads(tmp_path / name, expected, variant=variant)
    index = "model.safetensors.index.json" if variant is None else "model.safetensors.index.fp16.json"
    mine, others = (json.loads((tmp_path / name / index).read_text()) for name in ("ours", "theirs"))
    assert mine["weight_map"].keys() == others["weight_map"].keys()
    assert mine["metadata"]["total_size"] == others["metadata"]["total_size"]
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {"config.json", index, *mine["weight_map"].values()}
    assert all(path.stat().st_size < 60_000 for path in (tmp_path / "ours").glob("*.safetensors"))


def test_earlier_files_of_the_other_form_are_gone(tmp_path):
    first, second = made(beit), made(beit)
    torch.nn.init.normal_(second.classifier.weight)
    first.save_pretrained(tmp_path)
    second.save_pretrained(tmp_path, max_shard_size=50_000)
    loads(tmp_path, answer(second))
    first.save_pretrained(tmp_path)
    loads(tmp_path, answer(first))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_a_variant(tmp_path):
    made(beit).save_pretrained(tmp_path, variant="mine")
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.mine.safetensors"}
    loads(tmp_path, answer(made(beit)), variant="mine")


def test_what_saving_refuses(tmp_path):
    with pytest.raises(beit.BeitError, match="max_shard_size is 'much'; expected bytes, or a text such as '200MB'"):
        made(beit).save_pretrained(tmp_path, max_shard_size="much")
    with pytest.warns(UserWarning, match="safe_serialization is False; weights are written as safetensors"):
        made(beit).save_pretrained(tmp_path, safe_serialization=False)
    loads(tmp_path, answer(made(beit)))


def test_the_parameter_is_called_save_directory(tmp_path):
    for part in (made(beit), beit.BeitConfig(), beit.BeitImageProcessor()):
        part.save_pretrained(save_directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@both
def test_a_state_dict_in_the_place_of_files(tmp_path, library):
    model = made(library)
    torch.nn.init.normal_(model.classifier.weight)
    state = model.state_dict()
    kind = type(model)
    assert_close(answer(kind.from_pretrained(None, config=model.config, state_dict=state)), answer(model))
    made(library).save_pretrained(tmp_path)
    if library is beit:  # theirs leaves this way since 5.x
        assert_close(answer(kind.from_pretrained(tmp_path, state_dict=state)), answer(model))


@pytest.mark.parametrize("size", [None, "20KB"])
def test_layers_that_share_their_parameters_are_saved_each(tmp_path, size):
    model = made(beit)
    model.beit.encoder.layer[1] = model.beit.encoder.layer[0]
    with pytest.warns(UserWarning, match=r"encoder\.layer\.1.* share their memory .*no longer, once they are loaded"):
        model.save_pretrained(tmp_path, max_shard_size=size)
    loaded = beit.BeitForImageClassification.from_pretrained(tmp_path)
    assert_close(answer(loaded), answer(model))
    assert loaded.num_parameters() > model.num_parameters()


def test_state_dicts_of_any_layout_and_type():
    state = made(beit).half().state_dict()
    native = made(transformers).state_dict()
    for given in (state, {name: tensor.bfloat16() for name, tensor in state.items()}, native):
        assert beit.BeitForImageClassification.from_pretrained(None, config=made(beit).config, state_dict=given)
    with pytest.raises(beit.BeitError, match="state_dict was given without a config; pass config="):
        beit.BeitModel.from_pretrained(None, state_dict=state)
    with pytest.raises(beit.BeitError, match="pretrained_model_name_or_path is None; expected a folder, a name"):
        beit.BeitModel.from_pretrained(None, config=made(beit).config)


@both
@pytest.mark.parametrize(
    "device_map",
    [{"": "cpu"}, "cpu", "auto", {"": torch.device("cpu")}, "balanced", "balanced_low_0", "sequential"],
)
def test_one_device(tmp_path, library, device_map):
    made(library).save_pretrained(tmp_path)
    model = library.BeitForImageClassification.from_pretrained(tmp_path, device_map=device_map)
    assert_close(answer(model), answer(made(library)))


@both
@pytest.mark.parametrize(
    "options",
    [
        {"device_map": "auto", "max_memory": {"cpu": "60KB"}},
        {"device_map": {"beit.embeddings": "cpu", "beit.encoder": "disk", "beit.pooler": "cpu", "classifier": "cpu",
                        "beit.layernorm": "cpu", "beit.layers": "disk"}},
    ],
    ids=["by memory", "by a mapping"],
)  # fmt: skip
def test_parts_on_disk(tmp_path, library, options):
    made(library).save_pretrained(tmp_path / "model")
    model = library.BeitForImageClassification.from_pretrained(
        tmp_path / "model", **options, offload_folder=str(tmp_path / "offloaded")
    )
    assert "disk" in model.hf_device_map.values()
    assert any(parameter.is_meta for parameter in model.parameters())
    assert_close(answer(model), answer(made(library)))


@pytest.mark.parametrize(
    ("how", "first"), [("auto", True), ("balanced", True), ("balanced_low_0", False), ("sequential", True)]
)
def test_parts_are_spread_over_all_devices(how, first):
    model = made(beit, num_hidden_layers=6)
    room = {0: "1MB", 1: "1MB"}
    places = set(spread(model, how, room).values())
    assert places == ({0} if how == "sequential" else {0, 1} if first else {1})
    assert room == {0: "1MB", 1: "1MB"}


def test_places_that_cannot_work(tmp_path):
    made(beit).save_pretrained(tmp_path)
    with pytest.raises(beit.BeitError, match="some modules are placed on disk, and offload_folder is None"):
        beit.BeitForImageClassification.from_pretrained(tmp_path, device_map={"": "disk"})
    with pytest.raises(beit.BeitError, match=r"device_map is .*expected a place for every module"):
        beit.BeitForImageClassification.from_pretrained(tmp_path, device_map={"beit": "cpu", "no": "meta"})


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "base_model.model.", "model._orig_mod.module.", "module.net."]
)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_prefixes_of_wrappers(tmp_path, prefix, file, caplog):
    model = made(beit)
    model.config.save_pretrained(tmp_path)
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / file) if file.endswith("s") else torch.save(state, tmp_path / file)
    loaded = beit.BeitForImageClassification.from_pretrained(tmp_path)
    assert_close(answer(loaded), answer(model))
    assert f"the prefix '{prefix}' of all names was taken off" in caplog.text


def test_a_checkpoint_of_lightning(tmp_path):
    model = made(beit)
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(
        {
            "epoch": 3, "global_step": 120, "pytorch-lightning_version": "2.5.0", "state_dict": state,
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 3, "completed": 3}}}},
            "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [torch.optim.AdamW(model.parameters()).state_dict()],
            "lr_schedulers": [], "MixedPrecision": {}, "hparams_name": "kwargs", "hyper_parameters": {"lr": 1e-3},
        },
        tmp_path / "last.ckpt",
    )  # fmt: skip
    loaded = beit.BeitForImageClassification.from_pretrained(tmp_path / "last.ckpt", config=model.config)
    assert_close(answer(loaded), answer(model))


@both
@pytest.mark.parametrize("name", ["nothing/of/this/kind", "./nothing"])
def test_what_is_missing_is_an_os_error(library, name):
    for kind in (library.BeitModel, library.BeitConfig, library.BeitImageProcessor):
        with pytest.raises(OSError, match="nothing"):
            kind.from_pretrained(name)


def test_what_is_missing_offline_is_an_os_error(tmp_path):
    for kind in (beit.BeitModel, beit.BeitConfig, beit.BeitImageProcessor):
        with pytest.raises(OSError, match="not in the local cache"):
            kind.from_pretrained("owner/nothing", local_files_only=True, cache_dir=tmp_path)
        with pytest.raises(OSError, match=r"does not (exist|hold)"):
            kind.from_pretrained(tmp_path)


@both
def test_weights_of_another_shape_are_a_runtime_error(tmp_path, library):
    made(library).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"shape|mismatch"):
        library.BeitForImageClassification.from_pretrained(tmp_path, patch_size=4)


def test_published_arguments_without_a_meaning_here(tmp_path):
    made(beit).save_pretrained(tmp_path, save_original_format=True, use_auth_token=None)
    for options in (
        {"weights_only": True, "offload_state_dict": False, "offload_buffers": False, "load_in_8bit": False},
        {"generation_config": None, "tp_plan": None, "gguf_file": None, "key_mapping": None, "_from_pipeline": None},
        {"code_revision": None, "commit_hash": None, "mirror": None, "use_flash_attention_2": False},
        {"tie_word_embeddings": False, "finetuning_task": "animals", "architectures": ["x"]},
    ):
        beit.BeitForImageClassification.from_pretrained(tmp_path, **options)
    for name in ("load_in_4bit", "key_mapping"):
        with pytest.raises(ValueError, match=f"{name} was given; it is not supported"):
            beit.BeitForImageClassification.from_pretrained(tmp_path, **{name: True})
    with pytest.warns(UserWarning, match="attn_implementation is 'flash_attention_2', without effect"):
        beit.BeitForImageClassification.from_pretrained(tmp_path, attn_implementation="flash_attention_2")


@both
def test_models_without_values(tmp_path, library):
    """As whoever plans where parts shall lie builds and loads them."""
    ours, _ = pair(tmp_path)
    kind = library.BeitForImageClassification
    with accelerate.init_empty_weights():
        made_empty = kind(library.BeitConfig.from_pretrained(tmp_path / "pair"))
        loaded_empty = kind.from_pretrained(tmp_path / "pair")
    for model in (made_empty, loaded_empty):
        assert model.device.type == "meta"
        assert accelerate.infer_auto_device_map(model, {"cpu": "1GB"}) == {"": "cpu"}
        assert model.num_parameters() == ours.num_parameters()
    if library is beit:  # theirs finds its own names in no file
        file = str(tmp_path / "pair" / "model.safetensors")
        filled = accelerate.load_checkpoint_and_dispatch(made_empty, file, {"": "cpu"})
        assert_close(filled.eval()(pixels()).logits, ours(pixels()).logits, 0)
        assert kind.from_pretrained(tmp_path / "pair", device="meta").device.type == "meta"


@pytest.mark.parametrize("name", ["BeitForImageClassification", "BeitModel"])
def test_a_model_of_which_layers_were_taken_out(tmp_path, name):
    model = made(beit, name, num_hidden_layers=3)
    encoder = model.base_model.encoder
    encoder.layer = encoder.layer[:2]
    with pytest.warns(UserWarning, match=r"has 2 layers and config.num_hidden_layers is 3; .*num_hidden_layers = 2"):
        model.save_pretrained(tmp_path)
    loaded = getattr(beit, name).from_pretrained(tmp_path, num_hidden_layers=2)
    assert_close(loaded(pixels())[0], model(pixels())[0])
    model.config.num_hidden_layers = 2
    model.save_pretrained(tmp_path)
    assert_close(getattr(beit, name).from_pretrained(tmp_path)(pixels())[0], model(pixels())[0])

"""Trainer of transformers trains our models as they are."""

import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from beit import BeitForImageClassification, BeitForMaskedImageModeling, BeitImageProcessor
from beit.models_torch import encoder
from tests.e2e.loops import (
    IGNORED,
    PROCESSOR,
    Digits,
    classes_batch,
    entropy,
    masked_batch,
    new_classifier,
    new_masked_model,
)

STEPS = 120


def trainer(model, output, collate=classes_batch, pictures=1024, **options):
    settings = {
        "max_steps": STEPS, "per_device_train_batch_size": 32, "per_device_eval_batch_size": 50,
        "learning_rate": 3e-3, "warmup_steps": 10, "weight_decay": 0.05, "logging_steps": 10,
        "eval_strategy": "steps", "eval_steps": 40, "save_steps": 40, "metric_for_best_model": "accuracy",
        "load_best_model_at_end": True, "remove_unused_columns": False, "report_to": [], "use_cpu": True,
        "disable_tqdm": True,
    }  # fmt: skip
    return transformers.Trainer(
        model,
        transformers.TrainingArguments(str(output), **settings | options),
        data_collator=collate,
        train_dataset=Digits("digits:train", pictures),
        eval_dataset=Digits("digits:test", 120),  # the last batch is smaller
        compute_metrics=accuracy,
        processing_class=PROCESSOR,
    )


def accuracy(predicted):
    counted = predicted.label_ids != IGNORED
    right = predicted.predictions.argmax(-1) == predicted.label_ids
    return {"accuracy": float(right[counted].mean())}


def logged(trainer, name):
    return [line[name] for line in trainer.state.log_history if name in line]


def short(model, output, **options):
    """A trainer of a few steps that measures and saves nothing."""
    return trainer(
        model, output, **{"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False} | options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer that has fine-tuned a classifier."""
    done = trainer(new_classifier(), tmp_path_factory.mktemp("trainer") / "run")
    done.train()
    return done


def test_a_classifier_learns(trained):
    losses = logged(trained, "loss")
    assert losses[0] > 2.0, "it begins by knowing nothing"
    assert losses[-1] < 1.3
    measured = trained.evaluate()
    assert measured["eval_accuracy"] > 0.4, "a tenth is chance"
    assert measured["eval_loss"] < 1.6
    assert 0 < trained.state.total_flos == logged(trained, "total_flos")[-1]


def test_the_best_checkpoint_is_loaded_in_the_end(trained):
    accuracies = logged(trained, "eval_accuracy")[: STEPS // 40]
    assert trained.state.best_metric == max(accuracies)
    best = load_file(f"{trained.state.best_model_checkpoint}/model.safetensors")
    assert all(torch.equal(best[name], tensor) for name, tensor in trained.model.state_dict().items())


def test_predictions_need_no_labels(trained):
    def without_labels(examples):
        return {"pixel_values": classes_batch(examples)["pixel_values"]}

    labelled = trained.predict(trained.eval_dataset)
    collate, trained.data_collator = trained.data_collator, without_labels
    try:
        predicted = trained.predict(trained.eval_dataset)
    finally:
        trained.data_collator = collate
    assert predicted.label_ids is None
    assert predicted.predictions.shape == (120, 10)
    np.testing.assert_array_equal(predicted.predictions, labelled.predictions)
    assert labelled.metrics["test_accuracy"] == accuracy(labelled)["accuracy"]


def test_what_was_trained_is_saved_and_loaded(trained, tmp_path):
    trained.model.save_pretrained(tmp_path)
    trained.processing_class.save_pretrained(tmp_path)
    ours = BeitForImageClassification.from_pretrained(tmp_path)
    assert ours.load_report.silent
    inputs = BeitImageProcessor.from_pretrained(tmp_path)(trained.eval_dataset[0]["image"], return_tensors="pt")
    theirs = transformers.BeitForImageClassification.from_pretrained(tmp_path)
    with torch.no_grad():  # theirs keeps indices for all models of a process, which those of inference mode would spoil
        expected = trained.model.eval()(**inputs).logits
        torch.testing.assert_close(ours(**inputs).logits, expected, rtol=0, atol=0)
        torch.testing.assert_close(theirs(**inputs).logits, expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_the_trainer_is_whole(trained):
    folder = trained.state.best_model_checkpoint
    ours = BeitForImageClassification.from_pretrained(folder)
    theirs = transformers.BeitForImageClassification.from_pretrained(folder)
    assert ours.load_report.silent
    assert ours.config.architectures == ["BeitForImageClassification"]
    expected = trained.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())
    inputs = PROCESSOR(trained.eval_dataset[0]["image"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(theirs(**inputs).logits, ours(**inputs).logits, rtol=1e-4, atol=1e-5)
    assert BeitImageProcessor.from_pretrained(folder).to_dict() == PROCESSOR.to_dict()


def test_a_model_is_saved_without_training(tmp_path):
    model = new_classifier()
    model.config.id2label = {index: f"digit {index}" for index in range(10)}
    short(model, tmp_path / "run").save_model(tmp_path / "saved")
    assert BeitForImageClassification.from_pretrained(tmp_path / "saved").config.class_names[3] == "digit 3"


def test_other_models_are_saved_as_ever(tmp_path):
    short(torch.nn.Linear(2, 2), tmp_path / "run").save_model(tmp_path / "saved")
    assert (tmp_path / "saved/model.safetensors").exists()
    assert not (tmp_path / "saved/config.json").exists()


def test_a_stopped_training_continues_as_if_it_was_not(trained, tmp_path):
    class StopAt80(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **others):
            control.should_training_stop = state.global_step == 80

    stopped = trainer(new_classifier(), tmp_path, load_best_model_at_end=False)
    stopped.add_callback(StopAt80())
    stopped.train()
    assert stopped.state.global_step == 80
    resumed = trainer(new_classifier(), tmp_path, load_best_model_at_end=False)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == STEPS
    assert logged(resumed, "loss") == logged(trained, "loss")
    last = load_file(f"{trained.args.output_dir}/checkpoint-{STEPS}/model.safetensors")
    assert all(torch.equal(last[name], tensor) for name, tensor in resumed.model.state_dict().items())


def test_missing_parameters_are_named(trained, tmp_path, caplog, monkeypatch):
    checkpoint = shutil.copytree(Path(trained.args.output_dir) / "checkpoint-40", tmp_path / "checkpoint-40")
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, checkpoint / "model.safetensors")
    resumed = short(new_classifier(), tmp_path, max_steps=41)
    monkeypatch.setattr(transformers.logging.get_logger("transformers"), "propagate", True)
    caplog.set_level("WARNING", "transformers")  # other tests ask it to be quiet
    resumed.train(resume_from_checkpoint=True)
    assert "missing keys in the checkpoint model loaded: ['classifier.bias']" in caplog.text


def first_steps(folder, **options):
    """The losses of three steps without anything random in the model, and the weights after them."""
    model = new_classifier()
    for module in model.modules():
        if hasattr(module, "rate"):
            module.rate = 0.0
    run = short(model, folder, max_steps=3, logging_steps=1, **options)
    run.train()
    return logged(run, "loss"), model


def test_accumulated_parts_are_one_batch(tmp_path):
    whole, model = first_steps(tmp_path / "whole")
    parts, other = first_steps(
        tmp_path / "parts", per_device_train_batch_size=8, gradient_accumulation_steps=4, dataloader_drop_last=True
    )
    assert parts == pytest.approx(whole, rel=1e-4)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-2, atol=1e-4, msg=name)


@pytest.mark.filterwarnings("error:.*only defines `gradient_checkpointing_enable`:FutureWarning")
@pytest.mark.parametrize("every", [1, 2])
def test_activations_are_computed_again(tmp_path, every, monkeypatch):
    again = []
    checkpoint = encoder.checkpoint
    monkeypatch.setattr(encoder, "checkpoint", lambda *args, **options: again.append(1) or checkpoint(*args, **options))
    kept, model = first_steps(tmp_path / "kept")
    assert not again
    computed, other = first_steps(
        tmp_path / "again", activation_checkpointing=True, activation_checkpointing_kwargs={"every_n_layers": every}
    )
    assert len(again) == 3 * (2 if every == 1 else 1), "three steps of two layers"
    assert computed == kept
    assert other.is_gradient_checkpointing
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_bfloat16(tmp_path):
    exact, _ = first_steps(tmp_path / "exact")
    rounded, model = first_steps(tmp_path / "rounded", bf16=True)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=2e-2)
    assert model.dtype == torch.float32


def test_hidden_tokens_are_learnt(tmp_path):
    """Labels are one per patch, -100 where it is seen; so pictures can be counted by their rows."""
    run = trainer(new_masked_model(), tmp_path, masked_batch)
    labels = torch.cat([masked_batch([example])["labels"] for example in run.eval_dataset])
    unknowing = entropy(labels[labels != IGNORED])
    assert run.evaluate()["eval_loss"] > unknowing
    run.train()
    measured = run.evaluate()
    assert measured["eval_loss"] < unknowing - 0.2, "it looks at the patches it sees"
    frequent = torch.bincount(labels[labels != IGNORED]).max() / (labels != IGNORED).sum()
    assert measured["eval_accuracy"] > frequent + 0.05
    folder = run.state.best_model_checkpoint
    loaded = BeitForMaskedImageModeling.from_pretrained(folder)
    assert loaded.load_report.silent
    batch = masked_batch([run.eval_dataset[0]])
    with torch.no_grad():
        assert torch.equal(loaded(**batch).loss, run.model.eval()(**batch).loss)


def test_an_adapter_in_the_model_is_trained_and_saved_alone(tmp_path):
    torch.manual_seed(0)
    new_classifier().save_pretrained(tmp_path / "base")
    model = BeitForImageClassification.from_pretrained(tmp_path / "base")
    model.add_adapter(peft.LoraConfig(target_modules=["query", "value"], modules_to_save=["classifier"]))
    training = short(model, tmp_path / "run", max_steps=2)
    training.train()
    training.save_model(str(tmp_path / "saved"))
    written = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= written
    assert not {"model.safetensors", "config.json"} & written
    loaded = BeitForImageClassification.from_pretrained(tmp_path / "base")
    loaded.load_adapter(tmp_path / "saved")
    pictures = torch.rand(2, model.config.num_channels, *model.config.image_hw)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pictures).logits, model.eval()(pictures).logits)

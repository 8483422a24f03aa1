"""Our models in the shortest training loop of plain PyTorch, with our processor to collate; nothing else is needed."""

import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from beit import BeitForImageClassification, BeitForMaskedImageModeling
from tests.e2e.loops import IGNORED, Digits, classes_batch, entropy, masked_batch, new_classifier, new_masked_model


def fit(model, collate, steps=120):
    """Train a model and return the losses of all steps."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    shuffle = torch.Generator().manual_seed(0)
    loader = DataLoader(
        Digits("digits:train", 1024), 32, shuffle=True, generator=shuffle, collate_fn=collate, drop_last=True
    )
    losses = []
    model.train()
    while len(losses) < steps:
        for batch in loader:
            loss = model(**batch).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return losses


def held_out(collate):
    digits = Digits("digits:test", 120)
    return collate([digits[index] for index in range(120)])


def test_a_classifier_learns(tmp_path):
    model = new_classifier()
    losses = fit(model, classes_batch)
    assert sum(losses[:10]) > 20, "it begins by knowing nothing"
    assert sum(losses[-10:]) < 13
    batch = held_out(classes_batch)
    with torch.inference_mode():
        logits = model.eval()(batch["pixel_values"]).logits
    assert (logits.argmax(-1) == batch["labels"]).float().mean() > 0.6
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        assert torch.equal(BeitForImageClassification.from_pretrained(tmp_path)(batch["pixel_values"]).logits, logits)


@pytest.mark.parametrize("form", ["every patch", "hidden patches"])
def test_hidden_tokens_are_learnt(form, tmp_path):
    """Both documented forms of the labels: one per patch, or one per hidden patch."""

    def collate(examples):
        batch = masked_batch(examples)
        if form == "hidden patches":
            batch["labels"] = batch["labels"][batch["bool_masked_pos"]]
        return batch

    model = new_masked_model()
    fit(model, collate)
    batch = held_out(collate)
    with torch.inference_mode():
        loss = float(model.eval()(**batch).loss)
    assert loss < entropy(batch["labels"][batch["labels"] != IGNORED]) - 0.2, "it looks at the patches it sees"
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        assert float(BeitForMaskedImageModeling.from_pretrained(tmp_path)(**batch).loss) == loss


def test_accelerate_is_not_needed():
    code = """
import sys
sys.modules["accelerate"] = sys.modules["transformers"] = sys.modules["torchvision"] = None
import torch
from beit import BeitForImageClassification, BeitImageProcessor, preset
model = BeitForImageClassification(preset("tiny", num_hidden_layers=1, num_labels=2)).train()
pixel_values = BeitImageProcessor()([torch.zeros(3, 8, 8, dtype=torch.uint8).numpy()], return_tensors="pt").pixel_values
model(pixel_values, labels=torch.tensor([1])).loss.backward()
print(all(parameter.grad is not None for name, parameter in model.named_parameters() if "mask_token" not in name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "True\n", done.stderr

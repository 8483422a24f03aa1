"""Fine-tune by adapters (LoRA) with peft: a few hundred kilobytes per task, beside one model.

    python examples/adapters_peft.py microsoft/beit-base-patch16-224-pt22k classes/train classes/test adapter/

A folder has one folder of pictures per class. `beit finetune --lora.rank 8` does it without a line of Python.
Needs beit and `pip install peft transformers`.
"""

import sys

import torch
from peft import LoraConfig, get_peft_model

from beit import BeitForImageClassification, BeitImageProcessor
from beit.data import open_source, with_classes

EPOCHS, BATCH_SIZE, LEARNING_RATE = 5, 32, 1e-3

checkpoint, train, test, output = sys.argv[1:]
pictures = open_source(train)
processor = BeitImageProcessor.from_pretrained(checkpoint)
base = BeitForImageClassification.from_pretrained(checkpoint, id2label=dict(enumerate(pictures.classes)))
base.save_pretrained(f"{output}/base")  # with the head that is new: the adapter names this folder
base = BeitForImageClassification.from_pretrained(f"{output}/base")
settings = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], modules_to_save=["classifier"])
model = get_peft_model(base, settings)
model.print_trainable_parameters()


def batches(source, order):
    for indices in order.split(BATCH_SIZE):
        images = [source.load(int(index)) for index in indices]
        yield processor(images, return_tensors="pt").pixel_values, torch.from_numpy(source.labels[indices.numpy()])


optimiser = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=LEARNING_RATE)
model.train()
for epoch in range(EPOCHS):
    for pixel_values, labels in batches(pictures, torch.randperm(len(pictures))):
        loss = model(pixel_values, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")
model.save_pretrained(f"{output}/adapter")  # what was learnt, and nothing else
processor.save_pretrained(f"{output}/adapter")

# An adapter is loaded like a model: it is added to the weights of the one that it names.
merged = BeitForImageClassification.from_pretrained(f"{output}/adapter").eval()
held_out = with_classes(open_source(test), pictures.classes)  # numbered alike, also where it lacks some
with torch.inference_mode():
    right = [
        merged(pixels).logits.argmax(-1) == labels for pixels, labels in batches(held_out, torch.arange(len(held_out)))
    ]
print(f"accuracy on {test}: {torch.cat(right).float().mean():.3f}")

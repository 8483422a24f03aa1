"""Fine-tune a model on your own classes with nothing but PyTorch.

    python examples/plain_pytorch_finetune.py microsoft/beit-base-patch16-224-pt22k classes/train classes/test mine/

A folder has one folder of pictures per class. `beit finetune` adds random crops, mixup, layer-wise learning rates,
checkpoints and a report. Needs beit alone.
"""

import sys

import torch
from torch.utils.data import DataLoader

from beit import BeitForImageClassification, BeitImageProcessor
from beit.data import open_source, with_classes

EPOCHS, BATCH_SIZE, LEARNING_RATE = 5, 32, 5e-5

checkpoint, train, test, output = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() else "cpu"
pictures = open_source(train)
processor = BeitImageProcessor.from_pretrained(checkpoint)
model = BeitForImageClassification.from_pretrained(checkpoint, id2label=dict(enumerate(pictures.classes))).to(device)


def batches(source, **options):
    def collate(indices):
        images = [source.load(index) for index in indices]
        return processor(images, return_tensors="pt").pixel_values, torch.from_numpy(source.labels[indices])

    return DataLoader(range(len(source)), BATCH_SIZE, collate_fn=collate, **options)


optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
model.train()
for epoch in range(EPOCHS):
    for pixel_values, labels in batches(pictures, shuffle=True):
        loss = model(pixel_values.to(device), labels=labels.to(device)).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")

model.eval()
held_out = with_classes(open_source(test), pictures.classes)  # numbered alike, also where it lacks some
with torch.inference_mode():
    right = [model(pixels.to(device)).logits.argmax(-1).cpu() == labels for pixels, labels in batches(held_out)]
print(f"accuracy on {test}: {torch.cat(right).float().mean():.3f}")
model.save_pretrained(output)
processor.save_pretrained(output)  # beside the model: `beit predict` and `Predictor` read both

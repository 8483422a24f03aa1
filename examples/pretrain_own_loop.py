"""Pre-train by masked image modelling in a loop of your own.

    python examples/pretrain_own_loop.py openai/DALL-E my_pictures/ mine/

The tokenizer is a folder, a file or a published name. `beit pretrain` is this loop with a schedule of the
learning rate, checkpoints, several GPUs and a report. Needs beit alone.
"""

import sys

import torch

from beit import BeitForMaskedImageModeling, load_tokenizer, preset
from beit.data import Augmentation, BatchOrder, Collate, MaskPlan, ViewDataset, Views, open_source, training_batches
from beit.image import Preprocessing
from beit.tokenizer import TokenEncoder

STEPS, BATCH_SIZE, SEED = 10_000, 64, 0

tokenizer_name, folder, output = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = load_tokenizer(tokenizer_name)
encoder = TokenEncoder(tokenizer, device)
model = BeitForMaskedImageModeling(preset("small", vocab_size=tokenizer.vocab_size)).to(device).train()
grid = model.beit.embeddings.grid  # 14 x 14 patches

# One random crop of every picture for both: 224 pixels for the model, 112 for a tokenizer with 8 pixels per token.
view = Preprocessing.cropping(model.config.image_hw, crop_share=0.875)
views = Views(view, Augmentation(color_jitter=0.4), (grid.height * tokenizer.stride, grid.width * tokenizer.stride))
source = open_source(folder)
dataset = ViewDataset(source, views, SEED, replace_broken=True)
order = BatchOrder(len(source), BATCH_SIZE, STEPS, SEED)
batches = training_batches(dataset, order, Collate(SEED, MaskPlan(grid, count=75, min_block=16)), workers=4)

optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), weight_decay=0.05)
for step, batch in enumerate(batches, start=1):
    tensors = batch.to(torch.device(device)).tensors
    mask = tensors["bool_masked_pos"]  # (B, patches), True = hidden from the model
    labels = encoder(tensors["tokenizer_pixels"]).flatten(1)[mask]  # the visual tokens of the hidden patches
    loss = model(tensors["pixel_values"], mask, labels=labels).loss
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
    optimiser.step()
    if step % 100 == 0 or step == STEPS:
        print(f"step {step}: loss {loss.item():.3f}")

model.save_pretrained(output)
view.save_pretrained(output)  # how pictures are shown to it: `beit finetune --checkpoint mine/` reads both

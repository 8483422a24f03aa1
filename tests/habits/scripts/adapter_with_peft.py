"""A LoRA adapter of peft: trained, saved alone, put on the model again, and merged into it."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image

from beit import AutoImageProcessor, BeitForImageClassification

checkpoint = "pretrained"
processor = AutoImageProcessor.from_pretrained(checkpoint)
files = [f"pictures/{label}/{number}.png" for label in ("bright", "dark") for number in range(4)]
inputs = processor([Image.open(file).convert("RGB") for file in files], return_tensors="pt")
labels = torch.tensor([0] * 4 + [1] * 4)

torch.manual_seed(0)
model = BeitForImageClassification.from_pretrained(checkpoint)
config = LoraConfig(
    r=4,
    lora_alpha=8,
    target_modules=["query", "value"],
    lora_dropout=0.0,
    bias="none",
    modules_to_save=["classifier"],
)
lora_model = get_peft_model(model, config)
trainable, total = lora_model.get_nb_trainable_parameters()

optimizer = torch.optim.AdamW(lora_model.parameters(), lr=5e-3)
losses = []
lora_model.train()
for _ in range(8):
    loss = lora_model(**inputs, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
lora_model.eval()
lora_model.save_pretrained("adapter")

base = BeitForImageClassification.from_pretrained(checkpoint)
inference_model = PeftModel.from_pretrained(base, "adapter").eval()
merged = inference_model.merge_and_unload()
merged.save_pretrained("merged")
reloaded = BeitForImageClassification.from_pretrained("merged")
with torch.no_grad():
    logits = [model(**inputs).logits for model in (lora_model, merged, reloaded)]

found = {
    "trainable": [trainable, total],
    "losses": losses,
    "trained": logits[0].tolist(),
    "merged": logits[1].tolist(),
    "reloaded": logits[2].tolist(),
}

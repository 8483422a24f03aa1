"""Fine-tuning in a loop of one's own with accelerate: accumulated gradients, a saved state, and a continuation."""

import math

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import load_dataset
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy
from transformers import get_scheduler

from beit import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

EPOCHS, ACCUMULATE, BATCH_SIZE, LEARNING_RATE = 3, 2, 4, 5e-3


def main(resume_from=None, stop_after_epoch=None):
    accelerator = Accelerator(gradient_accumulation_steps=ACCUMULATE, cpu=True)
    set_seed(0)
    dataset = load_dataset("imagefolder", data_dir="pictures", split="train").train_test_split(0.25, seed=0)
    labels = dataset["train"].features["label"].names
    config = AutoConfig.from_pretrained(
        "pretrained",
        num_labels=len(labels),
        id2label={str(i): name for i, name in enumerate(labels)},
        label2id={name: str(i) for i, name in enumerate(labels)},
        finetuning_task="image-classification",
    )
    image_processor = AutoImageProcessor.from_pretrained("pretrained")
    model = AutoModelForImageClassification.from_pretrained("pretrained", config=config, ignore_mismatched_sizes=True)

    def preprocess(examples):
        images = [image.convert("RGB") for image in examples["image"]]
        return {"pixel_values": image_processor(images).pixel_values, "labels": examples["label"]}

    def collate(examples):
        return {
            "pixel_values": torch.stack([torch.tensor(example["pixel_values"]) for example in examples]),
            "labels": torch.tensor([example["labels"] for example in examples]),
        }

    with accelerator.main_process_first():
        train_dataset = dataset["train"].with_transform(preprocess)
        eval_dataset = dataset["test"].with_transform(preprocess)
    train_dataloader = DataLoader(train_dataset, shuffle=True, collate_fn=collate, batch_size=BATCH_SIZE)
    eval_dataloader = DataLoader(eval_dataset, collate_fn=collate, batch_size=BATCH_SIZE)

    no_decay = ["bias", "LayerNorm.weight"]
    groups = [
        {
            "params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)],
            "weight_decay": 0.05,
        },
        {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    steps_per_epoch = math.ceil(len(train_dataloader) / ACCUMULATE)
    lr_scheduler = get_scheduler("linear", optimizer, num_warmup_steps=1, num_training_steps=EPOCHS * steps_per_epoch)
    model, optimizer, train_dataloader, eval_dataloader, lr_scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, lr_scheduler
    )
    first_epoch = 0
    if resume_from is not None:
        accelerator.load_state(resume_from)
        first_epoch = 1

    losses, completed_steps = [], first_epoch * steps_per_epoch
    for epoch in range(first_epoch, EPOCHS):
        model.train()
        for batch in train_dataloader:
            with accelerator.accumulate(model):
                outputs = model(**batch)
                accelerator.backward(outputs.loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                    completed_steps += 1
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
            losses.append(outputs.loss.item())
        accelerator.save_state(f"epoch_{epoch}")
        if stop_after_epoch == epoch:
            return None

    metric = MulticlassAccuracy(num_classes=len(labels), average="micro")
    model.eval()
    for batch in eval_dataloader:
        with torch.no_grad():
            outputs = model(**batch)
        predictions, references = accelerator.gather_for_metrics((outputs.logits.argmax(dim=-1), batch["labels"]))
        metric.update(predictions, references)

    accelerator.wait_for_everyone()
    unwrapped_model = accelerator.unwrap_model(model)
    unwrapped_model.save_pretrained(
        "saved",
        is_main_process=accelerator.is_main_process,
        save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(model),
    )
    if accelerator.is_main_process:
        image_processor.save_pretrained("saved")
    reloaded = AutoModelForImageClassification.from_pretrained("saved")
    processor = AutoImageProcessor.from_pretrained("saved")
    with torch.no_grad():
        logits = reloaded(**processor(dataset["test"]["image"][:3], return_tensors="pt")).logits
    return {
        "losses": losses,
        "steps": completed_steps,
        "accuracy": metric.compute().item(),
        "logits": logits.tolist(),
        "labels": list(reloaded.config.id2label.values()),
    }


main(stop_after_epoch=0)
found = main(resume_from="epoch_0")

"""Fine-tuning by Trainer: the best checkpoint in the end, a folder that is loaded again, a stop and a continuation."""

import numpy as np
import torch
from datasets import load_dataset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from beit import AutoImageProcessor, AutoModelForImageClassification

checkpoint = "pretrained"
dataset = load_dataset("imagefolder", data_dir="pictures", split="train").train_test_split(0.25, seed=0)
labels = dataset["train"].features["label"].names
id2label = {str(index): label for index, label in enumerate(labels)}
label2id = {label: str(index) for index, label in enumerate(labels)}

image_processor = AutoImageProcessor.from_pretrained(checkpoint)


def preprocess(examples):
    images = [image.convert("RGB") for image in examples["image"]]
    examples["pixel_values"] = image_processor(images, return_tensors="pt")["pixel_values"]
    del examples["image"]
    return examples


dataset = dataset.with_transform(preprocess)


def collate(examples):
    pixel_values = torch.stack([example["pixel_values"] for example in examples])
    return {"pixel_values": pixel_values, "labels": torch.tensor([example["label"] for example in examples])}


def compute_metrics(eval_pred):
    predictions, references = eval_pred
    return {"accuracy": float((np.argmax(predictions, axis=1) == references).mean())}


class StopAfterOneEpoch(TrainerCallback):
    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


def make_trainer(output_dir, *callbacks):
    set_seed(42)
    model = AutoModelForImageClassification.from_pretrained(
        checkpoint, num_labels=len(labels), id2label=id2label, label2id=label2id
    )
    arguments = TrainingArguments(
        output_dir=output_dir,
        remove_unused_columns=False,
        eval_strategy="epoch",
        save_strategy="epoch",
        learning_rate=2e-3,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=5,
        num_train_epochs=3,
        warmup_steps=2,
        logging_steps=1,
        save_total_limit=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        push_to_hub=False,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    return Trainer(
        model=model,
        args=arguments,
        data_collator=collate,
        train_dataset=dataset["train"],
        eval_dataset=dataset["test"],
        processing_class=image_processor,
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=3), *callbacks],
    )


trainer = make_trainer("run")
train_results = trainer.train()
trainer.save_model("saved")
trainer.log_metrics("train", train_results.metrics)
trainer.save_metrics("train", train_results.metrics)
trainer.save_state()
metrics = trainer.evaluate(dataset["test"])
predicted = trainer.predict(dataset["test"])

model = AutoModelForImageClassification.from_pretrained("saved")
processor = AutoImageProcessor.from_pretrained("saved")
batch = collate(list(dataset["test"]))
with torch.no_grad():
    logits = model(pixel_values=batch["pixel_values"]).logits

make_trainer("stopped", StopAfterOneEpoch()).train()
resumed = make_trainer("stopped")
resumed.train(resume_from_checkpoint=True)


def logged(trainer, name):
    return [line[name] for line in trainer.state.log_history if name in line]


found = {
    "losses": logged(trainer, "loss"),
    "resumed": logged(resumed, "loss"),
    "eval_losses": logged(trainer, "eval_loss"),
    "steps": trainer.state.global_step,
    "best": trainer.state.best_metric,
    "eval_accuracy": metrics["eval_accuracy"],
    "predictions": predicted.predictions.tolist(),
    "logits": logits.tolist(),
    "labels": [model.config.id2label[index] for index in logits.argmax(-1).tolist()],
    "size": dict(processor.size),
}

"""Hugging Face's Trainer with the client's callback."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from trackside.transformers import TracksideCallback


class Data(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index):
        return {"input_ids": torch.arange(8) + index % 3, "labels": torch.tensor(index % 2)}


def main() -> None:
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    arguments = TrainingArguments(
        "out", num_train_epochs=2, per_device_train_batch_size=4, logging_steps=2, eval_strategy="epoch",
        save_strategy="no", report_to="none", run_name="tiny-bert", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        BertForSequenceClassification(config), arguments, train_dataset=Data(), eval_dataset=Data(),
        callbacks=[TracksideCallback(project="hf")],
    )  # fmt: skip
    trainer.train()
    trainer.evaluate()


if __name__ == "__main__":
    main()

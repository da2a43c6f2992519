"""Lightning with its WandbLogger, imported from the client."""

from __future__ import annotations

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from trackside.lightning import WandbLogger


class Model(lightning.LightningModule):
    def __init__(self, width: int = 16, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))

    def training_step(self, batch, _index):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, _index):
        self.log("val/loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def main() -> None:
    lightning.seed_everything(0)
    data = torch.rand(128, 8)
    loader = DataLoader(TensorDataset(data, (data.sum(1) > 4).long()), batch_size=16)
    logger = WandbLogger(project="lightning", name="small", log_model=True, save_dir=".")
    logger.watch(None)
    trainer = lightning.Trainer(
        max_epochs=3, logger=logger, log_every_n_steps=2, accelerator="cpu", enable_progress_bar=False
    )
    trainer.fit(Model(), loader, loader)
    logger.experiment.config.update({"later": 1})


if __name__ == "__main__":
    main()

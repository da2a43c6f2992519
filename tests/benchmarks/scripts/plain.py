"""Plain PyTorch, as in PyTorch's own MNIST example with the calls that wandb's guide adds."""

from __future__ import annotations

import argparse
import os

import torch
import trackside as wandb
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    torch.manual_seed(0)
    images, labels = torch.rand(256, 1, 8, 8), torch.arange(256) % 4
    wandb.init(project="mnist", entity="somebody", config=vars(args), tags=["baseline"], settings=wandb.Settings())
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    wandb.watch(model, log="all", log_freq=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=wandb.config.lr)
    for epoch in range(1, wandb.config["epochs"] + 1):
        for start in range(0, 256, 64):
            loss = nn.functional.cross_entropy(model(images[start : start + 64]), labels[start : start + 64])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            wandb.log({"train": {"loss": loss}, "epoch": epoch})
        with torch.no_grad():
            accuracy = (model(images).argmax(1) == labels).float().mean()
        wandb.log({"val/acc": accuracy, "weights": wandb.Histogram(model[1].weight.detach().numpy())})
        wandb.log({"examples": [wandb.Image(image, caption=str(int(y))) for image, y in zip(images[:3], labels)]})
    wandb.run.summary["best_accuracy"] = accuracy
    torch.save(model.state_dict(), os.path.join(wandb.run.dir, "model.pt"))
    wandb.finish()


if __name__ == "__main__":
    main()

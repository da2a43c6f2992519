"""In the style of timm's train.py: a row per epoch, by rank 0, with wandb as an optional import."""

from __future__ import annotations

import argparse
from collections import OrderedDict

import torch
from torch import nn

try:
    import trackside as wandb

    has_wandb = True
except ImportError:
    has_wandb = False


def main() -> None:
    args = argparse.Namespace(experiment="pets", log_wandb=True, wandb_tags=["timm"], wandb_resume_id="", epochs=4)
    if args.log_wandb and has_wandb:
        resume = {"id": args.wandb_resume_id, "resume": "must"} if args.wandb_resume_id else {}
        wandb.init(project=args.experiment, name="run-1", config=args, tags=args.wandb_tags, **resume)
    torch.manual_seed(0)
    model, data = nn.Linear(8, 2), torch.rand(64, 8)
    target = (data.sum(1) > 4).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for epoch in range(args.epochs):
        loss = nn.functional.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        row = OrderedDict(epoch=epoch)
        row.update([("train_loss", loss.item()), ("eval_loss", loss.item()), ("eval_top1", 50.0)])
        row.update([("lr", sum(group["lr"] for group in optimizer.param_groups))])
        wandb.log(row)


if __name__ == "__main__":
    main()

"""The files that W&B (wandb) writes: its runs are imported as script runs."""

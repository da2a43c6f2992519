"""Training scripts as people write them for wandb: only the import is another one."""

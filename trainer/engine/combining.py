"""What the ranks of a run compute, each from its part of a batch, becomes what one process would have computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.engine.ranks import Ranks
from trainer.engine.trainee import Trainee
from trainer.models import checkpoint

LEAST_WEIGHT = 1e-12


@torch.no_grad()
def combine(ranks: Ranks, model: nn.Module, figures: Tensor, size: int, *, weighted: bool) -> tuple[Tensor, Tensor]:
    """Sum the gradients of `model`, and return the loss and the accuracy of the whole batch of `size` images.

    `figures`, float32 (3,): this part's loss times its weight / `size`, its share of the accuracy, and its weight in
    the loss. `weighted`: the weights of the images or their classes differ, so that the whole batch weighs not `size`.

    BatchNorm normalizes with the mean and deviation of each rank's part, as is usual. Its running statistics are
    averaged here in each step: so all ranks have the same ones whenever the run is evaluated or saved, and a run that
    is resumed has those of an undisturbed one.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    statistics = running_statistics(model)
    for value in statistics:
        value /= ranks.size
    ranks.sum([*gradients, *statistics, figures])
    loss, correct, weight = figures.unbind()
    if not weighted:
        return loss, correct
    scale = size / weight.clamp(min=LEAST_WEIGHT)
    for gradient in gradients:
        gradient *= scale
    return loss * scale, correct


def running_statistics(model: nn.Module) -> list[Tensor]:
    """The running means and variances that a step in training mode changes."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    both = [(norm.running_mean, norm.running_var) for norm in norms if norm.training]
    return [value for pair in both for value in pair if value is not None]


def random_state(device: torch.device) -> Tensor:
    """The state of this process's random generators, uint8 (n,): the CPU's, and after it the GPU's."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Set what `random_state` returned, as far as it is of the same kind of device."""
    of_cpu = torch.get_rng_state().numel()
    torch.set_rng_state(state[:of_cpu])
    if device.type == "cuda" and len(state) > of_cpu:
        torch.cuda.set_rng_state(state[of_cpu:], device)


def random_states(ranks: Ranks, device: torch.device) -> dict[str, Tensor]:
    """On rank 0: the random states of the other ranks, under their names in a checkpoint."""
    return {rank_state(rank): state for rank, state in enumerate(ranks.gather(random_state(device))) if rank}


def rank_state(rank: int) -> str:
    return f"rng.{rank}"


def share_all(ranks: Ranks, trainee: Trainee, loaded: checkpoint.Loaded | None) -> None:
    """From rank 0: give all other ranks the weights and the optimizers' state, and each its random state."""
    tensors = {name: value for name, value in trainee.tensors().items() if not name.startswith("rng.")}
    if loaded is not None:
        kept = [rank_state(rank) for rank in range(1, ranks.size)]
        tensors |= {name: loaded.tensors[name].cpu() for name in kept if name in loaded.tensors}
    ranks.share(tensors, trainee.window.device)


def take_over(ranks: Ranks, trainee: Trainee, seed: int, step: int) -> None:
    """On another rank: take what `share_all` gives.

    Where no random state is stored for this rank, as at the start and where a run is resumed with more devices, it is
    drawn from the seed, the rank and the step.
    """
    device = trainee.window.device
    tensors = ranks.share(None, device)
    trainee.load(tensors)
    state = tensors.get(rank_state(ranks.rank))
    if state is None:
        torch.manual_seed((seed * 1_000_003 + ranks.rank * 7_919 + step + 1) % 2**63)
    else:
        set_random_state(state, device)

"""Weights and moments of Adam as named tensors, so that a training that was stopped goes on as if it had not been."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def optimizer_state(parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Parameters ``weight.0``, ``weight.1`` and so on, and what the optimizer keeps of each (``0.exp_avg``)."""
    found = {f"weight.{i}": parameter.detach() for i, parameter in enumerate(parameters)}
    for i, parameter in enumerate(parameters):
        found |= {f"{i}.{name}": value for name, value in optimizer.state.get(parameter, {}).items()}
    return found


@torch.no_grad()
def restore_optimizer(
    parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]
) -> None:
    """Put them back; names of ``state`` that are none of these are left alone."""
    fused = bool(optimizer.defaults.get("fused"))  # whose count of steps is beside the weights, else on the CPU
    for i, parameter in enumerate(parameters):
        parameter.copy_(state[f"weight.{i}"])
        own = {name.partition(".")[2]: value for name, value in state.items() if name.startswith(f"{i}.")}
        if own:
            optimizer.state[parameter] = {
                name: value.clone().to(parameter if name != "step" or fused else "cpu") for name, value in own.items()
            }

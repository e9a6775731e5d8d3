"""Gradient of the next-token loss with respect to the residual stream after one block."""

import torch
from torch import Tensor, nn

from ato.models.language_model import LanguageModel

_HEAD_TOKENS = 512
"""Tokens whose logits are held at once."""


def loss_gradient(
    model: LanguageModel, layer: int, residual: Tensor, input_ids: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Next-token losses and the gradient of their sum, by one backward pass through the blocks above a layer.

    The logits of a few hundred tokens are held at a time. Not to be called in ``torch.inference_mode``.

    Args:
        model: whose blocks above ``layer`` are run.
        layer: after which the stream is the given one.
        residual: [b, t, d_model], the stream there.
        input_ids: [b, t] int64, padded on the right.
        lengths: [b], tokens in each row.

    Returns:
        Losses [b, t-1] in nats, 0 where padding is predicted, and the gradient [b, t, d_model] of their sum, 0 at padding;
        in the model's precision, losses in float32 at least.

    Raises:
        LayerError: the layer is not in the model.
    """
    model.check_layers([layer])
    input_ids, lengths = input_ids.to(model.device), torch.as_tensor(lengths).to(model.device)
    real = torch.arange(1, input_ids.shape[1], device=model.device) < lengths[:, None]  # [b, t-1]
    labels = input_ids[:, 1:][real]
    with torch.enable_grad():
        stream = residual.detach().to(model.device, model.dtype).clone().requires_grad_()
        hidden = model.run_padded(input_ids, lengths, start=(layer, stream), gradients=True).hidden[:, :-1][real]
        behind = torch.empty_like(hidden)
        losses = []
        for start in range(0, len(hidden), _HEAD_TOKENS):
            rows = slice(start, start + _HEAD_TOKENS)
            part = hidden[rows].detach().requires_grad_()
            logits = model.parts.logits(part)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            own = nn.functional.cross_entropy(wide, labels[rows], reduction="none")
            (behind[rows],) = torch.autograd.grad(own.sum(), part)
            losses.append(own.detach())
        (gradient,) = torch.autograd.grad(hidden, stream, behind.detach())
    found = torch.zeros(real.shape, dtype=losses[0].dtype if losses else torch.float32, device=model.device)
    if losses:
        found[real] = torch.cat(losses)
    return found, gradient

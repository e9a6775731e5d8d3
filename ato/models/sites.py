"""Names of the places in a model that SAEs read, in TransformerLens' and transformers' words, as (site, layer)."""

import re
from dataclasses import dataclass

SITES = ("attn_z", "attn_out", "mlp_in", "mlp_neurons", "mlp_out", "resid_post")
"""Where in a block values are read and replaced, in the order in which it passes them:

- ``resid_post``: the residual stream after the block;
- ``mlp_out``, ``attn_out``: what MLP and attention add to the stream, so that the three sum up over a block, see
  ``ato.models.layouts``. In Gemma 2 to 4 and GLM-4 that is *behind* their post-norms: where TransformerLens has
  ``hook_mlp_out`` and Gemma Scope its MLP SAEs. In Granite it is multiplied as the block adds it;
- ``mlp_in``: what the MLP reads, the output of the norm before it, gain and bias included. It is ``mlp.hook_in`` of
  TransformerBridge and circuit-tracer. TransformerLens' ``ln2.hook_normalized`` lacks the norm's gain and bias, and its
  ``hook_mlp_in`` is the stream before the norm: neither stands for it;
- ``attn_z``: the heads' outputs side by side, the input of the attention's output projection (Gemma Scope's attention
  SAEs); its width is heads times head size, which may differ from d_model;
- ``mlp_neurons``: the MLP's hidden layer, the input of its output projection: ``act(x W_gate) * (x W_up)`` of gated MLPs,
  ``act(x W_in)`` of others. It is ``mlp.hook_post`` of TransformerLens; its width is that of the hidden layer.
"""


__all__ = ["SITES", "Hook", "parse_hook"]

_LENS = {
    "hook_resid_post": "resid_post",
    "mlp.hook_in": "mlp_in",
    "mlp.hook_post": "mlp_neurons",
    "hook_mlp_out": "mlp_out",
    "hook_attn_out": "attn_out",
    "attn.hook_z": "attn_z",
    "hook_z": "attn_z",
}
_MODULES = {
    "": "resid_post",
    "mlp": "mlp_out",
    "feed_forward": "mlp_out",
    "post_feedforward_layernorm": "mlp_out",  # of Gemma
    "post_mlp_layernorm": "mlp_out",  # of GLM-4
    "self_attn": "attn_out",
    "linear_attn": "attn_out",
    "post_self_attn_layernorm": "attn_out",  # of GLM-4
    "attn": "attn_out",
    "attention": "attn_out",
}
_INPUTS = {
    "mlp": "mlp_in",
    "feed_forward": "mlp_in",
    "mlp.down_proj": "mlp_neurons",
    "mlp.c_proj": "mlp_neurons",
    "mlp.dense_4h_to_h": "mlp_neurons",
    "mlp.fc2": "mlp_neurons",
    "feed_forward.down_proj": "mlp_neurons",
    "feed_forward.w2": "mlp_neurons",
    "self_attn.o_proj": "attn_z",
    "self_attn.out_proj": "attn_z",
    "self_attn.dense": "attn_z",
    "self_attention.dense": "attn_z",
    "linear_attn.out_proj": "attn_z",
    "attn.c_proj": "attn_z",
    "attention.dense": "attn_z",
}


@dataclass(frozen=True)
class Hook:
    """One place that can be read."""

    site: str
    """One of ``SITES``, which says what each is."""
    layer: int
    """Number of the block, from 0."""

    @property
    def lens_name(self) -> str:
        """Its name in TransformerLens, of ``mlp_in`` that of its TransformerBridge."""
        inside = {"attn_z": "attn.hook_z", "mlp_in": "mlp.hook_in", "mlp_neurons": "mlp.hook_post"}
        return f"blocks.{self.layer}.{inside.get(self.site, f'hook_{self.site}')}"


def parse_hook(name: str) -> Hook | None:
    """The place that a hook's name stands for; None for places that are not read here (embeddings, inside a block).

    ``blocks.5.hook_resid_pre`` is what block 4 leaves behind, so it is ``Hook("resid_post", 4)``.

    Args:
        name: ``blocks.5.hook_mlp_out`` and the like, or a module's path such as ``model.layers.5.output``,
            ``model.layers.5.self_attn.o_proj.input``, ``transformer.h.5``.
    """
    if lens := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        layer, place = int(lens[1]), lens[2]
        if place == "hook_resid_pre":
            return Hook("resid_post", layer - 1) if layer > 0 else None
        return Hook(_LENS[place], layer) if place in _LENS else None
    module = re.fullmatch(r"(?:\w+\.)*?(?:layers|h)\.(\d+)((?:\.\w+)*?)(?:\.(input|output))?", name)
    if module is None:
        return None
    places = _INPUTS if module[3] == "input" else _MODULES
    site = places.get(module[2].removeprefix("."))
    return None if site is None else Hook(site, int(module[1]))

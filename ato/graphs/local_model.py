"""The locally linear pass of one prompt, cut at SAEs or transcoders: values, constants and vector-Jacobian products.

A *cut* is where features stand in for the model: an SAE cuts the residual stream after its block, a transcoder the MLP
of its block. What is behind a cut starts from a leaf, the value that the model had there; what is before it ends in a
*reading*, which the encoder reads. Between leaves and readings the model is affine (``ato.graphs.frozen``), so a
reading is the sum over its leaves of Jacobian times leaf, plus a constant.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ato.errors import InputError, SAEError, SettingsError
from ato.graphs.adapters import AdapterFeatures
from ato.graphs.frozen import FrozenParts
from ato.models.language_model import LanguageModel
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.transcoder import Transcoder

_PASSES, _SHORTEST = 4, 8
"""Lengths of the prompt's beginnings that passes are recorded of, at most, and tokens that they differ by, at least."""

Dictionary = SparseAutoencoder | Transcoder


@dataclass(frozen=True)
class Values:
    """What a pass has at its ends."""

    stream: Tensor
    """[b, t, d_model] before the first block."""
    readings: list[Tensor]
    """[b, t, d] of each cut, what its encoder reads, and last of all the state behind the final norm."""
    leaves: list[Tensor]
    """[b, t, d] of each cut: the stream after the block, or what the MLP and an adapter add to it, less the part of the
    skip connection or of the base model's MLP."""


class LocalModel:
    """A model, frozen at a prompt and cut at the given layers.

    Args:
        model: in float32 or float64.
        token_ids: of the prompt, BOS included.
        dictionaries: layer -> SAE of ``resid_post``, or layer -> transcoder of the MLP or adapter beside it; not both.
        without: positions without features, such as those that the SAEs were not trained on: all is error there.

    Raises:
        InputError: the prompt is too short or long, the precision too low, or SAEs and transcoders are mixed.
        SAEError: another site, layer or width.
        ModelError: a model without a locally linear form.
    """

    def __init__(
        self,
        model: LanguageModel,
        token_ids: Sequence[int],
        dictionaries: Mapping[int, Dictionary],
        without: Collection[int] = (),
    ):
        _check(model, token_ids, dictionaries)
        self.without = frozenset(without)
        self.model = model
        self.token_ids = tuple(int(token) for token in token_ids)
        self.layers = sorted(dictionaries)
        self.dictionaries = [in_precision(dictionaries[layer], model) for layer in self.layers]
        self.transcoded = isinstance(self.dictionaries[0], Transcoder)
        self._ids = torch.tensor([self.token_ids], device=model.device)
        for site in ("mlp_in", "mlp_out") if self.transcoded else ():
            model.check_site(site, self.layers)
        self.frozen = FrozenParts(model)
        self.values = self._whole()
        """At the prompt; of one row."""
        self._recorded: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        """Number of tokens -> leaves and readings of a recorded pass."""

    @property
    def n_tokens(self) -> int:
        """Length of the prompt."""
        return len(self.token_ids)

    def sources(self, reading: int) -> range:
        """Leaves that a reading depends on, as numbers from 0: the stream before the first block, then the cuts."""
        return range(0, reading + 1) if self.transcoded else range(reading, reading + 1)

    def sources_of_block(self, layer: int) -> range:
        """Leaves that the stream in front of a block depends on, numbered as in ``sources``."""
        before = sum(cut < layer for cut in self.layers)
        return range(0, before + 1) if self.transcoded else range(before, before + 1)

    def pull_back(self, reading: int, positions: Tensor, vectors: Tensor) -> list[Tensor]:
        """Gradients [b, t, d] of b scalars ``vector . reading[position]`` by each of the reading's ``sources``.

        One backward pass for all of them, through no more of the prompt than the last position needs.

        Args:
            reading: number of the cut that reads; the last is the state behind the final norm.
            positions: [b].
            vectors: [b, d].

        Returns:
            For each source [b, n, d], n at most t: gradients are 0 behind that.
        """
        inputs, outputs = self._pass(int(positions.max()) + 1)
        output = outputs[reading]
        upstream = output.new_zeros(len(vectors), *output.shape)
        upstream[torch.arange(len(vectors)), 0, positions] = vectors.to(output)
        wanted = [inputs[source] for source in self.sources(reading)]
        found = torch.autograd.grad(output, wanted, upstream, retain_graph=True, is_grads_batched=True)
        return [gradient[:, 0] for gradient in found]

    def run(
        self,
        stream: Tensor,
        leaves: Sequence[Tensor],
        *,
        frozen: bool = True,
        gradients: bool = False,
    ) -> list[Tensor]:
        """Readings of other leaves.

        Args:
            stream: [b, t, d_model] before the first block.
            leaves: [b, t, d] of each cut.
            frozen: False for the model's own norms, attention and MLPs between the cuts.
            gradients: record the pass.
        """
        live: dict[tuple[str, int], Tensor] = {}

        def edit(cut: int, value: Tensor) -> Tensor:
            if not self.transcoded:
                live["resid_post", self.layers[cut]] = value
                return leaves[cut]
            return leaves[cut] + self._beside(cut, live["mlp_in", self.layers[cut]], value)

        beside: dict[str, Sequence[int]] = {"mlp_in": self.layers} if self.transcoded else {}
        with self._applied(frozen), _input_replaced(self.model.blocks[0], stream):
            hidden = self.model.forward(
                self._ids[:, : stream.shape[1]].expand(len(stream), -1),
                None,
                edits={layer: partial(edit, cut) for cut, layer in enumerate(self.layers)},
                site="mlp_out" if self.transcoded else "resid_post",
                beside=beside,
                keep_beside=lambda site, layer, value: live.__setitem__((site, layer), value),
                gradients=gradients,
            ).hidden
        read_at = "mlp_in" if self.transcoded else "resid_post"
        return [*(live[read_at, layer] for layer in self.layers), hidden]

    def active(self, cut: int) -> ActiveFeatures:
        """Features of a cut that are active on the prompt."""
        found = self.dictionaries[cut].active(self.values.readings[cut][0])
        if not self.without:
            return found
        kept = ~torch.isin(found.token, torch.tensor(sorted(self.without), device=found.token.device))
        return ActiveFeatures(found.n, found.token[kept], found.feature[kept], found.value[kept])

    def bias(self, cut: int) -> Tensor:
        """[d] that a cut's decoder adds at every token."""
        return self.dictionaries[cut].b_dec

    def constants(self) -> list[Tensor]:
        """[t, d] of each reading: what it is where no feature is active, no error is made and no token is read."""
        leaves = [self.bias(cut).expand_as(leaf) for cut, leaf in enumerate(self.values.leaves)]
        return [reading[0] for reading in self.run(torch.zeros_like(self.values.stream), leaves)]

    def encoder_rows(self, cut: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """Directions [n, d] and offsets [n]: pre-activations are ``direction . reading + offset``."""
        dictionary = self.dictionaries[cut]
        rows = dictionary.W_enc[:, features].T
        offsets = dictionary.b_enc[features]
        if isinstance(dictionary, SparseAutoencoder) and dictionary.apply_b_dec_to_input:
            offsets = offsets - rows @ dictionary.b_dec
        return rows, offsets

    def _pass(self, n_tokens: int) -> tuple[list[Tensor], list[Tensor]]:
        """Leaves and readings of a recorded pass of so many tokens, or a few more: such passes are few."""
        step = max(-(-self.n_tokens // _PASSES), _SHORTEST)
        length = min(-(-n_tokens // step) * step, self.n_tokens)
        if length not in self._recorded:
            whole = (self.values.stream, *self.values.leaves)
            inputs = [leaf[:, :length].clone().requires_grad_() for leaf in whole]
            self._recorded[length] = inputs, self.run(inputs[0], inputs[1:], gradients=True)
        return self._recorded[length]

    def _beside(self, cut: int, read: Tensor, value: Tensor) -> Tensor | int:
        """What the MLP's place adds beside the features of a cut, of what it reads and what the MLP makes of that."""
        dictionary = self.dictionaries[cut]
        if isinstance(dictionary, AdapterFeatures):
            return value if dictionary.base_path else 0
        return 0 if (skip := getattr(dictionary, "W_skip", None)) is None else read @ skip

    def _whole(self) -> Values:
        """One pass without a cut, which the frozen parts record."""
        live: dict[tuple[str, int], Tensor] = {}
        leaves: dict[int, Tensor] = {}

        def edit(cut: int, value: Tensor) -> Tensor:
            dictionary, read = self.dictionaries[cut], live.get(("mlp_in", self.layers[cut]), value)
            whole = value + dictionary.added(read) if isinstance(dictionary, AdapterFeatures) else value
            leaves[cut] = (whole - self._beside(cut, read, value)).detach()
            return whole

        with self.frozen.applied(), _input_read(self.model.blocks[0]) as before:
            found = self.model.forward(
                self._ids,
                None,
                edits={layer: partial(edit, cut) for cut, layer in enumerate(self.layers)},
                site="mlp_out" if self.transcoded else "resid_post",
                beside={"mlp_in": self.layers} if self.transcoded else {},
                keep_beside=lambda site, layer, value: live.__setitem__((site, layer), value),
            )
        cuts = range(len(self.layers))
        readings = (
            [live["mlp_in", layer] for layer in self.layers] if self.transcoded else [leaves[cut] for cut in cuts]
        )
        return Values(before[0], [*readings, found.hidden], [leaves[cut] for cut in cuts])

    def _applied(self, frozen: bool):
        return self.frozen.applied() if frozen else self.model.exclusive()


def in_precision(dictionary: Dictionary, model: LanguageModel) -> Dictionary:
    """The same SAE or transcoder in a model's precision, on its device."""
    weights = {name: weight.to(model.device, model.dtype) for name, weight in dictionary.weights.items()}
    return replace(dictionary, **weights)  # type: ignore[arg-type]


def _check(model: LanguageModel, token_ids: Sequence[int], dictionaries: Mapping[int, Dictionary]) -> None:
    if len(token_ids) < 2:
        raise InputError(f"a prompt of {len(token_ids)} tokens has no graph", cure="give two tokens or more")
    if len(token_ids) > model.context_length:
        what = f"the prompt has {len(token_ids)} tokens, the model's context {model.context_length}"
        raise InputError(what, cure="shorten the prompt")
    if wrong := [token for token in token_ids if not 0 <= token < model.vocabulary_size]:
        raise InputError(f"the model has no tokens {wrong}", cure="tokenise the prompt with the model's own tokenizer")
    if model.dtype not in (torch.float32, torch.float64):
        what = f"graphs in {str(model.dtype).removeprefix('torch.')} cannot be repeated"
        raise SettingsError(what, cure="load the model in float32")
    if not dictionaries:
        raise SAEError("a graph needs an SAE or a transcoder", cure="give one of some layer")
    model.check_layers(dictionaries)
    if len({isinstance(dictionary, Transcoder) for dictionary in dictionaries.values()}) > 1:
        raise SAEError("SAEs and transcoders cannot be in one graph", cure="give one kind")
    for layer, dictionary in dictionaries.items():
        if isinstance(dictionary, Transcoder):
            dictionary.check_sites("mlp_in", "mlp_out", layer)
        else:
            dictionary.check_place("resid_post", layer)
        for width in (dictionary.d_in, dictionary.W_dec.shape[1]):
            if width != model.d_model:
                what = f"the dictionary of layer {layer} is {width} wide, the model {model.d_model}"
                raise SAEError(what, cure="use one that was trained on this model")


@contextmanager
def _input_replaced(block: nn.Module, stream: Tensor) -> Iterator[None]:
    def before(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (stream, *args[1:]), kwargs
        return args, kwargs | {"hidden_states": stream}

    hook = block.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _input_read(block: nn.Module) -> Iterator[list[Tensor]]:
    found: list[Tensor] = []

    def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
        found.append((args[0] if args else kwargs["hidden_states"]).detach())

    hook = block.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield found
    finally:
        hook.remove()

"""Language models as this platform sees them: a stack of blocks whose residuals can be read and replaced."""

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ato.errors import LayerError, ModelError
from ato.models.additivity import PROJECTED, checked_parts
from ato.models.families import find_parts
from ato.models.files import ModelIdentity
from ato.models.forward import Edit, Keep, KeepAt, Pass, eager_needed, run_blocks, stream_of
from ato.models.layouts import context_of, text_config
from ato.models.losses import losses_of, next_token_losses
from ato.models.sites import SITES

PROMPT = "The residual stream of a transformer carries what earlier blocks have written to later ones."
"""What models are checked on."""


class LanguageModel:
    """A causal language model with its tokenizer; made by ``load_model``.

    Sequences are padded on the right and described by their lengths. Calls from several threads wait for each other,
    since a pass installs hooks.
    """

    def __init__(self, identity: ModelIdentity, module: nn.Module, tokenizer: Any):
        self.identity = identity
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.parts = find_parts(module)
        self._lock = threading.RLock()
        self._tuple_outputs = False
        self.bypass_below = True
        """Whether passes that start at a layer need nothing but its residual of the blocks below; the self-check says."""
        self._checked: set[tuple[str, int]] = set()
        # transformers 4 returns tuples from the blocks of some families; stand-ins must do the same.
        watch = self.blocks[0].register_forward_hook(self._note_output)
        try:
            self.run_padded(torch.zeros(1, 2, dtype=torch.long), torch.tensor([2]))
        finally:
            watch.remove()

    def _note_output(self, block: nn.Module, args: object, output: object) -> None:
        self._tuple_outputs = isinstance(output, tuple)
        self.d_model: int = stream_of(output).shape[-1]
        """Width of the residual stream."""

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, first to last."""
        return self.parts.blocks

    @property
    def n_layers(self) -> int:
        """Number of blocks; layers are numbered from 0."""
        return len(self.parts.blocks)

    @property
    def vocabulary_size(self) -> int:
        """Rows of the unembedding; may exceed the tokenizer's vocabulary."""
        weight: Any = self.parts.head.weight
        return int(weight.shape[0])

    @property
    def context_length(self) -> int:
        """Longest sequence the model was made for, in tokens.

        Of models that name none (state-space models, ALiBi) the tokenizer's; ``sys.maxsize`` where that has none either.
        """
        own = getattr(self.tokenizer, "model_max_length", None) or sys.maxsize
        return context_of(self.module.config) or int(min(own, sys.maxsize))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the residual stream."""
        return next(self.module.parameters()).dtype

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids of tokens that stand for no text: BOS, EOS, padding, chat marks."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(self.tokenizer.all_special_ids) | {i for i, token in added if token.special}

    @property
    def prompt_ids(self) -> list[int]:
        """At most 32 token ids of the short text that checks are made on."""
        ids: list[int] = self.tokenizer(PROMPT, add_special_tokens=False)["input_ids"][:32]
        return ids

    def check_layers(self, layers: Iterable[int]) -> None:
        """Raise LayerError unless every layer is one of 0 ... n_layers - 1."""
        if wrong := sorted(layer for layer in set(layers) if not 0 <= layer < self.n_layers):
            raise LayerError(
                f"the model has no layers {wrong}",
                where=self.identity.model,
                cure=f"use layers 0 to {self.n_layers - 1}",
            )

    def check_attention(self, layers: Iterable[int]) -> None:
        """Raise LayerError or SettingsError unless the attention weights of these layers, if any, can be read."""
        layers = set(layers)
        self.check_layers(layers)
        if layers and text_config(self.module.config)._attn_implementation != "eager":
            raise eager_needed(self.identity.model)

    def width(self, site: str = "resid_post", layers: Iterable[int] = (0,)) -> int:
        """Width of the values at a site, see ``SITES``: d_model but for ``attn_z`` and ``mlp_neurons``.

        Raises:
            LayerError: a layer is not in the model, or the site is not as wide at all of these layers.
            ModelError: a block has no such site, or what is read there is not what the block adds.
        """
        if site == "resid_post":
            return self.d_model
        probe = self.read(torch.zeros(1, 2, dtype=torch.long), torch.tensor([2]), layers, site=site)
        widths = {layer: int(value.shape[-1]) for layer, value in probe.residuals.items()}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{width} at layer {layer}" for layer, width in widths.items())
            raise LayerError(
                f"{site} is not equally wide at all layers", where=listed, cure="ask for layers of one width"
            )
        return next(iter(widths.values()))

    def residuals(
        self, input_ids: Tensor, lengths: Tensor | np.ndarray, layers: Iterable[int], site: str = "resid_post"
    ) -> dict[int, Tensor]:
        """Layer -> [b, t, d_model] at the site, in the model's precision; see ``read``."""
        return self.read(input_ids, lengths, layers, site=site).residuals

    def read(
        self,
        input_ids: Tensor,
        lengths: Tensor | np.ndarray,
        layers: Iterable[int],
        *,
        attention: Iterable[int] = (),
        site: str = "resid_post",
        keep: Keep | None = None,
        beside: Mapping[str, Iterable[int]] | None = None,
        keep_beside: KeepAt | None = None,
    ) -> Pass:
        """Residuals and attention weights of one pass that ends at the highest layer; ``hidden`` is not meaningful.

        Args:
            input_ids: [b, t] int64, padded on the right with any valid id.
            lengths: [b], tokens in each row; values beyond a row's length are meaningless.
            layers: whose residuals are read.
            attention: layers whose attention weights are read.
            site: where in the blocks residuals are read.
            keep: makes what is returned of each residual; default the residual itself.
            beside: other site -> layers that are read there in the same pass, as ``Pass.beside``.
            keep_beside: makes what is returned of each of these values; default the value itself.

        Raises:
            LayerError: a layer is not in the model.
            SettingsError: an unknown site, or attention weights of a model that does not make them.
            ModelError: the model's blocks have no such site.
        """
        wanted, attending = sorted(set(layers)), sorted(set(attention))
        self.check_layers(wanted)
        self.check_attention(attending)
        others = {other: sorted(set(at)) for other, at in (beside or {}).items()}
        self.check_layers(layer for at in others.values() for layer in at)
        asked = [*wanted, *attending, *(layer for at in others.values() for layer in at)]
        if not asked:
            return Pass(torch.empty(0), {})
        options: dict[str, Any] = {"attention": attending, "site": site, "keep": keep}
        if others:
            options |= {"beside": others, "keep_beside": keep_beside}
        return self.run_padded(input_ids, lengths, read=wanted, stop=max(asked), **options)

    def token_losses(
        self,
        input_ids: Tensor,
        lengths: Tensor | np.ndarray,
        edit: Edit | None = None,
        layer: int | None = None,
        site: str = "resid_post",
    ) -> Tensor:
        """Next-token losses [b, t-1] float32, in nats: entry [i, p] is -log p(token p+1 | tokens 0 ... p).

        Entries that predict padding are 0.

        Args:
            input_ids: [b, t] int64, padded on the right.
            lengths: [b], tokens in each row.
            edit: function of the residual [b, t, d] at ``layer``, whose result replaces it.
            layer: where to edit.
            site: where in the block, see ``SITES``.

        Raises:
            LayerError: the layer is not in the model.
            SettingsError: an unknown site.
        """
        if (edit is None) != (layer is None):
            raise LayerError("edit and layer must be given together", cure="pass both or neither")
        if edit is None or layer is None:
            return self.losses(self.run_padded(input_ids, lengths).hidden, input_ids, lengths)
        self.check_layers([layer])
        return self.losses(
            self.run_padded(input_ids, lengths, edits={layer: edit}, site=site).hidden, input_ids, lengths
        )

    def hidden_from(self, layer: int, residual: Tensor, input_ids: Tensor, lengths: Tensor | np.ndarray) -> Tensor:
        """Hidden states [b, t, d] behind the final norm when the residual after ``layer`` is the given one.

        Only the blocks above ``layer`` are run, so that many replacements of one layer share the work below it.

        Args:
            layer: whose output is given.
            residual: [b, t, d_model].
            input_ids: [b, t] int64, padded on the right; some families' blocks read these too (Gemma 4).
            lengths: [b], tokens in each row.

        Raises:
            LayerError: the layer is not in the model.
        """
        self.check_layers([layer])
        return self.run_padded(input_ids, lengths, start=(layer, residual)).hidden

    def losses_from(self, layer: int, residual: Tensor, input_ids: Tensor, lengths: Tensor | np.ndarray) -> Tensor:
        """``token_losses`` of the pass that starts at ``layer`` with the given residual, see ``hidden_from``."""
        return self.losses(self.hidden_from(layer, residual, input_ids, lengths), input_ids, lengths)

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [..., vocabulary] of hidden states [..., d_model] behind the final norm."""
        with torch.no_grad():
            return self.parts.logits(hidden)

    def losses(self, hidden: Tensor, input_ids: Tensor, lengths: Tensor | np.ndarray) -> Tensor:
        """Next-token losses [b, t-1] float32 (nats, 0 where padding is predicted) of hidden states [b, t, d_model]."""
        return next_token_losses(
            self.logits, hidden, input_ids.to(self.device), torch.as_tensor(lengths).to(self.device)
        )

    def losses_of(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Losses [n] float32, in nats, of predicting labels [n] from hidden states [n, d_model]."""
        return losses_of(self.logits, hidden, labels)

    def run_padded(self, input_ids: Tensor, lengths: Tensor | np.ndarray, **options: Any) -> Pass:
        """``forward`` of rows that are padded on the right, with any options of ``run_blocks``.

        Args:
            input_ids: [b, t] int64, padded with any valid id.
            lengths: [b], tokens in each row.
            options: see ``ato.models.forward.run_blocks``.

        Raises:
            ModelError: the rows are longer than the model's context.
        """
        if input_ids.shape[1] > self.context_length:
            problem = f"sequences of {input_ids.shape[1]} tokens exceed the model's context of {self.context_length}"
            raise ModelError(problem, where=self.identity.model, cure="use shorter sequences")
        lengths, mask = torch.as_tensor(lengths), None
        if (lengths < input_ids.shape[1]).any():  # without padding, and so without a mask, attention is faster
            mask = (torch.arange(input_ids.shape[1], device=lengths.device) < lengths[:, None]).long().to(self.device)
        return self.forward(input_ids, mask, **options)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, **options: Any) -> Pass:
        """One pass with any options of ``run_blocks``, while other threads wait: what the other methods are made of."""
        with self._lock:
            if (site := options.get("site", "resid_post")) in SITES:
                self.check_site(site, {*options.get("read", ()), *(options.get("edits") or ())})
            for other, layers in (options.get("beside") or {}).items():
                if other in SITES:
                    self.check_site(other, layers)
            options |= {"tuple_outputs": self._tuple_outputs, "bypass_below": self.bypass_below}
            return run_blocks(self.parts, input_ids.to(self.device), attention_mask, **options)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let other threads' calls wait, while several passes belong together or the module is changed."""
        with self._lock:
            yield

    def check_site(self, site: str, layers: Iterable[int]) -> None:
        """Check, once a layer, that a site is read correctly: attention and MLP add what the block adds.

        Raises:
            ModelError: a block has no such site, or its parts do not add up.
        """
        new = {layer for layer in layers if (site, layer) not in self._checked}
        if site == "resid_post" or not new:
            return
        self.check_layers(new)
        # A guess that is changed for new layers must hold for those that were checked before.
        loose = self.parts.known or site in PROJECTED
        again = set() if loose else {i for name, i in self._checked if name not in PROJECTED}
        ids = torch.tensor([self.prompt_ids], device=self.device)
        with self._lock:
            self.parts = checked_parts(
                self.parts, site, new | again, lambda stop: self.forward(ids, None, stop=stop), self.identity.model
            )
        self._checked |= {(site, layer) for layer in new}


def pad(sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Right-pad id arrays to ids [b, t] int64 and lengths [b] int64. Padding is id 0: only the lengths mark it."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    input_ids = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
    for row, ids in zip(input_ids, sequences):
        row[: len(ids)] = torch.as_tensor(np.asarray(ids, dtype=np.int64))
    return input_ids, lengths

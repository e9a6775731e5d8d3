"""Language models as this platform sees them: a stack of blocks whose residuals can be read and replaced."""

import json
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ato.devices import choose_device, choose_dtype
from ato.errors import LayerError, ModelError
from ato.families import FAMILIES, find_parts
from ato.forward import Edit, Pass, run_blocks, stream_of
from ato.model_files import ModelFiles, ModelIdentity, identify, locate
from ato.self_check import self_check
from ato.transformers_loading import loading_options, parsed_once, quiet_transformers

__all__ = ["LanguageModel", "ModelIdentity", "identify", "load_model"]

_HEAD_TOKENS = 512
"""Tokens whose logits are held at once: 100 MB in float32 for a vocabulary of 50,000."""


class LanguageModel:
    """A causal language model with its tokenizer; made by ``load_model``.

    Sequences are padded on the right and described by their lengths. A model is used by one thread at a time: calls
    from several threads wait for each other, since a pass installs hooks.
    """

    def __init__(self, identity: ModelIdentity, module: nn.Module, tokenizer: Any):
        self.identity = identity
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.parts = find_parts(module)
        self._lock = threading.RLock()
        self._tuple_outputs = False
        # transformers 4 returns tuples from the blocks of some families; stand-ins must do the same.
        watch = self.blocks[0].register_forward_hook(self._note_output)
        try:
            self._run(torch.zeros(1, 2, dtype=torch.long), torch.tensor([2]))
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
        """Longest sequence the model was made for, in tokens."""
        config: Any = self.module.config
        return int(config.get_text_config().max_position_embeddings)

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

    def check_layers(self, layers: Iterable[int]) -> None:
        """Raise LayerError unless every layer is one of 0 ... n_layers - 1."""
        if wrong := sorted(layer for layer in set(layers) if not 0 <= layer < self.n_layers):
            raise LayerError(
                f"layers {wrong} are not in the model",
                where=self.identity.model,
                cure=f"it has layers 0 to {self.n_layers - 1}",
            )

    def residuals(self, input_ids: Tensor, lengths: Tensor | np.ndarray, layers: Iterable[int]) -> dict[int, Tensor]:
        """Residual stream after the given blocks: layer -> [b, t, d_model], in the model's precision.

        Blocks above the highest layer are not run, and no logits are computed.

        Args:
            input_ids: [b, t] int64, padded on the right with any valid id.
            lengths: [b], tokens in each row; values beyond a row's length are meaningless.
            layers: in any order.

        Raises:
            LayerError: a layer is not in the model.
        """
        wanted = sorted(set(layers))
        self.check_layers(wanted)
        if not wanted:
            return {}
        return self._run(input_ids, lengths, read=wanted, stop=wanted[-1]).residuals

    def token_losses(
        self, input_ids: Tensor, lengths: Tensor | np.ndarray, edit: Edit | None = None, layer: int | None = None
    ) -> Tensor:
        """Next-token losses [b, t-1] float32, in nats: entry [i, p] is -log p(token p+1 | tokens 0 ... p).

        Entries that predict padding are 0.

        Args:
            input_ids: [b, t] int64, padded on the right.
            lengths: [b], tokens in each row.
            edit: function of the residual [b, t, d] at ``layer``, whose result replaces it.
            layer: where to edit.

        Raises:
            LayerError: the layer is not in the model.
        """
        if (edit is None) != (layer is None):
            raise LayerError("an edit needs a layer, and a layer an edit", cure="give both or none")
        if edit is None or layer is None:
            return self.losses(self._run(input_ids, lengths).hidden, input_ids, lengths)
        self.check_layers([layer])
        return self.losses(self._run(input_ids, lengths, edits={layer: edit}).hidden, input_ids, lengths)

    def hidden_from(self, layer: int, residual: Tensor, input_ids: Tensor, lengths: Tensor | np.ndarray) -> Tensor:
        """Hidden states [b, t, d] behind the final norm when the residual after ``layer`` is the given one.

        Only the blocks above ``layer`` are run, so that many replacements of one layer share the work below it.

        Args:
            layer: whose output is given.
            residual: [b, t, d_model].
            input_ids: [b, t] int64, padded on the right; only their shape matters.
            lengths: [b], tokens in each row.

        Raises:
            LayerError: the layer is not in the model.
        """
        self.check_layers([layer])
        return self._run(input_ids, lengths, start=(layer, residual)).hidden

    def losses_from(self, layer: int, residual: Tensor, input_ids: Tensor, lengths: Tensor | np.ndarray) -> Tensor:
        """``token_losses`` of the pass that starts at ``layer`` with the given residual, see ``hidden_from``."""
        return self.losses(self.hidden_from(layer, residual, input_ids, lengths), input_ids, lengths)

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [..., vocabulary] of hidden states [..., d_model] behind the final norm."""
        with torch.no_grad():
            return self.parts.logits(hidden)

    def losses(self, hidden: Tensor, input_ids: Tensor, lengths: Tensor | np.ndarray) -> Tensor:
        """Next-token losses [b, t-1] float32 (nats, 0 where padding is predicted) of hidden states [b, t, d_model].

        Logits are made for a few hundred tokens at a time, never for the whole batch.
        """
        lengths = torch.as_tensor(lengths, device=self.device)
        targets = input_ids[:, 1:].to(self.device)
        real = torch.arange(1, input_ids.shape[1], device=self.device) < lengths[:, None]  # [b, t-1]
        losses = torch.zeros(targets.shape, dtype=torch.float32, device=self.device)
        rows, labels = hidden[:, :-1][real], targets[real]
        pieces = [
            nn.functional.cross_entropy(self.logits(x).float(), y, reduction="none")
            for x, y in zip(rows.split(_HEAD_TOKENS), labels.split(_HEAD_TOKENS))
        ]
        if pieces:
            losses[real] = torch.cat(pieces)
        return losses

    def _run(self, input_ids: Tensor, lengths: Tensor | np.ndarray, **options: Any) -> Pass:
        if input_ids.shape[1] > self.context_length:
            raise ModelError(
                f"sequences of {input_ids.shape[1]} tokens exceed the model's context of {self.context_length}",
                where=self.identity.model,
                cure="make the sequences shorter",
            )
        lengths = torch.as_tensor(lengths, device=self.device)
        mask = (torch.arange(input_ids.shape[1], device=self.device) < lengths[:, None]).long()
        with self._lock:
            return run_blocks(self.parts, input_ids.to(self.device), mask, tuple_outputs=self._tuple_outputs, **options)


def load_model(
    spec: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    attention: str = "sdpa",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a causal language model and check that its residuals are read correctly.

    Args:
        spec: ``smollm2-135m`` (embedded), a ``.gguf`` file, a local folder or a hub id.
        revision: branch, tag or commit on the hub.
        device: ``auto``, or a torch device.
        dtype: ``auto`` (bfloat16 where the hardware multiplies it, else float32), or a precision.
        attention: ``sdpa`` (eager for families without it), or ``eager`` where attention weights are wanted.
        trust_remote_code: run the Python code that the model's repository brings along.

    Raises:
        ModelError: there is no such model, it is of no supported family, or it fails the self-check.
        UnavailableError: the device, or the package of the embedded model, is missing.
        DamagedFileError: the embedded model is not the published file.
    """
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    files = locate(spec, revision)
    try:
        with quiet_transformers(), parsed_once():
            module, tokenizer = _load(files, chosen_dtype, attention, trust_remote_code)
    except ModelError:
        raise
    except Exception as error:  # transformers raises whatever its parsers and checks raise.
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"transformers cannot load the model: {first_line[:300]}",
            where=files.name,
            cure="check that the files are complete and of a causal language model",
        ) from error
    model = LanguageModel(files.identity(), module.to(chosen_device), tokenizer)
    if len(tokenizer) > model.vocabulary_size:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {model.vocabulary_size}",
            where=files.name,
            cure="use the tokenizer the model was trained with",
        )
    self_check(model)
    return model


def _load(files: ModelFiles, dtype: torch.dtype, attention: str, trust_remote_code: bool) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    if files.gguf is None:
        _check_config(files, trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(files.folder, **where)
    else:
        tokenizer = AutoTokenizer.from_pretrained(files.folder, gguf_file=files.gguf, **where)
    # Unasked, transformers takes sdpa where the family has it and eager where not (Gemma 2, for its soft cap).
    chosen = {} if attention == "sdpa" else {"attn_implementation": attention}
    module = AutoModelForCausalLM.from_pretrained(
        files.folder, dtype=dtype, **chosen, **where, **loading_options(files.gguf)
    )
    return module.requires_grad_(False), tokenizer


def _check_config(files: ModelFiles, trust_remote_code: bool) -> None:
    """Refuse what cannot be read before its weights, or its code, are loaded."""
    config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
    if config.get("is_encoder_decoder"):
        cure = "use a decoder-only model such as GPT-2, Pythia, Llama, Qwen or Gemma"
        raise ModelError(f"{config.get('model_type')} is an encoder-decoder model", where=files.name, cure=cure)
    if config.get("auto_map") and config.get("model_type") not in FAMILIES and not trust_remote_code:
        cure = "read its code, then set model.trust_remote_code=true"
        raise ModelError("the model needs Python code of its own", where=files.name, cure=cure)


def pad(sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Right-pad id arrays to ids [b, t] int64 and lengths [b] int64. Padding is id 0: only the lengths mark it."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    input_ids = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
    for row, ids in zip(input_ids, sequences):
        row[: len(ids)] = torch.as_tensor(np.asarray(ids, dtype=np.int64))
    return input_ids, lengths

"""How large a language model is, known before it is loaded or even downloaded."""

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ato.errors import ModelError
from ato.io import embedded
from ato.models.layouts import context_of, text_config


@dataclass(frozen=True)
class ModelShape:
    """The numbers that time, memory and disk of a study follow from."""

    n_layers: int
    d_model: int
    vocabulary: int
    n_parameters: int
    """All weights, embeddings counted once if they are tied."""
    tied: bool = True
    """Whether embedding and unembedding are one matrix."""
    context: int | None = None
    """Longest sequence it was made for, in tokens; None where that is not said."""

    @property
    def n_block_parameters(self) -> int:
        """Weights of one block: what a token is multiplied with there."""
        embeddings = self.vocabulary * self.d_model * (1 if self.tied else 2)
        return max(0, self.n_parameters - embeddings) // self.n_layers

    def forward_flops(self, n_layers: int, *, logits: bool = False) -> int:
        """Floating-point operations of a token through that many blocks (2 a weight), and through the unembedding."""
        return 2 * (n_layers * self.n_block_parameters + (self.vocabulary * self.d_model if logits else 0))


KNOWN: dict[str, ModelShape] = {
    embedded.MODEL_NAME: ModelShape(30, 576, 49_152, 134_515_008, context=8192),
    "openai-community/gpt2": ModelShape(12, 768, 50_257, 124_439_808, context=1024),
    "gpt2": ModelShape(12, 768, 50_257, 124_439_808, context=1024),
    "EleutherAI/pythia-160m": ModelShape(12, 768, 50_304, 162_322_944, tied=False, context=2048),
    "EleutherAI/pythia-160m-deduped": ModelShape(12, 768, 50_304, 162_322_944, tied=False, context=2048),
    "google/gemma-2-2b": ModelShape(26, 2304, 256_000, 2_614_341_888, context=8192),
    "google/gemma-2-9b": ModelShape(42, 3584, 256_000, 9_241_705_984, context=8192),
    "google/gemma-2-27b": ModelShape(46, 4608, 256_000, 27_227_128_320, context=8192),
}
"""Models of the profiles and of docs/scale-out.md, so that an estimate needs no download."""


_UNEMBEDDINGS = ("lm_head.weight", "embed_out.weight")
"""Ends of the names of an unembedding that is a matrix of its own."""
_NUMBERS = (
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    ("hidden_size", "n_embd", "d_model", "n_embed"),
    ("vocab_size",),
)
"""Names that families use in config.json for the number of blocks, the width of the stream and the vocabulary."""
_OTHER_SENSES = r"(^|\.)(vision|visual|audio|image|multi_modal|mm_)\w*\."
"""Where a name of a weight tells that it belongs to no text model."""


def model_shape(name: str) -> ModelShape:
    """The shape of a model: of a known name, a local folder, a GGUF file, or a hub model that is in the cache.

    Raises:
        ModelError: nothing here tells its shape.
    """
    if name in KNOWN:
        return KNOWN[name]
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf" and path.is_file():
        return _of_gguf(path)
    config = path / "config.json" if path.is_dir() else _cached_config(name)
    if config is None or not config.is_file():
        cure = "an estimate needs a local model, or one of a profile"
        raise ModelError("the model shape is unknown until the model is downloaded", where=name, cure=cure)
    return _of_config(config)


def _cached_config(name: str) -> Path | None:
    """config.json of a hub model that was downloaded before."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _of_config(path: Path) -> ModelShape:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        config, context = text_config(whole), context_of(whole)
        layers, d, vocabulary = (int(_first(config | {"vocab_size": _vocabulary(whole)}, names)) for names in _NUMBERS)
    except (ValueError, KeyError, AttributeError, RecursionError):
        cure = "save the model again with save_pretrained"
        raise ModelError("config.json does not give the model shape", where=path, cure=cure) from None
    files = sorted(path.parent.glob("*.safetensors"))
    weights = {name: n for file in files for name, n in _weights(file).items() if not re.search(_OTHER_SENSES, name)}
    if weights:
        tied = not any(name.endswith(_UNEMBEDDINGS) for name in weights)
        return ModelShape(layers, d, vocabulary, sum(weights.values()), tied, context)
    tied = bool(config.get("tie_word_embeddings", whole.get("tie_word_embeddings", True)))
    # Without weight files: attention and an MLP of four times the width have about 12 d^2 weights a block.
    return ModelShape(layers, d, vocabulary, 12 * layers * d * d + vocabulary * d * (1 if tied else 2), tied, context)


def _vocabulary(whole: dict[str, Any]) -> Any:
    """``vocab_size`` of the text model, where it or the whole names it; KeyError if neither does."""
    return text_config(whole).get("vocab_size") or whole["vocab_size"]


def _first(config: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The value of the first of several names that families use for it; KeyError if there is none."""
    return config[next((name for name in names if name in config), names[0])]


LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, as its own library allows."""


def _weights(path: Path) -> dict[str, int]:
    """Tensor -> numbers in it, of a safetensors file, from its header alone."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                raise ValueError("a header of that length is none")
            header = json.loads(file.read(length))
    except (ValueError, struct.error, RecursionError):
        raise ModelError("the weights cannot be read", where=path, cure="save or download the model again") from None
    return {name: math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}


def _of_gguf(path: Path) -> ModelShape:
    from gguf import GGUFReader

    reader = GGUFReader(str(path))
    numbers = {
        name.split(".", 1)[1]: int(field.parts[field.data[0]][0])
        for name, field in reader.fields.items()
        if name.endswith((".block_count", ".embedding_length", ".context_length"))
    }
    weights = {str(tensor.name): int(tensor.n_elements) for tensor in reader.tensors}
    d = numbers["embedding_length"]
    vocabulary = weights["token_embd.weight"] // d
    total, tied = sum(weights.values()), "output.weight" not in weights
    return ModelShape(numbers["block_count"], d, vocabulary, total, tied, numbers.get("context_length"))

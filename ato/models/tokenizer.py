"""The tokenizer of a model, without its weights."""

from pathlib import Path
from typing import Any

from ato.errors import AtoError, ModelError, first_line
from ato.models.files import ModelFiles, locate
from ato.models.transformers_patches import parsed_once, quiet_transformers


def load_tokenizer(spec: str | Path, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """A model's tokenizer of transformers; arguments as those of ``load_model``.

    Raises:
        ModelError: there is no such model, or its tokenizer cannot be read.
        UnavailableError: the package of the embedded model is missing, or a download broke off.
    """
    files = locate(spec, revision)
    try:
        with quiet_transformers(), parsed_once():
            return read_tokenizer(files, trust_remote_code)
    except AtoError:
        raise
    except Exception as error:  # transformers raises whatever its parsers raise
        raise ModelError(
            f"transformers cannot load the tokenizer: {first_line(error)}",
            where=files.name,
            cure="check that the files are complete",
        ) from error


def read_tokenizer(files: ModelFiles, trust_remote_code: bool) -> Any:
    """The tokenizer of files that are there; raises whatever transformers does."""
    from transformers import AutoTokenizer

    gguf = {} if files.gguf is None else {"gguf_file": files.gguf}
    return AutoTokenizer.from_pretrained(
        files.folder, local_files_only=True, trust_remote_code=trust_remote_code, **gguf
    )

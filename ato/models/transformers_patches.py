"""How transformers is made to load a model: quietly, from safe files, and GGUF headers parsed once, not three times."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from io import StringIO

_lock = threading.Lock()


@contextmanager
def parsed_once() -> Iterator[None]:
    """Within it, transformers parses a GGUF header once and builds its table of tensor names once.

    It asks for both again for configuration, tokenizer, weights and every submodule: two thirds of the loading time
    of a small model. Without effect, but harmless, if transformers stops asking ``gguf`` for them by these names.
    """
    import gguf

    with _lock:
        reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
        gguf.GGUFReader = lru_cache(maxsize=1)(reader)  # type: ignore[misc, assignment]
        gguf.get_tensor_name_map = lru_cache(maxsize=1)(names)
        try:
            yield
        finally:
            gguf.GGUFReader, gguf.get_tensor_name_map = reader, names  # type: ignore[misc]


def loading_options(gguf_file: str | None) -> dict[str, object]:
    """Arguments for ``from_pretrained``: dense weights, never packed ones that need kernels from the hub."""
    if gguf_file is None:
        return {"use_safetensors": True}
    try:
        from transformers import GgufConfig
    except ImportError:  # transformers 4 always unpacks.
        return {"gguf_file": gguf_file}
    return {"gguf_file": gguf_file, "quantization_config": GgufConfig(dequantize=True)}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep progress bars, advice and warnings of transformers off the terminal while it loads."""
    with warnings.catch_warnings():  # in a notebook tqdm, imported with it, asks for widgets
        warnings.simplefilter("ignore")
        from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

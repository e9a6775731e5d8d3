"""From the name of a model to the local files that hold it, and the hash that tells one set of weights from another."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ato.errors import AtoError, ModelError, UnavailableError
from ato.io import embedded
from ato.io.hashing import digest_of, file_sha256
from ato.io.hub import ACCEPT_LICENCE, ask_hub

_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")
"""Files of a hub repository that a model is loaded from. Pickled weights are not among them."""
_CHAT_TEMPLATES = ("*.jinja",)
"""Fetched too. They change no residual of a text, so they are no part of a model's identity."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")


@dataclass(frozen=True)
class ModelIdentity:
    """What an artefact is bound to."""

    model: str
    """Name, as it was given."""
    revision: str | None
    """Commit on the hub; None for local files."""
    weights_hash: str
    """SHA-256 over configuration, weights and tokenizer, first 16 hex digits."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk."""

    name: str
    folder: Path
    gguf: str | None = None
    """File name within the folder, for a model that is one GGUF file."""
    revision: str | None = None

    def identity(self) -> ModelIdentity:
        """Hash the files that make the model what it is."""
        if self.gguf is not None:
            digest = file_sha256(self.folder / self.gguf)
        else:
            files = [path for pattern in _PATTERNS for path in self.folder.glob(pattern)]
            digest = digest_of(f"{path.name} {file_sha256(path)}" for path in files)
        return ModelIdentity(self.name, self.revision, digest[:16])


def identify(spec: str | Path, revision: str | None = None) -> ModelIdentity:
    """The identity of a model, without loading its weights.

    Raises:
        ModelError: there is no such model here or on the hub.
        UnavailableError: the package of the embedded model is missing, or a download broke off.
    """
    return locate(spec, revision).identity()


def locate(spec: str | Path, revision: str | None = None) -> ModelFiles:
    """Find a model's files, downloading them if they are on the hub and not yet in its cache.

    Args:
        spec: ``smollm2-135m`` (embedded), a ``.gguf`` file, a local folder or a hub id.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelError: there is no such model here or on the hub, or its files are incomplete.
        UnavailableError: the package of the embedded model is missing, or a download broke off.
    """
    name, path = str(spec), Path(spec).expanduser()
    if name == embedded.MODEL_NAME:
        file = embedded.model_file()
        return ModelFiles(name, file.parent, gguf=file.name)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError("GGUF file not found", where=name, cure="check the path")
        return ModelFiles(name, path.resolve().parent, gguf=path.name)
    if path.is_dir():
        return _checked(ModelFiles(name, path.resolve()))
    if not is_hub_id(name):
        cure = f"use {embedded.MODEL_NAME}, a .gguf file, a folder or a hub id such as openai-community/gpt2"
        raise ModelError("model not found", where=name, cure=cure)
    return _from_hub(name, revision)


def is_hub_id(name: str) -> bool:
    """Whether a name looks like that of a model on the hub: ``owner/model``, or ``model``; a folder may look so too."""
    known = name == embedded.MODEL_NAME or name.lower().endswith(".gguf")
    return not known and re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) is not None


def _checked(files: ModelFiles) -> ModelFiles:
    """Raise if a folder cannot hold a model, before any library guesses why."""
    if not (files.folder / "config.json").is_file():
        raise ModelError("the folder has no config.json", where=files.name, cure="use a folder made by save_pretrained")
    try:
        json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ModelError("config.json is not valid JSON", where=files.name, cure="save the model again") from None
    if missing := _missing_weights(files.folder):
        raise ModelError(
            f"the model lacks {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}, which its index names",
            where=files.name,
            cure="copy or download the missing files",
        )
    if not any(files.folder.glob("*.safetensors")):
        cure = "convert them to safetensors: pickled weights are not read"
        raise ModelError("the model has no safetensors weights", where=files.name, cure=cure)
    if not any((files.folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelError("the model has no tokenizer", where=files.name, cure="save the tokenizer to the same folder")
    return files


def _missing_weights(folder: Path) -> list[str]:
    """Files of weights that an index names and that are not there: a link of the hub's cache may lead to nothing."""
    absent = {path.name for path in folder.glob("*.safetensors") if not path.is_file()}
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError, TypeError, AttributeError):
            return [index.name]
        absent |= {name for name in named if not (folder / name).is_file()}
    return sorted(absent)


def _from_hub(name: str, revision: str | None) -> ModelFiles:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    def snapshot(local_only: bool) -> ModelFiles:
        folder = Path(
            snapshot_download(
                name, revision=revision, local_files_only=local_only, allow_patterns=[*_PATTERNS, *_CHAT_TEMPLATES]
            )
        )
        return _checked(ModelFiles(name, folder, revision=folder.name))

    what, cure = "is not on this machine", f"use {embedded.MODEL_NAME} (installed with this package) or a local folder"
    try:
        return snapshot(local_only=True)
    except ModelError as error:
        what, cure = (
            f"is on this machine only in part ({error.what})",
            "run the same command while online: it is fetched",
        )
    except OSError:
        pass  # not in the cache
    unreachable = ModelError(f"the model {what} and the hub cannot be reached", where=name, cure=cure)
    ask_hub(
        name,
        revision=revision,
        gated=ModelError("the model is gated", where=name, cure=ACCEPT_LICENCE),
        missing=ModelError("the hub has no such model", where=name, cure="check the spelling, or set HF_TOKEN"),
        no_revision=ModelError(f"the model has no revision {revision}", where=name, cure="check the spelling"),
        unreachable=unreachable,
    )
    try:
        return snapshot(local_only=False)
    except AtoError:
        raise
    except (OSError, HfHubHTTPError) as error:
        raise UnavailableError(
            "the download from the hub failed", where=name, cure=f"run again to resume it ({type(error).__name__})"
        ) from error

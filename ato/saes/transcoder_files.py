"""Files of transcoders: folders of sae-lens for one, and circuit-tracer's folder for one of each layer; no pickle."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ato.errors import DamagedFileError, SAEError
from ato.models.sites import Hook
from ato.saes.formats.reading import Settings, Weights, keys, read_json, read_safetensors
from ato.saes.formats.sae_lens import CONFIG, WEIGHTS, current_config
from ato.saes.transcoder import Transcoder

SET_CONFIG = "config.yaml"
"""Of circuit-tracer's folders."""
FORMAT_VERSION = "6.0.0"
"""First sae-lens version of the written layout."""
_OF_LENS = {
    "transcoder": ("standard", False),
    "skip_transcoder": ("standard", True),
    "jumprelu_transcoder": ("jumprelu", False),
    "jumprelu_skip_transcoder": ("jumprelu", True),
}
"""sae-lens' architecture -> ours, and whether it has a skip connection."""
_HARMLESS = keys(
    """
    dtype device model_name hook_name hook_name_out hook_layer hook_layer_out hook_head_index hook_head_index_out dataset_path
    dataset_trust_remote_code context_size prepend_bos sae_lens_version sae_lens_training_version neuronpedia_id
    """
)
_SET_HARMLESS = keys("model_name scan transcoders dtype lazy_encoder lazy_decoder")


def save_transcoder(transcoder: Transcoder, folder: str | Path) -> Path:
    """Write a transcoder so that ``sae_lens.SAE.load_from_disk`` reads it and gives the same; returns the folder.

    Raises:
        SAEError: a topk transcoder, which sae-lens has not.
    """
    names = {ours: name for name, ours in _OF_LENS.items()}
    name = names.get((transcoder.architecture, transcoder.W_skip is not None))
    if name is None:
        raise SAEError(
            f"sae-lens has no {transcoder.architecture} transcoders",
            cure="write circuit-tracer's layout with save_transcoder_set, or train batchtopk",
        )
    config = {
        "architecture": name,
        "d_in": transcoder.d_in,
        "d_sae": transcoder.d_sae,
        "d_out": transcoder.d_out,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**transcoder.metadata, "sae_lens_version": FORMAT_VERSION},
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _save({**transcoder.weights, "W_skip": _turned(transcoder.W_skip)}, folder / WEIGHTS)
    return folder


def load_transcoder(folder: str | Path) -> Transcoder:
    """Read a transcoder that sae-lens, or ``save_transcoder``, has written, as float32.

    Nothing is guessed: weights or settings that have no part in the transcoder are errors.

    Raises:
        SAEError: nothing there, another architecture, missing or unused weights, normalised inputs, or a model that was
            loaded with changed weights.
        DamagedFileError: a truncated or altered file, or weights that are NaN or infinite.
    """
    folder = Path(folder).expanduser()
    config = current_config(read_json(folder / CONFIG), where=folder / CONFIG)
    settings, weights = Settings(config, folder), read_safetensors(folder / WEIGHTS)
    name, metadata = settings.get("architecture"), dict(settings.get("metadata", {}))
    if name not in _OF_LENS:
        cure = f"use load_sae for SAEs; transcoders are {', '.join(_OF_LENS)}"
        raise SAEError(f"architecture {name!r} is no transcoder that is read here", where=folder, cure=cure)
    architecture, skips = _OF_LENS[name]
    d_in, d_sae, d_out = (settings.whole(key) for key in ("d_in", "d_sae", "d_out"))
    settings.refuse("apply_b_dec_to_input", "a transcoder's b_dec is of another site than its input")
    settings.refuse("normalize_activations", "its inputs are normalised outside the weights")
    settings.refuse("reshape_activations", "it reads attention heads")
    settings.finish(_HARMLESS)
    changed = {key: value for key, value in (metadata.get("model_from_pretrained_kwargs") or {}).items() if value}
    if changed:
        raise SAEError(
            f"its model was loaded with {json.dumps(changed, default=str)[:80]}, which may change what it reads and writes",
            where=folder,
            cure="remove the entry of model_from_pretrained_kwargs if it changes neither, else use another transcoder",
        )
    found = {
        "W_enc": weights.take("W_enc", (d_in, d_sae)),
        "b_enc": weights.take("b_enc", (d_sae,)),
        "W_dec": weights.take("W_dec", (d_sae, d_out)),
        "b_dec": weights.take("b_dec", (d_out,)),
    }
    if architecture == "jumprelu":
        found["threshold"] = weights.take("threshold", (d_sae,))
    if skips:
        found["W_skip"] = weights.take("W_skip", (d_out, d_in)).T.contiguous()
    return _finished(architecture, found, weights, metadata, None, folder)


def save_transcoder_set(
    transcoders: Mapping[int, Transcoder], folder: str | Path, *, model_name: str, scan: str | None = None
) -> Path:
    """Write one transcoder a layer as circuit-tracer reads them: ``config.yaml`` and ``layer_{i}.safetensors``.

    Its attribution needs all layers from 0 and one number of features; other sets are written too, for use here.

    Args:
        transcoders: layer -> transcoder, all of one architecture and with the same sites.
        folder: made if missing.
        model_name: of the model, as the hub has it.
        scan: of the features' descriptions; default the model's name.

    Raises:
        SAEError: none, architectures, k or sites that differ, or a hook of another layer.
    """
    import yaml

    if not transcoders:
        raise SAEError("no transcoders to write", where=folder, cure="give at least one layer")
    kinds = {(one.architecture, one.k) for one in transcoders.values()}
    if len(kinds) > 1:
        raise SAEError("transcoders of one set are of one architecture and k", cure="write a folder for each")
    (architecture, k) = kinds.pop()
    hooks = {key: {_without_layer(one, key, layer) for layer, one in transcoders.items()} for key in _HOOKS}
    if many := [key for key, names in hooks.items() if len(names) > 1]:
        raise SAEError(f"transcoders of one set differ in {many[0]}", cure="write a folder for each")
    config: dict[str, Any] = {
        "model_name": model_name,
        "model_kind": "transcoder_set",
        **{_HOOKS[key]: names.pop() for key, names in hooks.items()},
        "scan": scan or model_name,
        "transcoders": [f"layer_{layer}.safetensors" for layer in sorted(transcoders)],
    }
    if architecture == "topk":
        config |= {"activation": "topk", "k": k}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SET_CONFIG).write_text(yaml.safe_dump(config, sort_keys=True), encoding="utf-8")
    for layer, one in transcoders.items():
        named = {"activation_function.threshold" if name == "threshold" else name: w for name, w in one.weights.items()}
        turned = {name: _turned(named.get(name)) for name in ("W_enc", "W_skip")}
        _save({**named, **turned}, folder / f"layer_{layer}.safetensors")
    return folder


def load_transcoder_set(folder: str | Path) -> dict[int, Transcoder]:
    """Layer -> transcoder of a folder of circuit-tracer, or of ``save_transcoder_set``, as float32.

    Raises:
        SAEError: no such folder, cross-layer transcoders, unused weights or settings.
        DamagedFileError: a truncated or altered file, or weights that are NaN or infinite.
    """
    folder = Path(folder).expanduser()
    settings = Settings(_read_yaml(folder / SET_CONFIG), folder / SET_CONFIG)
    if (kind := settings.get("model_kind")) != "transcoder_set":
        raise SAEError(f"model_kind is {kind!r}", where=settings.where, cure="use a transcoder_set: one for each layer")
    hooks = {key: settings.get(name) for key, name in _HOOKS.items()}
    activation, k = settings.get("activation"), settings.number("k")
    if activation not in (None, "relu", "jump_relu", "jumprelu", "topk"):
        raise SAEError(
            f"activation {activation!r} is not supported", where=settings.where, cure="use relu, jumprelu or topk"
        )
    settings.finish(_SET_HARMLESS)
    found = {}
    for file in sorted(folder.glob("layer_*.safetensors")):
        match = re.fullmatch(r"layer_(\d+)", file.stem)
        if match is None:
            raise SAEError(f"{file.name} names no layer", where=folder, cure="name it layer_5.safetensors and so on")
        layer, weights = int(match[1]), read_safetensors(file)
        metadata: dict[str, Any] = {key: f"blocks.{layer}.{name}" for key, name in hooks.items() if name}
        metadata["model_name"] = settings.entries.get("model_name")
        found[layer] = _of_set(weights, metadata, (activation, None if k is None else int(k)), file)
    if not found:
        raise SAEError("no layer_*.safetensors", where=folder, cure="copy the weights beside config.yaml")
    return found


def save_transcoder_folder(transcoder: Transcoder, folder: str | Path, layer: int) -> Path:
    """Write a transcoder in sae-lens' layout, or, if it is one that sae-lens has not, in circuit-tracer's; returns the folder."""
    if (transcoder.architecture, transcoder.W_skip is not None) in _OF_LENS.values():
        return save_transcoder(transcoder, folder)
    return save_transcoder_set({layer: transcoder}, folder, model_name=str(transcoder.metadata.get("model_name")))


def load_transcoder_folder(folder: str | Path, layer: int) -> Transcoder:
    """Read the transcoder of a layer from a folder of either layout.

    Raises:
        SAEError: as ``load_transcoder`` and ``load_transcoder_set``, or a set without that layer.
        DamagedFileError: a truncated or altered file, or weights that are NaN or infinite.
    """
    folder = Path(folder).expanduser()
    if not (folder / SET_CONFIG).is_file():
        return load_transcoder(folder)
    found = load_transcoder_set(folder)
    if layer not in found:
        cure = f"choose from layers {', '.join(map(str, found))}"
        raise SAEError(f"the set has no transcoder of layer {layer}", where=folder, cure=cure)
    return found[layer]


_HOOKS = {"hook_name": "feature_input_hook", "hook_name_out": "feature_output_hook"}


def _of_set(weights: Weights, metadata: dict[str, Any], gate: tuple[str | None, int | None], file: Path) -> Transcoder:
    W_enc = weights.take("W_enc")
    found = {"W_enc": W_enc.T.contiguous(), **{name: weights.take(name) for name in ("b_enc", "W_dec", "b_dec")}}
    activation, k = gate
    architecture = "topk" if activation == "topk" else "standard"
    if "k" in weights:
        k = int(weights.take_number("k"))
        architecture = "topk"
    if "activation_function.threshold" in weights:
        threshold = weights.take("activation_function.threshold")
        architecture, found["threshold"] = "jumprelu", threshold.expand_as(found["b_enc"]).contiguous()
    elif activation in ("jump_relu", "jumprelu"):
        raise SAEError("the activation is a JumpReLU without thresholds", where=file, cure="use a complete file")
    if "W_skip" in weights:
        found["W_skip"] = weights.take("W_skip").T.contiguous()
    return _finished(architecture, found, weights, metadata, k if architecture == "topk" else None, file)


def _finished(
    architecture: str,
    found: dict[str, Tensor],
    left: Weights,
    metadata: Mapping[str, Any],
    k: int | None,
    where: object,
) -> Transcoder:
    if unread := sorted(left):
        raise SAEError(
            f"weights {', '.join(unread)} have no part in a transcoder of this kind",
            where=where,
            cure="its configuration names another kind than its weights: mend that, or use another transcoder",
        )
    for name, weight in found.items():
        if not torch.isfinite(weight).all():
            raise DamagedFileError(f"{name} holds NaN or infinity", where=where, cure="fetch or train it again")
    if "threshold" in found and bool((found["threshold"] < 0).any()):
        raise SAEError("thresholds are negative", where=where, cure="below 0 a threshold is a ReLU's: set it to 0")
    known = {name: value for name, value in metadata.items() if value is not None}
    return Transcoder(architecture, **found, k=k, metadata=known)


def _without_layer(transcoder: Transcoder, key: str, layer: int) -> str:
    """A hook's name within its block; of unknown ones those of the MLP."""
    default = Hook("mlp_in" if key == "hook_name" else "mlp_out", layer).lens_name
    name = str(transcoder.metadata.get(key) or default)
    if not name.startswith(f"blocks.{layer}."):
        raise SAEError(f"the transcoder of layer {layer} has {key} = {name}", cure="list it under its own layer")
    return name.removeprefix(f"blocks.{layer}.")


def _turned(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.T


def _save(weights: Mapping[str, Tensor | None], file: Path) -> None:
    save_file({name: w.detach().cpu().float().contiguous() for name, w in weights.items() if w is not None}, file)


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    if not file.is_file():
        raise SAEError(f"no {file.name} in the folder", where=file.parent, cure="give a folder of circuit-tracer")
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise DamagedFileError("not YAML", where=file, cure="copy it again") from error
    if not isinstance(found, dict):
        raise DamagedFileError("no record of names and values", where=file, cure="copy it again")
    return found

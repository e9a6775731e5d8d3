"""Reading and writing sparse autoencoders: sae-lens folders and Gemma Scope ``params.npz``, without pickle."""

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ato.errors import DamagedFileError, SAEError
from ato.models.sites import parse_hook
from ato.saes.architectures import ARCHITECTURES, find_architecture
from ato.saes.architectures.jumprelu import JumpReLU
from ato.saes.autoencoder import SparseAutoencoder

CONFIG, WEIGHTS, GEMMA_SCOPE = "cfg.json", "sae_weights.safetensors", "params.npz"
FORMAT_VERSION = "6.0.0"
"""First sae-lens version of the written layout; a file without it is read by the older rules."""


def load_sae(
    path: str | Path,
    *,
    d_model: int | None = None,
    site: str | None = None,
    layer: int | None = None,
    device: str = "cpu",
) -> SparseAutoencoder:
    """Load a sparse autoencoder.

    Args:
        path: a folder written by sae-lens (``cfg.json`` and ``sae_weights.safetensors``; any of
            ``ato.saes.ARCHITECTURES``), a folder with Gemma Scope's ``params.npz``, or that file itself.
        d_model: width of the residuals it is meant for; checked if given.
        site: where it is to read, ``resid_post`` and so on; checked if given and the file says where it reads.
        layer: block it is to read; checked in the same way.
        device: where the weights go, as float32.

    Raises:
        SAEError: nothing there, an unsupported architecture or normalisation, missing weights, another width,
            site or layer.
        DamagedFileError: a truncated or altered file, or weights that are NaN or infinite.
    """
    path = Path(path)
    if path.suffix == ".npz" or (path / GEMMA_SCOPE).is_file():
        sae = _load_gemma_scope(path if path.suffix == ".npz" else path / GEMMA_SCOPE)
    else:
        sae = _load_folder(path)
    check_sae(sae, where=path, d_model=d_model, site=site, layer=layer)
    return sae.to(device)


def check_sae(
    sae: SparseAutoencoder,
    *,
    where: object,
    d_model: int | None = None,
    site: str | None = None,
    layer: int | None = None,
) -> None:
    """Refuse an SAE with broken weights, or of another width, site or layer; see ``load_sae``.

    Args:
        where: file or release that the message names.
    """
    for name, weight in sae.weights.items():
        if not torch.isfinite(weight).all():
            raise DamagedFileError(f"{name} holds NaN or infinity", where=where, cure="fetch or train the SAE again")
    with _located(where):
        sae.check_place(site, layer)
    if d_model is not None and sae.d_in != d_model:
        raise SAEError(
            f"the SAE expects residuals of width {sae.d_in}, the model has {d_model}",
            where=where,
            cure="use an SAE of this model and of this site",
        )


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """What a folder's configuration says about the SAE's origin, without loading weights; empty if it says nothing."""
    file = Path(folder, CONFIG)
    return dict(read_config(file)["metadata"]) if file.is_file() else {}


def save_sae(sae: SparseAutoencoder, folder: str | Path) -> Path:
    """Write an SAE so that ``sae_lens.SAE.load_from_disk`` reads it and gives the same activations.

    Equal SAEs give equal bytes. Returns the folder, made if missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "architecture": sae.architecture,
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**sae.metadata, "sae_lens_version": FORMAT_VERSION, "folded_scaling": sae.scaling},
        **sae.kind.file_settings,
    }
    if sae.kind.has_k:
        config["k"] = sae.k
    weights = sae.kind.unfold(sae.weights)
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    save_file({k: v.detach().cpu().float().contiguous() for k, v in weights.items()}, folder / WEIGHTS)
    return folder


def nominal_l0(path: str, listed: float | None = None) -> float | None:
    """The average L0 in a release's path (``.../average_l0_70``), else what the release lists; None if neither."""
    found = re.search(r"average_l0_(\d+)", path)
    return float(found[1]) if found else (float(listed) if listed else None)


def _load_folder(folder: Path) -> SparseAutoencoder:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise SAEError(
                f"no {name} in the folder",
                where=folder,
                cure=f"give a folder with {CONFIG} and {WEIGHTS}, or Gemma Scope's {GEMMA_SCOPE}",
            )
    config = read_config(folder / CONFIG)
    try:
        weights = {name: w.float() for name, w in load_file(folder / WEIGHTS).items()}
    except (SafetensorError, ValueError, OSError) as error:
        raise DamagedFileError(
            f"unreadable weights: {error}", where=folder / WEIGHTS, cure="copy or train it again"
        ) from error
    return sae_from(config, weights, where=folder)


def sae_from(config: dict[str, Any], weights: dict[str, torch.Tensor], *, where: object) -> SparseAutoencoder:
    """The SAE that sae-lens makes of a configuration (as ``current_config`` returns it) and float32 weights.

    Gates and rescaling by decoder norms are folded into the weights.

    Raises:
        SAEError: missing weights, shapes that do not fit together or with the configuration.
    """
    kind = find_architecture(config["architecture"])
    _check_keys(weights, kind.file_keys, where)
    metadata = dict(config["metadata"])
    scaling = metadata.pop("folded_scaling", 1.0)
    with _located(where):
        sae = SparseAutoencoder(
            kind.name,
            **{name: weight.contiguous() for name, weight in kind.fold(weights, config).items()},
            k=config.get("k"),
            apply_b_dec_to_input=config.get("apply_b_dec_to_input", True),
            scaling=scaling,
            metadata=metadata,
        )
    if (sae.d_in, sae.d_sae) != (config.get("d_in"), config.get("d_sae")):
        raise SAEError(
            f"{CONFIG} says {config.get('d_in')} x {config.get('d_sae')}, the weights are {sae.d_in} x {sae.d_sae}",
            where=where,
            cure="config and weights belong to different SAEs, copy both again",
        )
    return sae


def read_config(file: Path) -> dict[str, Any]:
    """A configuration file in today's terms, see ``current_config``."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        config = dict(config)
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"not a JSON object: {error}", where=file, cure="copy it again") from error
    return current_config(config, where=file)


def current_config(config: dict[str, Any], *, where: object) -> dict[str, Any]:
    """A configuration of any version of sae-lens in today's terms; before version 6 it had other names.

    Raises:
        SAEError: an architecture, normalisation or input that is not supported.
    """
    config = dict(config)
    if "metadata" not in config:
        kept = ("model_name", "hook_name", "neuronpedia_id", "hook_layer")
        config["metadata"] = {name: config[name] for name in kept if config.get(name) is not None}
        config |= _settings_of_old(config, where)
    with _located(where):
        find_architecture(config.get("architecture"))
    if config.get("normalize_activations") not in (None, "none", False):
        raise SAEError(
            f"activations are normalised by {config['normalize_activations']!r} outside the weights",
            where=where,
            cure="fold the factor into the weights (sae-lens: fold_activation_norm_scaling_factor)",
        )
    # sae-lens strings the heads together before it encodes hook_z; the site attn_z is read in that form already.
    hook = parse_hook(str(config["metadata"].get("hook_name") or ""))
    if config.get("reshape_activations") not in (None, "none") and (hook is None or hook.site != "attn_z"):
        raise SAEError("the SAE reads attention heads but names no hook", where=where, cure="add hook_name")
    return config


def _settings_of_old(config: dict[str, Any], where: object) -> dict[str, Any]:
    """Architecture and its settings of a configuration before version 6, which gave an activation function."""
    activation = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    kinds = {kind.old_activation: kind for kind in ARCHITECTURES.values() if kind.old_activation is not None}
    kind = kinds.get(str(activation))
    if kind is None:
        cure = f"use {' or '.join(kinds)}"
        raise SAEError(f"activation function {activation!r} is not supported", where=where, cure=cure)
    return kind.settings_of_old(config)


def _load_gemma_scope(file: Path) -> SparseAutoencoder:
    if not file.is_file():
        raise SAEError("no such file", where=file)
    try:
        with np.load(file, allow_pickle=False) as data:
            # Some releases write w_enc for W_enc.
            weights = {
                "W_" + k[2:] if k.startswith("w_") else k: torch.tensor(data[k], dtype=torch.float32)
                for k in data.files
            }
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise DamagedFileError(f"unreadable weights: {error}", where=file, cure="download it again") from error
    except (ValueError, TypeError, AttributeError) as error:
        # NumPy refuses arrays of Python objects: reading them would run what the file says.
        raise SAEError(f"not arrays of numbers: {error}", where=file, cure="use the published params.npz") from error
    _check_keys(weights, JumpReLU.file_keys, file)
    l0 = nominal_l0(str(file.absolute()))
    with _located(file):
        return SparseAutoencoder(
            JumpReLU.name,
            **{name: weights[name] for name in JumpReLU.file_keys},  # type: ignore[arg-type]
            apply_b_dec_to_input=False,
            metadata={} if l0 is None else {"l0": l0},
        )


def _check_keys(weights: dict[str, torch.Tensor], keys: tuple[str, ...], file: object) -> None:
    if missing := [name for name in keys if name not in weights]:
        raise SAEError(
            f"weights {', '.join(missing)} are missing, found {', '.join(sorted(weights)) or 'none'}",
            where=file,
            cure=f"expected weights: {', '.join(keys)}",
        )
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        if name in weights and not torch.allclose(weights[name], torch.ones(())):
            raise SAEError(f"the activations are rescaled by {name}", where=file, cure="multiply it into W_dec")


@contextmanager
def _located(where: object) -> Iterator[None]:
    """Errors of an SAE name the file or release."""
    try:
        yield
    except SAEError as error:
        raise SAEError(error.what, where=where, cure=error.cure) from None

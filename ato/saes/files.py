"""Reading sparse autoencoders of any published format, and writing our own in sae-lens' layout; without pickle."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ato.errors import SAEError
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.formats import read_sae
from ato.saes.formats.format import located
from ato.saes.formats.reading import read_json
from ato.saes.formats.sae_lens import CONFIG, WEIGHTS, current_config

FORMAT_VERSION = "6.0.0"
"""First sae-lens version of the written layout; a file without it is read by the older rules."""


INNOVATION = "innovation"
"""Entry of the metadata of an SAE of innovations, see ``ato.sae_studies.innovation_files``: its operator."""


def load_sae(
    path: str | Path,
    *,
    d_model: int | None = None,
    site: str | None = None,
    layer: int | None = None,
    device: str = "cpu",
) -> SparseAutoencoder:
    """Load a sparse autoencoder of any format of ``ato.saes.formats.FORMATS``.

    Nothing is guessed: weights or settings of the file that have no part in the SAE are errors, and so are sources
    that contradict each other about the place.

    Args:
        path: a folder or file; docs/sae-files.md lists what each format holds.
        d_model: width of the residuals it is meant for; checked if given.
        site: where it is to read, ``resid_post`` and so on; checked if given and file or path say where it reads.
        layer: block it is to read; checked in the same way.
        device: where the weights go, as float32.

    Raises:
        SAEError: nothing there, an unsupported architecture or normalisation, missing or unused weights, settings that
            are not understood, another width, site or layer, or no SAE of residuals (transcoders, SAEs of innovations).
        DamagedFileError: a truncated or altered file, or weights that are NaN or infinite.
    """
    path = Path(path).expanduser()
    sae = read_sae(path)
    if INNOVATION in sae.metadata:
        cure = "load it with ato.sae_studies.innovation_files.load_innovation_sae"
        raise SAEError("an SAE of innovations, which does not read residuals themselves", where=path, cure=cure)
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
    """Refuse an SAE of another width, site or layer; see ``load_sae``.

    Args:
        where: file or release that the message names.
    """
    with located(where):
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
    return dict(current_config(read_json(file), where=file)["metadata"]) if file.is_file() else {}


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

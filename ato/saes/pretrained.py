"""SAEs that others published, by release and id of sae-lens' directory, as our own ``SparseAutoencoder``."""

import difflib
import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ato.errors import SAEError, UnavailableError
from ato.io.hub import ACCEPT_LICENCE, ask_hub, cache_only
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.formats.format import assembled, located
from ato.saes.formats.gemma_scope_2 import GemmaScope2
from ato.saes.formats.reading import Weights
from ato.saes.formats.sae_lens import current_config, from_config
from ato.saes.places import NOT_SAES, Claim, agreed_place, claims_of_path, nominal_l0

if TYPE_CHECKING:
    from sae_lens import SAE

_TEMPORAL = "a temporal SAE, whose features depend on the tokens before"


def load_pretrained(release: str, sae_id: str) -> SparseAutoencoder:
    """A published SAE, downloaded once by sae-lens into the hub's cache, as float32 on the CPU.

    Its metadata say ``release``, ``sae_id``, ``hook_name`` and, where known, ``neuronpedia_id`` and ``l0``. Where the
    SAE was trained on a model with centred writing weights (GPT-2's in TransformerLens), the centring is folded into
    its encoder, so that it takes the residuals of the model as published.

    Args:
        release: name of a release, such as ``gemma-scope-2b-pt-res-canonical``.
        sae_id: id within it, such as ``layer_6/width_16k/canonical``.

    Raises:
        SAEError: no such release or id (the nearest names are given), or an SAE that is not supported.
        UnavailableError: it is not on this machine and the hub cannot be reached, or sae-lens is not installed.
        DamagedFileError: its weights hold NaN or infinity.
    """
    where = f"{release}:{sae_id}"
    entry = _entry(release, sae_id)
    with located(where):
        claims = _claims(release, entry)
    lens = _downloaded(release, sae_id, str(pretrained_directory()[release]["repo_id"]))
    sae = from_sae_lens(lens, where=where, claims=claims)
    kept = {k: v for k, v in sae.metadata.items() if isinstance(v, str | int | float | bool)}
    l0 = nominal_l0(str(entry.get("path", "")), entry.get("l0"))
    listed = {"release": release, "sae_id": sae_id, "neuronpedia_id": entry.get("neuronpedia"), "l0": l0}
    metadata = kept | {name: value for name, value in listed.items() if value is not None}
    # sae-lens has folded the directory's factor, ``from_sae_lens`` the one of the SAE's own configuration.
    return replace(sae, metadata=metadata, scaling=sae.scaling * float(entry.get("norm_scaling_factor") or 1.0))


def from_sae_lens(sae: "SAE", *, where: object = None, claims: Iterable[Claim] = ()) -> SparseAutoencoder:
    """Our form of an SAE object of sae-lens.

    Args:
        where: release that messages name.
        claims: what others say of its place.

    Raises:
        SAEError: an architecture or normalisation that is not supported; a transcoder is one.
        DamagedFileError: its weights hold NaN or infinity.
    """
    config = current_config(sae.cfg.to_dict(), where=where)
    weights = dict(sae.state_dict())
    sae.process_state_dict_for_saving(weights)
    with located(where):
        return assembled(from_config(config, Weights(weights, where), where=where), claims)


def _claims(release: str, entry: dict[str, Any]) -> list[Claim]:
    """What a release's directory says of an SAE's place, before anything is downloaded.

    Raises:
        SAEError: it is no SAE, or its id and its path contradict each other.
    """
    about = pretrained_directory()[release]
    kind = str(about.get("conversion_func"))
    if found := next((what for word, what in {**NOT_SAES, "temporal": _TEMPORAL}.items() if word in kind), None):
        raise SAEError(f"the release holds {found}, not an SAE", cure="use an SAE")
    words = GemmaScope2.path_words if kind == "gemma_3" else None
    paths = (PurePosixPath(str(entry["id"])), PurePosixPath(str(about["repo_id"]), str(entry.get("path", ""))))
    claims = [claim for path in paths for claim in claims_of_path(path, words)]
    agreed_place(claims)
    return claims


@cache
def pretrained_directory() -> dict[str, dict[str, Any]]:
    """sae-lens' directory, release -> its entry; empty without sae-lens.

    It is read as a file: importing the package takes many seconds, and a wrong name should be refused at once.
    """
    import yaml

    package = importlib.util.find_spec("sae_lens")
    file = Path(next(iter(package.submodule_search_locations or ()), ""), "pretrained_saes.yaml") if package else None
    if file is None or not file.is_file():
        return {}
    with file.open(encoding="utf-8") as stream:
        return yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def split_release(text: str) -> tuple[str, str]:
    """Release and id of ``RELEASE:SAE_ID``.

    Raises:
        SAEError: the text is not of that form.
    """
    release, colon, sae_id = text.partition(":")
    if not (release.strip() and colon and sae_id.strip()):
        raise SAEError(
            f"{text!r} is not RELEASE:SAE_ID",
            where="saes.releases",
            cure="write gemma-scope-2b-pt-res-canonical:layer_6/width_16k/canonical",
        )
    return release.strip(), sae_id.strip()


def _entry(release: str, sae_id: str) -> dict[str, Any]:
    """The directory's entry of an SAE."""
    directory = pretrained_directory()
    if not directory:
        raise UnavailableError("sae-lens and its directory are missing", cure="pip install sae-lens")
    if release not in directory:
        raise SAEError(
            f"sae-lens knows no release {release!r}",
            where=f"{release}:{sae_id}",
            cure=_did_you_mean(release, directory),
        )
    entries = {str(entry["id"]): entry for entry in directory[release]["saes"]}
    if sae_id not in entries:
        raise SAEError(
            f"release {release} has no SAE {sae_id!r}", where=f"{release}:{sae_id}", cure=_did_you_mean(sae_id, entries)
        )
    return entries[sae_id]


def _did_you_mean(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:3]
    return f"did you mean {' or '.join(near)}?"


def _downloaded(release: str, sae_id: str, repository: str) -> "SAE":
    """The SAE as sae-lens makes it, from the hub's cache if it is there."""
    where = f"{release}:{sae_id}"
    try:
        with cache_only():
            return _from_pretrained(release, sae_id)
    except (OSError, ValueError):
        pass  # Not in the cache, or only in part.
    unreachable = UnavailableError(
        "the SAE is not on this machine and the hub cannot be reached",
        where=where,
        cure="download it while online, or list a local folder under saes.paths",
    )
    ask_hub(
        repository,
        gated=SAEError(f"{repository} is gated", where=where, cure=ACCEPT_LICENCE),
        missing=SAEError(f"the hub has no {repository}", where=where, cure="update sae-lens, or set HF_TOKEN"),
        unreachable=unreachable,
    )
    try:
        return _from_pretrained(release, sae_id)
    except OSError as error:  # also everything that the hub's client raises
        raise UnavailableError(
            "the download from the hub failed", where=where, cure=f"run again to resume it ({type(error).__name__})"
        ) from error
    except (ValueError, KeyError, NotImplementedError) as error:
        raise SAEError(f"sae-lens cannot load it: {error}", where=where, cure="use another SAE") from error


def _from_pretrained(release: str, sae_id: str) -> "SAE":
    from sae_lens import SAE

    with warnings.catch_warnings():
        # It would say how to load the model so that it fits the SAE; here the SAE is made to fit, or refused.
        warnings.simplefilter("ignore", UserWarning)
        return SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32")

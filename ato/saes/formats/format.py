"""What a file format of SAEs has to say, and how an SAE is put together from it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ato.errors import AtoError, DamagedFileError, SAEError
from ato.models.sites import SITES, Hook
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.places import Claim, agreed_place, claims_of_path


@dataclass(frozen=True)
class Published:
    """An SAE as a file has it, in the common form of ``SparseAutoencoder``."""

    architecture: str
    weights: Mapping[str, Tensor]
    """Its weights by name, as ``SparseAutoencoder`` has them."""
    k: int | None = None
    apply_b_dec_to_input: bool = False
    scaling: float = 1.0
    """Factor on the residuals that is folded into the weights already."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of its origin; an entry that is None is none."""
    claims: tuple[Claim, ...] = ()
    """What the configuration says of the place."""


class Format(ABC):
    """A file format. A module of this package holds one subclass, decorated with ``register``."""

    name: ClassVar[str]
    title: ClassVar[str]
    """As the page of formats has it."""
    weights_name: ClassVar[str]
    """Files with weights, a pattern."""
    files: ClassVar[str]
    """What a folder holds."""
    function: ClassVar[str]
    """What it is read as, one clause."""
    place: ClassVar[str]
    """Where site and layer are read from."""
    l0: ClassVar[str]
    """Where the declared L0 is read from."""
    path_words: ClassVar[Mapping[str, str]] = {}
    """Sites that names of its paths stand for, where they are not those of TransformerLens."""

    def weights_in(self, path: Path) -> list[Path]:
        """Files with weights of this format: ``path`` itself, or those of a folder."""
        if path.is_file():
            return [path] if path.match(self.weights_name) and self.fits(path) else []
        return sorted(file for file in path.glob(self.weights_name) if file.is_file() and self.fits(file))

    def fits(self, file: Path) -> bool:
        """Whether a file whose name fits is of this format, by what stands beside it."""
        return True

    @abstractmethod
    def published(self, file: Path) -> Published:
        """What a file with weights, and what stands beside it, hold."""

    def read(self, file: Path) -> SparseAutoencoder:
        """The SAE of a file with weights, with its place.

        Raises:
            SAEError: it would have to be guessed at.
            DamagedFileError: it cannot be read.
        """
        with located(file):
            try:
                published = self.published(file)
            except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
                raise SAEError(
                    f"its configuration holds a value of another type than {self.title} writes ({error})",
                    cure="copy the configuration again",
                ) from error
            return assembled(published, claims_of_path(Path(file).absolute(), self.path_words))


_Kind = TypeVar("_Kind", bound=type[Format])
REGISTERED: dict[str, Format] = {}
"""By name; filled by ``register``."""


def register(kind: _Kind) -> _Kind:
    """Class decorator: make a format known under its name."""
    if kind.name in REGISTERED:
        raise ValueError(f"format {kind.name} is registered twice")
    REGISTERED[kind.name] = kind()
    return kind


def assembled(published: Published, elsewhere: Iterable[Claim] = ()) -> SparseAutoencoder:
    """The SAE, with the place on which its configuration and other sources agree in its metadata.

    Args:
        published: what its file holds.
        elsewhere: what others say of the place: the path, a release.

    Raises:
        SAEError: sources that contradict each other, shapes that do not fit, negative thresholds.
        DamagedFileError: weights that are NaN or infinite, in the file or once its factors are folded.
    """
    for name, weight in published.weights.items():
        if not torch.isfinite(weight).all():
            raise DamagedFileError(f"{name} holds NaN or infinity", cure="fetch or train the SAE again")
    metadata = {name: value for name, value in published.metadata.items() if value is not None}
    place = agreed_place([*published.claims, *elsewhere])
    if not metadata.get("hook_name"):
        known = {"read_site": place.site, "read_layer": place.layer, "read_from": place.source or None}
        metadata |= {name: value for name, value in known.items() if value is not None}
        if place.site in SITES and place.layer is not None:
            metadata["hook_name"] = Hook(place.site, place.layer).lens_name
    threshold = published.weights.get("threshold")
    if published.architecture == "jumprelu" and threshold is not None and (threshold < 0).any():
        raise SAEError(
            f"{int((threshold < 0).sum())} of {threshold.numel()} thresholds are negative",
            cure="if they are logarithms name them log_threshold; below 0 a threshold is a ReLU's: set it to 0",
        )
    return SparseAutoencoder(
        published.architecture,
        **{name: weight.contiguous() for name, weight in published.weights.items()},
        k=published.k,
        apply_b_dec_to_input=published.apply_b_dec_to_input,
        scaling=published.scaling,
        metadata=metadata,
    )


def refuse_transcoder(reads: object, writes: object, where: object) -> None:
    """Refuse what writes at another place than it reads; None where it does not say where it writes.

    Raises:
        SAEError: the two differ.
    """
    if writes is not None and writes != reads:
        raise SAEError(
            f"it reads {reads} and writes {writes}: it is a transcoder, not an SAE", where=where, cure="use an SAE"
        )


def scaled(weights: Mapping[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Weights of an SAE of ``factor * x``, as those of one of x that has the same activations.

    Thresholds and encoder biases stay; whatever else is there is left as it is.
    """
    folded = dict(weights)
    folded["W_enc"] = weights["W_enc"] * factor
    folded["W_dec"], folded["b_dec"] = weights["W_dec"] / factor, weights["b_dec"] / factor
    return folded


def norms_folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights whose encoder holds the norms of the decoder rows; a threshold on pre-activation times norm stays.

    A row of zeros stays one: its feature is never active.
    """
    norms = weights["W_dec"].norm(dim=1)
    folded = dict(weights)
    folded["W_enc"], folded["b_enc"] = weights["W_enc"] * norms, weights["b_enc"] * norms
    folded["W_dec"] = weights["W_dec"] / norms.where(norms > 0, 1.0)[:, None]
    return folded


@contextmanager
def located(where: object) -> Iterator[None]:
    """Errors of an SAE name the file or release."""
    try:
        yield
    except AtoError as error:
        raise type(error)(error.what, where=error.where or where, cure=error.cure) from error.__cause__

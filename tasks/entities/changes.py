"""What is changed in the model: the best latent of each direction, and what is changed instead as a control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.entities.matching import LatentTraits, matched_latents, random_directions
from ato.entities.steering import Ablate, Change, Steer
from ato.errors import InputError
from tasks.engine.progress import say
from tasks.entities.stages import EntityStudy
from tasks.saes.task import load_judged_sae
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import SAERow

BEST = """select sae, layer, feature_id, direction from entity_latents
where collection = ? and latent_scoring = ? and contrast = 'known_unknown' and entity_type = 'all' and rank = 1
    and template = ? and position = ?
order by direction"""
ORTHOGONALISE = "orthogonalise"
"""The intervention that edits weights, and so no position."""
RANKED = """select distinct feature_id from entity_latents
where collection = ? and latent_scoring = ? and contrast = 'known_unknown' and template = ? and position = ? and sae = ?
    and rank is not null"""
RATES = """select
    feature_id,
    (coalesce(f_positive_train * n_positive_train, 0) + coalesce(f_negative_train * n_negative_train, 0))
        / (n_positive_train + n_negative_train) as rate
from entity_latents
where collection = ? and latent_scoring = ? and contrast = 'known_unknown' and entity_type = 'all'
    and template = ? and position = ? and sae = ?
order by feature_id"""


@dataclass(frozen=True, eq=False)
class Changed:
    """A direction of the residual stream at one layer."""

    direction: str
    """known or unknown: the latent that it is, or stands in for."""
    row: SAERow
    feature_id: int | None
    """None for a random direction."""
    vector: torch.Tensor
    """[d_model] unit."""
    strength: float = 0.0

    def change(self, kind: str) -> Change:
        """The change of a residual."""
        return Ablate(self.vector) if kind == "ablate" else Steer(self.vector, self.strength)


@dataclass(frozen=True, eq=False)
class Condition:
    """One way in which the model is run: without arguments as it is."""

    kind: str = "none"
    direction: str = ""
    draw: int = 0
    changed: Changed | None = None
    position: str = ""
    control: str = ""
    """random_latent or random_direction; empty for the latent itself."""

    @property
    def is_control(self) -> bool:
        """Whether it stands in for the latent."""
        return bool(self.control)

    @property
    def is_reported(self) -> bool:
        """Whether entities are also asked whether the model knows them: each such question costs as much as an answer."""
        return not self.is_control or (self.control == "random_latent" and self.kind != ORTHOGONALISE)

    @property
    def layer(self) -> int | None:
        """Edited layer; None for none and for weights."""
        return None if self.changed is None or self.kind == ORTHOGONALISE else self.changed.row.layer

    @property
    def columns(self) -> dict[str, object]:
        """It as columns of ``entity_interventions``; of several directions a control names the one it stands in for."""
        changed = self.changed
        return {
            "intervention": self.kind,
            "direction": f"{self.control}_for_{self.direction}" if self.control else self.direction,
            "draw": self.draw,
            "layer": self.layer,
            "sae": None if changed is None or changed.feature_id is None else changed.row.sae,
            "feature_id": None if changed is None else changed.feature_id,
            "strength": changed.strength if changed is not None and self.kind == "steer" else None,
            "position": self.position,
        }


def best_directions(of: EntityStudy) -> list[Changed]:
    """The latent that is ranked first of each direction, at the first template and position of the settings."""
    found = rows(of.study.warehouse, BEST, [of.study.collection, of.latents.key, *of.place])
    by_key = {sae.sae: sae for sae in of.saes}
    return [_latent(of, by_key[row["sae"]], row["feature_id"], row["direction"]) for row in found]


def _latent(of: EntityStudy, row: SAERow, feature_id: int, direction: str) -> Changed:
    vector = load_judged_sae(of.study.warehouse, row).decoder_directions[feature_id]
    return Changed(direction, row, feature_id, vector.clone())


def controls(of: EntityStudy, changed: Changed, kind: str) -> Sequence[Changed]:
    """Random latents of the same SAE, nearest in firing rate and decoder norm and not ranked, or random directions."""
    n, seed = of.settings.interventions.n_random, of.settings.set.seed
    if kind == "random_direction":
        vectors = random_directions(n, len(changed.vector), seed)
        return [
            Changed(changed.direction, changed.row, None, torch.from_numpy(vector), changed.strength)
            for vector in vectors
        ]
    sae = load_judged_sae(of.study.warehouse, changed.row)
    keys = [of.study.collection, of.latents.key, *of.place, changed.row.sae]
    rate = np.array([row["rate"] for row in rows(of.study.warehouse, RATES, keys)], dtype=np.float64)
    ranked = [row["feature_id"] for row in rows(of.study.warehouse, RANKED, keys)]
    traits = LatentTraits(rate, sae.decoder_norms.numpy())
    assert changed.feature_id is not None
    try:
        drawn = matched_latents(traits, changed.feature_id, n, seed, ranked)
    except InputError as error:
        say("entities", f"no matched controls for {changed.direction}: {error}")
        return []
    return [
        Changed(changed.direction, changed.row, int(i), sae.decoder_directions[int(i)].clone(), changed.strength)
        for i in drawn.latents
    ]

"""Rows of ``entity_transport``: whether the best latents are predicted at the entity from a lower layer."""

from collections.abc import Iterator
from typing import Any

from ato.entities.transport import EntityResiduals, latent_transport
from tasks.engine.columns import estimate_columns
from tasks.entities.scored import ScoredContrast


def transport_rows(scored: ScoredContrast) -> Iterator[dict[str, Any]]:
    """One row for each ranked latent and each operator into its layer, on test entities of both classes."""
    contrast, of = scored.contrast, scored.contrast.of
    method = of.settings.latents.method
    test = contrast.groups.members("test")
    for sae in scored.saes:
        latents = sorted({one.latent for one in scored.ranked if one.scored is sae})
        for pair in of.carrying if latents and test.any() else ():
            if pair.target_layer != sae.row.layer:
                continue
            residuals = EntityResiduals(*(contrast.residuals(layer)[test] for layer in pair.layers))
            found = latent_transport(residuals, pair.load(method), sae.sae, latents)
            for i, latent in enumerate(latents):
                yield {
                    "sae": sae.row.sae,
                    "feature_id": latent,
                    **pair.columns,
                    "method": method,
                    "operator": pair.operator_key(method),
                    "n_entities": found.n,
                    **estimate_columns(r2=found.r2[i], r2_identity=found.r2_identity[i]),
                }

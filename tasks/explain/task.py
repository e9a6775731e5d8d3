"""Stage ``explain``: explanations that others published of the SAEs' features, and whether they can be believed."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ato.errors import DamagedFileError, DiskFullError, InputError, UnavailableError
from ato.io.user_cache import user_cache
from ato.neuronpedia.alignment import token_alignment, variant_difference
from ato.neuronpedia.client import Neuronpedia
from ato.neuronpedia.records import PublishedFeature, SourceId
from ato.saes.files import read_metadata
from ato.saes.formats.sae_lens import CONFIG
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.progress import Progress, say
from tasks.engine.study import Study
from tasks.engine.work_clock import running_clock
from tasks.settings import ExplainSettings
from warehouse.catalog.lookups import SAERow, latest_scores, sae_rows
from warehouse.storage.warehouse import Warehouse


@stage_task("explain")
@one_at_a_time("explain")
def explain_features(study: Study, sae_keys: list[str], settings: ExplainSettings) -> None:
    """Fetch the explanations of the selected features of every SAE that has a Neuronpedia id.

    All features are taken where the settings say so or where none are selected. Without a network, one line says so
    and nothing is committed: a later run with one fetches them.

    Raises:
        InputError: an id in the settings is not ``model/source``.
        DiskFullError: no space left.
    """
    for text in settings.ids.values():
        SourceId.parse(text)
    with Neuronpedia(
        cache_folder(study.warehouse),
        api_url=settings.api_url,
        bulk_url=settings.bulk_url,
        timeout=settings.timeout,
        max_attempts=settings.max_attempts,
    ) as client:
        for row in sae_rows(study.warehouse, sae_keys):
            neuronpedia_id = settings.ids.get(row.layer) or row.neuronpedia_id
            if neuronpedia_id is None:
                why = "trained here" if row.source == "trained" else f"loaded from {row.source}"
                say("explain", f"{row.sae}: no Neuronpedia id: {why}, skipped")
                continue
            try:
                _explain(study, row, neuronpedia_id, client, settings)
            except DiskFullError:
                raise
            except (DamagedFileError, InputError) as error:  # of a file, or of the id that the SAE brings along
                say("explain", f"{row.sae}: no explanations: {error}")
            except UnavailableError as error:
                say("explain", f"Neuronpedia is unavailable, continuing without explanations: {error}")
                if clock := running_clock():  # the next stage is not charged with waiting for a server that is away
                    clock.restart()
                return


def cache_folder(warehouse: Warehouse) -> Path:
    """Where answers are kept: within a local warehouse, beside an object store in the user's cache."""
    if warehouse.storage.is_local:
        return warehouse.artifact_path("neuronpedia")
    return user_cache("neuronpedia")


def _explain(study: Study, row: SAERow, neuronpedia_id: str, client: Neuronpedia, settings: ExplainSettings) -> None:
    """The stage of one SAE."""
    scored = latest_scores(study.warehouse, study.collection, row.sae)
    chosen = [] if settings.all_features else [feature["feature_id"] for feature in scored if feature["selected"]]
    scoring = sorted({feature["scoring"] for feature in scored})
    server = settings.bulk_url if settings.mode == "bulk" else settings.api_url
    stage = study.stage(
        "explain",
        f"explain-{row.sae[:-9]}",
        inputs=[row.sae, *scoring],
        settings={
            "neuronpedia_id": neuronpedia_id,
            "mode": settings.mode,
            "server": server,
            "min_alignment": settings.min_alignment,
            "features": chosen or "all",
        },
    )
    if stage.skip():
        return
    with stage:
        with Progress("explain", 100, "%", neuronpedia_id) as progress:
            published = client.explained_features(
                neuronpedia_id,
                chosen or None,
                d_sae=row.d_sae,
                mode=settings.mode,
                on_progress=lambda done, total: progress.reach(100 * done / max(total, 1)),
            )
        published = [feature for feature in published if feature.feature_id < row.d_sae]
        difference = variant_difference(neuronpedia_id, _metadata(study.warehouse, row))
        top_tokens = {feature["feature_id"]: feature["top_tokens"] for feature in scored}
        found = _explanation_rows(published, top_tokens, difference is not None, settings.min_alignment)
        own = {"collection": study.collection, "layer": row.layer, "neuronpedia_id": neuronpedia_id}
        stage.write("explanations", [explained | own for explained in found], sae=row.sae)
    _announce(row.sae, neuronpedia_id, found, len(chosen) or row.d_sae, difference)


def _metadata(warehouse: Warehouse, row: SAERow) -> dict[str, Any]:
    # Named down to the file, so that an object store is not asked for the weights.
    return read_metadata(warehouse.artifact_path(*row.path.split("/")[1:], CONFIG).parent)


def _explanation_rows(
    published: Collection[PublishedFeature], top_tokens: dict[int, list[str]], another_sae: bool, min_alignment: float
) -> list[dict[str, Any]]:
    """A row for each explanation; labels of another SAE are never aligned, whatever tokens they share."""
    fetched_at = datetime.now(UTC)
    found = []
    for feature in published:
        alignment = token_alignment(feature.top_tokens, top_tokens.get(feature.feature_id))
        aligned = None if alignment is None else alignment >= min_alignment
        found += [
            {
                "feature_id": feature.feature_id,
                "source": "neuronpedia",
                "explanation_id": item.explanation_id,
                "description": item.description,
                "type_name": item.type_name,
                "explainer": item.explainer,
                "score": item.score,
                "score_type": item.score_type,
                "alignment": alignment,
                "aligned": False if another_sae else aligned,
                "fetched_at": fetched_at,
            }
            for item in feature.explanations
        ]
    return found


def _announce(sae: str, neuronpedia_id: str, found: list[dict[str, Any]], n_asked: int, difference: str | None) -> None:
    features = {row["feature_id"] for row in found}
    aligned = {row["feature_id"] for row in found if row["aligned"]}
    unchecked = {row["feature_id"] for row in found if row["aligned"] is None}
    text = f"{sae}: {len(found):,} explanations of {len(features):,} of {n_asked:,} features from {neuronpedia_id}"
    if difference is not None:
        text += f"; none trusted: {difference}"
    elif found:
        text += f", {len(aligned):,} features aligned" + (f", {len(unchecked):,} unchecked" if unchecked else "")
    say("explain", text)

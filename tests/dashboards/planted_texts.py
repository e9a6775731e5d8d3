"""A warehouse of two planted documents on a tiny model: stored residuals, an SAE, an operator and metadata that tests can check."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from ato.models import LanguageModel, load_model
from ato.operators.operator import TransportOperator
from ato.saes import SparseAutoencoder, save_sae
from tests.tasks.scored_study import random_sae
from tests.tiny_models import save_tiny_model
from tests.warehouse.small_warehouse import COLLECTION, STARTED, commit_stage, row, write
from warehouse.storage.manifests import PASSED, commit
from warehouse.storage.warehouse import Warehouse

SAE, LAYER, D_MODEL = "random-l01-aaaa0000", 1, 16
TEXTS = {"union": ("The <b>Union</b> army,\n\n", "café in 日本. "), "other": ("Nothing else is here.",)}
"""Document -> texts of its sequences; 5 tokens between the first two were not collected."""
STARTS = {"union": (5, 34), "other": (0,)}
METADATA = {"union": {"year": "1862", "speaker": "Lincoln"}, "other": {"year": "1901"}}
SPLITS = {"union": "train", "other": "test"}
RATE = 0.25
"""Of feature 1; the others fire more rarely."""
FEATURE = 1


@dataclass(frozen=True)
class PlantedTexts:
    """The warehouse, and what is in it."""

    root: Path
    model: LanguageModel
    sae: SparseAutoencoder
    operator: TransportOperator

    @property
    def sequences(self) -> list[tuple[str, list[int]]]:
        """Text and token ids of each sequence."""
        texts = [text for own in TEXTS.values() for text in own]
        return [(text, self.model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]

    @torch.no_grad()
    def residuals(self, layer: int, token_ids: list[int]) -> torch.Tensor:
        """[t, d] of a plain pass of the library."""
        hidden = self.model.module(torch.tensor([token_ids]), output_hidden_states=True).hidden_states
        return hidden[layer + 1][0]

    def activations(self, token_ids: list[int]) -> np.ndarray:
        """[t, d_sae] of plain encoding."""
        return self.sae.encode(self.residuals(LAYER, token_ids)).numpy()


def plant_texts(folder: Path) -> PlantedTexts:
    """Write the warehouse to ``folder / "warehouse"``, the model beside it."""
    model = load_model(
        save_tiny_model(folder / "model", "gpt2", n_layers=3, d_model=D_MODEL), device="cpu", dtype="float32"
    )
    rng, warehouse = np.random.default_rng(0), Warehouse(folder / "warehouse")
    operator = TransportOperator(
        np.eye(D_MODEL) + rng.normal(size=(D_MODEL, D_MODEL)) / 20,
        np.zeros(D_MODEL),
        "ridge",
        source_layer=0,
        target_layer=LAYER,
        weights_hash=model.identity.weights_hash,
    )
    planted = PlantedTexts(folder / "warehouse", model, random_sae(1, d=D_MODEL), operator)
    own = planted.sequences
    lengths = [len(ids) for _, ids in own]
    columns: dict[str, list] = {name: [] for name in ("sequence_id", "position", "token_id")}
    residuals = []
    for number, (_, ids) in enumerate(own):
        columns["sequence_id"] += [number] * (len(ids) - 1)  # the first position is left out, as collect does
        columns["position"] += range(1, len(ids))
        columns["token_id"] += ids[1:]
        residuals.append(planted.residuals(LAYER, ids)[1:].numpy())
    x = np.concatenate(residuals).astype(np.float32)
    typed = {
        name: np.array(values, dtype=np.int64 if name == "sequence_id" else np.int32)
        for name, values in columns.items()
    }
    stored = warehouse.write_rows(
        "activations",
        typed | {"norm": np.linalg.norm(x, axis=1).astype(np.float32), "residual": x},
        "k",
        collection=COLLECTION,
        layer=LAYER,
    )
    collected = write(
        warehouse, {"collections": [_collection(model, sum(lengths), len(lengths))], "sequences": _sequences(own)}
    )
    commit_stage(warehouse, "collect", [*collected, stored])
    strata = [
        row(
            "document_strata",
            strata="strata-1",
            document_id=name,
            document=i,
            stratum=stratum,
            value=value,
            reason=None,
        )
        for i, name in enumerate(TEXTS)
        for stratum, value in ({"year": None, "speaker": None} | METADATA[name]).items()
    ]
    for one in strata:
        one["reason"] = "missing" if one["value"] is None else None
    _commit_strata(warehouse, strata)
    published = warehouse.publish_artifact_folder(lambda to: save_sae(planted.sae, to), "saes", SAE)
    described = row(
        "saes",
        sae=SAE,
        layer=LAYER,
        d_sae=planted.sae.d_sae,
        l0=4.0,
        trusted=True,
        path=f"artifacts/saes/{SAE}",
        weights_hash=planted.sae.weights_hash,
    )
    commit_stage(warehouse, "saes", [*published, *write(warehouse, {"saes": [described]})])
    commit_stage(warehouse, "features", write(warehouse, {"feature_stats": _statistics(planted)}))
    commit_stage(warehouse, "feature_scores", write(warehouse, _scores(planted)))
    saved = warehouse.publish_artifact_folder(
        lambda to: operator.save(to / "ridge.safetensors"), "operators", "l00-k01"
    )
    pair = {"source_layer": 0, "leap": 1, "target_layer": LAYER}
    fitted = row(
        "operators", operator="ridge-l00-k01", **pair, r2_val=0.5, path="artifacts/operators/l00-k01/ridge.safetensors"
    )
    commit_stage(warehouse, "operators", [*saved, *write(warehouse, {"operators": [fitted]})])
    return planted


def _collection(model: LanguageModel, n_tokens: int, n: int) -> dict:
    return row(
        "collections",
        model=model.identity.model,
        weights_hash=model.identity.weights_hash,
        corpus="planted",
        n_documents=len(TEXTS),
        n_sequences=n,
        n_tokens=n_tokens,
        n_kept=n_tokens - n,
        dropped_by_reason={"first_position": n},
        layers=[LAYER],
        median_norm=[1.0],
        d_model=D_MODEL,
        n_layers=3,
        seq_len=64,
        n_folds=2,
        settings='{"prepend_bos": false}',
    )


def _sequences(own: list[tuple[str, list[int]]]) -> list[dict]:
    placed = [(name, i, start) for i, name in enumerate(TEXTS) for start in STARTS[name]]
    return [
        row(
            "sequences",
            sequence_id=number,
            document_id=name,
            document=document,
            split=SPLITS[name],
            fold=0 if SPLITS[name] == "train" else None,
            start=start,
            n_tokens=len(ids),
            token_ids=ids,
            text=text,
        )
        for number, ((name, document, start), (text, ids)) in enumerate(zip(placed, own, strict=True))
    ]


def _statistics(planted: PlantedTexts) -> list[dict]:
    values = np.concatenate([planted.activations(ids)[1:] for _, ids in planted.sequences])
    return [
        row(
            "feature_stats",
            sae=SAE,
            layer=LAYER,
            feature_id=feature,
            n_tokens=len(values),
            n_active=int((values[:, feature] > 0).sum()),
            activation_rate=RATE if feature == FEATURE else RATE / 10,
            max_activation=float(values[:, feature].max()),
        )
        for feature in range(planted.sae.d_sae)
    ]


def _scores(planted: PlantedTexts) -> dict[str, list[dict]]:
    own = {"scoring": "scores-1", "sae": SAE, "layer": LAYER}
    scores = [row("feature_scores", **own, feature_id=f, selected=f == FEATURE) for f in range(planted.sae.d_sae)]
    (text, ids), start = planted.sequences[0], 2
    window = ids[start : start + 12]
    values = planted.activations(ids)[start : start + len(window), FEATURE]
    peak = int(values.argmax())
    example = row(
        "feature_examples",
        **own,
        feature_id=FEATURE,
        sequence_id=0,
        position=start + peak,
        start=start,
        activation=float(values[peak]),
        tokens=list(text[start : start + len(window)]),
        activations=values.tolist(),
    )
    return {"feature_scores": scores, "feature_examples": [example]}


def _commit_strata(warehouse: Warehouse, rows: list[dict]) -> None:
    commit(
        warehouse,
        "strata",
        "strata-1",
        collection=COLLECTION,
        settings={},
        files=write(warehouse, {"document_strata": rows}),
        quality=PASSED,
        started_at=STARTED + timedelta(minutes=1),
        seconds=1.0,
    )

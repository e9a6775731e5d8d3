"""Stage ``embed``: descriptions, examples and promoted tokens of features are embedded once, for the search by meaning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import part_task, run_parts, split_by_size
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage, checked_together
from tasks.engine.study import Study
from tasks.settings import EmbedSettings
from warehouse.catalog.catalog import rows

if TYPE_CHECKING:
    from ato.autointerp.embedding_judge import Encoder

TEXTS = """select sae, layer, kind, feature_id, number, source, text, made_by from feature_texts
where collection = $collection and list_contains($kinds, kind) and (kind <> 'example' or number <= $n_examples)
order by layer, sae, kind, feature_id, number"""
TOGETHER = 2048
"""Texts that are embedded between two looks at the progress."""


@dataclass(frozen=True)
class _Texts:
    """Texts of one kind of the features of one SAE, and the stage that embeds them."""

    rows: Sequence[dict[str, Any]]
    stage: Stage

    @property
    def sae(self) -> str:
        """Key of the SAE."""
        return str(self.rows[0]["sae"])

    @property
    def distinct(self) -> list[str]:
        """Each text once."""
        return list(dict.fromkeys(row["text"] for row in self.rows))


@stage_task("embed")
@one_at_a_time("embed")
def embed_features(study: Study, settings: EmbedSettings, parts: int = 1) -> None:
    """Embed the texts that there are of every SAE, transcoder and layer of neurons; those of an SAE are kept together.

    Args:
        study: the collection.
        settings: of the stage.
        parts: tasks that share the SAEs.

    Raises:
        UnavailableError: the sentence encoder is not installed.
        DamagedFileError: it is not the published one.
    """
    found = _texts(study, settings)
    if not found:
        say("embed", "no feature has a text yet: run `ato run features` or `ato run label`")
    missing: Counter[str] = Counter()
    for one in found:
        if not one.stage.skip():
            missing[one.sae] += len(one.distinct)
    if missing and parts > 1:
        run_parts("embed", embed_share, split_by_size(missing, parts), study, settings)
    elif missing:
        embed_share.fn([*missing], study, settings)


@part_task("embed, part")
def embed_share(own: list[str], study: Study, settings: EmbedSettings) -> None:
    """The texts of some SAEs, one SAE after the other; those left out that an attempt before this one completed."""
    from ato.autointerp.sentence_encoder import SentenceEncoder

    missing = [one for one in _texts(study, settings) if one.sae in own and not one.stage.complete]
    encoder = SentenceEncoder()
    with Progress("embed", sum(len(one.distinct) for one in missing), "texts") as progress:
        for sae, some in groupby(missing, key=lambda one: one.sae):
            with checked_together():
                told = [_embed(one, encoder, progress) for one in some]
            say("embed", f"{sae}: {', '.join(told)}")


def _texts(study: Study, settings: EmbedSettings) -> list[_Texts]:
    from ato.autointerp.sentence_encoder import SHA256

    asked = {"collection": study.collection, "kinds": settings.kinds, "n_examples": settings.n_examples}
    found = []
    for (sae, kind), group in groupby(rows(study.warehouse, TEXTS, asked), key=lambda row: (row["sae"], row["kind"])):
        own = list(group)
        texts = "\0".join(f"{row['feature_id']} {row['number']} {row['source']} {row['text']}" for row in own)
        key = {"sae": sae, "texts": sha256(texts.encode()).hexdigest(), "encoder": SHA256}
        inputs = [study.collection, *sorted({row["made_by"] for row in own if row["made_by"]})]
        found.append(_Texts(own, study.stage("embed", f"embed-{kind}-{sae[:40]}", settings=key, inputs=inputs)))
    return found


def _embed(one: _Texts, encoder: "Encoder", progress: Progress) -> str:
    """Write the vectors of some texts, and what unrelated queries find among them; returns how many, in words."""
    import pyarrow as pa

    from ato.autointerp.meaning import REFERENCE_QUERIES, best_cosines

    first, distinct = one.rows[0], one.distinct
    with one.stage as stage:
        parts = []
        for start in range(0, len(distinct), TOGETHER):
            parts.append(encoder.encode(distinct[start : start + TOGETHER]))
            progress.advance(len(parts[-1]))
        vectors, place = np.concatenate(parts), {text: i for i, text in enumerate(distinct)}
        of_rows = vectors[[place[row["text"]] for row in one.rows]]
        n, d = of_rows.shape
        own = {"collection": stage.collection, "embedding": stage.key, "layer": first["layer"], "kind": first["kind"]}
        columns = {name: [row[name] for row in one.rows] for name in ("feature_id", "number", "source", "text")}
        columns |= {name: [value] * n for name, value in (own | {"encoder": encoder.name}).items()}
        columns["vector"] = pa.ListArray.from_arrays(np.arange(0, n * d + 1, d, dtype=np.int32), of_rows.ravel())
        stage.write("feature_embeddings", columns, sae=first["sae"])
        best = best_cosines(vectors, encoder.encode(REFERENCE_QUERIES))
        null = [
            own | {"query": query, "similarity": float(value), "encoder": encoder.name}
            for query, value in zip(REFERENCE_QUERIES, best, strict=True)
        ]
        stage.write("embedding_nulls", null, sae=first["sae"])
    return f"{n:,} {first['kind']} texts"

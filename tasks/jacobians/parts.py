"""Parts of the train text, a few documents each: their sums lie beside the collection until their pairs are done."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from ato.jacobians import JacobianSums, document_jacobians
from ato.models import pad
from ato.numerics.counter_rng import uniforms
from ato.text import TokenSequence
from tasks.engine.model_cache import language_model
from tasks.engine.parallel_parts import part_task
from tasks.engine.study import Study
from tasks.jacobians.stages import JacobianStage, jacobian_stages, probe_plan
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import document_sequences

TRAIN = """select document, sum(n_tokens)::bigint as n_tokens from sequences
where collection = ? and split = 'train' group by document order by document"""


def document_parts(study: Study) -> list[list[int]]:
    """Train documents in random order, as many as the settings' tokens allow (one at least), a part at a time."""
    settings, found = study.jacobians, rows(study.warehouse, TRAIN, [study.collection])
    document, n_tokens = (np.array([row[name] for row in found], dtype=np.int64) for name in ("document", "n_tokens"))
    order = np.argsort(uniforms(settings.seed, document), kind="stable")
    n = max(1, int((np.cumsum(n_tokens[order]) <= settings.n_tokens).sum()))
    chosen = document[order[:n]].tolist()
    size = settings.documents_per_part
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


@part_task("jacobians, part")
def measure_share(part: int, study: Study, pairs: list[tuple[int, int]]) -> None:
    """The sums of one part, for a worker."""
    measure_part(part, study, pairs)


def measure_part(part: int, study: Study, pairs: Sequence[tuple[int, int]]) -> None:
    """Write the sums over the documents of a part, for those of the pairs that have none yet."""
    stages = [of for of in jacobian_stages(study, pairs) if not _is_there(of, part)]
    if not stages:
        return
    lm, plan = language_model(study.model), probe_plan(study)
    sums = {of.layers: JacobianSums.empty(lm.d_model, lm.d_model) for of in stages}
    began = time.monotonic()
    for sequences in _documents(study, document_parts(study)[part]):
        kept = _kept(study, sequences)
        if len(kept[0]):
            padded = pad([sequence.token_ids for sequence in sequences])
            for pair, one in document_jacobians(lm, padded, kept, [*sums], plan).items():
                sums[pair].update(one.rows, one.count, len(kept[0]))
    seconds = (time.monotonic() - began) / len(stages)
    for of in stages:
        sums[of.layers].seconds = seconds
        study.warehouse.publish_artifact(sums[of.layers].save, *of.part_path(part))


def _is_there(of: JacobianStage, part: int) -> bool:
    return bool(of.stage.warehouse.storage.sizes(["/".join(["artifacts", *of.part_path(part)])]))


def _documents(study: Study, documents: Sequence[int]) -> Iterator[list[TokenSequence]]:
    for document in documents:
        yield document_sequences(study.warehouse, study.collection, document)


def _kept(study: Study, sequences: Sequence[TokenSequence]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row among the sequences, number of the sequence and position of every token that the collection keeps."""
    from ato.residuals.live import LiveSource

    row = study.row
    source = LiveSource(
        language_model(study.model),
        sequences,
        tuple(row.layers),  # the norm rule looks at all of them
        n_folds=row.n_folds,
        batch_size=len(sequences),
        policy=study.exclusion_policy,
        median_norm=row.median_norms or None,
    )
    of = {sequence.sequence_id: i for i, sequence in enumerate(sequences)}
    blocks = list(source.blocks(layers=[]))
    number, position = (
        np.concatenate([np.zeros(0, np.int64), *(getattr(block, name) for block in blocks)]).astype(np.int64)
        for name in ("sequence_id", "position")
    )
    return np.array([of[one] for one in number.tolist()], dtype=np.int64), number, position

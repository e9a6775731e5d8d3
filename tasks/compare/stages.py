"""The stages of a comparison: one for each other collection, keyed by both, their operators and the SAEs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ato.errors import InputError, MismatchError
from ato.models.checkpoints import checkpoint_folders
from ato.residuals.position_policies import Layer, source_key
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage, pair_stages
from tasks.settings import CompareSettings, EvaluateSettings, ModelSettings, OperatorSettings
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import SAERow, collection_row, sae_rows
from warehouse.storage.warehouse import Warehouse

Pair = tuple[int, int]
"""(source layer, target layer)."""
_ALIKE = ("corpus_hash", "seq_len", "site", "d_model", "n_layers", "n_folds")
_ALIKE_SETTINGS = ("skip_special", "skip_first", "max_norm_multiple")
"""Of the collections: which tokens are left out."""
_DIFFERENT = """select count(*) as n, min(sequence_id) as first, arg_min(split, sequence_id) as split
from (
    select sequence_id, coalesce(a.split, b.split) as split
    from (select * from sequences where collection = ?) as a
    full join (select * from sequences where collection = ?) as b using (sequence_id)
    where (a.document, a.split, a.fold, a.token_ids) is distinct from (b.document, b.split, b.fold, b.token_ids)
)"""


@dataclass(frozen=True)
class Comparison:
    """A study beside another one."""

    other: Study
    pairs: tuple[tuple[PairStage, PairStage], ...]
    """This study's and the other's, of the same layers, ending where an SAE is."""
    stage: Stage

    @property
    def label(self) -> str:
        """Of the other model: its name, or the last part of its folder."""
        return label_of(self.other)


@dataclass(frozen=True)
class CompareStudy:
    """What a run compares."""

    study: Study
    others: tuple[Study, ...]
    """To compare it with, in order."""
    sae_keys: tuple[str, ...]
    """Of this study; they judge every model."""
    operators: OperatorSettings
    settings: CompareSettings

    @property
    def saes(self) -> list[SAERow]:
        """SAEs at the end of a pair."""
        ends = {target for _, target in self.operators.pairs}
        return [row for row in sae_rows(self.study.warehouse, self.sae_keys) if row.layer in ends]

    def source_key(self, pair: Pair) -> Layer:
        """Under which blocks hold the rows of a pair's source."""
        return source_key(*pair, self.operators.position_policy)

    def comparisons(self, evaluate: EvaluateSettings) -> list[Comparison]:
        """One for each other collection, in the order in which they are first named.

        Raises:
            InputError: no SAE ends a pair, or a collection is compared with itself.
            MismatchError: another text, or a model of another shape.
        """
        saes = self.saes
        if not saes:
            raise InputError(
                "no SAE stands where an operator ends",
                where=self.study.collection,
                cure="name such layers in saes.layers",
            )
        others = {other.collection: other for other in self.others}
        return [self._comparison(other, saes, evaluate) for other in others.values()]

    def _comparison(self, other: Study, saes: Sequence[SAERow], evaluate: EvaluateSettings) -> Comparison:
        check_same_text(self.study, other)
        layers, method = {sae.layer for sae in saes}, self.settings.method
        own = [pair for pair in pair_stages(self.study, self.operators) if pair.target_layer in layers]
        theirs = [
            pair for pair in pair_stages(other, only_method(self.operators, method)) if pair.target_layer in layers
        ]
        pairs = tuple(zip(own, theirs, strict=True))
        settings = self.settings.model_dump(exclude={"models", "collections"}) | judging_of(evaluate)
        inputs = [self.study.collection, other.collection, *(sae.sae for sae in saes)]
        inputs += [pair.operator_key(method) for both in pairs for pair in both]
        stage = self.study.stage("compare", f"compare-{label_of(other)}", settings=settings, inputs=inputs)
        return Comparison(other, pairs, stage)


def label_of(study: Study) -> str:
    """Of a study's model: its name, or the last part of its folder."""
    return Path(study.row.model).name or study.row.model


def compared_models(own: ModelSettings, settings: CompareSettings) -> list[ModelSettings]:
    """The models to compare with, checkpoints in order of their step, without the study's own; run as that one is.

    Raises:
        InputError: a folder without checkpoints.
    """
    names = dict.fromkeys(name for given in settings.models for name in checkpoint_folders(given))
    return [own.model_copy(update={"name": name, "revision": None}) for name in names if name != own.name]


def settings_of_collection(own: ModelSettings, collection: str) -> ModelSettings:
    """The model that made a collection, run as it was then and otherwise as the study's own."""
    row = collection_row(Warehouse(), collection)
    return own.model_copy(update={"name": row.model, "revision": row.revision, "dtype": row.dtype})


def judging_of(evaluate: EvaluateSettings) -> dict[str, Any]:
    """What of the evaluation's settings decides on scores and verdicts."""
    return evaluate.model_dump(include={"min_active", "transported_above", "computed_below"})


def only_method(operators: OperatorSettings, method: str) -> OperatorSettings:
    """The same pairs by one method, of which nothing else is asked."""
    update = {"methods": [method], "train_fractions": [], "permutation_null": False, "register_operators": False}
    return operators.model_copy(update=update)


def check_same_text(study: Study, other: Study) -> None:
    """Check that two collections hold the same sequences, split and left out alike, of models of one shape.

    All splits count: operators are fitted on those of training, chosen on those of validation.

    Raises:
        InputError: they are one.
        MismatchError: they do not.
    """
    if study.collection == other.collection:
        cure = "name another model in compare.models, or another collection in compare.collections"
        raise InputError("a collection is compared with itself", where=study.collection, cure=cure)
    cure = "collect both with the same settings, from models of one shape with the same tokenizer"
    where = f"{study.collection}, {other.collection}"
    for name, one, two in _facts(study, other):
        if one != two:
            raise MismatchError(f"{name} is {one} in one collection and {two} in the other", where=where, cure=cure)
    (found,) = rows(None, _DIFFERENT, [study.collection, other.collection])
    if found["n"]:
        first = f"the first is {found['first']} ({found['split']})"
        raise MismatchError(f"{found['n']} sequences differ between the collections, {first}", where=where, cure=cure)


def _facts(study: Study, other: Study) -> Iterator[tuple[str, Any, Any]]:
    for name in _ALIKE:
        yield name, getattr(study.row, name), getattr(other.row, name)
    for name in _ALIKE_SETTINGS:
        yield name, study.row.made_with.get(name), other.row.made_with.get(name)

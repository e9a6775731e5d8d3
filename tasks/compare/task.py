"""Stage ``compare``: one pass over the test tokens of each collection, judged by the same SAEs."""

from collections.abc import Mapping, Sequence

from ato.evaluation.feature_transport import FeatureTransport
from ato.evaluation.paired_transport import paired_transport
from ato.operators import TransportOperator
from ato.residuals import Consumer, Layer, run_pass
from ato.saes import SharedEncoding
from tasks.collect.moments import paired_source
from tasks.compare.rows import Compared, write_comparison
from tasks.compare.stages import CompareStudy, Comparison, Pair, judging_of, only_method
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.model_cache import sae_device
from tasks.engine.parallel_parts import part_task, run_parts, split_evenly
from tasks.engine.progress import Progress, say
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage
from tasks.saes.task import load_judged_sae
from tasks.settings import EvaluateSettings
from warehouse.catalog.catalog import rows

THIS, THEIRS, TRANSFERRED = "this", "theirs", "transferred"
"""Operators of a comparison: of this collection, of the other, and of this one applied to the other."""
Operators = Mapping[str, Mapping[Pair, TransportOperator]]
"""By these names and by pair."""


@stage_task("compare")
@one_at_a_time("compare")
def compare_collections(study: Study, of: CompareStudy, evaluate: EvaluateSettings, parts: int = 1) -> list[str]:
    """Compare a study with each of the others; returns a key per other collection, in their order.

    Args:
        study: this one, ``of.study``.
        of: what is compared.
        evaluate: thresholds of verdicts and of activity, as in the evaluation.
        parts: tasks that share the others, each with a pass of its own over this collection.

    Raises:
        MismatchError: another text, or a model of another shape; nothing is compared.
    """
    study.check_same_model()
    comparisons = of.comparisons(evaluate)
    missing = [place for place, one in enumerate(comparisons) if not one.stage.complete]
    if len(missing) < len(comparisons):
        say("compare", f"{len(comparisons) - len(missing)} of {len(comparisons)} comparisons are complete, skipped")
    if missing and parts > 1:
        shares = [[missing[i] for i in numbers] for numbers in split_evenly(len(missing), parts)]
        run_parts("compare", compare_share, shares, of, evaluate)
    elif missing:
        _compare(of, [comparisons[place] for place in missing], evaluate)
    return [one.stage.key for one in comparisons]


@part_task("compare, part")
def compare_share(places: list[int], of: CompareStudy, evaluate: EvaluateSettings) -> None:
    """Comparisons with these others, those left out that an attempt before this one completed."""
    found = of.comparisons(evaluate)
    if missing := [found[place] for place in places if not found[place].stage.complete]:
        _compare(of, missing, evaluate)


def _compare(of: CompareStudy, missing: Sequence[Comparison], evaluate: EvaluateSettings) -> None:
    """The comparisons without results: this collection's tokens are read once for all of them."""
    judging = judging_of(evaluate)
    own = _loaded([pair for pair, _ in missing[0].pairs], of.settings.method)
    this = _scored(of, of.study, {THIS: own})
    here = {sae: transport.result(**judging) for sae, transport in this.items()}
    for one in missing:
        theirs = _loaded([pair for _, pair in one.pairs], of.settings.method)
        with one.stage:
            other = _scored(of, one.other, {THEIRS: theirs, TRANSFERRED: own})
            there = {sae: transport.result(**judging) for sae, transport in other.items()}
            n_changed = 0
            for sae in of.saes:
                for pair in (pair for pair in own if pair[1] == sae.layer):
                    names = _name(THIS, pair), _name(THEIRS, pair), _name(TRANSFERRED, pair)
                    compared = Compared(
                        sae,
                        pair,
                        paired_transport(
                            this[sae.sae], other[sae.sae], operators=names, min_active=evaluate.min_active
                        ),
                        here[sae.sae][names[0]],
                        there[sae.sae][names[1]],
                        there[sae.sae][names[2]],
                        own[pair],
                        theirs[pair],
                    )
                    n_changed += write_comparison(of.settings, one, compared)
        say("compare", f"{one.stage.key}: {n_changed} features changed in {one.label}, over {len(own)} pairs")


def _scored(of: CompareStudy, study: Study, operators: Operators) -> dict[str, FeatureTransport]:
    """SAE -> scores of operators on one collection's test tokens; this study's SAEs judge every collection."""
    settings = only_method(of.operators, of.settings.method)
    transports: dict[str, FeatureTransport] = {}
    consumers: list[Consumer] = []
    layers: set[Layer] = set()
    for row in of.saes:
        ending: dict[str, tuple[Layer, TransportOperator]] = {
            _name(kind, pair): (of.source_key(pair), operator)
            for kind, by_pair in operators.items()
            for pair, operator in by_pair.items()
            if pair[1] == row.layer
        }
        sae = load_judged_sae(of.study.warehouse, row).to(sae_device(study.model))
        transports[row.sae] = FeatureTransport(sae, row.layer, ending)
        consumers.append(SharedEncoding(sae, row.layer, [transports[row.sae]]))
        layers |= {row.layer, *(source for source, _ in ending.values())}
    source = paired_source(study, settings)
    with Progress("compare", _test_tokens(study), f"test tokens of {study.row.model}") as progress:
        run_pass(
            source,
            consumers,
            layers=sorted(layers, key=str),
            splits=["test"],
            on_block=lambda block: progress.advance(block.n),
        )
    return transports


def _loaded(pairs: Sequence[PairStage], method: str) -> dict[Pair, TransportOperator]:
    return {pair.layers: pair.load(method) for pair in pairs}


def _name(kind: str, pair: Pair) -> str:
    return f"{kind}-{pair[0]}-{pair[1]}"


def _test_tokens(study: Study) -> int:
    sql = "select coalesce(sum(n_tokens), 0)::bigint as n from sequences where collection = ? and split = 'test'"
    return int(rows(study.warehouse, sql, [study.collection])[0]["n"])

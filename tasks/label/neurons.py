"""The baseline: MLP neurons of an SAE's layer, active as often as the SAE's features are, read from the running model."""

from collections.abc import Sequence
from dataclasses import replace

from ato.errors import InputError
from ato.features.neurons import MLPNeurons, NeuronThresholds, mlp_neurons
from ato.models import LanguageModel
from ato.residuals import ResidualSource, run_pass
from ato.residuals.live import LiveSource
from tasks.engine.model_cache import language_model
from tasks.engine.progress import phase
from tasks.label.stages import Labelled, LabelStudy
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences

SITE = "mlp_neurons"
_RATE = "select avg(l0 / d_sae) as rate from saes where collection = ? and layer = ? and list_contains(?, sae)"


def neuron_source(of: LabelStudy, members: Sequence[Labelled]) -> ResidualSource:
    """Values of neurons at the layers of members, on the tokens of the collection.

    The rule that leaves out tokens of outlying norm is one of the residual stream, and not of neurons.
    """
    study = of.study
    return LiveSource(
        language_model(study.model),
        stored_sequences(study.warehouse, study.collection),
        sorted({member.layer for member in members}),
        n_folds=study.row.n_folds,
        batch_size=study.row.made_with["batch_size"],
        policy=replace(study.exclusion_policy, max_norm_multiple=None),
        site=SITE,
    )


def neurons_of(of: LabelStudy, member: Labelled, source: ResidualSource, lm: LanguageModel) -> MLPNeurons:
    """The neurons of a layer, each active on as large a share of train tokens as a feature of the SAE is on average."""
    neurons = mlp_neurons(lm, member.layer)
    thresholds = NeuronThresholds(neurons.d_sae, member.layer, seed=of.settings.seed)
    with phase("label", f"thresholds of neurons of layer {member.layer}"):
        run_pass(source, [thresholds], layers=[member.layer], splits=["train"])
    return replace(neurons, threshold=thresholds.result(_rate(of, member)))


def _rate(of: LabelStudy, member: Labelled) -> float:
    (row,) = rows(of.study.warehouse, _RATE, [of.study.collection, member.layer, list(of.sae_keys)])
    if not row["rate"] or not 0 < row["rate"] < 1:
        raise InputError(
            f"features of layer {member.layer} are active on a share of {row['rate']} of the tokens",
            cure="neurons cannot be as rare: label.n_neurons=0",
        )
    return float(row["rate"])

"""The baseline: MLP neurons of an SAE's layer, active as often as the SAE's features are, read from the running model."""

from dataclasses import replace

from ato.errors import InputError
from ato.features.neurons import MLPNeurons, NeuronThresholds, mlp_neurons
from ato.models import LanguageModel
from ato.residuals import ResidualSource, run_pass
from tasks.engine.progress import phase
from tasks.label.stages import Labelled, LabelStudy
from warehouse.catalog.catalog import rows

_RATE = "select l0 / d_sae as rate from saes where collection = ? and sae = ?"


def neurons_of(of: LabelStudy, member: Labelled, source: ResidualSource, lm: LanguageModel) -> MLPNeurons:
    """The neurons of a layer, each active on as large a share of train tokens as a feature of the SAE is on average."""
    neurons = mlp_neurons(lm, member.layer)
    thresholds = NeuronThresholds(neurons.d_sae, member.layer, seed=of.settings.seed)
    with phase("label", f"thresholds of neurons of layer {member.layer}"):
        run_pass(source, [thresholds], layers=[member.layer], splits=["train"])
    return replace(neurons, threshold=thresholds.result(_rate(of, member)))


def _rate(of: LabelStudy, member: Labelled) -> float:
    beside = member.evidence.inputs[0]
    (row,) = rows(of.study.warehouse, _RATE, [of.study.collection, beside])
    if not row["rate"] or not 0 < row["rate"] < 1:
        raise InputError(
            f"features of {beside} are active on a share of {row['rate']} of the tokens",
            cure="neurons cannot be as rare: label.n_neurons=0",
        )
    return float(row["rate"])

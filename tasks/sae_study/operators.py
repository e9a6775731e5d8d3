"""The operators that innovation SAEs stand on: which they are, and the residuals less what they predict."""

from ato.errors import InputError
from ato.operators import TransportOperator, load_operator
from ato.residuals import ResidualSource
from ato.sae_studies.innovation import Innovations
from tasks.collect.sources import residual_source, site_source
from tasks.engine.study import Study
from tasks.operators.pairs import pair_stages
from tasks.sae_study.stages import Place
from tasks.settings import OperatorSettings, SAEStudySettings
from tasks.settings.sae_study import StudiedSAE
from warehouse.catalog.catalog import rows

_OPERATOR = """select source_layer, target_layer, method, position_policy, path
from operators where collection = ? and operator = ?"""


def with_operators(study: Study, settings: SAEStudySettings, operators: OperatorSettings) -> SAEStudySettings:
    """The settings of a study in which each innovation SAE names its operator by key, and the method is that operator's.

    Raises:
        InputError: no such operator of these two layers has been fitted, or x is not of the same token under it.
    """
    if not any(sae.is_innovation for sae in settings.saes):
        return settings
    pairs = {pair.layers: pair for pair in pair_stages(study, operators)}

    def resolved(sae: StudiedSAE) -> StudiedSAE:
        if sae.source_layer is None:
            return sae
        layers, key = (sae.source_layer, sae.layer), sae.operator
        if key is None:
            if layers not in pairs or sae.method not in pairs[layers].methods:
                raise _missing(sae, "the operators of the study do not have it")
            key = pairs[layers].operator_key(sae.method)
        found = rows(study.warehouse, _OPERATOR, [study.collection, key])
        if not found:
            raise _missing(sae, f"no operator {key} is fitted")
        if (found[0]["source_layer"], found[0]["target_layer"]) != layers:
            raise _missing(sae, "{} is of layers {source_layer} to {target_layer}".format(key, **found[0]))
        if (policy := found[0]["position_policy"]) != "same":
            raise _missing(sae, f"{key} has position policy {policy}, so that x is not of the same token")
        return sae.model_copy(update={"operator": key, "method": found[0]["method"]})

    return settings.model_copy(update={"saes": [resolved(sae) for sae in settings.saes]})


def _missing(sae: StudiedSAE, why: str) -> InputError:
    cure = "run `ato run operators` with this pair and method"
    return InputError(f"an innovation SAE needs {sae.method} of {sae.source_layer} to {sae.layer}: {why}", cure=cure)


def operator_of(study: Study, place: Place) -> TransportOperator:
    """The operator of a place of innovation SAEs."""
    (row,) = rows(study.warehouse, _OPERATOR, [study.collection, place.operator])
    return load_operator(study.warehouse.artifact_path(*row["path"].split("/")[1:]))


def place_source(study: Study, place: Place) -> ResidualSource:
    """What the SAEs, transcoders or innovation SAEs of a place read, see ``site_source`` and ``Innovations``."""
    if place.operator:
        return Innovations(residual_source(study), operator_of(study, place))
    return site_source(study, place.layer, place.site, place.target_site or None)

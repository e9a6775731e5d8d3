"""Files of innovation SAEs: a folder of sae-lens for the SAE, and beside it the operator that it stands on."""

from dataclasses import replace
from pathlib import Path

from ato.errors import SAEError
from ato.operators.operator import load_operator
from ato.sae_studies.innovation import InnovationSAE
from ato.saes.files import INNOVATION, save_sae
from ato.saes.formats import read_sae

OPERATOR = "operator.safetensors"


def save_innovation_sae(coder: InnovationSAE, folder: str | Path) -> Path:
    """Write SAE and operator; equal ones give equal bytes. Returns the folder, made if missing.

    The SAE's metadata name the operator's layers, method and key, by which ``load_sae`` knows that it reads no residuals.
    """
    source, target = coder.layers
    operator = {"source_layer": source, "target_layer": target, "method": coder.operator.method}
    own = {**coder.sae.metadata, INNOVATION: operator | {"operator": coder.operator_key}}
    folder = save_sae(replace(coder.sae, metadata=own), folder)
    coder.operator.save(folder / OPERATOR)
    return folder


def load_innovation_sae(folder: str | Path) -> InnovationSAE:
    """Read what ``save_innovation_sae`` wrote.

    Raises:
        SAEError: nothing there, or an SAE of residuals; an operator of other layers than the SAE names.
        InputError: no operator beside the SAE.
        DamagedFileError: a truncated or altered file.
    """
    folder = Path(folder).expanduser()
    sae = read_sae(folder)
    named = sae.metadata.get(INNOVATION)
    if named is None:
        raise SAEError("the SAE reads residuals, not innovations", where=folder, cure="load it with load_sae")
    operator = load_operator(folder / OPERATOR)
    found = {"source_layer": operator.source_layer, "target_layer": operator.target_layer, "method": operator.method}
    if found != {name: named[name] for name in found}:
        what = f"the operator is {found}, the SAE names {named}"
        raise SAEError(what, where=folder, cure="copy SAE and operator from one folder")
    return InnovationSAE(operator, sae, named["operator"])

"""What splicing an SAE in costs, and what it leaves of an innovation, as metrics of the comparison."""

from ato.sae_studies.metrics import Metric
from ato.saes.loss_recovered import CERecovered
from ato.saes.quality import Reconstruction


def splice_metrics(recovered: CERecovered) -> list[Metric]:
    """What an SAE recovers when it is spliced in, as rows of the comparison; KL only where it was asked for."""
    no_token = None if recovered.n_tokens else "no token was predicted"
    reasons = {
        "ce_recovered": "zeroing the residual does not raise the loss",
        "kl": "the KL divergence was not asked for",
        "kl_recovered": "zeroing the residual changes no prediction",
    }
    if recovered.kl.value is None:
        reasons["kl_recovered"] = reasons["kl"]
    rows = []
    for name, reason in reasons.items():
        estimate = getattr(recovered, name)
        missing = None if estimate.value is not None else no_token or reason
        rows.append(Metric(name, estimate, recovered.n_tokens, recovered.n_documents, reason=missing))
    return rows


def innovation_fvu(found: Reconstruction) -> Metric:
    """The FVU of an innovation SAE's own input, the innovation, as a row of the comparison."""
    missing = (
        None
        if found.fvu.value is not None
        else "the innovation does not vary"
        if found.n_tokens
        else "no token was judged"
    )
    return Metric("innovation_fvu", found.fvu, found.n_tokens, found.n_documents, reason=missing)

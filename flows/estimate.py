"""What a study will take, said before it starts: time, memory and disk of each stage, from sizes and a measured rate.

Sizes are exact but for what depends on the text (documents that are short, tokens that are dropped). Times are the
floating-point operations of each stage over this machine's measured rate, and mean "minutes, hours or days".
"""

import re
import time
from dataclasses import dataclass

from ato.errors import ModelError
from ato.model_shapes import ModelShape, model_shape
from flows.settings import Settings

TRAIN, VAL, TEST = 0.6, 0.2, 0.2
"""Shares of the documents, see SCIENCE 1."""
ACTIVATION_KEYS = 20
"""Bytes of an activation beside its residual: sequence, position, token and norm, stored plain."""
SEQUENCE_BYTES = 8
"""Bytes of a token in the table of sequences: its id and its text, compressed."""
SCORE_BYTES = 160
"""Bytes of a row of ``feature_transport``: eighteen numbers that hardly compress."""
LOSS_BYTES = 40
MOMENT_ROWS = 8192
"""Rows that moments gather before they are multiplied."""
HEAD_TOKENS = 512
MODEL_EFFICIENCY = 0.6
"""Share of a matrix product's rate that a forward pass reaches: attention, norms and small batches take the rest."""
SOLVE_EFFICIENCY = 0.12
"""The same for float64 decompositions against a float32 product: half for the precision, the rest for their shape."""
ELEMENTWISE_EFFICIENCY = 0.5
"""The same for SAE training and scoring: choosing the active features is bound by memory."""
EIGEN = 10
"""Operations of a symmetric eigendecomposition, in d^3."""
BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 4}


@dataclass(frozen=True)
class StageEstimate:
    """What one stage takes."""

    flops: float
    """Floating-point operations over the efficiency they run at."""
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a whole study takes; what is already complete is not subtracted."""

    seconds: float
    memory_bytes: int
    """Of the stage that needs most."""
    disk_bytes: int
    by_stage: dict[str, StageEstimate]


def estimate(settings: Settings, *, flops_per_second: float | None = None) -> Estimate:
    """The estimate for these settings on this machine.

    Args:
        settings: of the study.
        flops_per_second: rate of float32 matrix products; default: measured, in under half a second.

    Raises:
        ModelError: the model is neither here nor one of a profile, so that its size is unknown.
    """
    shape = model_shape(settings.model.name)
    rate = flops_per_second or measured_rate(settings.model.device)
    stages = {
        "collect": _collect(settings, shape),
        "saes": _saes(settings, shape),
        "features": _features(settings, shape),
        "operators": _operators(settings, shape),
        "evaluate": _evaluate(settings, shape),
        "causal": _causal(settings, shape),
    }
    return Estimate(
        seconds=sum(stage.flops for stage in stages.values()) / rate,
        memory_bytes=max(stage.memory_bytes for stage in stages.values()),
        disk_bytes=sum(stage.disk_bytes for stage in stages.values()),
        by_stage=stages,
    )


def show_estimate(settings: Settings) -> None:
    """Say the estimate in one line, or that none can be made; nothing is asked."""
    from tasks.progress import say

    try:
        found = estimate(settings)
    except ModelError as error:
        say("estimate", f"none: {error}")
        return
    disk = sorted(found.by_stage.items(), key=lambda item: -item[1].disk_bytes)[0]
    say(
        "estimate",
        f"about {_duration(found.seconds)} on this machine, {_size(found.memory_bytes)} of memory, "
        f"{_size(found.disk_bytes)} of disk ({_size(disk[1].disk_bytes)} by {disk[0]}); what is complete is skipped",
    )


def measured_rate(device: str = "auto") -> float:
    """Floating-point operations a second of a float32 matrix product where the model will run."""
    import torch

    from ato.devices import choose_device

    place = choose_device(device)
    n = 4096 if place.type == "cuda" else 768
    x = torch.ones(n, n, device=place)
    done, started = 0, time.perf_counter()
    (x @ x).sum().item()  # the first product wakes threads and libraries
    started = time.perf_counter()
    while done < 40 and time.perf_counter() - started < 0.15:
        x = (x @ x) / n
        float(x[0, 0])  # wait for it
        done += 1
    return 2.0 * n**3 * done / (time.perf_counter() - started)


def n_groups(settings: Settings) -> int:
    """Token groups that moments are kept for: folds, val and test, and the parts that the scaling study cuts folds into."""
    folds = settings.collect.n_folds
    cuts = {fraction for fraction in settings.operators.train_fractions if fraction < 1}
    return folds + 2 + sum(abs(cut * folds - round(cut * folds)) > 1e-9 for cut in cuts)


def moments_bytes(settings: Settings, d: int) -> int:
    """Bytes of the moments: a d x d float64 matrix for each kind of row and each pair, in each group, and those of chance."""
    return 8 * d * d * (_own_products(settings) * n_groups(settings) + _chance_products(settings))


def _own_products(settings: Settings) -> int:
    """Matrices that one group's moments hold: a product of rows with themselves, or of a pair's two."""
    pairs, policy = settings.operators.pairs, settings.operators.position_policy
    sources, targets = {source for source, _ in pairs}, {target for _, target in pairs}
    if policy == "same":
        return len(sources | targets) + len(pairs)
    # A source's rows are those that its targets point to: others for each pair where attention does the pointing.
    return (len(pairs) if policy.startswith(("attended", "shuffled")) else len(sources)) + len(targets) + len(pairs)


def _chance_products(settings: Settings) -> int:
    """The same of the moments with documents shuffled, which are kept for the whole train split only."""
    operators = settings.operators
    if not operators.permutation_null and "permuted" not in operators.methods:
        return 0
    return sum(len({pair[end] for pair in operators.pairs}) for end in (0, 1)) + len(operators.pairs)


def kept_tokens(settings: Settings) -> int:
    """Tokens whose residuals are kept, if all sequences are full."""
    collect = settings.collect
    return collect.n_tokens - (collect.n_tokens // collect.seq_len if collect.skip_first else 0)


def activation_bytes(settings: Settings, d: int) -> int:
    """Bytes of the activations table: float32 residuals with their keys, for every kept token and layer."""
    if not settings.collect.store_activations:
        return 0
    return kept_tokens(settings) * len(settings.layers) * (4 * d + ACTIVATION_KEYS)


def sae_widths(settings: Settings) -> dict[int, int]:
    """Layer -> number of features of its SAE; what a release's name does not tell is taken to be the default width."""
    saes = settings.saes
    widths = dict.fromkeys([*saes.layers, *saes.paths], saes.d_sae)
    for layer, release in saes.releases.items():
        named = re.search(r"width_(\d+)([km])", release)
        if named:
            widths[layer] = int(named[1]) * (1024 if named[2] == "k" else 1024**2)
        else:
            widths[layer] = 24_576 if release.startswith("gpt2-small-res-jb") else saes.d_sae
    return widths


def _model_bytes(settings: Settings, shape: ModelShape) -> int:
    batch = settings.collect.batch_size * settings.collect.seq_len
    weights = BYTES_OF[settings.model.dtype] * shape.n_parameters
    return weights + 4 * (8 * batch * shape.d_model + HEAD_TOKENS * shape.vocabulary)


def _collect(settings: Settings, shape: ModelShape) -> StageEstimate:
    tokens, layers, d = settings.collect.n_tokens, settings.layers, shape.d_model
    moments = moments_bytes(settings, d)
    products = d * d * (_own_products(settings) + TRAIN * _chance_products(settings))
    return StageEstimate(
        flops=tokens * (shape.forward_flops(max(layers) + 1) / MODEL_EFFICIENCY + 2 * products),
        memory_bytes=_model_bytes(settings, shape) + moments + 8 * MOMENT_ROWS * len(layers) * d,
        disk_bytes=activation_bytes(settings, d) + tokens * SEQUENCE_BYTES + moments,
    )


def _saes(settings: Settings, shape: ModelShape) -> StageEstimate:
    saes, d, widths = settings.saes, shape.d_model, sae_widths(settings)
    trained = sum(12 * d * widths[layer] * saes.n_tokens for layer in saes.layers if layer not in saes.releases)
    judged = 3 * saes.judge_sequences * settings.collect.seq_len * shape.forward_flops(shape.n_layers, logits=True)
    encoded = TEST * kept_tokens(settings) * sum(4 * d * width for width in widths.values())
    largest = max(widths.values(), default=0)
    training = 16 * 2 * d * largest + 4 * d * saes.buffer_rows if saes.layers else 8 * d * largest
    return StageEstimate(
        flops=(trained + encoded) / ELEMENTWISE_EFFICIENCY + judged * len(widths) / MODEL_EFFICIENCY,
        memory_bytes=_model_bytes(settings, shape) + training,
        disk_bytes=sum(4 * (2 * d * width + d + 2 * width) for width in widths.values()),
    )


def _features(settings: Settings, shape: ModelShape) -> StageEstimate:
    features, d, widths = settings.features, shape.d_model, sae_widths(settings)
    flops, largest = 0.0, max(widths.values(), default=0)
    for layer, width in widths.items():
        flops += 2 * d * width * TEST * kept_tokens(settings) / ELEMENTWISE_EFFICIENCY
        if not features.score:
            continue
        looked_at = min(features.n_tokens, int(TRAIN * kept_tokens(settings)))
        ablated = features.candidate_percent / 100 * width * features.ablation_sequences * features.ablation_tokens
        above = shape.forward_flops(shape.n_layers - layer - 1, logits=True)
        # Encoding, correlations of all features with all others, the logit lens, the ablations.
        flops += 2 * looked_at * width * (d + width) / ELEMENTWISE_EFFICIENCY
        flops += 2 * d * width * shape.vocabulary + ablated * above / MODEL_EFFICIENCY
    correlations = 8 * largest * largest if features.score else 0
    return StageEstimate(
        flops, _model_bytes(settings, shape) + 8 * d * largest + correlations, 400 * sum(widths.values())
    )


def _operators(settings: Settings, shape: ModelShape) -> StageEstimate:
    operators, d, pairs = settings.operators, shape.d_model, settings.operators.pairs
    folds = settings.collect.n_folds
    sources = len({source for source, _ in pairs})
    fitted = [m for m in operators.methods if m not in ("identity", "identity+bias", "mean")]
    # An eigendecomposition for each source and fold; for each pair, fold and strength one product.
    cube = sources * (folds + 1) * EIGEN + len(pairs) * (folds * len(operators.alphas) * 4 + len(fitted) * 3 * EIGEN)
    grid = {"lasso": len(operators.l1_alphas), "elasticnet": len(operators.l1_alphas) * len(operators.l1_ratios)}
    cube += sum(len(pairs) * folds * n * 100 for method, n in grid.items() if method in operators.methods)
    cube += len(pairs) * len(operators.train_fractions) * (EIGEN + 2 * len(operators.alphas))
    scored = TEST * kept_tokens(settings) * len(pairs) * len(operators.methods) * 4 * d * d
    moments = moments_bytes(settings, d)
    return StageEstimate(
        flops=cube * d**3 / SOLVE_EFFICIENCY + scored,
        memory_bytes=moments + 8 * d * d * (len(pairs) * len(operators.methods) + sources),
        disk_bytes=8 * d * d * len(pairs) * (len(operators.methods) + len(fitted) * operators.register_operators),
    )


def _evaluate(settings: Settings, shape: ModelShape) -> StageEstimate:
    operators, d, widths = settings.operators, shape.d_model, sae_widths(settings)
    tokens, methods = TEST * kept_tokens(settings), len(operators.methods)
    judged = [target for _, target in operators.pairs if target in widths]
    features = sum(widths[target] for target in judged) * methods
    decompositions = len(operators.pairs) * 4 * EIGEN * d**3 / SOLVE_EFFICIENCY
    products = tokens * (len(operators.pairs) * 8 * d * d + len(judged) * methods * 2 * d * d)
    scored = sum(widths.values()) * 2 * d * tokens / ELEMENTWISE_EFFICIENCY
    return StageEstimate(
        flops=decompositions + products + scored,
        memory_bytes=moments_bytes(settings, d) + 8 * features * 8,
        disk_bytes=features * SCORE_BYTES + len(operators.pairs) * 8 * 5 * d,
    )


def _causal(settings: Settings, shape: ModelShape) -> StageEstimate:
    causal, widths = settings.causal, sae_widths(settings)
    pairs = causal.pairs
    if pairs is None:
        pairs = [(source, target) for source, target in settings.operators.pairs if target in widths]
    tokens = causal.n_sequences * settings.collect.seq_len
    # Mean, zero and random rotation know nothing of the source: they are run once for all pairs of a target.
    shared = sum(name in ("mean", "zero", "random_rotation") for name in causal.interventions)
    edits = len(causal.interventions) * len(causal.positions) + 2 * causal.n_features
    targets = {target for _, target in pairs}
    below = shape.forward_flops(max(targets, default=-1) + 1)
    above = sum(
        shape.forward_flops(shape.n_layers - target - 1, logits=True)
        * (shared * len(causal.positions) + sum(t == target for _, t in pairs) * (edits - shared * len(causal.positions)))
        for target in targets
    )
    rows = causal.n_sequences * (edits + 1) * len(pairs)
    kept = 4 * causal.batch_size * settings.collect.seq_len * shape.d_model * (edits + 2)
    return StageEstimate(
        flops=tokens * (below + above) / MODEL_EFFICIENCY,
        memory_bytes=_model_bytes(settings, shape) + kept,
        disk_bytes=rows * LOSS_BYTES,
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}"
        n /= 1000
    return f"{n:.1f} GB" if n < 1000 else f"{n / 1000:.1f} TB"

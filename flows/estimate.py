"""What a study will take, said before it starts: time, memory and disk of each stage, from sizes and a measured rate.

Sizes are exact but for what depends on the text (documents that are short, tokens that are dropped). Times are the
floating-point operations of each stage over this machine's measured rate, and mean "minutes, hours or days".
"""

import time
from dataclasses import dataclass

from ato.errors import ModelError
from ato.model_shapes import ModelShape, model_shape
from flows.settings import Settings
from flows.sizes import (
    TEST,
    TRAIN,
    activation_bytes,
    chance_products,
    kept_tokens,
    moments_bytes,
    own_products,
    sae_widths,
)

RUNTIME_BYTES = 2_500_000_000
"""Libraries, and what stages have freed but the allocator keeps; it also keeps about as much as the largest stage holds."""
SEQUENCE_BYTES = 8
"""Bytes of a token in the table of sequences: its id and its text, compressed."""
SCORE_BYTES = 160
"""Bytes of a row of ``feature_transport``: eighteen numbers that hardly compress."""
LOSS_BYTES = 40
MOMENT_ROWS = 8192
"""Rows that moments gather before they are multiplied."""
HEAD_TOKENS = 512
FORWARD_EFFICIENCY = {True: 2.0, False: 0.6}
"""Rate of a forward pass over that of a float32 product, in half precision and not: attention and norms take a part."""
TRAINING_EFFICIENCY = {True: 1.7, False: 0.5}
"""The same of SAE training, whose products are in half precision wherever the model's are."""
SOLVE_EFFICIENCY = 0.12
"""The same for float64 decompositions against a float32 product: half for the precision, the rest for their shape."""
ELEMENTWISE_EFFICIENCY = 0.5
"""The same for encoding: choosing the active features is bound by memory."""
SCORE_OPERATIONS = 5e7
"""Operations behind one score of one feature: its sums, and a thousand resamples of its documents."""
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
        memory_bytes=RUNTIME_BYTES + 2 * max(stage.memory_bytes for stage in stages.values()),
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


def _half(settings: Settings) -> bool:
    """Whether the model runs in half precision."""
    import torch

    from ato.devices import choose_device, choose_dtype

    return choose_dtype(settings.model.dtype, choose_device(settings.model.device)) != torch.float32


def _forward(settings: Settings) -> float:
    return FORWARD_EFFICIENCY[_half(settings)]


def _model_bytes(settings: Settings, shape: ModelShape) -> int:
    batch = settings.collect.batch_size * settings.collect.seq_len
    weights = BYTES_OF[settings.model.dtype] * shape.n_parameters
    return weights + 4 * (8 * batch * shape.d_model + HEAD_TOKENS * shape.vocabulary)


def _collect(settings: Settings, shape: ModelShape) -> StageEstimate:
    tokens, layers, d = settings.collect.n_tokens, settings.layers, shape.d_model
    moments = moments_bytes(settings, d)
    products = d * d * (own_products(settings) + TRAIN * chance_products(settings))
    return StageEstimate(
        flops=tokens * (shape.forward_flops(max(layers) + 1) / _forward(settings) + 2 * products),
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
        flops=trained / TRAINING_EFFICIENCY[_half(settings)]
        + encoded / ELEMENTWISE_EFFICIENCY
        + judged * len(widths) / _forward(settings),
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
        flops += 2 * d * width * shape.vocabulary + ablated * above / _forward(settings)
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
    scored += features * SCORE_OPERATIONS * settings.evaluate.n_bootstrap / 1000
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
        * (
            shared * len(causal.positions)
            + sum(t == target for _, t in pairs) * (edits - shared * len(causal.positions))
        )
        for target in targets
    )
    rows = causal.n_sequences * (edits + 1) * len(pairs)
    kept = 4 * causal.batch_size * settings.collect.seq_len * shape.d_model * (edits + 2)
    return StageEstimate(
        flops=tokens * (below + above) / _forward(settings),
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

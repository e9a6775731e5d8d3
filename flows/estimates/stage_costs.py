"""Work of each stage of a study: operations, bytes and seconds, from its settings and the model's shape.

Counted is what cannot be avoided: operations of the products, numbers read and written once. How much longer a stage
takes is a constant in its ``Cost``. All are upper bounds: short documents and dropped tokens make them smaller.
"""

from dataclasses import dataclass
from pkgutil import resolve_name

from ato.causal.intervention_names import SHARED
from ato.models.shapes import ModelShape
from ato.moments.moments import GATHERED_ROWS
from ato.operators.methods import METHODS, OperatorMethod
from ato.saes.training.methods import TRAINABLE
from flows.estimates.machine_rates import SOLVE_FLOPS, MachineRates
from flows.estimates.sizes import (
    TEST,
    TRAIN,
    activation_bytes,
    causal_pairs,
    fitted_methods,
    kept_tokens,
    moments_bytes,
    n_devices,
    null_products,
    own_products,
    sae_widths,
)
from flows.settings import Settings
from flows.stages import Cost

SEQUENCE_BYTES = 8
"""Bytes of a token in the table of sequences: its id and its text, compressed."""
SCORE_BYTES = 160
"""Bytes of a row of ``feature_transport``: eighteen numbers that hardly compress."""
LOSS_BYTES = 40
HEAD_TOKENS = 512
BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 4}
ENTITY_PROMPT_TOKENS = 16
"""Tokens of a question about an entity."""
ENTITY_ATTRIBUTES = 2
"""Attributes asked about where the settings name none."""
ANSWER_BYTES = 60
"""Bytes of a row of ``entity_answers``."""
ADAM_BYTES = 40
"""Bytes that a step of Adam reads and writes per weight: the weight, its gradient twice, two moments."""
PASSED = 8
"""Bytes moved when a float32 number is read and written once."""
LEFT_OUT = 256 * 48
"""Bytes moved for the interval of a score: sums without each of 256 groups of documents, their quotient, its square."""
REGISTER_SECONDS = 0.06
"""Time to register an operator: a few dozen rows in MLflow's database."""
SPECTRUM = 5 * SOLVE_FLOPS
"""Operations, in d^3, for an operator's singular values and eigenvalues: not symmetric, so five times as many."""
CANONICAL = 4 * SOLVE_FLOPS
"""The same for canonical modes: two whitenings, and a singular value decomposition with vectors."""


@dataclass(frozen=True)
class StageWork:
    """Work of one stage by the rate that limits it, memory that it holds, and disk space that it fills."""

    forward: float = 0
    """FLOPs in the model's precision on its (first) device: forward passes, SAE training."""
    product: float = 0
    """FLOPs of float32 products on the device."""
    host_product: float = 0
    """FLOPs of float32 products on the CPU."""
    solve: float = 0
    """FLOPs of float64 decompositions on the CPU."""
    loaded: float = 0
    """Bytes of weights read and hashed."""
    moved: float = 0
    """Bytes read and written by element-wise work on the CPU."""
    device_moved: float = 0
    """The same on the device."""
    seconds: float = 0
    """Waiting for others, such as the registry."""
    memory_bytes: int = 0
    """Held at once, without libraries."""
    disk_bytes: int = 0
    """Left in the warehouse."""

    @property
    def flops(self) -> float:
        """All floating-point operations."""
        return self.forward + self.product + self.host_product + self.solve

    def ideal_seconds(self, rates: MachineRates) -> float:
        """Time of the work if every part ran at its rate, one after the other."""
        return (
            self.forward / rates.forward
            + self.product / rates.product
            + self.host_product / rates.host_product
            + self.solve / rates.solve
            + self.moved / rates.memory
            + self.device_moved / rates.device_memory
            + (self.disk_bytes + self.loaded) / rates.disk
        )


def work_of(cost: Cost, settings: Settings, shape: ModelShape) -> StageWork:
    """What a stage of that cost has to do under these settings."""
    return StageWork() if cost.function is None else resolve_name(cost.function)(settings, shape)


def model_bytes(settings: Settings, shape: ModelShape) -> int:
    """The model in memory, with what a batch leaves of logits and residuals."""
    batch = settings.collect.batch_size * settings.collect.seq_len
    weights = BYTES_OF[settings.model.dtype] * shape.n_parameters
    return weights + 4 * (8 * batch * shape.d_model + HEAD_TOKENS * shape.vocabulary)


def collect_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Loading the model, whose weights are hashed and converted; then it runs over all tokens, and moments are made."""
    tokens, layers, d = settings.collect.n_tokens, settings.layers, shape.d_model
    moments = moments_bytes(settings, d)
    return StageWork(
        forward=tokens * shape.forward_flops(max(layers) + 1) / n_devices(settings),
        product=tokens * 2 * d * d * (own_products(settings) + TRAIN * null_products(settings)),
        loaded=BYTES_OF[settings.model.dtype] * shape.n_parameters,
        moved=PASSED * shape.n_parameters,
        memory_bytes=model_bytes(settings, shape) + moments + 8 * GATHERED_ROWS * len(layers) * d,
        disk_bytes=activation_bytes(settings, d) + tokens * SEQUENCE_BYTES + moments,
    )


def saes_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Training, and the spliced forward passes that judge."""
    saes, d, widths = settings.saes, shape.d_model, sae_widths(settings)
    trained = [widths[layer] for layer in saes.layers if not {layer} & {*saes.paths, *saes.releases}]
    costs = [_training_cost(settings, d, width) for width in trained]
    # Once clean; for each SAE once with its reconstruction and once with zeros in place of the layer.
    judged = saes.judge_sequences * settings.collect.seq_len if widths else 0
    passes = shape.forward_flops(shape.n_layers, logits=True) + sum(
        2 * shape.forward_flops(shape.n_layers - layer - 1, logits=True) for layer in widths
    )
    largest = max(widths.values(), default=0)
    training = 16 * 2 * d * largest + 4 * d * saes.buffer_rows if saes.layers else 8 * d * largest
    return StageWork(
        forward=saes.n_tokens * sum(flops for flops, _ in costs) + judged * passes,
        host_product=TEST * kept_tokens(settings) * sum(4 * d * width for width in widths.values()),
        device_moved=saes.n_tokens * sum(moved for _, moved in costs)
        + judged * (1 + 2 * len(widths)) * PASSED * shape.vocabulary,
        memory_bytes=model_bytes(settings, shape) + training,
        disk_bytes=sum(4 * (2 * d * width + d + 2 * width) for width in widths.values()),
    )


def _training_cost(settings: Settings, d: int, width: int) -> tuple[float, float]:
    """FLOPs and bytes moved per token of SAE training."""
    saes = settings.saes
    weights = 2 * d * width
    updated = ADAM_BYTES * weights / saes.batch_size
    kind = TRAINABLE[saes.architecture]
    gathered = 4 * kind.decoder_gathers * saes.k * d
    return kind.dense_products * weights, updated + kind.dense_passes * PASSED * width + gathered


def features_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Encoding the test tokens; if features are scored, the candidates' ablations too."""
    features, d, widths = settings.features, shape.d_model, sae_widths(settings)
    host = sum(2 * d * width * TEST * kept_tokens(settings) for width in widths.values())
    forward, moved, device_moved, largest = 0.0, 0.0, 0.0, max(widths.values(), default=0)
    for layer, width in widths.items() if features.score else ():
        looked_at = min(features.n_tokens, int(TRAIN * kept_tokens(settings)))
        ablated = features.candidate_percent / 100 * width * features.ablation_sequences * features.ablation_tokens
        # Encoding and the logit lens, products of the features active together; then the ablations.
        host += 2 * d * width * (looked_at + shape.vocabulary)
        forward += ablated * shape.forward_flops(shape.n_layers - layer - 1, logits=True)
        moved += looked_at * settings.saes.k**2 * PASSED
        device_moved += ablated * PASSED * shape.vocabulary
    correlations = 8 * largest * largest if features.score else 0
    return StageWork(
        forward=forward,
        host_product=host,
        moved=moved,
        device_moved=device_moved,
        memory_bytes=model_bytes(settings, shape) + 8 * d * largest + correlations,
        disk_bytes=400 * sum(widths.values()),
    )


def jacobians_work(settings: Settings, shape: ModelShape) -> StageWork:
    """A backward pass for each probe and target, down to the lowest source; twice the way up beside it."""
    own, d, pairs = settings.jacobians, shape.d_model, settings.operators.pairs
    tokens = min(own.n_tokens, TRAIN * settings.collect.n_tokens)
    probes = d if own.probes is None else min(own.probes, d)
    lowest = {target: min(source for source, end in pairs if end == target) for _, target in pairs}
    above = sum(shape.forward_flops(target - source) for target, source in lowest.items())
    up = 2 * shape.forward_flops(max(settings.layers) + 1)  # once for the norm rule, once for keys and values
    if own.lens is not None:
        tokens = 0
    return StageWork(
        forward=tokens * (up + probes * above),
        moved=tokens * probes * len(pairs) * PASSED * d,
        memory_bytes=model_bytes(settings, shape) + 2 * 8 * d * d * 2 * len(pairs),
        disk_bytes=2 * 8 * d * d * len(pairs),
    )


def operators_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Decompositions of the sources, a fit per method and pair, and scoring on test tokens."""
    operators, d, pairs = settings.operators, shape.d_model, settings.operators.pairs
    folds, n = settings.collect.n_folds, len(settings.operators.pairs)
    sources, targets = ({pair[end] for pair in pairs} for end in (0, 1))
    methods, n_fitted = [METHODS[method] for method in operators.methods], len(fitted_methods(settings))
    whitened = any(method.output_weight for method in methods)
    # Each source is decomposed once a fold, once in all and once for chance, each target once for its whitening.
    cube = SOLVE_FLOPS * (len(sources) * (folds + 2) + (len(targets) if whitened else 0))
    cube += n * sum(_method_flops(settings, method) for method in methods)
    # A fit takes two products of matrices, its scores on train and val twelve.
    cube += n * (len(methods) * (4 + 24) + n_fitted * SPECTRUM)
    registered = n * n_fitted * operators.register_operators
    return StageWork(
        host_product=TEST * kept_tokens(settings) * n * len(operators.methods) * 4 * d * d,
        solve=cube * d**3,
        seconds=registered * REGISTER_SECONDS,
        memory_bytes=moments_bytes(settings, d) + 8 * d * d * (n * len(operators.methods) + len(sources)),
        disk_bytes=8 * d * d * n * len(operators.methods),
    )


def _method_flops(settings: Settings, method: OperatorMethod) -> int:
    """Operations in d^3 that a method takes of one pair on its own."""
    cost, options = method.cost, settings.operators.options(method.name)
    strengths = len(options.get("alphas", ())) * len(options.get("l1_ratios", (1,)))
    folds = settings.collect.n_folds * (cost.fold + cost.grid_point * strengths)
    return folds + cost.pair + SOLVE_FLOPS * cost.decompositions


def evaluate_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Feature scores of every operator, canonical modes, and the amount of data."""
    operators, d, widths = settings.operators, shape.d_model, sae_widths(settings)
    tokens, methods, n = TEST * kept_tokens(settings), len(operators.methods), len(operators.pairs)
    shares, sources = len(operators.train_fractions), len({source for source, _ in operators.pairs})
    judged = [widths[target] for _, target in operators.pairs if target in widths]
    features = sum(judged) * methods
    # Canonical modes, true and null, and the study's rank curve; a decomposition for each share of the data.
    cube = n * 3 * CANONICAL + sources * shares * (SOLVE_FLOPS + 4) + n * shares * 10
    # The decoder row of an active feature is multiplied with the residual once for each operator.
    gathered = tokens * settings.saes.k * 4 * d * len(judged) * methods
    return StageWork(
        host_product=tokens * (n * (4 + 2 * shares) * d * d + sum(2 * d * width for width in widths.values()))
        + features * 8 * d * d,
        solve=cube * d**3,
        moved=gathered + features * LEFT_OUT,
        memory_bytes=moments_bytes(settings, d) + 8 * features * 8,
        disk_bytes=features * SCORE_BYTES + n * 8 * 5 * d,
    )


def causal_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Forward passes with edited residuals."""
    causal, pairs = settings.causal, causal_pairs(settings)
    tokens, sets = causal.n_sequences * settings.collect.seq_len, len(causal.positions)
    # Mean, zero and random rotation do not depend on the source: they run once for all pairs of a target.
    shared = sum(name in SHARED for name in causal.interventions) * sets
    edits = len(causal.interventions) * sets + 2 * causal.n_features
    targets = [target for _, target in pairs]
    passes = {target: shared + targets.count(target) * (edits - shared) for target in set(targets)}
    below = shape.forward_flops(max(targets, default=-1) + 1)
    above = sum(n * shape.forward_flops(shape.n_layers - layer - 1, logits=True) for layer, n in passes.items())
    kept = 4 * causal.batch_size * settings.collect.seq_len * shape.d_model * (edits + 2)
    return StageWork(
        forward=tokens * (below + above),
        device_moved=tokens * sum(passes.values()) * PASSED * shape.vocabulary,
        memory_bytes=model_bytes(settings, shape) + kept,
        disk_bytes=causal.n_sequences * (edits + 1) * len(pairs) * LOSS_BYTES,
    )


def entities_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Prompts and generated tokens of questions and interventions; all weights are read at each step of a batch."""
    own = settings.entities
    types, prompt = len(own.set.sources), ENTITY_PROMPT_TOKENS
    questions = types * own.set.n_per_type * (len(own.answers.attributes or ()) or ENTITY_ATTRIBUTES)
    answers = questions * (1 + own.answers.n_samples)
    # Asked again: unedited, both directions steered at each strength on validation, then each edit and its controls.
    edits = (len(own.interventions.positions) * 5 + 2) * (1 + own.interventions.n_random)
    tried = 2 * len(own.interventions.strengths) * own.interventions.n_validation
    again = 2 * (own.interventions.n_entities * (1 + edits) + tried) if own.interventions.n_entities else 0
    generated = answers * own.answers.max_new_tokens / 2 + again * own.interventions.max_new_tokens / 2
    read = types * (own.set.n_per_type + own.set.n_invented) * prompt
    steps = generated / own.answers.batch_size
    tokens = generated + prompt * (questions + 2 * again) + read
    widths, d = sae_widths(settings), shape.d_model
    residuals = 4 * d * read / prompt * (1 + ENTITY_ATTRIBUTES) * len(settings.layers)
    return StageWork(
        forward=tokens * shape.forward_flops(shape.n_layers, logits=True),
        host_product=sum(2 * d * width * read / prompt * 2 for width in widths.values()),
        device_moved=steps * BYTES_OF[settings.model.dtype] * shape.n_parameters,
        memory_bytes=model_bytes(settings, shape),
        disk_bytes=int(residuals + answers * ANSWER_BYTES),
    )

"""Work of labelling, counted as in ``flows.estimates.stage_costs``, and what a language model would be asked."""

from dataclasses import dataclass

from ato.autointerp.trials import TrialPlan
from ato.errors import DamagedFileError, SAEError
from ato.features.excerpts import TIERS
from ato.models.shapes import ModelShape
from flows.estimates.sizes import kept_tokens, sae_widths
from flows.estimates.stage_costs import PASSED, StageWork, model_bytes
from flows.settings import Settings
from tasks.settings import LabelSettings
from tasks.settings.label import ChatSettings
from warehouse.catalog.catalog import rows

ON_LIST = "select count(distinct (weights_hash, feature_id)) as n from list_members where kind = 'feature' and list = ?"
GROUP = TrialPlan().group_size + 1
"""Texts of a group of the intruder test."""
CLASSES = 2
"""Of fuzzing: right and wrong marks."""
INSTRUCTIONS = 160
"""Tokens of a prompt beside its texts, about."""
DESCRIPTION_REPLY, TEXT_REPLY, INTRUDER_REPLY, CLASSES_REPLY = 30, 4, 8, 60
"""Tokens of replies, about."""
OFFLINE_SECONDS = 0.03
"""A feature labelled by the overlap judge, on one core: 3.4 s for a hundred."""
ADAPTER_PASSES = 2
"""Of the model over the collection for an adapter: counts, windows."""
NEURON_PASSES = 2.6
"""Of the model over the collection for neurons: thresholds on train tokens, counts, windows."""
WINDOW_BYTES = 500
"""A row of ``example_windows``, compressed."""
TRIAL_BYTES = 25


@dataclass(frozen=True)
class Asked:
    """What one judge is asked over all features."""

    features: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """None without prices."""


def label_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Encoding of all tokens by each SAE, and of windows; the model's passes for neurons. Servers' time is not known."""
    s, d, tokens = settings.label, shape.d_model, kept_tokens(settings)
    widths = [sae_widths(settings)[layer] for layer in labelled_layers(settings)]
    features = labelled_features(settings)
    windows = features * windows_of(s)
    top = max(labelled_layers(settings), default=-1) + 1
    adapter = ADAPTER_PASSES * shape.forward_flops(max(adapter_layers(settings), default=-1) + 1)
    return StageWork(
        forward=(NEURON_PASSES * bool(s.n_neurons) * shape.forward_flops(top) + adapter) * tokens,
        host_product=sum(2 * d * width for width in widths) * tokens * 1.5,
        moved=tokens * settings.saes.k * len(widths) * 8 * PASSED,
        seconds=OFFLINE_SECONDS * features,
        memory_bytes=model_bytes(settings, shape) + sum(4 * s.n_features * width for width in widths),
        disk_bytes=windows * WINDOW_BYTES + features * trials_of(s) * TRIAL_BYTES,
    )


def labelled_layers(settings: Settings) -> list[int]:
    """Layers whose SAEs are labelled."""
    layers = settings.label.layers
    return [layer for layer in sae_widths(settings) if layers is None or layer in layers]


def labelled_features(settings: Settings) -> int:
    """Features labelled at most, neurons and those of an adapter included."""
    s, widths, layers = settings.label, sae_widths(settings), labelled_layers(settings)
    if s.list is not None:
        return rows(None, ON_LIST, [s.list])[0]["n"] + s.n_neurons * len(layers)
    of_saes = sum(len(s.features.get(layer, ())) or min(s.n_features, widths[layer]) for layer in layers)
    of_adapter = sum(len(s.features.get(layer, ())) or s.n_features for layer in adapter_layers(settings))
    return of_saes + s.n_neurons * len(layers) + of_adapter


def adapter_layers(settings: Settings) -> list[int]:
    """Layers of the adapter that are labelled; none where its checkpoint cannot be read, which is told as a fault."""
    s = settings.label
    if s.adapter is None or s.adapter_layers is not None:
        return s.adapter_layers or []
    from ato.saes.adapter_files import adapter_shape

    try:
        return list(adapter_shape(s.adapter).active_layers)
    except (SAEError, DamagedFileError):
        return []


def windows_of(s: LabelSettings) -> int:
    """Windows collected of a feature at most."""
    w = s.windows
    return w.n_top + w.n_random + w.n_quantiles + 2 * (w.n_held_out_top + w.n_held_out_random + len(TIERS) * w.n_silent)


def trials_of(s: LabelSettings) -> int:
    """Trials of a feature at most, controls included."""
    asked = {
        "detection": (1 + len(TIERS)) * s.n_trials,
        "embedding": (1 + len(TIERS)) * s.n_trials,
        "fuzzing": CLASSES * s.n_trials,
        "intruder": s.n_trials,
    }
    described = sum(n for scorer, n in asked.items() if scorer in s.scorers and scorer != "intruder")
    n_descriptions = s.n_candidates + s.n_published
    chosen = n_descriptions * asked["detection"] if n_descriptions > 1 else 0
    return described * (1 + s.shuffled) + (asked["intruder"] if "intruder" in s.scorers else 0) + chosen


def what_is_asked(settings: Settings, chat: ChatSettings) -> Asked:
    """Calls and tokens of one language model, an upper bound for features with all their windows; nothing is asked."""
    s, w = settings.label, settings.label.windows
    text = w.before + 1 + w.after
    features = labelled_features(settings)
    examples = w.n_top + w.n_random + w.n_quantiles
    groups = s.n_trials if "intruder" in s.scorers else 0
    texts = trials_of(s) - groups
    grouped = -(-texts // chat.texts_per_request)
    classified = int(s.label_space is not None)
    calls = s.n_candidates + grouped + groups + classified
    prompts = (s.n_candidates + classified) * (INSTRUCTIONS + examples * text)
    prompts += grouped * INSTRUCTIONS + texts * text + groups * (INSTRUCTIONS + GROUP * text)
    replies = s.n_candidates * DESCRIPTION_REPLY + texts * TEXT_REPLY + groups * INTRUDER_REPLY
    replies += classified * CLASSES_REPLY + calls * chat.thinking_tokens
    priced = chat.prompt_price is not None or chat.completion_price is not None
    money = prompts * (chat.prompt_price or 0) + replies * (chat.completion_price or 0)
    cost = features * money / 1e6 if priced else None
    return Asked(features, features * calls, features * prompts, features * replies, cost)

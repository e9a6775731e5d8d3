"""Checkpoints of transcoder adapters in their published layout: a model's folder with ``transcoder_enc/dec`` in its MLPs."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ato.errors import DamagedFileError, SAEError
from ato.models.language_model import LanguageModel
from ato.saes.adapter import AdapterLayer, TranscoderAdapter, check_fit
from ato.saes.formats.reading import Settings, read_json

N_FEATURES, DEC_BIAS, DISABLED, LAYERS = (
    "transcoder_n_features",
    "transcoder_dec_bias",
    "disable_transcoder",
    "transcoder_layers",
)
"""Keys of config.json; the last is ours, for adapters of some layers only."""
_COUNTS = ("num_hidden_layers", "n_layer", "num_layers")
"""What families call the number of their blocks."""
_KEY = re.compile(r"(?:\w+\.)*?(?:layers|h)\.(\d+)\.\w+\.transcoder_(enc|dec)\.(weight|bias)")
_NAMES = {"enc.weight": "W_enc", "enc.bias": "b_enc", "dec.weight": "W_dec", "dec.bias": "b_dec"}


def save_adapter(adapter: TranscoderAdapter, tuned: LanguageModel, base: LanguageModel, folder: str | Path) -> Path:
    """Write the fine-tuned model with the base model's MLPs, and the adapter's weights within these; returns the folder.

    ``ato.load_model`` reads the model of it, ``load_adapter`` the adapter. The published layout has an adapter in every
    layer: layers without one have one of zeros, which adds nothing.

    Args:
        adapter: to write.
        tuned: the fine-tuned model.
        base: the model that it was made from.
        folder: made if missing.

    Raises:
        MismatchError: models or an adapter of other shapes.
    """
    from huggingface_hub import save_torch_state_dict

    check_fit(tuned.parts, adapter, base.parts)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, Tensor] = dict(tuned.module.state_dict())
    names = {id(module): name for name, module in tuned.module.named_modules()}
    biased = next(iter(adapter.layers.values())).b_dec is not None
    for layer in range(tuned.n_layers):
        prefix = names[id(tuned.parts.submodule(layer, "mlp"))]
        if layer in adapter.layers:
            of_base = base.parts.submodule(layer, "mlp").state_dict()
            state |= {f"{prefix}.{name}": weight for name, weight in of_base.items()}
        one = adapter.layers.get(layer) or _nothing(adapter.n_features, tuned.d_model, biased)
        for end, name in _NAMES.items():
            if (weight := getattr(one, name)) is not None:
                state[f"{prefix}.transcoder_{end}"] = weight.detach().to(tuned.dtype).contiguous()
    save_torch_state_dict(state, folder)
    own: Any = tuned.module.config
    config: dict[str, Any] = json.loads(own.to_json_string(use_diff=False))
    kinds = config.get("architectures") or [type(tuned.module).__name__]
    config["architectures"] = [f"{kind.removesuffix('WithTranscoder')}WithTranscoder" for kind in kinds]
    config |= {N_FEATURES: adapter.n_features, DEC_BIAS: biased}
    if len(adapter.layers) < tuned.n_layers:
        config[LAYERS] = sorted(adapter.layers)
    if adapter.disabled:
        config[DISABLED] = [layer in adapter.disabled for layer in range(tuned.n_layers)]
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tuned.tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class AdapterShape:
    """What config.json says of an adapter."""

    n_features: int
    """Of each layer."""
    layers: tuple[int, ...]
    """Those that have an adapter, ascending."""
    disabled: frozenset[int]
    """Those of them whose features are switched off."""

    @property
    def active_layers(self) -> tuple[int, ...]:
        """Those whose features are at work."""
        return tuple(layer for layer in self.layers if layer not in self.disabled)


def adapter_shape(folder: str | Path) -> AdapterShape:
    """The shape of a checkpoint's adapter, of which no weight is read.

    Raises:
        SAEError: no checkpoint of an adapter, or settings that are not understood.
        DamagedFileError: config.json is no JSON.
    """
    folder = Path(folder).expanduser()
    settings = _settings(folder)
    wanted = settings.get(LAYERS)
    count = next((key for key in _COUNTS if settings.get(key) is not None), _COUNTS[0])
    layers = tuple(range(settings.whole(count)) if wanted is None else sorted(wanted))
    return AdapterShape(settings.whole(N_FEATURES), layers, _disabled(settings, layers))


def load_adapter(folder: str | Path) -> TranscoderAdapter:
    """The adapter of a checkpoint, float32 on the CPU; only its own weights are read.

    Raises:
        SAEError: no adapter there, layers or weights missing, or weights that are not understood.
        DamagedFileError: a truncated file, or weights that are NaN or infinite.
    """
    folder = Path(folder).expanduser()
    settings = _settings(folder)
    n_features, biased = settings.whole(N_FEATURES), bool(settings.get(DEC_BIAS, False))
    found = _weights(folder)
    layers = {}
    wanted = settings.get(LAYERS)
    for layer, weights in sorted(found.items()):
        expected = {"W_enc", "b_enc", "W_dec"} | ({"b_dec"} if biased else set())
        if set(weights) != expected:
            what = (
                f"the adapter of layer {layer} has {', '.join(sorted(weights))}, expected {', '.join(sorted(expected))}"
            )
            raise SAEError(what, where=folder, cure=f"copy the checkpoint again, or mend {DEC_BIAS}")
        if len(weights["W_enc"]) != n_features:
            what = f"the adapter of layer {layer} has {len(weights['W_enc'])} features, config.json says {n_features}"
            raise SAEError(what, where=folder, cure="copy the checkpoint again")
        if wanted is None or layer in wanted:
            layers[layer] = AdapterLayer(**weights)
    n_layers = settings.number("num_hidden_layers") or len(found)
    if missing := sorted(set(range(int(n_layers)) if wanted is None else wanted) - set(layers)):
        raise SAEError(f"layers {missing} have no adapter", where=folder, cure="copy all files of the checkpoint")
    return TranscoderAdapter(layers, disabled=_disabled(settings, layers))


def _settings(folder: Path) -> Settings:
    settings = Settings(read_json(folder / "config.json"), folder)
    if settings.get(N_FEATURES) is None:
        raise SAEError(
            f"config.json has no {N_FEATURES}", where=folder, cure="use the checkpoint of a transcoder adapter"
        )
    return settings


def _nothing(n_features: int, d: int, biased: bool) -> AdapterLayer:
    bias = torch.zeros(d) if biased else None
    return AdapterLayer(torch.zeros(n_features, d), torch.zeros(n_features), torch.zeros(d, n_features), bias)


def _weights(folder: Path) -> dict[int, dict[str, Tensor]]:
    """Layer -> weights by name, of all files of a checkpoint."""
    found: dict[int, dict[str, Tensor]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for key in (name for name in file.keys() if "transcoder" in name):  # noqa: SIM118 - no mapping
                    match = _KEY.fullmatch(key)
                    if match is None:
                        raise SAEError(
                            f"weights {key} are none of an adapter", where=path, cure="use another checkpoint"
                        )
                    weight = file.get_tensor(key).float()
                    if not torch.isfinite(weight).all():
                        raise DamagedFileError(f"{key} holds NaN or infinity", where=path, cure="copy it again")
                    found.setdefault(int(match[1]), {})[_NAMES[f"{match[2]}.{match[3]}"]] = weight
        except (SafetensorError, OSError) as error:
            raise DamagedFileError(f"unreadable weights: {error}", where=path, cure="copy it again") from error
    if not found:
        raise SAEError("no transcoder_enc among the weights", where=folder, cure="use the checkpoint of an adapter")
    return found


def _disabled(settings: Settings, layers: Collection[int]) -> frozenset[int]:
    """Layers that ``disable_transcoder`` switches off: true or false for all, or for each layer."""
    value = settings.get(DISABLED, False)
    if isinstance(value, bool):
        return frozenset(layers) if value else frozenset()
    if isinstance(value, list) and all(isinstance(one, bool) for one in value):
        return frozenset(layer for layer, off in enumerate(value) if off and layer in layers)
    raise SAEError(
        f"{DISABLED} = {value!r:.60} is neither true, false nor a list of these", where=settings.where, cure="mend it"
    )

"""Files of every format with random weights, and plain NumPy formulas of the formats' published code for them.

Each writer returns the reference: residuals [n, d] -> activations [n, m] and reconstruction [n, d], in float64.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

D, M, K = 12, 40, 5
Reference = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def drawn(seed: int = 0, d: int = D, m: int = M) -> dict[str, np.ndarray]:
    """Weights [d, m] and so on, float32; decoder rows are not of length 1."""
    rng = np.random.default_rng(seed)
    return {
        "W_enc": rng.normal(size=(d, m)).astype(np.float32),
        "b_enc": rng.normal(size=m).astype(np.float32) * 0.3,
        "W_dec": rng.normal(size=(m, d)).astype(np.float32) * rng.uniform(0.2, 1, size=(m, 1)).astype(np.float32),
        "b_dec": rng.normal(size=d).astype(np.float32),
        "threshold": rng.uniform(0.5, 3, size=m).astype(np.float32),
    }


def residuals(n: int = 200, d: int = D) -> np.ndarray:
    """Residuals [n, d] of mean 1."""
    return (np.random.default_rng(9).normal(size=(n, d)) * 2 + 1).astype(np.float32)


def relu(pre: np.ndarray) -> np.ndarray:
    return np.maximum(pre, 0)


def top(pre: np.ndarray, k: int) -> np.ndarray:
    """``relu`` of the k largest entries of each row."""
    least = np.sort(pre, axis=1)[:, -k][:, None]
    return relu(pre) * (pre >= least)


def doubles(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: weight.astype(np.float64) for name, weight in weights.items()}


def write_json(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_safetensors(file: Path, weights: dict[str, np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(weight) for name, weight in weights.items()}, file)


def write_torch(file: Path, weights: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: torch.as_tensor(np.asarray(weight)) for name, weight in weights.items()}, file)


def jumprelu(w: dict[str, np.ndarray], subtract: bool = False) -> Reference:
    w = doubles(w)

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pre = (x - w["b_dec"] * subtract) @ w["W_enc"] + w["b_enc"]
        acts = relu(pre) * (pre > w["threshold"])
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return reference


def topk(w: dict[str, np.ndarray], subtract: bool, k: int = K) -> Reference:
    w = doubles(w)

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        acts = top((x - w["b_dec"] * subtract) @ w["W_enc"] + w["b_enc"], k)
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return reference


def gemma_scope(folder: Path) -> tuple[Path, Reference]:
    w = drawn()
    path = folder / "gemma-scope-2b-pt-res" / "layer_20" / "width_16k" / "average_l0_71" / "params.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, **w)
    return path, jumprelu(w)


def gemma_scope_2(
    folder: Path, place: str = "resid_post/layer_20_width_16k_l0_small", **changes
) -> tuple[Path, Reference]:
    w = drawn(1)
    path = folder / place
    hook = "model.layers.20.output"
    config = {"hf_hook_point_in": hook, "hf_hook_point_out": hook, "width": M, "model_name": "gemma-v3-1b-pt", "l0": 20}
    config |= {"architecture": "jump_relu", "affine_connection": False, "type": "sae"} | changes
    write_json(path / "config.json", config)
    write_safetensors(path / "params.safetensors", {name.lower(): weight for name, weight in w.items()})
    return path, jumprelu(w)


def llama_scope(folder: Path, name: str = "Llama3_1-8B-Base-L20R-8x", **changes) -> tuple[Path, Reference]:
    w = drawn(2)
    w["W_dec"] /= np.linalg.norm(w["W_dec"], axis=1, keepdims=True)
    hook, norm, theta = "blocks.20.hook_resid_post", 5.5, 0.9
    path = folder / name
    config = {
        "hook_point_in": hook, "hook_point_out": hook, "d_model": D, "d_sae": M, "expansion_factor": 8,
        "use_decoder_bias": True, "use_glu_encoder": False, "act_fn": "jumprelu", "jump_relu_threshold": theta,
        "apply_decoder_bias_to_pre_encoder": False, "norm_activation": "dataset-wise", "top_k": 10,
        "sparsity_include_decoder_norm": True, "dataset_average_activation_norm": {"in": norm, "out": norm},
        "init_decoder_norm": 0.5, "l1_coefficient": 0.0, "decoder_exactly_fixed_norm": False,
    }  # fmt: skip
    write_json(path / "hyperparams.json", config | changes)
    write_safetensors(
        path / "checkpoints" / "final.safetensors",
        {
            "encoder.weight": w["W_enc"].T,
            "encoder.bias": w["b_enc"],
            "decoder.weight": w["W_dec"].T,
            "decoder.bias": w["b_dec"],
        },
    )
    w, factor = doubles(w), D**0.5 / norm

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pre = (x * factor) @ w["W_enc"] + w["b_enc"]
        acts = pre * (pre > theta * factor)
        return acts, (acts @ w["W_dec"] + w["b_dec"]) / factor

    return path, reference


def llama_scope_r1(folder: Path) -> tuple[Path, Reference]:
    w = drawn(3)
    hook, norm = "blocks.20.hook_resid_post", 7.5
    path = folder / "800M-Slimpajama-0-OpenR1-Math-220k" / "L20R"
    config = {"hook_point_in": hook, "hook_point_out": hook, "d_model": D, "expansion_factor": M / D, "d_sae": M}
    config |= {"act_fn": "jumprelu", "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": True}
    write_json(path / "config.json", config | {"dataset_average_activation_norm": {"in": norm, "out": norm}})
    write_safetensors(
        path / "sae_weights.safetensors",
        {
            "encoder.weight": w["W_enc"].T,
            "encoder.bias": w["b_enc"],
            "decoder.weight": w["W_dec"].T,
            "decoder.bias": w["b_dec"],
            "log_jumprelu_threshold": np.log(w["threshold"]),
        },
    )
    w, factor = doubles(w), D**0.5 / norm
    norms = np.linalg.norm(w["W_dec"], axis=1)

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pre = ((x * factor) @ w["W_enc"] + w["b_enc"]) * norms
        acts = pre * (pre > w["threshold"]) / norms
        return acts, (acts @ w["W_dec"] + w["b_dec"]) / factor

    return path, reference


def qwen_scope(folder: Path, name: str = "SAE-Res-Qwen3-1.7B-Base-W1K-L0_50") -> tuple[Path, Reference]:
    w = drawn(4, m=1024)
    path = folder / f"models--Qwen--{name}" / "snapshots" / "0a1b" / "layer20.sae.pt"
    write_torch(path, {"W_enc": w["W_enc"].T, "W_dec": w["W_dec"].T, "b_enc": w["b_enc"], "b_dec": w["b_dec"]})
    return path, topk(w, subtract=False, k=50)


def sparsify(folder: Path, module: str = "layers.20", **changes) -> tuple[Path, Reference]:
    w = drawn(5)
    config = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": M, "k": K}
    path = folder / module
    write_json(path / "cfg.json", config | {"multi_topk": True, "transcode": False, "d_in": D} | changes)
    weights = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    write_safetensors(path / "sae.safetensors", weights)
    return path, topk(w, subtract=True)


def _dictionary(folder: Path, dict_class: str, weights: dict, **trainer) -> Path:
    path = folder / "resid_post_layer_20" / "trainer_3"
    config = {"trainer_class": "Trainer", "dict_class": dict_class, "lr": 1e-4, "steps": 10, "seed": 0, "device": "cpu"}
    config |= {"activation_dim": D, "dict_size": M, "layer": 20, "lm_name": "EleutherAI/pythia-70m"}
    config |= {"wandb_name": "x", "submodule_name": "resid_post_layer_20"} | trainer
    write_json(path / "config.json", {"trainer": config, "buffer": {"io": "out", "ctx_len": 128, "d_submodule": D}})
    write_torch(path / "ae.pt", weights)
    return path


def _linear(w: dict[str, np.ndarray], bias: str) -> dict[str, np.ndarray]:
    return {
        "encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"].T, bias: w["b_dec"]
    }  # fmt: skip


def auto_encoder(folder: Path) -> tuple[Path, Reference]:
    w = drawn(6)
    free = {**w, "threshold": np.zeros(M)}
    return _dictionary(folder, "AutoEncoder", _linear(w, "bias"), l1_penalty=0.1), jumprelu(free, subtract=True)


def auto_encoder_new(folder: Path) -> tuple[Path, Reference]:
    w = drawn(7)
    return _dictionary(folder, "AutoEncoderNew", _linear(w, "decoder.bias")), jumprelu({**w, "threshold": np.zeros(M)})


def gated(folder: Path) -> tuple[Path, Reference]:
    w, rng = drawn(8), np.random.default_rng(80)
    r_mag, gate, mag = (rng.normal(size=M).astype(np.float32) * scale for scale in (0.3, 1, 1))
    weights = {"encoder.weight": w["W_enc"].T, "decoder.weight": w["W_dec"].T, "decoder_bias": w["b_dec"]}
    path = _dictionary(folder, "GatedAutoEncoder", weights | {"r_mag": r_mag, "gate_bias": gate, "mag_bias": mag})
    w, (r_mag, gate, mag) = doubles(w), (part.astype(np.float64) for part in (r_mag, gate, mag))

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        encoded = (x - w["b_dec"]) @ w["W_enc"]
        acts = (encoded + gate > 0) * relu(np.exp(r_mag) * encoded + mag)
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return path, reference


def auto_encoder_top_k(folder: Path) -> tuple[Path, Reference]:
    w = drawn(10)
    weights = _linear(w, "b_dec") | {"k": np.int32(K), "threshold": np.float32(1.5)}
    return _dictionary(folder, "AutoEncoderTopK", weights, k=K), topk(w, subtract=True)


def batch_top_k(folder: Path) -> tuple[Path, Reference]:
    w = drawn(11)
    weights = _linear(w, "b_dec") | {"k": np.int32(K), "threshold": np.float32(2.5)}
    path = _dictionary(folder, "BatchTopKSAE", weights, k=K, threshold_beta=0.999)
    return path, jumprelu({**w, "threshold": np.full(M, 2.5)}, subtract=True)


def matryoshka(folder: Path) -> tuple[Path, Reference]:
    w = drawn(12)
    weights = {**w, "k": np.int32(K), "threshold": np.float32(2.5), "group_sizes": np.array([10, 30])}
    path = _dictionary(
        folder, "MatryoshkaBatchTopKSAE", weights, k=K, group_sizes=[10, 30], group_fractions=[0.25, 0.75]
    )
    return path, jumprelu({**w, "threshold": np.full(M, 2.5)}, subtract=True)


def jump_relu_auto_encoder(folder: Path) -> tuple[Path, Reference]:
    w = drawn(13)
    w["threshold"][:3] = -0.1  # relu(pre (pre > threshold)): as 0
    return _dictionary(folder, "JumpReluAutoEncoder", dict(w), target_l0=20, bandwidth=0.001), jumprelu(w)


def sae_lens(folder: Path, weights: dict, **config) -> Path:
    """A folder of sae-lens 6."""
    path = folder / "blocks.20.hook_resid_post"
    common = {"d_in": D, "d_sae": M, "dtype": "float32", "device": "cuda", "apply_b_dec_to_input": True}
    common |= {"normalize_activations": "none", "reshape_activations": "none"}
    metadata = {"sae_lens_version": "6.9.1", "hook_name": "blocks.20.hook_resid_post", "model_name": "pythia-70m"}
    given = {"metadata": metadata | config.pop("metadata", {})}
    write_json(path / "cfg.json", common | given | config)
    write_safetensors(path / "sae_weights.safetensors", weights)
    return path


def without(w: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: weight for name, weight in w.items() if name not in names}


def lens_batch_top_k(folder: Path, architecture: str = "batchtopk", factor: float = 1.0) -> tuple[Path, Reference]:
    """A training checkpoint; with a factor, of residuals that a scaler beside it multiplies."""
    w = drawn(14)
    weights = without(w, "threshold") | {"topk_threshold": np.float64(2.0)}
    training = {
        "k": float(K),
        "rescale_acts_by_decoder_norm": True,
        "topk_threshold_lr": 0.01,
        "decoder_init_norm": 0.1,
    }
    if factor != 1:
        training["normalize_activations"] = "expected_average_only_in"
    path = sae_lens(folder, weights, architecture=architecture, **training)
    if factor != 1:
        write_json(path / "activation_scaler.json", {"scaling_factor": factor})
    w = doubles(w)
    norms = np.linalg.norm(w["W_dec"], axis=1)

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = ((x * factor - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norms
        acts = relu(scores) * (scores > 2.0)
        # sae-lens folds the factor before the norms, so that its activations are divided by it.
        return acts / factor, ((acts / norms) @ w["W_dec"] + w["b_dec"]) / factor

    return path, reference


def lens_matryoshka(folder: Path) -> tuple[Path, Reference]:
    path, reference = lens_batch_top_k(folder, "matryoshka_batchtopk")
    config = json.loads((path / "cfg.json").read_text())
    write_json(path / "cfg.json", config | {"matryoshka_widths": [10, M], "use_matryoshka_aux_loss": False})
    return path, reference


def lens_batch_top_k_scaled(folder: Path) -> tuple[Path, Reference]:
    return lens_batch_top_k(folder, factor=0.7)


def lens_jumprelu_scaled(folder: Path) -> tuple[Path, Reference]:
    """JumpReLU of before 6.30 in training: logarithms of thresholds, and a factor on the residuals."""
    w, factor = drawn(15), 1.6
    weights = without(w, "threshold") | {"log_threshold": np.log(w["threshold"])}
    config = {"architecture": "jumprelu", "normalize_activations": "expected_average_only_in", "l0_coefficient": 1.0}
    path = sae_lens(folder, weights, **config, metadata={"norm_scaling_factor": factor})
    inner = jumprelu(w, subtract=True)

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        acts, rebuilt = inner(x.astype(np.float64) * factor)
        return acts, rebuilt / factor

    return path, reference


def lens_finetuned(folder: Path) -> tuple[Path, Reference]:
    """Standard of sae-lens 5, whose fine-tuning multiplies activations before they are decoded."""
    w, factors = drawn(16), np.random.default_rng(7).uniform(0.5, 2, size=M).astype(np.float32)
    path = folder / "blocks.20.hook_resid_post"
    config = {
        "architecture": "standard", "d_in": D, "d_sae": M, "dtype": "float32", "device": "cpu", "model_name": "gpt2",
        "hook_name": "blocks.20.hook_resid_post", "hook_layer": 20, "hook_head_index": None,
        "activation_fn_str": "relu", "activation_fn_kwargs": {}, "apply_b_dec_to_input": False,
        "finetuning_scaling_factor": True, "sae_lens_training_version": "5.1.0", "prepend_bos": True,
        "dataset_path": "x", "dataset_trust_remote_code": True, "context_size": 128, "normalize_activations": "none",
        "neuronpedia_id": None, "model_from_pretrained_kwargs": {}, "seqpos_slice": [None],
    }  # fmt: skip
    write_json(path / "cfg.json", config)
    weights = without(w, "threshold") | {"finetuning_scaling_factor": factors}
    write_safetensors(path / "sae_weights.safetensors", weights)
    inner = jumprelu({**w, "W_dec": w["W_dec"] * factors[:, None], "threshold": np.zeros(M)})
    return path, inner


def lens_top_k_old(folder: Path) -> tuple[Path, Reference]:
    """TopK of sae-lens 4, whose architecture is called standard and whose k is an argument of the activation."""
    w = drawn(17)
    path = folder / "blocks.20.hook_resid_post"
    config = {"architecture": "standard", "d_in": D, "d_sae": M, "hook_name": "blocks.20.hook_resid_post"}
    config |= {"activation_fn": "topk", "activation_fn_kwargs": {"k": K}, "apply_b_dec_to_input": True, "lr": 1e-3}
    write_json(path / "cfg.json", config)
    write_safetensors(path / "sae_weights.safetensors", without(w, "threshold"))
    return path, topk(w, subtract=True)


def lens_centred(folder: Path) -> tuple[Path, Reference]:
    """Standard of a model whose writing weights are centred: its residuals have no mean over the dimensions."""
    w = drawn(18)
    metadata = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    path = sae_lens(folder, without(w, "threshold"), architecture="standard", metadata=metadata)
    inner = jumprelu({**w, "threshold": np.zeros(M)}, subtract=True)
    return path, lambda x: inner(x - x.astype(np.float64).mean(1, keepdims=True))


WRITERS = [
    gemma_scope, gemma_scope_2, llama_scope, llama_scope_r1, qwen_scope, sparsify, auto_encoder, auto_encoder_new, gated,
    auto_encoder_top_k, batch_top_k, matryoshka, jump_relu_auto_encoder, lens_batch_top_k, lens_matryoshka,
    lens_batch_top_k_scaled, lens_jumprelu_scaled, lens_finetuned, lens_top_k_old, lens_centred,
]  # fmt: skip
"""Every format and variant; all read resid_post of layer 20."""

"""Two checkpoints of a tiny model that is trained here: the second writes something new along one axis of a layer."""

import json
from pathlib import Path

import torch

from ato.saes import SparseAutoencoder, save_sae
from flows.settings import Settings
from tests.flows.tiny_study import tiny_settings
from tests.tiny_models import byte_tokenizer, save_tiny_model

D, SOURCE, TARGET, AXIS = 16, 1, 2, 5


def checkpoint_settings(folder: Path, **compare: object) -> Settings:
    """Settings of the first checkpoint, compared with the second; the SAE at the target has every axis, either way."""
    settings = tiny_settings(folder)
    if not (folder / "checkpoints").exists():
        _train(folder)
        directions = torch.cat([torch.eye(D), -torch.eye(D)])
        sae = SparseAutoencoder("standard", directions.T.clone(), torch.zeros(2 * D), directions, torch.zeros(D))
        save_sae(sae, folder / "axes")
    base = settings.model_dump(exclude_unset=True)
    base["model"] |= {"name": str(folder / "checkpoints" / "step-40")}
    base["saes"] |= {"layers": [], "paths": {TARGET: str(folder / "axes")}}
    base["operators"] |= {
        "source_layers": [SOURCE],
        "leaps": [1],
        "methods": ["ridge", "identity"],
        "train_fractions": [],
    }
    return Settings.model_validate(base | {"compare": {"models": [str(folder / "checkpoints")]} | compare})


def _train(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(save_tiny_model(folder / "start", n_layers=4, d_model=D))
    texts = [json.loads(line)["text"] for line in (folder / "corpus.jsonl").read_text().splitlines()]
    tokens = torch.tensor(byte_tokenizer()(" ".join(texts))["input_ids"])
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(40):
        starts = torch.randint(len(tokens) - 32, (8,), generator=generator)
        batch = torch.stack([tokens[start : start + 32] for start in starts])
        module(input_ids=batch, labels=batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    _save(module, folder / "checkpoints" / "step-40")
    with torch.no_grad():
        layer = module.model.layers[TARGET].mlp
        layer.down_proj.weight[AXIS] += 4 * torch.randn(layer.down_proj.weight.shape[1], generator=generator)
    _save(module, folder / "checkpoints" / "step-50")


def add_checkpoint(folder: Path, name: str) -> None:
    """One more: the first checkpoint with another scale of what a block below the source writes."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / "step-40")
    with torch.no_grad():
        module.model.layers[SOURCE - 1].mlp.down_proj.weight *= 1.01
    _save(module, folder / "checkpoints" / name)


def _save(module: torch.nn.Module, folder: Path) -> None:
    module.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)

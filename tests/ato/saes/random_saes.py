"""SAEs of any architecture with random weights, ours and those of sae-lens, and residuals for them to read."""

import torch

from ato.saes import ARCHITECTURES, SparseAutoencoder

D_IN, D_SAE, K = 12, 40, 5


def random_sae(architecture: str, *, k: int = K, apply_b_dec_to_input: bool = True) -> SparseAutoencoder:
    """One of ours."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    kind = ARCHITECTURES[architecture]
    return SparseAutoencoder(
        architecture,
        draw(D_IN, D_SAE),
        draw(D_SAE),
        draw(D_SAE, D_IN),
        draw(D_IN),
        threshold=draw(D_SAE).abs() if kind.has_threshold else None,
        k=k if kind.has_k else None,
        apply_b_dec_to_input=apply_b_dec_to_input,
        metadata={"neuronpedia_id": "tiny/3-res"},
    )


def lens_sae(architecture: str, apply_b_dec_to_input: bool = True):
    """A sae-lens SAE of that architecture with random weights."""
    from sae_lens import SAE

    config = {
        "architecture": architecture,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "k": K,
        "device": "cpu",
        "dtype": "float32",
        "apply_b_dec_to_input": apply_b_dec_to_input,
        "metadata": {"neuronpedia_id": "tiny/3-res"},
    }
    sae = SAE.from_dict(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in sae.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
            if name == "threshold":
                weight.abs_()
    return sae


def known_to_sae_lens() -> list[str]:
    """Architectures that sae-lens has too."""
    from sae_lens.registry import SAE_CLASS_REGISTRY

    return [name for name in ARCHITECTURES if name in SAE_CLASS_REGISTRY]


def random_residuals(n: int = 64) -> torch.Tensor:
    """Residuals [n, D_IN] of mean 1."""
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(9)) * 2 + 1

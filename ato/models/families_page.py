"""The page docs/families.md, written from the register: ``python -m ato.models.families_page > docs/families.md``."""

from ato.models.layouts import FAMILIES, Layout

HEAD = """# Model families

The register (`ato/models/layouts.py`), by the model type in config.json; of a model that reads images or sound too, by the type in
its `text_config`: its text model is found and used (Gemma 3 and 4, Llama 4, Qwen-VL, Qwen 3.5, LLaVA and others). *Block* is the
sum that every block must satisfy to the last bits when a site inside blocks is first asked for, or the site is refused:
`attn_out` and `mlp_out` are its second and third term. *Logits* are the head's, times or divided by a number of config.json;
losses, the logit lens and what is drawn from them use the scaled ones. Without a *cache* of keys and values, completions run
all tokens again: slower, with the same result.

| model type | models | block | logits | cache |
|---|---|---|---|---|
"""

TAIL = """
A family that is not in the table is tried by a general rule: the usual names of body, blocks, norms and parts, without a
cache. The checks decide, on load for the residual stream, the logits, restarts and causality, and on first use for each
other site. They admit, among others, OLMo 1 to 3, Mixtral, GPT-J, GPT-Neo, StarCoder 2, StableLM, MPT, Exaone 4, Nemotron,
SmolLM3, gpt-oss and Qwen MoE. What fails is refused in one line.
"""


def families_page() -> str:
    """The register as Markdown."""
    return HEAD + "".join(_row(name, layout) for name, layout in FAMILIES.items()) + TAIL


def _row(name: str, layout: Layout) -> str:
    scale = f"times `{layout.logits}`" if layout.logits else "–"
    scale = scale.replace("times `1/", "divided by `")
    cells = [f"`{name}`", layout.names, _block(layout), scale, "yes" if layout.cache else "no"]
    return f"| {' | '.join(cells)} |\n"


def _block(layout: Layout) -> str:
    """The sum that a family's blocks are checked by."""
    if not layout.attn_out:
        return "`resid_post` only"
    times = f" × `{layout.multiplier}`" if layout.multiplier else ""
    terms = [_part(path) for path in (layout.attn_out, layout.mlp_out)]
    total = " + ".join(["in", *(f"{term}{times}" for term in terms), *(f"`{path}`" for path in layout.beside)])
    return f"({total}) × `{layout.block_scale}`" if layout.block_scale else total


def _part(path: str) -> str:
    """A path of a layout; where blocks of two kinds are mixed, each has one of two."""
    return f"(`{path.replace('|', '` or `')}`)" if "|" in path else f"`{path}`"


if __name__ == "__main__":
    print(families_page(), end="")

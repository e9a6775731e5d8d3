"""The page docs/sae-files.md, written from the registry: ``python -m ato.saes.formats_page > docs/sae-files.md``."""

from ato.saes.formats import FORMATS, Format

HEAD = """# Files of SAEs

What `saes.paths` (layer -> folder or file) and `ato.load_sae` read: a folder of one of these formats, or its file with the
weights. Releases of sae-lens' directory (`saes.releases`) go through the same checks. Each is read as the function that
its own published code computes, in float32, with every factor folded into the weights; a test writes files of each and
holds activations and reconstruction against a transcription of that code in NumPy.

| format | files | read as | place from | declared L0 from |
|---|---|---|---|---|
"""

TAIL = """
## Nothing is guessed

An SAE is refused, in one line that names the file and what to do, where

- a tensor of the file is not used, missing, not floating point, of another shape than the configuration says, NaN or infinite;
- a key of the configuration is neither understood nor known to leave the function alone, or its value is of another type than the
  format writes; a factor is not positive;
- it is no SAE: transcoders (another place is written than read, `transcode`, skip and affine connections; those of sae-lens and
  circuit-tracer are read by `ato.saes.transcoder_files`), cross-layer
  transcoders, crosscoders, temporal SAEs, those with signed activations;
- the residuals are normalised token by token (`layer_norm`, `constant_norm_rescale`, `token-wise`), which no weights can do,
  or by a factor that is not known (`expected_average_only_in` without `norm_scaling_factor` or `activation_scaler.json`);
- thresholds are negative (of `JumpReluAutoEncoder` they count as 0, as in its formula), or one that training had not set yet;
- `.pt` or `.npz` files hold Python objects: reading those would run code;
- sources contradict each other about site and layer: keys of the configuration, and the names of the file and of the four
  folders around it (`layer_20`, `layers.5.mlp`, `blocks.8.hook_resid_pre`, `resid_post_layer_12`; nearest first);
- site, layer or width are not those of the study. What none of the sources says is not checked.

`hook_resid_pre` of block 8 is what block 7 leaves behind: `resid_post` of layer 7; its folder may be called `layer_8`.
Matrices are turned by format, never by their shape. Where decoder rows are not of length 1, activations stay in the units of
the format's own encoder.

## A check on real text

`ato run saes` counts active features on held-out text. Where L0 is more than twice the declared one, or less than half, the
SAE gets a `warning` in the table `saes`, which `ato show`, the dashboard and the report repeat. It stays trusted if it keeps the quality
limits: text and context may differ from those of its training.
"""


def formats_page() -> str:
    """All formats with their files, as Markdown."""
    return HEAD + "".join(_row(kind) for kind in FORMATS.values()) + TAIL


def _row(kind: Format) -> str:
    cells = [kind.title, kind.files, kind.function, kind.place, kind.l0]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(formats_page(), end="")

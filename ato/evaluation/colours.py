"""Colours of what pages and the report both draw: one thing has one colour wherever it is seen.

Those of maps are in ``ato.evaluation.map_colours``, of methods in the registry of methods, of architectures in
``ato.sae_studies.colours``. All are of Okabe and Ito's palette, which colour-blind readers tell apart.
"""

INTERVENTIONS = {
    "transport": "#0072B2",
    "identity": "#E69F00",
    "mean": "#999999",
    "bias": "#56B4E9",
    "random_rotation": "#CC79A7",
    "zero": "#D55E00",
}
"""Replacement of a residual -> its colour."""
RANK_CURVES = {
    "ceiling_in_sample": "#56B4E9",
    "ceiling_held_out": "#009E73",
    "ceiling_null": "#999999",
    "as_published": "#E69F00",
    "best_map": "#0072B2",
}
"""Curve against rank -> its colour."""
FATES = {
    "carried": "#0072B2",
    "rewritten": "#009E73",
    "computed": "#E69F00",
    "died": "#D55E00",
    "undetermined": "#999999",
}
"""Fate of a feature -> its colour."""
VIEWS = {
    "r2": "#0072B2",
    "r2_identity": "#E69F00",
    "r2_jacobian": "#009E73",
    "decoder_cosine": "#CC79A7",
    "transport_cosine": "#56B4E9",
    "agreement": "#D55E00",
}
"""Measure of one feature's life -> its colour."""
DESCRIBED = {
    "sae": "#0072B2",
    "transcoder": "#009E73",
    "adapter": "#D55E00",
    "neurons": "#E69F00",
}
"""What a description is of -> its colour."""

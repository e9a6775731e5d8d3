"""The words of pages, commands, reports, errors and docs: phrases that were put right once do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTEAD = {
    "synthesised": "computed",
    "surely high": "95 % interval above 0.7",
    "from drawing test documents again": "from resampling test documents",
    "have none in the tables": "no intervals for",
    "colours stop at the ends": "colours are clipped to the scale",
    "does not hold linearly": "is not linearly represented",
    "that lose most": "the largest losses",
    "a curve that still rises": "still rising: more data would help",
    "svd cut": "truncated SVD",
    "growing eigenvalues": "eigenvalues with modulus > 1",
    "where it comes from, and how to load": "provenance and loading",
    "leaving the source as it is": "the identity map",
    "a click on a row": "tick a row to open",
    "no feature fits": "no matches",
    "take the filters away": "clear the filters",
    "nobody has explained": "no explanation available",
    "token made the example": "token is the peak",
    "up to quantile 0.25": "bottom quartile",
    "nats a token": "nats per token",
    "dearest": "most costly",
    "hurt most": "largest loss changes",
    "misses a limit of": "fails a quality threshold",
    "tenth of a power of ten": "0.1 decades",
    "expectations hold": "checks passed",
    "reading statement": "read-only statement",
    "what is complete is skipped": "completed stages are skipped",
    "downloads are not in it": "excludes downloads",
    "failed runs left behind": "leftovers of failed runs",
    "default the latest": "default: latest",
    "held-in text": "training text",
    "features a box": "features per box",
    "of the resamples": "of the bootstrap",
    "tells when it fires": "predicts when it fires",
    "the residual itself turned by a random rotation": "the residual under a random rotation",
    "sets of equal size lie beside each other, so no line joins them": "sets of equal size are not joined by a line",
    "of pairs without a difference about one in twenty would": "about one pair in twenty would by chance",
    "what needs no sae: number": "Baselines without an SAE: number",
    "each is oriented on train, so that it can fall below 0.5": "The direction of each is chosen on train, so it can fall below 0.5",
    "a number that does no better tells nothing": "a predictor that does no better is uninformative",
    "of the set that was labelled last": "of the most recently labelled set",
    "nobody can know invented ones": "invented ones cannot be known",
    "the latent that was ranked first for known or unknown": "The top-ranked latent for known or unknown",
    "the best of many features lies above 0 by chance too": "The best of many features exceeds 0 by chance as well",
    "all others are silent there, or it was not read": "all others are inactive there, or were not recorded",
    "so that fewer than 19 draws tell nothing": "so fewer than 19 draws cannot reach p = 0.05",
    "layers before its own: r2": "Earlier layers: r2",
    "layers behind: decoder rows alone": "Later layers: decoder rows only",
    "behind it decoder rows alone": "In later layers decoder rows only",
    "0.95 quantile of the nearest cosine by chance": "0.95 quantile of the nearest cosine under random rotations",
    "a feature is a number from 0.": "Enter a feature id, counted from 0.",
    "no feature was followed yet": "No feature fates yet",
    "and transport keeps it. stored": "and transport preserves it. Stored",
    "not looked at yet: `ato run label`": "Not measured yet: run `ato run label`",
    "silent tokens are left out": "inactive tokens are omitted",
    "it fires nowhere in the text that was looked at": "It never fires in the text that was read",
    "a label fails if its 95 % interval reaches down there": "a label fails unless its 95 % interval lies above 0.5",
    "reaches down to chance": "lies above chance",
    "not known whether it tells when it fires": "not tested whether it predicts where the feature fires",
    "black lines are what a guess reaches": "black lines are chance level",
    "the dashed line is what a guess reaches": "the dashed line is chance level",
    "by where the silent texts are from": "by the source of the inactive texts",
    "by where silent texts are from": "by the source of the inactive texts",
    "with silent texts of all tiers": "with inactive texts of all tiers",
    "if `label.n_neurons` had some labelled": "if `label.n_neurons` is set",
    "this judge has not been asked about it": "This judge has not scored it",
    "rise of the next-token loss after ablating": "increase in next-token loss after ablating",
    "all leaps stand in the last column but one": "all leaps are in the second-to-last column",
    "holds the feature at a value while the model writes": "clamps the feature to a value during generation",
    "`--to` stands at the largest activation that was measured": "`--to` is set to the largest measured activation",
    "they tell texts with a phrase from": "they separate texts with a phrase from",
    "the text of this trial is not in the warehouse any more": "The text of this trial is no longer in the warehouse",
    "largest leap up to which it is transported without a gap": "Largest leap such that it is transported over all leaps up to it",
    "the books of this graph do not balance: do not read it.": "The edges of this graph do not sum to its values: do not interpret it.",
    "cut to 0 ... 1": "clipped to [0, 1]",
    "what these heads asked, and what answered": "Query and key components of these heads",
    "blue is carried by an operator as it is": "blue is carried by an operator",
    "are the marked tokens those?": "are the marked tokens the active ones?",
    "an answer from the cache is no call": "cached answers are not counted",
    "judges that call nobody have no row": "Judges that call no model have no row",
    "no language model was asked: the judges": "No language model was called: the judges",
    "so that noise in them favours it": "so noise in them favours it",
    "with the range of 95 % of such orders": "with a 95 % range over orders",
    "no label fails here, or none was made: `ato run label`": "No failing labels, or no labels yet: run `ato run label`",
    "where too little text was found to ask about, nothing is known of it": "with too little text to test, the outcome is unknown",
    "no labelled feature has these words": "No labelled feature matches these words",
    "modes that are zero to rounding are left out": "Modes that are zero up to rounding are omitted",
    "differ by their seed alone: name several in": "differ only in their seed: list several in",
    "are in the table alone": "are only in the table",
    "gradients alone are in the table": "the table has gradients only",
    "of others say nothing": "draw no conclusions from others",
    "group the features otherwise": "group the features differently",
    "whether a difference is more than seeds make is told below": "Whether a difference exceeds the variation over seeds is shown below",
    "have no place on the axis": "cannot be drawn on a log axis",
    "stays near its final self from here on": "stays close to its final direction from here on",
    "fire no more from here on": "never fire again",
    "a fall is specialisation": "a decrease means specialisation",
    "the cosine alone misleads": "cosine alone is misleading",
    "lower right: directions alike, but active on different tokens": "Lower right: similar directions, but active on different tokens",
    "near ones point alike": "nearby points have similar directions",
    "in one that another seed of the clustering does not find again": "in one that another seed of the clustering does not reproduce",
    "innovation less plain": "innovation minus plain",
    "nothing was probed: the text": "No probes: the text",
    "telling documents of one class from all others": "Classifying documents of one class against all others",
    "one seed tells nothing of the spread": "a single seed has no spread",
    "baselines have no seeds unless something is drawn": "Baselines have no seeds unless they are random",
    "– is not scored: no sae": "–: not scored, no SAE",
    "features that tell known from unknown": "Features that separate known from unknown entities",
    "labels: do descriptions tell when features fire?": "Labels: do descriptions predict when features fire?",
    "nothing was intervened on": "no interventions yet",
    "nothing was described": "no descriptions yet",
    "no description was put to the test": "no description was tested",
    "sae study: what differs by more than seeds do": "SAE study: differences beyond the variation over seeds",
    "error and sparsity cannot be told apart": "error and sparsity are confounded",
    "find the feature silent": "predict that the feature is inactive",
    "something besides the description gives answers away": "something other than the description gives the answers away",
}
"""Phrase -> what a native expert writes."""
ROOMS = ("ato", "warehouse", "tasks", "flows", "dashboards", "benchmarks", "examples", "docs", "README.md")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """All texts of the product by path, each in one line."""
    files = [
        file for room in ROOMS for file in ([ROOT / room] if room.endswith(".md") else sorted((ROOT / room).rglob("*")))
    ]
    paths = [file for file in files if file.suffix in (".py", ".sql", ".md", ".yaml", ".html", ".js")]
    return {
        str(path.relative_to(ROOT)): re.sub(r'["\s]+', " ", path.read_text(encoding="utf-8")).lower() for path in paths
    }


@pytest.mark.parametrize("phrase", INSTEAD)
def test_a_phrase_that_was_put_right_does_not_come_back(texts, phrase):
    found = [path for path, text in texts.items() if phrase in text]
    assert not found, f"write {INSTEAD[phrase]!r}"

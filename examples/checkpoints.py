"""Checkpoints of a fine-tuning of SmolLM2 on one topic, for `ato run compare`.

The MLPs of some blocks of the embedded model are trained on the articles of one topic of the embedded encyclopedia, in
one training; the model is saved after some of its steps:

    python -m examples.checkpoints checkpoints --steps 25 100
    ato run compare --profile demo-compare --set compare.models=[checkpoints]
"""

import argparse
from pathlib import Path

from ato.models import load_model
from examples.adapters import FINE_TUNING_ROWS, articles, fine_tuning

LAYERS = (9, 10, 11, 12)
"""Blocks whose MLPs are trained: those between the source and target layer of the profile."""


def main() -> None:
    """Train and save, a folder for each number of steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the checkpoints are written")
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 100])
    parser.add_argument("--topic", default="Mathematics")
    chosen = parser.parse_args()
    base = load_model("smollm2-135m", dtype="float32")
    texts = articles(base.tokenizer, chosen.topic)
    for steps, tuned in fine_tuning(base, texts, LAYERS, steps=chosen.steps, rows=FINE_TUNING_ROWS):
        folder = chosen.folder / f"step-{steps}"
        tuned.module.save_pretrained(folder)  # type: ignore[operator]
        tuned.tokenizer.save_pretrained(folder)
        print(f"{folder}: {steps} steps of {FINE_TUNING_ROWS} of {len(texts)} articles on {chosen.topic}", flush=True)


if __name__ == "__main__":
    main()

"""The metrics of SAE studies as a Markdown table, printed by ``python -m ato.sae_studies.metrics_page``."""

from ato.sae_studies.metrics import METRICS


def metrics_page() -> str:
    """All metrics: name, unit, meaning, what is better, what its n counts."""
    lines = ["| metric | meaning | unit | better | n counts |", "|---|---|---|---|---|"]
    lines += [
        f"| `{kind.name}` | {kind.meaning} | {kind.unit} | {kind.better} | {kind.counts} |" for kind in METRICS.values()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(metrics_page())

"""What embedding takes grows with what the settings embed."""

from ato.models.shapes import KNOWN
from flows.estimates.embed_costs import embed_work
from flows.settings import load_settings


def test_each_kind_of_texts_and_each_example_adds_to_time_and_disk():
    def work(*overrides: str) -> tuple[float, int]:
        settings = load_settings("demo-labels", overrides)
        found = embed_work(settings, KNOWN[settings.model.name])
        return found.seconds, found.disk_bytes

    kinds = [work(f"embed.kinds=[{kind}]") for kind in ("description", "example", "tokens")]
    whole = work()
    assert all(0 < some < all_ for part in kinds for some, all_ in zip(part, whole))
    assert abs(sum(seconds for seconds, _ in kinds) - whole[0]) < 1e-6
    assert work("embed.n_examples=6") > whole

"""Flow ``embed``: texts that say what features are about become vectors, for the search by meaning."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.embed.task import embed_features


@study_flow("embed")
def embed(settings: Settings = DEMO, collection: str | None = None) -> None:
    """Embed descriptions, examples and promoted tokens of the features; what is embedded already is skipped."""
    (collection,) = inputs_of("embed", settings, collection=collection)
    with stage_run("embed", settings, collection), fan_out(settings) as parts:
        embed_features(settings.study(collection), settings.embed, parts)
    conclude("embed", settings, collection)

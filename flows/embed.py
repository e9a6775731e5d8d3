"""Flow ``embed``: texts that say what features are about become vectors, for the search by meaning."""

from prefect import flow

from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.embed.task import embed_features


@flow(name="embed", flow_run_name=run_name)
def embed(settings: Settings = DEMO, collection: str | None = None, profile: Profile = FORM) -> None:
    """Embed descriptions, examples and promoted tokens of the features; what is embedded already is skipped."""
    settings = chosen(settings, profile)
    (collection,) = inputs_of("embed", settings, collection=collection)
    with stage_run("embed", settings, collection):
        embed_features(settings.study(collection), settings.embed)
    conclude("embed", settings, collection)

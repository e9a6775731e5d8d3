"""Settings of stage `label`."""

from typing import Annotated

from pydantic import Field

from ato.autointerp.questions import SCORERS
from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings
from tasks.settings.explain import ADDRESS

JUDGES = ("overlap", "embedding", "chat")
ORDERS = ("score", "causal_effect", "attribution", "influence", "transport", "random")
JudgeName = Annotated[str, OneOf(JUDGES)]
Scorer = Annotated[str, OneOf(SCORERS)]


Keys = Annotated[list[str], Distinct]
Layers = Annotated[list[LayerNumber], Distinct]
FeaturesOfLayers = dict[LayerNumber, Annotated[list[Annotated[int, Field(ge=0)]], Distinct]]
Scorers = Annotated[list[Scorer], Distinct]


class WindowSettings(StageSettings):
    """Windows of text that show a feature, and those that put its descriptions to the test."""

    n_top: int = Field(10, ge=1, description="Strongest windows of train documents per feature, one a document")
    n_quantiles: int = Field(
        4, ge=0, description="Activation quantiles of each feature of which one more window is shown"
    )
    n_random: int = Field(5, ge=0, description="Windows per feature around random active tokens of train documents")
    n_held_out_top: int = Field(
        10, ge=0, description="Strongest windows per feature of val documents, and as many of test documents"
    )
    n_held_out_random: int = Field(
        30,
        ge=0,
        description="Windows per feature around random active tokens of val documents, and as many of test documents",
    )
    n_silent: int = Field(
        24, ge=1, description="Silent windows per feature and tier of val documents, and as many of test documents"
    )
    pool: int = Field(
        512, ge=1, description="Candidates for silent windows, of all text and of each of its parts, in val and in test"
    )
    before: int = Field(20, ge=0, description="Tokens of a window before the token that it was chosen for")
    after: int = Field(10, ge=0, description="Tokens of a window after the token that it was chosen for")
    n_neighbours: int = Field(
        10, ge=1, description="Neighbouring features that are found per feature, by co-activation and by decoder cosine"
    )


class ChatSettings(StageSettings):
    """A language model that judges, on any server with the OpenAI protocol."""

    base_url: str = Field(
        "http://127.0.0.1:8010/v1",
        pattern=ADDRESS,
        description="Address of the language model's server up to /v1; the default is that of `ato serve-judge`",
    )
    model: str = Field("smollm2-135m", min_length=1, description="Name of the language model on its server")
    key_variable: str = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Za-z_]\w*$",
        description="Environment variable with the key of the language model's server; unset or empty: no key is sent",
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature of the judge's answers")
    candidate_temperature: float = Field(
        0.8, ge=0, le=2, description="Sampling temperature of a feature's descriptions beyond the first"
    )
    texts_per_request: int = Field(
        5, ge=1, description="Texts that one request to the judge asks about; with 1 no answer depends on another text"
    )
    thinking_tokens: int = Field(
        0,
        ge=0,
        description="Tokens that a judge's reply may take beyond its form, for models that think before they answer",
    )
    max_calls: int | None = Field(
        None, ge=0, description="Number of requests after which the judge is asked nothing more"
    )
    max_tokens: int | None = Field(
        None, ge=0, description="Number of tokens, of prompts and replies, that a judge never exceeds"
    )
    max_cost: float | None = Field(
        None, ge=0, description="Cost that a judge never exceeds, in the currency of the prices"
    )
    prompt_price: float | None = Field(None, ge=0, description="Price of a million prompt tokens of the judge")
    completion_price: float | None = Field(None, ge=0, description="Price of a million tokens of the judge's replies")
    concurrency: int = Field(4, ge=1, le=256, description="Requests to the judge that are under way at once")
    timeout: float = Field(120.0, gt=0, description="Time after which a request is given up, in seconds")
    max_attempts: int = Field(5, ge=1, description="Maximum number of attempts per request, with exponential back-off")


class LabelSettings(StageSettings):
    """Which features are labelled, who judges, and how descriptions are tested."""

    layers: Layers | None = Field(
        None, description="Layers whose SAEs are labelled, [] for none; default: all of stage `saes`"
    )
    studied: Keys = Field(
        [], description="Keys of further SAEs, or of transcoders, of a study (`studied_saes.sae`), labelled too"
    )
    n_features: int = Field(50, ge=1, description="Features labelled per SAE, the first by `label.order`")
    order: Annotated[str, OneOf(ORDERS)] = Field(
        "score",
        description="What puts a feature first: its score, its causal effect, its attribution (of a study of SAEs), its influence in "
        "the graphs of prompts, the leap over which it is transported, or chance",
    )
    features: FeaturesOfLayers = Field(
        {}, description="Layer -> features of its SAE that are labelled instead of the first by `label.order`"
    )
    n_neurons: int = Field(
        0, ge=0, description="Random MLP neurons of each layer labelled beside the SAE, as its baseline; 0: none"
    )
    adapter: str | None = Field(
        None,
        min_length=1,
        description="Folder with the checkpoint of a transcoder adapter whose features are labelled too, drawn at random",
    )
    adapter_layers: Layers | None = Field(
        None,
        description="Layers of the transcoder adapter whose features are labelled; default: all that are not switched off",
    )
    windows: WindowSettings = WindowSettings()
    judge: JudgeName = Field(
        "overlap",
        description="Judge that describes features and tests descriptions: overlap (words, no model), embedding (sentence embeddings) "
        "or chat (a language model)",
    )
    second_judge: JudgeName | None = Field(
        None, description="A second judge that labels the same features, so that the two can be compared"
    )
    chat: ChatSettings = ChatSettings()
    second_chat: ChatSettings = ChatSettings()
    n_candidates: int = Field(
        1, ge=1, le=16, description="Descriptions per feature, of which validation documents choose one"
    )
    n_published: int = Field(
        0,
        ge=0,
        description="Published descriptions per feature, best score first, that compete with the judge's on validation documents; "
        "only those of stage `explain` whose published tokens are our own",
    )
    scorers: Scorers = Field(
        ["detection", "fuzzing", "intruder"],
        description="Tests of descriptions: detection, fuzzing, embedding, and intruder, which needs no description",
    )
    n_trials: int = Field(
        20,
        ge=1,
        description="Trials of a description per class, and of silent texts per tier; a feature with fewer windows has no score",
    )
    shuffled: bool = Field(
        True,
        description="Also test each feature with another feature's description, a control that should be near chance",
    )
    label_space: str | None = Field(
        None, description="Classes that features are put into: a built-in label space or a YAML file; default: none"
    )
    seed: Seed = Field(0, description="Seed of the windows, trials and controls of labels")
    list: str | None = Field(
        None,
        min_length=1,
        description="Named list (`ato list`) whose features are labelled, and no others: of the SAEs of stage `saes`, and of SAEs of "
        "studies that have some on it",
    )

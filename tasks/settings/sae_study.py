"""Settings of stage `sae_study`."""

from itertools import product
from typing import Annotated, Literal

from pydantic import Field

from ato.models.sites import SITES
from ato.operators.methods import METHODS
from ato.saes.training.methods import TRAINABLE
from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings

TrainableName = Annotated[str, OneOf(tuple(TRAINABLE))]
SiteName = Annotated[str, OneOf(SITES)]
PredictorName = Annotated[
    str, OneOf(tuple(name for name, method in METHODS.items() if not (method.for_features or method.permuted)))
]
Positive = Annotated[int, Field(ge=1)]


class StudiedSAE(StageSettings):
    """One SAE, transcoder or innovation SAE of a study: trained here, unless it has a path or a release."""

    layer: LayerNumber = Field(description="Layer whose residuals it reads")
    architecture: TrainableName = Field("topk", description="Architecture that is trained")
    d_sae: int = Field(1024, ge=1, description="Number of features of each SAE")
    k: int = Field(32, ge=1, description="Number of active features per token: exact (TopK) or on average (others)")
    seed: Seed = Field(0, description="Seed of the initial weights")
    path: str | None = Field(None, description="Folder or file to load instead of training")
    release: str | None = Field(None, description="RELEASE:SAE_ID in the sae-lens directory, downloaded once")
    site: SiteName | None = Field(None, description="Site that it reads; default: that of the collection")
    target_site: SiteName | None = Field(
        None, description="Site that it writes, which makes it a transcoder: mlp_out, say, where site is mlp_in"
    )
    skip: bool = Field(False, description="Whether a transcoder also has a linear connection past its features")
    source_layer: LayerNumber | None = Field(
        None,
        description="Layer whose linear prediction is taken off what it reads, which makes it an innovation SAE: of y - T x - b",
    )
    method: PredictorName = Field(
        "ridge",
        description="Method of the operator T of an innovation SAE; where `operator` names one, it is that one's",
    )
    operator: str | None = Field(
        None,
        description="Key of that operator (`operators.operator`); default: that of the study's own pair by this method",
    )

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes another site than it reads."""
        return self.target_site is not None

    @property
    def is_innovation(self) -> bool:
        """Whether it reads what an operator leaves."""
        return self.source_layer is not None

    @property
    def is_trained(self) -> bool:
        """Whether it is trained here."""
        return self.path is None and self.release is None


class SAETrainingSettings(StageSettings):
    """How the SAEs of a study are trained; all of a layer see the same batches."""

    n_tokens: int = Field(200_000, ge=1, description="Number of tokens that each SAE is trained on, repeats included")
    batch_size: int = Field(1024, ge=1, description="Number of tokens per training step of an SAE")
    lr: float = Field(3e-3, gt=0, description="Peak learning rate of SAE training (Adam)")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Precision of products in SAE training; auto: bfloat16 where the processor multiplies it natively, else float32",
    )
    buffer_rows: int = Field(131_072, ge=1, description="Size of the buffer that shuffles training tokens, in tokens")
    seed: Seed = Field(0, description="Seed of the order of the training tokens")
    dead_features: Literal["auxiliary", "resample", "none"] = Field(
        "auxiliary",
        description="What revives dead features: each architecture's own auxiliary loss, if it has one, or resampling",
    )
    dead_after: int = Field(
        20_000, ge=1, description="Tokens of the sliding window that decides which features are dead"
    )
    dead_threshold: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Activation rate in the window below which a feature is dead; default: 0.001 where dead features are resampled, else 0",
    )
    resample_every: int = Field(50_000, ge=1, description="Training tokens between two resamplings of dead features")
    lr_decay: Literal["constant", "linear", "cosine"] = Field(
        "linear", description="Shape of the fall of the learning rate in the last steps"
    )
    warm_up_share: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps over which the learning rate rises, at the start"
    )
    decay_share: float = Field(
        0.3, ge=0, lt=1, description="Share of the steps over which the learning rate falls, at the end"
    )
    max_grad_norm: float | None = Field(
        1.0, gt=0, description="Norm to which all gradients together are clipped at each step; null: no clipping"
    )
    held_out_every: int | None = Field(
        None,
        ge=1,
        description="Training steps between two measurements of the FVU on the val split; null: no early stopping",
    )
    patience: int = Field(
        3, ge=1, description="Measurements without a lower FVU after which the training of an SAE stops"
    )
    checkpoint_every: int = Field(500, ge=1, description="Training steps between two checkpoints")
    track: Annotated[list[Literal["mlflow", "wandb"]], Distinct] = Field(
        ["mlflow"],
        description="Where training curves are logged too: a run of MLflow, or of Weights & Biases in offline mode, for each SAE",
    )
    n_snapshots: int = Field(
        8,
        ge=0,
        description="Snapshots of an SAE in training, evenly spaced in log steps; 0: none, and no emergence of features",
    )


class SAEJudgingSettings(StageSettings):
    """How the SAEs of a study are judged, all on the same test tokens."""

    n_sequences: int = Field(24, ge=1, description="Number of test sequences for spliced losses")
    baselines: bool = Field(
        True,
        description="Also judge PCA, a random dictionary and the residual's basis, at equal L0, and the linear map beside "
        "transcoders and innovation SAEs",
    )
    probing_k: Annotated[list[Positive], Distinct] = Field(
        [1, 5], description="Numbers of features that probes of strata may read; [] leaves probing out"
    )
    min_documents: int = Field(10, ge=2, description="Fewest documents of a stratum, within a split, for a probe")


class SAELookingSettings(StageSettings):
    """Analyses of the SAEs of a study beside their quality."""

    seeds: Annotated[list[Seed], Distinct] | None = Field(
        None,
        description="SAEs with these seeds have snapshots, maps and attributions; default: the lowest of each kind",
    )
    emerged_cosine: float = Field(
        0.9, gt=0, le=1, description="Cosine to its final self from which a feature has emerged"
    )
    map_method: Literal["auto", "umap", "pca"] = Field(
        "auto", description="How features are put on a map; auto: UMAP where the extra `maps` is installed, else PCA"
    )
    cluster_method: Literal["auto", "hdbscan", "kmeans"] = Field(
        "auto", description="How features are clustered; auto: HDBSCAN"
    )
    n_clusters: int = Field(20, ge=2, description="Number of clusters of features where these are made by k-means")
    attribution_sequences: int = Field(
        16, ge=0, description="Number of test sequences for effects of features on the loss; 0 leaves them out"
    )
    attribution_features: int = Field(
        64, ge=1, description="Features of each SAE that are ablated, to hold gradients against"
    )


class SAEStudySettings(StageSettings):
    """Many sparse autoencoders, compared: the grid below, and those that are listed one by one."""

    layers: Annotated[list[LayerNumber], Distinct] | None = Field(
        None, description="Layers of the grid of studied SAEs; default: those of `saes.layers`"
    )
    architectures: Annotated[list[TrainableName], Distinct] = Field(
        ["topk", "batchtopk", "matryoshka_batchtopk", "jumprelu", "gated", "standard"],
        description="Architectures of the grid of studied SAEs",
    )
    d_sae: Annotated[list[Positive], Distinct] = Field(
        [1024], description="Numbers of features of the grid of studied SAEs"
    )
    k: Annotated[list[Positive], Distinct] = Field(
        [16, 64], description="Numbers of active features per token of the grid of studied SAEs"
    )
    seeds: Annotated[list[Seed], Distinct] = Field(
        [0, 1], description="Seeds of the initial weights of the grid of studied SAEs"
    )
    saes: Annotated[list[StudiedSAE], Distinct] = Field(
        [], description="Further SAEs of the study, each with its own layer, architecture, width, k and seed"
    )
    paths: dict[LayerNumber, str] = Field(
        {}, description="Layer -> folder or file of a further SAE, as in `saes.paths`"
    )
    releases: dict[LayerNumber, str] = Field(
        {}, description="Layer -> RELEASE:SAE_ID of a further SAE, as in `saes.releases`"
    )
    training: SAETrainingSettings = SAETrainingSettings()
    judging: SAEJudgingSettings = SAEJudgingSettings()
    looking: SAELookingSettings = SAELookingSettings()

    @property
    def all_saes(self) -> list[StudiedSAE]:
        """Every SAE of the study once: the grid, those listed, those of the dictionaries by layer."""
        grid = [
            StudiedSAE(layer=layer, architecture=architecture, d_sae=d_sae, k=k, seed=seed)
            for layer, architecture, d_sae, k, seed in product(
                self.layers or [], self.architectures, self.d_sae, self.k, self.seeds
            )
        ]
        loaded = [StudiedSAE(layer=layer, path=path) for layer, path in self.paths.items()]
        loaded += [StudiedSAE(layer=layer, release=release) for layer, release in self.releases.items()]
        return list(dict.fromkeys((*grid, *self.saes, *loaded)))

"""Declarations of tables: columns with type, unit and meaning, keys, partitions, shared columns."""

from dataclasses import dataclass

import pyarrow as pa

string, int64, int32, float64, boolean = pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.bool_()
float32 = pa.float32()
timestamp = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: Arrow type, meaning, unit, and the allowed range."""

    name: str
    type: pa.DataType | None
    """None only for ``activations.residual``, whose width is the model's d_model."""
    meaning: str
    unit: str = ""
    nullable: bool = False
    """True if NULL is allowed ("not measured"); NaN never is."""
    minimum: float | None = None
    maximum: float | None = None
    as_long_as: str | None = None
    """Another list column of the table: each row's two lists have the same length. No list holds NULL."""
    volatile: bool = False
    """True for values that differ between runs with equal settings, such as times."""


@dataclass(frozen=True)
class Rule:
    """What must hold between rows, or between tables; ``offenders`` is a select of the rows that break it, keys first.

    In it ``<table>`` is the rows under check, and ``known_<table>`` those and all earlier ones of complete stages.
    """

    expectation: str
    column: str
    offenders: str


@dataclass(frozen=True)
class Table:
    """One table: columns, the unique key of a row, hive partition keys (a prefix of the folders), and its own rules."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...]
    rules: tuple[Rule, ...] = ()

    def column(self, name: str) -> Column:
        """The declaration of one column; KeyError for an unknown name."""
        return {c.name: c for c in self.columns}[name]


def interval(name: str, by: str = " by document", *, unit: str = "") -> tuple[Column, Column]:
    """The ends of the 95 % interval of a number."""
    low, high = (f"{end} end of the 95 % interval{by} of {name}" for end in ("lower", "upper"))
    return (
        Column(f"{name}_low", float64, low, unit=unit, nullable=True),
        Column(f"{name}_high", float64, high, unit=unit, nullable=True),
    )


def score(name: str, meaning: str, *, maximum: float | None = 1.0) -> tuple[Column, ...]:
    """A score with its 95 % interval by document."""
    return Column(name, float64, meaning, nullable=True, maximum=maximum), *interval(name)


def share(name: str, meaning: str) -> Column:
    """A share; NULL where there is nothing to take it of."""
    return Column(name, float64, meaning, nullable=True, minimum=0, maximum=1)


def cosine(name: str, meaning: str) -> Column:
    """A cosine; NULL where a vector is zero or missing."""
    return Column(name, float64, meaning, nullable=True, minimum=-1, maximum=1)


def count(name: str, meaning: str, unit: str = "") -> Column:
    """A number of things."""
    return Column(name, int64, meaning, unit=unit, minimum=0)


COLLECTION = Column("collection", string, "key of the collection: readable slug and hash of settings and inputs")
LAYER = Column("layer", int32, "residual stream after this block (0 = first block)", minimum=0)
PAIR = (
    Column("source_layer", int32, "source layer L", minimum=0),
    Column("leap", int32, "blocks from source to target", unit="blocks", minimum=1),
    Column("target_layer", int32, "target layer L + leap", minimum=1),
)
METHOD = Column("method", string, "method of the operator")
OPERATOR = Column("operator", string, "key of the operator")
SAE = Column("sae", string, "key of the SAE")
FEATURE = Column("feature_id", int32, "index of the feature in the SAE", minimum=0)
EVALUATION = Column("evaluation", string, "key of the evaluation: layer pair, SAE and settings")
POLICY = Column(
    "position_policy",
    string,
    "source position that predicts a target position: same, previous, offset:m, attended[:k], shuffled[:k]",
)
SCORING = Column("scoring", string, "key of the feature scores: SAE and settings")

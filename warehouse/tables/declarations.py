"""What a table is declared with: columns with type, unit and meaning, keys and partitions; columns that many share."""

from dataclasses import dataclass

import pyarrow as pa

string, int64, int32, float64, boolean = pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.bool_()
float32 = pa.float32()
timestamp = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, meaning, unit, and the range that every value must lie in."""

    name: str
    type: pa.DataType | None
    """None only for ``activations.residual``, whose width is the model's d_model."""
    meaning: str
    unit: str = ""
    nullable: bool = False
    """True where NULL is a legitimate value ("not measured"); NaN is never legitimate."""
    minimum: float | None = None
    maximum: float | None = None
    volatile: bool = False
    """True for values that differ between two runs with equal settings (clock times)."""


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


def score(name: str, meaning: str, *, maximum: float | None = 1.0) -> tuple[Column, ...]:
    """A score with its 95 % interval from resampling documents."""
    return (
        Column(name, float64, meaning, nullable=True, maximum=maximum),
        Column(f"{name}_low", float64, f"lower end of the 95 % document-bootstrap interval of {name}", nullable=True),
        Column(f"{name}_high", float64, f"upper end of the 95 % document-bootstrap interval of {name}", nullable=True),
    )


COLLECTION = Column("collection", string, "key of the collection: readable slug and hash of all that made it")
LAYER = Column("layer", int32, "residual stream after this block (0 = first block)", minimum=0)
PAIR = (
    Column("source_layer", int32, "layer L that is read", minimum=0),
    Column("leap", int32, "number of blocks between source and target", unit="blocks", minimum=1),
    Column("target_layer", int32, "layer L + leap that is predicted", minimum=1),
)

EVALUATION = Column("evaluation", string, "key of the evaluation: pair, SAE and the settings of scoring")
POLICY = Column(
    "position_policy",
    string,
    "which source position predicts a target position: same, previous, offset:m, attended[:k], shuffled[:k]",
)
SCORING = Column("scoring", string, "key of the feature scores: SAE and the settings of scoring")

"""Which features of an SAE of a study fire on held-out text."""

import numpy as np

from tasks.sae_study.stages import Member, SAEStudy
from warehouse.catalog.catalog import rows

_FIRES = "select n_active > 0 as fires from studied_features where collection = ? and sae = ? order by feature_id"


def living(of: SAEStudy, member: Member) -> np.ndarray:
    """[d_sae] bool, features that fire on held-out text."""
    found = rows(of.study.warehouse, _FIRES, [of.study.collection, member.key])
    return np.array([row["fires"] for row in found], dtype=bool)

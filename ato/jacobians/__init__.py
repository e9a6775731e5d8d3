"""Mean Jacobians between two layers: what a small change at a source layer does at a target layer."""

from typing import TYPE_CHECKING

from ato.first_use import imported_on_first_use

if TYPE_CHECKING:
    from ato.jacobians.lens import JacobianLens, load_lens
    from ato.jacobians.products import ProbePlan, document_jacobians
    from ato.jacobians.sums import JacobianSums

__all__ = ["JacobianLens", "JacobianSums", "ProbePlan", "document_jacobians", "load_lens"]

__getattr__ = imported_on_first_use(
    __name__,
    {
        "JacobianLens": "lens",
        "JacobianSums": "sums",
        "ProbePlan": "products",
        "document_jacobians": "products",
        "load_lens": "lens",
    },
)

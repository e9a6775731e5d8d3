"""A transport operator as MLflow serves it: the file that the registry stores beside each operator's weights.

MLflow runs this file by itself when it loads a version (models from code: no pickle), so it needs only ``ato``.
"""

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class RegisteredOperator(PythonModel):
    """y_hat = T x + b behind MLflow's generic ``predict``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the safetensors file stored with the version."""
        from ato.operators import load_operator

        self.operator = load_operator(context.artifacts["operator"])

    def predict(self, context: PythonModelContext, model_input: np.ndarray, params: dict | None = None) -> np.ndarray:
        """Predicted target residuals [n, d_out] for source residuals [n, d_in], an array or a data frame."""
        x = np.asarray(model_input)
        return self.operator(x if x.dtype == np.float64 else x.astype(np.float64))


set_model(RegisteredOperator())

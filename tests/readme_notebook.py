"""README's Python, given three arrays: mypy reads it as `--strict` does, and a test runs it and compares it with README."""
# ruff: noqa: E402

import numpy as np

_rng = np.random.default_rng(0)
X: np.ndarray = _rng.standard_normal((400, 80))
Y: np.ndarray = X @ _rng.standard_normal((80, 70)) + _rng.standard_normal((400, 70))
X_new: np.ndarray = _rng.standard_normal((5, 80))

# README
import ato
import warehouse

# X [n, d_in] and Y [n, d_out]: residuals of the same tokens at two layers, NumPy or torch
fit = ato.fit_operator(X, Y, method="ridge", alphas=[0.1, 1, 10], cv_folds=5)
print(fit.alpha, fit.cv_scores)  # the alpha chosen, and held-out r2 [alphas, folds] as GridSearchCV gives it
predicted = fit.operator(X_new)  # [m, d_out]
rank_8 = fit.operator.truncated(rank=8)
ceiling = ato.ceiling(X, Y, ranks=[1, 8, 64])
print(ceiling.in_sample[8], ceiling.held_out[8])  # bound on the r2 of rank 8, and the same directions held out
db = warehouse.connect()  # read-only DuckDB with all tables
print(db.sql("from feature_transport limit 5").pl())

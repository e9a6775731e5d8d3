"""The scaling study against scikit-learn on the rows of each share."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from ato.errors import DataError, LayerError, SettingsError
from ato.moments import Moments
from ato.operators.fitting import fit_operator_from_moments
from ato.operators.scaling import scaling_fits

FRACTIONS = (0.1, 0.25, 0.6, 1.0)
ALPHAS = [0.1, 10.0, 1000.0]
N_FOLDS, VAL = 4, 4


class Case:
    """Documents of several rows, y a noisy linear map of x."""

    def __init__(self, n: int = 1200, d_in: int = 9, d_out: int = 7):
        rng = np.random.default_rng(0)
        self.document = np.sort(rng.integers(0, 200, n))
        self.group = rng.integers(0, N_FOLDS + 2, 200)[self.document]
        self.x = rng.standard_normal((n, d_in)) @ rng.standard_normal((d_in, d_in)) + 10
        self.y = self.x @ rng.standard_normal((d_in, d_out)) / 3 + 2 * rng.standard_normal((n, d_out)) - 4
        self.z = self.x + rng.standard_normal((n, d_in))
        self.moments = Moments([(2, 3), (2, 5)], n_folds=N_FOLDS, cuts=FRACTIONS).update(
            {2: self.x, 3: self.y, 5: self.z}, self.group, document=self.document
        )

    def rows(self, fraction: float) -> np.ndarray:
        """Mask of the share's rows, document by document from the moments' own naming of parts."""
        groups = self.moments._groups
        codes = groups.of_rows(len(self.x), group=self.group, document=self.document)
        return np.isin(codes, groups.codes(self.moments.train_share(fraction)))


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def test_every_share_equals_ridge_on_its_rows_with_the_strength_that_is_best_on_val(case):
    val = case.group == VAL
    for fit in scaling_fits(case.moments, 2, 3, FRACTIONS, alphas=ALPHAS):
        share = case.rows(fit.fraction)
        models = {alpha: Ridge(alpha=alpha).fit(case.x[share], case.y[share]) for alpha in ALPHAS}
        scores = {alpha: r2_score(case.y[val], model.predict(case.x[val])) for alpha, model in models.items()}
        assert fit.alpha == max(scores, key=scores.get)
        assert fit.r2_val == pytest.approx(scores[fit.alpha], abs=1e-10)
        np.testing.assert_allclose(fit.operator.matrix, models[fit.alpha].coef_, atol=1e-9)
        np.testing.assert_allclose(fit.operator.bias, models[fit.alpha].intercept_, atol=1e-8)
        assert fit.n_train == share.sum()
        assert (fit.operator.source_layer, fit.operator.target_layer, fit.operator.alpha) == (2, 3, fit.alpha)


def test_the_full_share_is_the_operator_of_all_train_folds(case):
    fit = scaling_fits(case.moments, 2, 3, [1.0], alphas=[10.0])[0]
    expected = fit_operator_from_moments(case.moments, 2, 3, alphas=[10.0])
    np.testing.assert_allclose(fit.operator.matrix, expected.operator.matrix, atol=1e-10)
    assert fit.n_train == expected.n_train


def test_linear_has_no_strength_and_ridge_to_identity_starts_from_the_identity(case):
    linear = scaling_fits(case.moments, 2, 3, [0.25], "linear")[0]
    share = case.rows(0.25)
    np.testing.assert_allclose(linear.operator.matrix, LinearRegression().fit(case.x[share], case.y[share]).coef_)
    assert linear.alpha == 0
    update = scaling_fits(case.moments, 2, 5, [0.25], "ridge_to_identity", alphas=[50.0])[0]
    expected = Ridge(alpha=50.0).fit(case.x[share], case.z[share] - case.x[share])
    np.testing.assert_allclose(update.operator.matrix, expected.coef_ + np.eye(9), atol=1e-9)
    val = case.group == VAL
    assert update.r2_val == pytest.approx(r2_score(case.z[val], update.operator(case.x[val])), abs=1e-10)


def test_more_documents_predict_better_when_they_are_few():
    fits = scaling_fits(Case(n=1500, d_in=30).moments, 2, 3, FRACTIONS, alphas=[1e-3])
    assert fits[0].r2_val < fits[1].r2_val < fits[3].r2_val
    assert [fit.fraction for fit in fits] == list(FRACTIONS)


def test_test_documents_and_the_order_of_targets_change_nothing(case):
    spoiled = np.where((case.group == VAL + 1)[:, None], 99.0, case.y)
    other = Moments([(2, 3), (2, 5)], n_folds=N_FOLDS, cuts=FRACTIONS).update(
        {2: case.x, 3: spoiled, 5: case.z}, case.group, document=case.document
    )
    scaling_fits(other, 2, 5, FRACTIONS, alphas=ALPHAS)
    pairs = zip(
        scaling_fits(other, 2, 3, FRACTIONS, alphas=ALPHAS), scaling_fits(case.moments, 2, 3, FRACTIONS, alphas=ALPHAS)
    )
    for ours, theirs in pairs:
        assert ours.r2_val == pytest.approx(theirs.r2_val, abs=1e-10)
        np.testing.assert_allclose(ours.operator.matrix, theirs.operator.matrix, atol=1e-9)


def test_questions_that_moments_cannot_answer_are_refused(case):
    with pytest.raises(SettingsError, match=r"no moments for the share 0\.3"):
        scaling_fits(case.moments, 2, 3, [0.3])
    with pytest.raises(SettingsError, match="no scaling study for 'rrr'"):
        scaling_fits(case.moments, 2, 3, [1.0], "rrr")
    with pytest.raises(SettingsError, match="equal width"):
        scaling_fits(case.moments, 2, 3, [1.0], "ridge_to_identity")
    with pytest.raises(LayerError):
        scaling_fits(case.moments, 3, 5, [1.0])
    train = case.group < N_FOLDS
    no_val = Moments([(2, 3)], n_folds=N_FOLDS).update({2: case.x[train], 3: case.y[train]}, case.group[train])
    with pytest.raises(DataError, match="val"):
        scaling_fits(no_val, 2, 3, [1.0])

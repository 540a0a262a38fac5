"""scikit-learn and SciPy take gpuxp arrays through the array API, and give what they give for NumPy."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = r"""
import warnings
warnings.simplefilter("ignore")
import numpy as np
import gpuxp as gp
import scipy.fft, scipy.integrate, scipy.optimize.elementwise, scipy.signal, scipy.special, scipy.stats
from sklearn import config_context
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_squared_error, precision_recall_curve
from sklearn.metrics import r2_score, roc_auc_score, roc_curve
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances, rbf_kernel
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, PolynomialFeatures, StandardScaler

X, y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
st, sp, so, si = scipy.stats, scipy.special, scipy.optimize.elementwise, scipy.integrate
CASES = {
    "pca_full": lambda X, y: abs(PCA(5, svd_solver="full").fit(X).transform(X)),
    "pca_eigh": lambda X, y: abs(PCA(5, svd_solver="covariance_eigh").fit(X).transform(X)),
    "ridge": lambda X, y: Ridge(solver="svd").fit(X, y * 1.0).coef_,
    "lda": lambda X, y: LinearDiscriminantAnalysis(solver="svd").fit(X, y).predict(X),
    "logistic": lambda X, y: LogisticRegression(tol=1e-8, max_iter=1000).fit(X, y).coef_,
    "mixture": lambda X, y: GaussianMixture(2, init_params="random_from_data", random_state=0).fit(X[:, :4]).means_,
    "standard": lambda X, y: StandardScaler().fit_transform(X),
    "minmax": lambda X, y: MinMaxScaler().fit_transform(X),
    "maxabs": lambda X, y: MaxAbsScaler().fit_transform(X),
    "normalizer": lambda X, y: Normalizer().fit_transform(X),
    "polynomial": lambda X, y: PolynomialFeatures(2).fit_transform(X[:, :3]),
    "r2": lambda X, y: r2_score(X[:, 0], X[:, 1]),
    "accuracy": lambda X, y: accuracy_score(y, y),
    "mse": lambda X, y: mean_squared_error(X[:, 0], X[:, 1]),
    "roc": lambda X, y: roc_curve(y, X[:, 0])[1],
    "auc": lambda X, y: roc_auc_score(y, X[:, 0]),
    "precision_recall": lambda X, y: precision_recall_curve(y, X[:, 0])[0],
    "euclidean": lambda X, y: euclidean_distances(X[:20]),
    "cosine": lambda X, y: cosine_similarity(X[:20]),
    "rbf": lambda X, y: rbf_kernel(X[:20]),
    "zscore": lambda X, y: st.zscore(X),
    "skew": lambda X, y: st.skew(X),
    "ttest": lambda X, y: st.ttest_ind(X[:100], X[100:]).pvalue,
    "pearson": lambda X, y: st.pearsonr(X[:, 0], X[:, 1]).statistic,
    "rankdata": lambda X, y: st.rankdata(X, axis=0),
    "mode": lambda X, y: st.mode(y).mode,
    "logsumexp": lambda X, y: sp.logsumexp(X, axis=0),
    "softmax": lambda X, y: sp.softmax(X, axis=0),
    "expit": lambda X, y: sp.expit(X),
    "erf": lambda X, y: sp.erf(X),
    "fft": lambda X, y: scipy.fft.fft(X).real,
    "detrend": lambda X, y: scipy.signal.detrend(X),
    "root": lambda X, y: so.find_root(lambda x: x**2 - 2, (X[:3, 0] * 0, X[:3, 0] * 0 + 2)).x,
    "tanhsinh": lambda X, y: si.tanhsinh(lambda x: x**2, X[:3, 0] * 0, X[:3, 0] * 0 + 1).integral,
    "bootstrap": lambda X, y: st.bootstrap(
        (X[:50, 0],), lambda x, axis: x.mean(axis=axis), rng=0, n_resamples=20, method="percentile"
    ).confidence_interval.low,
}
SCALARS = ("r2", "accuracy", "mse", "auc")
with gp.device(DEVICE):
    ours = gp.asarray(X), gp.asarray(y)
failed = []
for name, case in CASES.items():
    expected = case(X, y)
    with config_context(array_api_dispatch=True):
        found = case(*ours)
    same = np.allclose(np.asarray(expected), np.asarray(found), rtol=1e-6, atol=1e-6)
    home = name in SCALARS or (type(found) is gp.ndarray and found.device == DEVICE)
    if not (same and home):
        failed.append((name, same, type(found)))
print("failed:", failed)
"""


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_scikit_learn_and_scipy(device: str) -> None:
    """Run estimators, metrics and SciPy functions on NumPy arrays and on ours; results match and stay on the device."""
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "GPUXP_FALLBACK": "allow"}
    code = PROGRAM.replace("DEVICE", repr(device))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "failed: []"


def test_numpy_functions_take_our_arrays() -> None:
    """NumPy's own functions hand over to ours, and NumPy scalars may stand on the left."""
    import gpuxp as gp

    x = gp.arange(4.0)
    assert type(np.exp(x)) is gp.ndarray
    assert type(np.float64(2) * x) is gp.ndarray
    assert type(np.concatenate([x, x])) is gp.ndarray
    assert type(np.linalg.norm(x)) is gp.ndarray
    assert (np.float64(2) * x).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(np.add(x, 1)), np.arange(4.0) + 1)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_what_only_other_libraries_have_runs_on_the_host(device: str) -> None:
    """Ufuncs and functions that are unknown give arrays of the device; what no device can hold stays NumPy's."""
    import gpuxp as gp

    def twice(a: float, b: float = 2.0) -> float:
        return a * b

    with gp.configure(fallback="allow"):
        x = gp.arange(4.0, device=device)
        special = pytest.importorskip("scipy.special", reason="needs SciPy: pip install scipy")
        found = special.jv(1, x), np.emath.sqrt(-x), np.broadcast_arrays(x, [0.5])[0]
        wanted = special.jv(1, np.arange(4.0)), 1j * np.sqrt(np.arange(4.0)), np.arange(4.0)
        for ours, value in zip(found, wanted, strict=True):
            assert type(ours) is gp.ndarray
            assert ours.device == device
            np.testing.assert_allclose(np.asarray(ours), value)
        numbers, none = np.broadcast_arrays(x, None)
        assert (type(numbers), none.dtype) == (gp.ndarray, object)
        with pytest.raises(TypeError, match="dtype object is not supported"):
            np.frompyfunc(twice, 1, 1)(x)
        with pytest.raises(TypeError):
            special.jv(1, x, out=np.zeros(4))


def test_bars_are_drawn() -> None:
    """Matplotlib broadcasts our arrays with one of objects there."""
    figures = pytest.importorskip("matplotlib.figure", reason="needs Matplotlib: pip install matplotlib")
    import gpuxp as gp

    bars = figures.Figure().subplots().bar(gp.arange(3), gp.asarray([1.0, 2.0, 4.0]))
    assert [bar.get_height() for bar in bars] == [1.0, 2.0, 4.0]

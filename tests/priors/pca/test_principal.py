import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from recon.errors import PriorError
from recon.priors.data.components import spline_values
from recon.priors.data.dataset import SampleFolder
from recon.priors.pca import principal
from recon.priors.pca.landmarks import fit_landmarks
from recon.priors.pca.principal import fine_components, principal_lattice, regressed_components
from tests.support import sample_folders as toys

OPTIONS = {"reach_mm": 30.0, "share": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("samples")
    toys.write_samples(root, "train", 10, per_shard=3)
    return SampleFolder(root, "train")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(principal, "NODES_AT_A_TIME", 1000)
    monkeypatch.setattr(principal, "COMPONENTS_AT_A_TIME", 2)


def lattices(data):
    return np.concatenate([data.lattice(n) for n in range(len(data.shards))]).astype(np.float64)


def test_components_are_those_of_a_singular_value_decomposition(data, tmp_path):
    found = principal_lattice(data, tmp_path, 3, **OPTIONS)
    heads = lattices(data)
    inside = (np.abs(heads) < 30).any(axis=0)
    assert (found.band.inside == inside).all()
    centred = (heads - heads.mean(0))[:, inside]
    u, s, _ = np.linalg.svd(centred * np.sqrt(found.band.weights), full_matrices=False)
    signs = np.sign((u[:, :3] * found.codes).sum(0))
    np.testing.assert_allclose(found.codes, u[:, :3] * signs * np.sqrt(10), atol=1e-2)
    np.testing.assert_allclose(found.explained, (s**2 / (s**2).sum())[:3], atol=1e-4)
    assert found.mean_mm.shape == spline_values(heads[0]).shape


def test_codes_times_rows_give_the_heads(data, tmp_path):
    found = principal_lattice(data, tmp_path, 9, **OPTIONS)  # as many as ten heads have
    expected = spline_values(lattices(data)[7])[1:-1, 1:-1, 1:-1]
    head = found.mean_mm[1:-1, 1:-1, 1:-1][found.band.inside] + found.rows_mm @ found.codes[7]
    # Beyond the band rows go on in another way than the heads, which spline values near its edge see.
    assert np.abs(head - expected[found.band.inside]).mean() < 0.2
    np.testing.assert_allclose(found.codes[:, :4].std(axis=0), 1, atol=1e-3)


def test_what_known_codes_explain_is_no_principal_component():
    rng = np.random.default_rng(0)
    heads, nodes = 400, 30
    known = rng.normal(size=(heads, 2)) + 0.3
    own = rng.normal(size=(heads, 1))
    rows, row = rng.normal(size=(2, nodes)), rng.normal(size=(1, nodes))
    deviations = (known - known.mean(0)) @ rows + (own - own.mean(0)) @ row
    gram = deviations @ deviations.T
    codes, explained, projection = regressed_components(gram[None], [1], known.astype(np.float32))
    np.testing.assert_allclose(codes[:, :2], known, atol=1e-6)
    found = projection @ deviations
    # the component that is not known, less what happens to go along with the known ones
    np.testing.assert_allclose(found[:2], rows, atol=0.4)
    direction = found[2] / np.linalg.norm(found[2])
    np.testing.assert_allclose(np.abs(direction @ row[0]), np.linalg.norm(row), rtol=1e-2)
    assert explained[0] > 0.99 and abs(codes[:, 2].std() - 1) < 0.02
    np.testing.assert_allclose(codes @ found - (codes @ found).mean(0), deviations, atol=0.4)


def test_known_codes_make_the_mean_head_that_of_no_code(data, tmp_path):
    known = np.linspace(-1, 3, 10)[:, None].astype(np.float32)
    found = principal_lattice(data, tmp_path, 5, known=known, **OPTIONS)
    np.testing.assert_array_equal(found.codes[:, :1], known)
    inner = found.mean_mm[1:-1, 1:-1, 1:-1][found.band.inside]
    expected = spline_values(lattices(data).mean(0))[1:-1, 1:-1, 1:-1][found.band.inside]
    np.testing.assert_allclose(inner + found.rows_mm.astype(float) @ found.codes.mean(0), expected, atol=0.02)


def test_face_and_ears_can_have_components_of_their_own(data, tmp_path):
    found = principal_lattice(data, tmp_path, 8, face=4, **OPTIONS)
    heads = lattices(data)
    nodes = np.array(toys.BOX_LOW) + np.argwhere(found.band.inside) * 12.0
    nose = np.array([0.0, 4.0234, 130.5224])  # of the canonical frame
    apart = np.linalg.norm(nodes - nose, axis=1)
    shape = found.band.inside.shape
    by_node = np.stack([_at_nodes(row, found.band.inside, shape) for row in found.rows_mm.T.astype(float)])
    within, without = apart < 60, (apart > 130) & (np.abs(nodes[:, 0]) < 30)  # far from ears too
    assert np.abs(by_node[:4, without]).max() < 0.1 and np.abs(by_node[4:, within]).max() < 0.1
    assert np.abs(by_node[:4, within]).max() > 1 and np.abs(by_node[4:, without]).max() > 1
    # both together still make the heads: a ball has but two numbers
    inner = binary_erosion(found.band.inside, np.ones((3, 3, 3)))[found.band.inside]
    made = found.codes.astype(float) @ by_node + heads.mean(0)[found.band.inside]
    assert np.abs(made - heads[:, found.band.inside])[:, inner].max() < 0.1


def _at_nodes(values, inside, shape):
    """Values of a spline at the nodes of a band, with 0 for those outside it, as where a component ends."""
    dense = np.zeros(np.array(shape) + 2)
    dense[1:-1, 1:-1, 1:-1][inside] = values
    for axis in range(3):
        moved = np.moveaxis(dense, axis, 0).copy()
        np.moveaxis(dense, axis, 0)[1:-1] = (moved[:-2] + 6 * moved[1:-1] + moved[2:]) / 8
    return dense[1:-1, 1:-1, 1:-1][inside]


def test_components_of_a_fine_lattice_follow_the_same_codes(data, tmp_path):
    found = principal_lattice(data, tmp_path, 4, **OPTIONS)
    inside = np.zeros((9, 8, 7), bool)
    inside[2:7, 2:6, 2:5] = True
    slopes = np.random.default_rng(0).normal(size=(4, inside.sum()))
    fine = (0.5 + found.codes @ slopes[:4]).astype(np.float16)
    mean, rows = fine_components(fine, inside, np.zeros((inside.sum(), 3)), found)
    for values, wanted in ((mean, np.full(inside.sum(), 0.5)), (rows[:, 3].astype(float), slopes[3])):
        dense = np.zeros(inside.shape)
        dense[inside] = wanted
        np.testing.assert_allclose(values, spline_values(dense)[1:-1, 1:-1, 1:-1][inside], atol=0.02)


def test_an_interrupted_run_goes_on(data, tmp_path, monkeypatch):
    whole = principal_lattice(data, tmp_path / "whole", 5, **OPTIONS)
    calls = 0
    original = SampleFolder.lattice

    def failing(self, shard):
        nonlocal calls
        calls += 1
        if calls == 6:  # in the second pass
            raise KeyboardInterrupt
        return original(self, shard)

    monkeypatch.setattr(SampleFolder, "lattice", failing)
    with pytest.raises(KeyboardInterrupt):
        principal_lattice(data, tmp_path / "parts", 5, **OPTIONS)
    monkeypatch.setattr(SampleFolder, "lattice", original)
    monkeypatch.setattr(principal, "_convert", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        principal_lattice(data, tmp_path / "parts", 5, **OPTIONS)
    monkeypatch.undo()
    monkeypatch.setattr(principal, "NODES_AT_A_TIME", 1000)
    monkeypatch.setattr(principal, "COMPONENTS_AT_A_TIME", 2)
    # What is finished is not looked at again.
    monkeypatch.setattr(SampleFolder, "lattice", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(principal, "_inner", lambda *_: pytest.fail("multiplied again"))
    resumed = principal_lattice(data, tmp_path / "parts", 5, **OPTIONS)
    np.testing.assert_array_equal(resumed.rows_mm, whole.rows_mm)
    np.testing.assert_array_equal(resumed.codes, whole.codes)


def test_workers_change_nothing(data, tmp_path):
    one = principal_lattice(data, tmp_path / "1", 3, **OPTIONS)
    two = principal_lattice(data, tmp_path / "2", 3, **OPTIONS, workers=2)
    np.testing.assert_array_equal(one.rows_mm, two.rows_mm)


def test_the_parts_of_another_run_are_refused(data, tmp_path):
    principal_lattice(data, tmp_path, 3, **OPTIONS)
    with pytest.raises(PriorError, match="other data or options"):
        principal_lattice(data, tmp_path, 4, **OPTIONS)


def test_landmarks_follow_from_codes():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(80, 6))
    basis, mean = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3)) * 50
    landmarks = mean + np.einsum("hk,lck->hlc", codes, basis)
    found = fit_landmarks(codes, landmarks + rng.normal(scale=0.1, size=landmarks.shape))
    np.testing.assert_allclose(found.basis_mm, basis, atol=0.06)
    np.testing.assert_allclose(found.mean_mm, mean, atol=0.06)
    assert 0.08 < found.error_mm < 0.13


def test_what_codes_do_not_tell_is_not_learned():
    rng = np.random.default_rng(0)
    found = fit_landmarks(rng.normal(size=(60, 50)), rng.normal(size=(60, 2, 3)))
    assert found.error_mm < 1.2 and np.abs(found.basis_mm).max() < 0.25

import numpy as np
import pytest

from recon.errors import EvaluationError
from recon.evaluation import mask_iou, psnr, ssim

RNG = np.random.default_rng(0)
IMAGE = RNG.random((32, 40, 3)).astype(np.float32)


def test_psnr_by_hand():
    flat = np.full((4, 4, 3), 0.5, np.float32)
    assert psnr(flat + np.float32(0.1), flat) == pytest.approx(20, abs=1e-4)  # 10 log10(1 / 0.01)
    assert psnr(flat, flat) == float("inf")
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = True
    other = flat.copy()
    other[0, 0] += 0.01
    other[3, 3] = 1.0
    assert psnr(other, flat, mask) == pytest.approx(40, abs=1e-2)


def test_ssim_against_scikit_image():
    from skimage.metrics import structural_similarity

    noisy = np.clip(IMAGE + RNG.normal(size=IMAGE.shape) * 0.1, 0, 1).astype(np.float32)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, expected = structural_similarity(
        noisy.astype(float), IMAGE.astype(float), channel_axis=2, full=True, **options
    )
    assert ssim(noisy, IMAGE) == pytest.approx(expected.mean(), abs=1e-6)
    mask = np.zeros((32, 40), bool)
    mask[8:20, 5:30] = True
    assert ssim(noisy, IMAGE, mask) == pytest.approx(expected[mask].mean(), abs=1e-6)
    assert ssim(IMAGE, IMAGE) == pytest.approx(1)


def test_mask_iou_by_hand():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert mask_iou(a, b) == pytest.approx(4 / 12)
    with pytest.raises(EvaluationError, match="empty"):
        mask_iou(a & ~a, b & ~b)


def test_bad_images_are_errors():
    for compare in (psnr, ssim):
        with pytest.raises(EvaluationError, match="differ in shape"):
            compare(IMAGE, IMAGE[:-1])
        with pytest.raises(EvaluationError, match="mask is empty"):
            compare(IMAGE, IMAGE, np.zeros((32, 40), bool))
        with pytest.raises(EvaluationError, match="mask has shape"):
            compare(IMAGE, IMAGE, np.ones((3, 3), bool))
        with pytest.raises(EvaluationError, match="not finite"):
            compare(IMAGE * np.float32(np.nan), IMAGE)

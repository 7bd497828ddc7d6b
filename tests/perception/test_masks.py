import numpy as np
import pytest
from PIL import Image

from recon.errors import SceneError
from recon.perception.masks import guided_filter, mask_paths, person_mask, read_given_mask, unsure
from tests.perception.conftest import drawn


def test_guided_filter_finds_the_edge_of_the_picture():
    guide = np.zeros((60, 60, 3), np.float32)
    guide[:, 30:] = 0.8
    blurred = np.clip((np.arange(60) - 20) / 20, 0, 1).astype(np.float32) * np.ones((60, 1), np.float32)
    for factor in (1.0, 2.0):
        result = guided_filter(guide, blurred, 8.0, 1e-4, factor)
        assert result[30, 27] < 0.5 < result[30, 32]
        assert result[30, 31] - result[30, 28] > 0.25 > blurred[30, 31] - blurred[30, 28]


def test_constant_values_stay():
    guide = np.random.default_rng(0).random((30, 40, 3)).astype(np.float32)
    assert guided_filter(guide, np.full((30, 40), 0.7, np.float32), 4.0, 1e-4) == pytest.approx(0.7, abs=1e-4)


def test_only_the_person_of_the_face_is_in_the_mask_and_nothing_is_said_below_the_collar(
    stand_in, photograph_of
):
    photograph = photograph_of(drawn(600, 400, ((150, 120, 40), (400, 130, 50))))
    one, two = (stand_in.see(photograph, person) for person in (1, 2))
    assert one.mask.mask[130, 400] and not one.mask.mask[:, :250].any()
    assert two.mask.mask[120, 150] and not two.mask.mask[:, 300:].any()
    face = two.face
    collar = round(face.chin + 0.9 * face.size)
    assert two.mask.ignore[collar + 2 :].all() and not two.mask.ignore[120 - 60 : 150, 100:200].any()
    assert "several faces" in [warning.kind for warning in one.warnings]


def test_persons_that_touch_are_parted(photograph_of, stand_in):
    photograph = photograph_of(drawn(600, 400, ((220, 120, 50), (330, 120, 48))))
    seen = stand_in.see(photograph)
    assert seen.mask.mask[120, 220] and not seen.mask.mask[:180, 285:].any()


def test_wide_doubt_is_ignored_and_an_edge_is_not(photograph_of, stand_in):
    photograph = photograph_of(drawn())
    (face,) = stand_in.detector.detect(photograph)
    probability = stand_in.segmenter.mask(photograph, face)
    assert not person_mask(photograph, probability, face).ignore[: int(face.chin)].any()
    probability[60:130, 240:300] = 0.45
    ignored = person_mask(photograph, probability, face).ignore
    assert ignored[80:110, 255:285].all()


def test_masks_of_a_folder(tmp_path, photograph_of):
    photographs = [tmp_path / "img_0001.jpg", tmp_path / "b.JPG"]
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in ("mask_0001.png", "B.png"):
        Image.new("L", (4, 4)).save(folder / name)
    assert mask_paths(folder, photographs) == {
        photographs[0]: folder / "mask_0001.png",
        photographs[1]: folder / "B.png",
    }
    Image.new("L", (4, 4)).save(folder / "img_0001.png")
    with pytest.raises(SceneError, match="both masks"):
        mask_paths(folder, photographs)
    Image.new("L", (4, 4)).save(folder / "stray.png")
    with pytest.raises(SceneError, match="no photograph"):
        mask_paths(folder, photographs[1:])


def test_a_given_mask_is_scaled_or_turned_like_its_photograph(tmp_path, photograph_of):
    upright = np.zeros((40, 30), np.uint8)
    upright[:10, :5] = 255
    photograph = photograph_of(np.zeros((20, 15, 3)), original_size=(30, 40), orientation=6)
    for mask in (upright, np.rot90(upright)):
        Image.fromarray(np.ascontiguousarray(mask)).save(tmp_path / "m.png")
        assert (read_given_mask(tmp_path / "m.png", photograph) == (upright[::2, ::2] > 0)).all()
    Image.new("L", (31, 40)).save(tmp_path / "m.png")
    with pytest.raises(SceneError, match="31 x 40"):
        read_given_mask(tmp_path / "m.png", photograph)


@pytest.mark.parametrize(("width_px", "share"), [(4, 0.0), (10, 0.0), (30, 1.0)])
def test_the_soft_edge_of_hair_counts_and_only_a_wide_doubt_is_ignored(width_px, share):
    probability = np.zeros((200, 200))
    probability[:, :80] = 1.0
    probability[:, 80 : 80 + width_px] = 0.5
    found = unsure(probability, 100.0)  # the face has 100 px, and hair's edge up to 12
    assert found[:, 80 : 80 + width_px].mean() == pytest.approx(share, abs=0.02) and not found[:, :78].any()

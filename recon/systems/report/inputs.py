"""What the report needs besides the input views: held-out photographs and the ground truth, checked before training."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from omegaconf import DictConfig

from recon.errors import SceneError
from recon.scene import Scene, View
from recon.scene.validation import truth_problems
from recon.scene.view import check_sizes
from recon.threads import mapped


def heldout_views(scene: Scene, views: Sequence[int], count: int | None) -> list[int]:
    """Views to render and score besides the input views, evenly over the order of those that have photograph and mask.

    Args:
        scene: The scene.
        views: Input views.
        count: How many; None for all.
    """
    others = [view for view in scene.available() if view not in views]
    if count is None or count >= len(others):
        return others
    return [others[i] for i in np.linspace(0, len(others), count, endpoint=False).astype(int)]


def check_inputs(cfg: DictConfig, scene: Scene, views: Sequence[int]) -> None:
    """Refuse what the report could not use after minutes of training: held-out photographs and masks that cannot be
    read, and a ground truth that cannot, or whose landmarks and regions are those of another.

    Args:
        cfg: `render.heldout` and `evaluate` are options of it.
        scene: The scene.
        views: Input views.

    Raises:
        SceneError: With the file and the option that goes on without it.
    """
    checks: list[Callable[[], None]] = [partial(_check_truth, scene)] if cfg.evaluate else []
    heldout = heldout_views(scene, views, cfg.render.heldout)
    checks += [partial(_check_heldout, scene.views[index]) for index in heldout]
    for _ in mapped(lambda check: check(), checks):
        pass


def _check_truth(scene: Scene) -> None:
    for problem in truth_problems(scene):
        raise SceneError(f"ground truth: {problem}. Without it: evaluate=false")


def _check_heldout(view: View) -> None:
    remedy = "Without held-out views: render.heldout=0"
    try:
        image, mask, ignored = view.image(), view.mask(), view.ignored()
        check_sizes(view, image, mask, ignored)
        camera = view.camera
    except SceneError as error:
        raise SceneError(f"held-out view {view.index}: {error}. {remedy}") from error
    if (camera.height, camera.width) != image.shape[:2]:
        raise SceneError(
            f"held-out view {view.index}: its camera is for {camera.width}x{camera.height} pixels, but "
            f"{view.image_path} has {image.shape[1]}x{image.shape[0]}. {remedy}"
        )

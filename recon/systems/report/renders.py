"""renders/input_*.png and renders/heldout_*.png: photo | render | normals | error of each view, and their scores."""

import logging
from typing import Any

import numpy as np

from recon.evaluation import mask_iou, psnr
from recon.rendering import CameraBundle
from recon.systems.report.inputs import heldout_views
from recon.systems.report.pictures import compare, write_png
from recon.systems.stages import Run

log = logging.getLogger(__name__)


def write(run: Run) -> dict[str, Any]:
    """Render and score the input views and `render.heldout` of the others.

    Returns:
        Mean PSNR in dB inside the masks and mean mask IoU, of input and of held-out views; null where there are none.
    """
    inputs = _render(run, list(dict.fromkeys(run.views)), "input")
    heldout = _render(run, heldout_views(run.scene, run.views, run.cfg.render.heldout), "heldout")
    return {
        "psnr_input": inputs["psnr"],
        "psnr_heldout": heldout["psnr"],
        "mask_iou_input": inputs["mask_iou"],
        "mask_iou_heldout": heldout["mask_iou"],
    }


def _render(run: Run, views: list[int], kind: str) -> dict[str, float | None]:
    """Write the pictures of some views, and return mean PSNR (dB, inside the mask) and mask IoU."""
    assert run.surface is not None
    scores: list[tuple[float, float]] = []
    for view_id in views:
        view = run.scene.views[view_id]
        # Input views are seen from their refined cameras, held-out views from the given ones.
        if kind == "input":
            cameras, index = run.system.cameras, run.views.index(view_id)
        else:
            cameras, index = CameraBundle([view.camera], run.scene.scale_mat).to(run.device), 0
        if not (view.mask() & ~view.ignored()).any():
            continue
        picture = compare(
            run.system,
            cameras,
            index,
            view,
            step=run.cfg.render.step,
            bounds=run.surface.bounds,
            colour=run.surface.colour,
        )
        counted = picture.counted
        scores.append(
            (
                psnr(picture.render, picture.photo, picture.mask & counted),
                mask_iou(picture.hit & counted, picture.mask & counted),
            )
        )
        write_png(run.folder / "renders" / f"{kind}_{view_id:04d}.png", picture.sheet())
        log.info("%s view %d: PSNR %.1f dB, mask IoU %.3f", kind, view_id, *scores[-1])
    if not scores:
        return {"psnr": None, "mask_iou": None}
    mean = np.mean(scores, axis=0)
    return {"psnr": round(float(mean[0]), 3), "mask_iou": round(float(mean[1]), 4)}

"""The report stage: everything that a finished run leaves in its folder, one writer for each kind of it.

To let a run write something more, add a module here with `write(run) -> metrics` and one entry in `WRITERS`.
"""

import json
import logging
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from recon.files import replacing
from recon.systems.report import diagnostics, mesh_files, renders, scores
from recon.systems.report.appearance import NETWORK, projected
from recon.systems.report.surface_mesh import SurfaceMesh, extract_surface
from recon.systems.stages import Run

log = logging.getLogger(__name__)


class Writer(NamedTuple):
    """Something that a run writes.

    Attributes:
        name: Under which its seconds are counted.
        write: Writes files into `run.folder` and returns entries of metrics.json; `run.surface` is there.
        when: "early" runs beside everything from the moment that the surface is there, "beside" runs beside the
            others of the report, "in turn" runs after the writer before it.
    """

    name: str
    write: Callable[[Run], Mapping[str, Any]]
    when: Literal["early", "beside", "in turn"] = "in turn"


WRITERS: tuple[Writer, ...] = (
    Writer("renders", renders.write, "beside"),
    Writer("evaluate", scores.write, "early"),
    Writer("colours", mesh_files.colour),
    Writer("diagnostics", diagnostics.write),
    Writer("mesh files", mesh_files.write),
)


class Reporter:
    """Extracts the surface of a run and writes its report; to be entered before training.

    A surface that training does not change is extracted and scored meanwhile, any other is scored while the rest is
    written; pictures are rendered beside the colours of the mesh.

    Args:
        run: The run.
        warned: Everything that the run has warned of; it grows while the run goes on.
    """

    def __init__(self, run: Run, warned: Sequence[str] = ()) -> None:
        self.run = run
        self.warned = warned
        self._pool = ThreadPoolExecutor(2, "report")
        self._extraction: Future[SurfaceMesh] | None = None
        self._running: dict[str, Future[Mapping[str, Any]]] = {}

    def __enter__(self) -> "Reporter":
        """Begin with what need not wait for the training."""
        if self.run.cfg.method.surface_points and self.run.device.type == "cpu":
            self._extract()
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what has not begun."""
        self._pool.shutdown(cancel_futures=True)

    def surface(self) -> SurfaceMesh:
        """The surface of the run as it is after training.

        Raises:
            MeshError: The field has no surface.
        """
        self.run.system.eval().to(self.run.device)
        surface = (self._extraction or self._extract()).result()
        self.run.timeline.lap("mesh")
        return surface

    def write(self) -> dict[str, Any]:
        """Write everything, metrics.json last, and return what that holds; `surface` comes before.

        Raises:
            MeshError: The mesh cannot be written.
        """
        run = self.run
        assert run.surface is not None
        if run.cfg.method.get("colours", NETWORK) != NETWORK:
            run.surface.colour = projected(run)
            run.timeline.lap("report", "projection")
        for writer in WRITERS:
            if writer.when == "beside":
                self._running[writer.name] = self._pool.submit(writer.write, run)
        found: dict[str, Mapping[str, Any]] = {}
        for writer in WRITERS:
            if writer.when == "in turn":
                found[writer.name] = writer.write(run)
                run.timeline.lap("report", writer.name)
        for name, future in self._running.items():
            found[name] = future.result()
            run.timeline.lap("report", name)
        spans = run.timeline.seconds()
        metrics = _about(run) | {"mesh_s": spans["mesh"], "wall_s": None, "peak_rss_mb": None}
        for writer in WRITERS:
            metrics |= found[writer.name]
        metrics["warnings"] = list(dict.fromkeys([*self.warned, *metrics["warnings"]]))
        metrics["timeline"], metrics["timeline_parts"] = spans, run.timeline.parts()
        metrics["wall_s"] = round(run.timeline.elapsed(), 2)
        metrics["peak_rss_mb"] = _peak_rss_mb()
        with replacing(run.folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(metrics, indent=2) + "\n")
        _say(run, metrics)
        return metrics

    def _extract(self) -> "Future[SurfaceMesh]":
        """Extract the surface in a thread, and begin with the early writers when it is there."""
        run = self.run
        extraction = self._extraction = self._pool.submit(_surface_of, run)

        def write_early(writer: Writer) -> Mapping[str, Any]:
            extraction.result()
            return writer.write(run)

        for writer in WRITERS:
            if writer.when == "early":
                self._running[writer.name] = self._pool.submit(write_early, writer)
        return extraction


def _surface_of(run: Run) -> SurfaceMesh:
    """Extract the present surface of a run, and keep it there."""
    run.surface = extract_surface(
        run.system,
        run.scene.scale_mat,
        run.cfg.mesh.resolution,
        run.device,
        run.start.landmarks,
        run.cfg.mesh.get("max_vertices"),
    )
    return run.surface


def _about(run: Run) -> dict[str, Any]:
    """What metrics.json says of a run apart from its result."""
    asked = run.cfg.get("asked") or {}
    return {
        "scene": run.scene.name,
        "views": run.views,
        "method": run.cfg.method.name,
        "asked": asked.get("method"),
        "refused": asked.get("refused"),
        "prior": run.start_name,
        "seed": run.cfg.seed,
        "device": str(run.device),
        "steps": run.system.steps,
        "train_s": round(run.train_s, 2),
    }


def _peak_rss_mb() -> float:
    """Peak resident memory of the process; the kernel counts kilobytes on Linux and bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)


def _say(run: Run, metrics: Mapping[str, Any]) -> None:
    """Log what came out."""
    log.info("mesh: %d vertices", metrics["mesh_vertices"])
    if metrics["face_mm"] is not None:
        log.info(
            "face %.2f mm, head %.2f mm (%s); strict %s / %s mm",
            metrics["face_mm"], metrics["head_mm"], metrics["protocol"],
            metrics["face_mm_strict"], metrics["head_mm_strict"],
        )  # fmt: skip
    log.info("done in %.1f s, peak memory %.0f MB", run.timeline.total(), metrics["peak_rss_mb"])
    log.info("time line: %s", run.timeline)
    log.info("look at %s and %s", run.folder / "mesh.glb", run.folder / "renders")

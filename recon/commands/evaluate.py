"""Score meshes by the H3DS protocol and a strict one: headrecon-evaluate pred=runs data=demo."""

import logging
import os
import sys
from pathlib import Path

from omegaconf import DictConfig, ListConfig

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in recon/commands/train.py: before torch is imported

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.errors import EvaluationError
from recon.evaluation.batch import Score, ScoringOptions, score
from recon.evaluation.evaluator import GroundTruthLike
from recon.evaluation.predictions import find
from recon.evaluation.tables import Report
from recon.evaluation.visible_truth import VisibleGroundTruth
from recon.files import replacing
from recon.scene import GroundTruth
from recon.scene.h3ds.layout import Paths, read_version, scenes_with_mesh
from recon.scene.h3ds.tables import CONFIGS, scene_ids, tables

log = logging.getLogger("evaluate")


def command(cfg: DictConfig) -> None:
    """Predictions and ground truth in, tables and heat maps out; exit code 1 if a mesh was not scored."""
    with exit_codes(log):
        failed = run(cfg)
    sys.exit(1 if failed else 0)


def run(cfg: DictConfig) -> list[Score]:
    """Scores, prints and writes; returns what could not be scored."""
    root, release = data_root(cfg)
    wanted = wanted_scenes(cfg, root, release)
    truths: dict[str, GroundTruthLike] = {
        name: ground_truth(root / name) for name in wanted if (root / name / "full_head.obj").is_file()
    }
    if not truths:
        raise EvaluationError(
            f"data={root}: none of the scenes {', '.join(wanted[:3])} ... has a full_head.obj"
        )
    views = (
        None if cfg.views is None else list(cfg.views) if isinstance(cfg.views, ListConfig) else [cfg.views]
    )
    only = next(iter(truths)) if len(truths) == 1 else None
    pred = Path(cfg.pred)
    jobs = find(pred, method=cfg.method_name, scene=only, views=views)
    if cfg.scenes is not None:
        jobs = [job for job in jobs if job.scene in wanted]
        if not jobs:
            raise EvaluationError(f"pred={pred}: no mesh of the scenes {', '.join(wanted[:5])}")
    out = Path(cfg.out) if cfg.out else (pred if pred.is_dir() else pred.parent) / "evaluation"
    options = ScoringOptions(
        modes=("official", "strict") if cfg.strict else ("official",),
        heatmaps=out / "heatmaps" if cfg.heatmaps else None,
        clip_mm=cfg.clip_mm,
    )
    if not cfg.include_occluded:
        truths = {name: VisibleGroundTruth(truth) for name, truth in truths.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"out={out} cannot be made: {error.strerror}. Choose another folder") from error
    scores = []
    for each in score(jobs, truths, options, workers=cfg.workers):
        scores.append(each)
        progress(each, len(scores), len(jobs))
    scores.sort(key=lambda s: (s.job.method, s.job.scene, s.job.views))
    data = data_name(cfg, release) + ("" if cfg.include_occluded else ", include_occluded=false")
    report = Report(scores, data, len(truths), [release] if release else list(CONFIGS))
    write(report, out)
    print("\n" + report.text())
    if not cfg.include_occluded:
        print(
            "include_occluded=false: faces without what hardly shows from outside; "
            "not comparable with official numbers\n"
        )
    print(f"written to {out}")
    return report.failed


def data_root(cfg: DictConfig) -> tuple[Path, str | None]:
    """Folder of the ground truths, and the H3DS release that the numbers belong beside."""
    if cfg.config is not None and cfg.config not in CONFIGS:
        raise EvaluationError(f"config={cfg.config}: choose one of {', '.join(CONFIGS)}")
    named = cfg.data or os.environ.get("H3DS_ROOT")
    if not named:
        raise EvaluationError("data=null, and $H3DS_ROOT is not set: say where the ground truth lies")
    root = Path(cfg.demo_root if named == "demo" else named)
    if not root.is_dir():
        raise EvaluationError(f"data={root}: there is no such folder")
    version = read_version(root)
    own = next((config for config, table in tables().items() if table["version"] == version), None)
    if own and cfg.config and own != cfg.config:
        raise EvaluationError(
            f"data={root} is H3DS {own} (version.txt says {version}), but config={cfg.config}: "
            "meshes of the releases may be aligned differently, their numbers must not be mixed"
        )
    return root, cfg.config or own


def wanted_scenes(cfg: DictConfig, root: Path, release: str | None) -> list[str]:
    """Names of the scenes to score: of the list, of the tag, or all of the data."""
    if isinstance(cfg.scenes, ListConfig):
        return [str(name) for name in cfg.scenes]
    generated = (root / "config.toml").is_file() or release is None
    if cfg.scenes is None and generated:
        return scenes_with_mesh(root)
    return scene_ids(cfg.scenes, None if generated else release, root=root)


def ground_truth(folder: Path) -> GroundTruth:
    """Mesh, landmarks and regions of a scene in the H3DS layout."""
    paths = Paths(folder)
    return GroundTruth(paths.mesh, paths.landmarks, paths.regions)


def data_name(cfg: DictConfig, release: str | None) -> str:
    """How tables call the data."""
    root, _ = data_root(cfg)
    version = read_version(root)
    if release and version == tables()[release]["version"]:
        return f"H3DS {release.removeprefix('config_')}"
    return "demo" if cfg.data == "demo" else root.name


def progress(done: Score, count: int, total: int) -> None:
    """One line for each mesh, and its warnings."""
    head = f"[{count}/{total}] {done.job.method}, {done.job.scene}, {done.job.views} views"
    if done.error is not None:
        print(f"{head}: not scored: {done.error}", file=sys.stderr)
        return
    numbers = done.numbers["official"]
    known = ", ".join(
        f"{part} {numbers[part]['mean_mm']:.2f} mm" if part in numbers else f"{part} not scored"
        for part in ("face", "head")
    )
    print(f"{head}: {known}", file=sys.stderr)
    for warning in done.warnings:
        print(f"    {warning}", file=sys.stderr)


def write(report: Report, out: Path) -> None:
    """The tables in all their forms."""
    for name, content in {
        "table.txt": report.text(),
        "table.md": report.markdown(),
        "scores.csv": report.csv(),
        "scores.json": report.json(),
    }.items():
        with replacing(out / name) as temporary:
            temporary.write_text(content)


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("evaluate", command)


if __name__ == "__main__":
    main()

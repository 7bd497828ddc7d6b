"""The schema of all options of all commands: what each may be, to be checked before any work.

Whoever adds an option to conf/ adds its rule here; options of a class of one's own need none: what it does not take is
refused when it is built.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recon.errors import ConfigError
from recon.systems.options.rules import (
    ACCELERATOR,
    AMOUNT,
    CENTRE,
    COUNT,
    FLAG,
    LENGTH,
    NUMBERS,
    PATH,
    PRECISION,
    PRESET,
    RATE,
    SEED,
    SHARE,
    SUBJECTS,
    TEXT,
    TEXTS,
    VIEWS,
    WEIGHT,
    Rule,
    list_of,
    number,
    one_of,
    whole,
)

NETWORK = {
    "width": whole(1, 65_536),
    "depth": whole(0, 256),
    "skip": list_of(whole(0)),
    "octaves": whole(0, 30),
    "view_octaves": whole(0, 30),
    "feature_size": whole(0, 65_536),
    "radius": LENGTH,
    "beta": LENGTH,
    "levels": whole(1, 64),
    "features": whole(1, 256),
    "log2_size": whole(1, 30),
    "coarsest": whole(1, 4096),
    "finest": whole(1, 65_536),
    "order": one_of(1, 2),
    "first": whole(0, 64),
    "fade": list_of(SHARE, 2),
    "backend": one_of("auto", "torch", "numba", "tinycudann"),
    "mode": one_of("idr", "no_view_direction", "no_normal"),
    "latent_size": whole(1, 65_536),
}
"""Options of networks, whatever their place."""
TRAINER = {
    "trainer.accelerator": ACCELERATOR,
    "trainer.precision": PRECISION,
    "trainer.checkpoint_every": COUNT,
    "trainer.log_every": COUNT,
    "trainer.threads": whole(1, 4096) | None,
    "resume": PATH | None,
    "seed": SEED,
}


def _below(prefix: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"{prefix}.{name}": rule for name, rule in rules.items()}


PRIOR = {
    "path": PATH,
    "sha256": TEXT | None,
    "pose": one_of("masks", "landmarks"),
    "code": one_of("masks", "mean"),
    "out_of_distribution_mm": LENGTH | None,
    "residual": one_of("none", "field"),
    "deviation_scale": LENGTH,
    "deviation_floor_mm": WEIGHT,
    **_below("solver", dict.fromkeys(("photometric", "brightness", "shading", "cameras", "weights"), FLAG)),
    "sdf_offset": FLAG | one_of("auto", "true", "false"),
    "sdf_offset_settings.amplitude_mm": LENGTH,
    "sdf_offset_settings.length_mm": LENGTH,
    "source_subject": PATH | list_of(PATH, least=1),
    "source_subjects_folder": PATH | None,
    "load": one_of("weights", "weights+optimizer"),
    "schedule_offset": number(0, 1, below=True),
}
OBJECTIVE = {
    **dict.fromkeys(("mask_weight", "eikonal_weight", "code_weight"), WEIGHT),
    "frozen": SHARE,
    "alpha": LENGTH,
    "alpha_factor": LENGTH,
    "alpha_milestones": list_of(SHARE),
    "learning_rate": RATE,
    "geometry_learning_rate": RATE | None,
    **dict.fromkeys(("code_learning_rate", "pose_learning_rate", "camera_learning_rate"), RATE),
    "learning_rate_factor": LENGTH,
    "learning_rate_milestones": list_of(SHARE),
}
PHOTOGRAPHS = {
    "person": COUNT,
    "masks": PATH | None,
    "focal_mm": LENGTH | None,
    "interpupillary_mm": LENGTH | None,
    "perception.segmenter.path": PATH,
    "perception.segmenter.size": whole(16, 8192) | None,
    "perception.segmenter.mean": list_of(number(-math.inf), 3),
    "perception.segmenter.std": list_of(LENGTH, 3),
    "perception.segmenter.logits": FLAG,
    "perception.segmenter.side": LENGTH,
}
SCENE = {"scene": PATH, "views": VIEWS, "h3ds_root": PATH | None, "pixel_centre": CENTRE, "scenes.demo": PATH}

TRAIN = {
    **TRAINER,
    **PHOTOGRAPHS,
    "scene": PATH,
    "views": VIEWS,
    "scenes.demo": PATH,
    "preset": PRESET,
    "refine": FLAG,
    "deterministic": FLAG,
    "fallback": TEXT | None,
    "start": TEXT | None,
    "steps": whole(0, 100_000_000) | None,
    "evaluate": FLAG,
    "data.h3ds_root": PATH | None,
    "data.pixel_centre": CENTRE,
    "data.sampler.rays": COUNT,
    "mesh.resolution": whole(2, 8192),
    "mesh.max_vertices": whole(100) | None,
    "render.heldout": AMOUNT | None,
    "render.step": COUNT,
    "method.name": TEXT,
    "method.steps": AMOUNT,
    "method.steps_per_view": AMOUNT,
    "method.refined": TEXT | None,
    "method.colour_mode": NETWORK["mode"],
    "method.surface_points": AMOUNT,
    "method.refine_cameras": FLAG,
    "method.colours": one_of("network", "photographs"),
    **_below("method.objective", OBJECTIVE),
    "field.residual": PRIOR["residual"],
    "field.encoding.backend": NETWORK["backend"],
    **_below("field.sdf", NETWORK),
    **_below("field.feature", NETWORK),
    **_below("field.feature.grid", NETWORK),
    **_below("field.colour", NETWORK),
    **_below("prior", PRIOR),
    **_below("init.pca", PRIOR),
    "init.schedule_offset": PRIOR["schedule_offset"],
    "init.frozen": SHARE,
    "init.geometry_rate": WEIGHT,
    **_below("init.regression", dict.fromkeys(("steps", "points", "sample_points"), COUNT)),
    "init.regression.learning_rate": RATE,
    **_below("renderer", dict.fromkeys(("radius", "threshold", "back_off"), LENGTH)),
    **_below(
        "renderer", dict.fromkeys(("steps", "back_offs", "secant_steps", "corrections"), whole(0, 10_000))
    ),
    "renderer.samples": whole(2, 100_000),
    "renderer.chunk": COUNT,
    "renderer.cells": whole(4, 2048),
    **_below(
        "renderer",
        dict.fromkeys(("refresh_interval", "longest_refresh_interval", "full_refresh_every"), COUNT),
    ),
    "renderer.fixed_shapes": FLAG | None,
    **_below("renderer", dict.fromkeys(("cuda_graphs", "analytic", "bf16_backward"), FLAG)),
}
"""headrecon."""

PRETRAIN = {
    **TRAINER,
    "data": PATH,
    "split": TEXT,
    "supervision": one_of("auto", "distances", "surface"),
    "max_steps": COUNT | None,
    "pool": COUNT,
    "turn": COUNT,
    "sigma_mm": LENGTH,
    "scan_points": COUNT,
    **_below("pca", dict.fromkeys(("latent_size", "workers"), COUNT)),
    **_below("pca", dict.fromkeys(("reach_mm", "step_mm"), LENGTH)),
    **_below("pca", dict.fromkeys(("portraits", "brightness_components", "face_components"), AMOUNT)),
    "pca.share": number(0, 1, below=True),
    "pca.full": FLAG,
    **_below("portrait", dict.fromkeys(("widths", "blocks"), list_of(whole(1, 4096), least=2))),
    **_below("portrait", dict.fromkeys(("head_width", "batch_size", "steps"), COUNT)),
    **_below("portrait", dict.fromkeys(("learning_rate", "weight_decay", "average"), RATE)),
    **_below("portrait.objective", dict.fromkeys(("parts", "alpha", "normals", "canonical"), WEIGHT)),
    **_below("portrait.objective", dict.fromkeys(("strand", "depth"), WEIGHT)),
    **_below("portrait", dict.fromkeys(("loaders", "validation_portraits", "final_portraits"), AMOUNT)),
    "training.name": TEXT,
    "validation.split": TEXT,
    "validation.every": AMOUNT,
    **_below("validation", dict.fromkeys(("heads", "final_heads"), COUNT)),
    "validation.points": whole(2),
    "validation.resolution": whole(2, 8192),
    "validation.scenes": PATH | None,
    "pictures": FLAG,
    "picture_px": whole(1, 8192),
    "trainer.devices": COUNT | TEXT | list_of(AMOUNT),
    "trainer.num_nodes": COUNT,
    "trainer.strategy": TEXT,
    "size.name": TEXT,
    **_below("size.network", NETWORK),
    "size.network.kind": one_of("mlp", "feature_grid"),
    "size.network.mean_mm": LENGTH,
    "size.network.grids_mm": list_of(list_of(LENGTH, 2)),
    "size.init": one_of("auto", "components", "sphere"),
    "size.steps": COUNT,
    "size.lattice_share": SHARE,
    **_below("size", dict.fromkeys(("nodes", "heads", "points"), COUNT)),
    "size.objective.clamp": LENGTH,
    **_below(
        "size.objective",
        dict.fromkeys(("face_weight", "latent_weight", "eikonal_weight", "normal_weight"), WEIGHT),
    ),
    "size.objective.lattice_reach_mm": LENGTH,
    **_below("size.rates", dict.fromkeys(("grids", "layers", "codes", "samples", "final"), RATE)),
    "size.rates.betas": list_of(number(0, 1, below=True), 2),
}
"""headrecon-pretrain."""

SERIES = {"out": PATH, "workers": COUNT | None, "report_only": FLAG, "extra": TEXTS}
SCHEMAS: Mapping[str, Mapping[str, Rule]] = {
    "train": TRAIN,
    "pretrain": PRETRAIN,
    "photos": {**PHOTOGRAPHS, "photographs": PATH | list_of(PATH, least=1), "out": PATH, "overwrite": FLAG},
    "validate": {**SCENE, "sheet": PATH | None},
    "export_scene": {**SCENE, "format": one_of("idr", "colmap", "nerfstudio"), "out": PATH, "unit": FLAG},
    "export_source_subject": {"run": PATH, "out": PATH, "optimizer": FLAG, "licence": TEXT | None},
    "get_head_model": {"out": PATH | None, "source": PATH | None, "url": TEXT | None, "force": FLAG},
    "make_scenes": {
        "out": PATH,
        "split": TEXT,
        "n": COUNT,
        "first": SEED,
        "style": TEXT | None,
        "people": one_of("usual", "expressive", "wide"),
        "turned": FLAG,
        "views": COUNT | None,
        "size": whole(16, 8192),
        "passes": list_of(TEXT, least=1),
        "truth_vertices": whole(100) | None,
        "workers": COUNT | None,
    },
    "make_samples": {
        "out": PATH,
        "split": one_of("train", "val", "test"),
        **dict.fromkeys(("n", "workers", "surface", "near", "volume"), COUNT),
        "first": SEED,
        "wide": SHARE,
        "template": FLAG,
        "truth_mm": LENGTH,
        "lattice_mm": LENGTH | None,
    },
    "make_portraits": {
        **dict.fromkeys(("n", "views", "people_per_shard", "workers"), COUNT),
        "out": PATH,
        "split": TEXT,
        "first": SEED,
        "size": whole(32, 2048),
        "held_out": TEXTS,
        "twins": FLAG,
    },
    "evaluate": {
        "pred": PATH,
        "data": PATH | None,
        "config": TEXT | None,
        "scenes": TEXT | TEXTS | None,
        "views": NUMBERS | None,
        "method_name": TEXT | None,
        **dict.fromkeys(("strict", "include_occluded", "heatmaps"), FLAG),
        "clip_mm": LENGTH,
        "workers": COUNT | None,
        "out": PATH | None,
        "demo_root": PATH,
    },
    "benchmark": {
        **SERIES,
        "data": PATH,
        "h3ds_root": PATH | None,
        "h3ds_tag": TEXT | None,
        "subjects": SUBJECTS,
        "views": NUMBERS,
        "methods": TEXT | list_of(TEXT, least=1),
        "seeds": SEED | list_of(SEED, least=1),
        "preset": PRESET,
        "reference": TEXT,
        "grid": FLAG,
        "grid_views": COUNT | None,
        "clip_mm": LENGTH,
    },
    "robustness": {
        **SERIES,
        "preset": one_of("quick", "full"),
        "data": PATH,
        "subjects": SUBJECTS,
        "faults": TEXTS | None,
        "variants": TEXTS | None,
        "method_name": TEXT,
        "views": COUNT,
        "seed": SEED,
        "size": PRESET,
        "scenes": PATH | None,
    },
    "speed": {
        "preset": one_of("quick", "full"),
        "out": PATH,
        "fresh": FLAG,
        "parts": TEXTS | None,
        "scene": PATH,
        "views": COUNT,
        "threads": COUNT | None,
        "device": ACCELERATOR,
        "extra": TEXTS,
    },
}
"""Rules of each command, by the name of its file in conf/ and the full name of the option."""
OPEN = ("logger.loggers", "benchmark.overrides", "robustness.overrides", "perception.hands")
"""Options whose content is free, or checked when it is built."""


def check(cfg: DictConfig, command: str) -> None:
    """Refuse values that make no sense; options that are missing are another's to name.

    Args:
        cfg: Configuration, whether resolved or not.
        command: Key of `SCHEMAS`.

    Raises:
        ConfigError: One sentence with the option, its value, and what was expected.
    """
    for name, value in values(cfg, SCHEMAS[command]):
        if not SCHEMAS[command][name].admits(value):
            raise ConfigError(f"{name}={_shown(value)}: expected {SCHEMAS[command][name].words}")


def check_groups(cfg: DictConfig, command: str) -> None:
    """Refuse a configuration in which something else stands in the place of options, such as `trainer: 3`.

    Raises:
        ConfigError: With the place.
    """
    for name in {name.partition(".")[0] for name in SCHEMAS[command] if "." in name} & set(map(str, cfg)):
        if not isinstance(OmegaConf.select(cfg, name), DictConfig):
            raise ConfigError(f"{name}={_shown(OmegaConf.select(cfg, name))}: expected options of its own")


def values(cfg: DictConfig, names: Mapping[str, Rule]) -> Iterator[tuple[str, Any]]:
    """Names and values of the options that a configuration has, of those that are asked for."""
    absent = object()
    for name in names:
        try:
            value = OmegaConf.select(cfg, name, default=absent)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{name}: {' '.join(str(error).split())}") from error
        if value is not absent:
            container = isinstance(value, DictConfig | ListConfig)
            yield name, OmegaConf.to_container(value, resolve=True) if container else value


def _shown(value: Any) -> str:
    """A value as it is typed, cut where it is long."""
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= 100 else f"{text[:100]}…"

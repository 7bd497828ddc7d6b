"""The parsers of the project: everything that reads a file that a stranger may have made, with a small sound file."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recon.calibration.landmarks import read_table
from recon.calibration.report import REPORT, photograph_names, read_pose, say_warnings
from recon.evaluation import Prediction, find, read_landmarks, read_mesh
from recon.geometry.obj import read_obj
from recon.perception.photograph import read_photograph
from recon.perception.tflite import TFLiteNetwork
from recon.perception.weights import WHEELS_GLOB, extract
from recon.priors import load_shape_prior, load_source_subject, source_subjects
from recon.priors.data.dataset import SampleFolder
from recon.priors.data.scans import read_scan
from recon.scene import opening
from recon.scene.annotations import read_pixels
from recon.scene.h3ds.dataset import H3DS, Mesh
from recon.scene.h3ds.layout import read_version
from recon.scene.h3ds.unpack import unpack
from recon.scene.images import read_image, read_mask
from recon.scene.scene import read_indices
from recon.scene.scene import read_landmarks as read_vertex_landmarks
from recon.synth.datasets.sample_files import read_manifest
from recon.synth.datasets.template import read_template
from recon.synth.model.head_model import load_head_model
from recon.synth.model.source import Source, content_digest
from recon.systems.checkpoint import load_checkpoint
from tools.fuzzing import seeds
from tools.fuzzing.flatbuffer import tflite

Maker = Callable[[Path], Path]


@dataclass(frozen=True)
class Parser:
    """A parser with a sound file for it.

    Attributes:
        name: Its name.
        form: Form of the file, see `tools.fuzzing.mutations.FORMS`.
        make: Writes the file, and what must lie beside it, into an empty folder; returns the path of the file.
        read: Reads the file.
    """

    name: str
    form: str
    make: Maker
    read: Callable[[Path], Any]


def _file(name: str, content: Callable[[], bytes]) -> Maker:
    """A maker of one file."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return make


def _text(name: str, content: str) -> Maker:
    return _file(name, lambda: content.encode())


def _table(name: str, content: Any) -> Maker:
    return _file(name, lambda: json.dumps(content, indent=1).encode())


def _by(write: Callable[[Path], Path], name: str = "prior.safetensors") -> Maker:
    return lambda folder: write(folder / name)


def _read_scene(path: Path) -> Any:
    """Opens the scene that a file belongs to, with all that its description says."""
    folder = path.parent if (path.parent / "cameras.npz").is_file() else path.parent / "demo"
    scene = opening.open(folder)
    views = [(view.camera.centre, view.landmarks()) for view in scene.views]
    return scene.scale_mat, scene.front(), views, scene.select(min(2, len(scene.available())))


def _read_data_set(path: Path) -> Any:
    """Everything of a data set in the layout of H3DS that its description decides."""
    data = H3DS(path.parent)
    for name in data.scenes():
        for key in data.default_views_configs(name):
            data.helper.views(name, key)
        data.helper.scene_views(name)
        data.helper.scene_tags(name)
    return data.is_available(), _read_scene(path)


def _read_version(path: Path) -> Any:
    return H3DS(path.parent).is_available(), read_version(path.parent)


def _read_h3ds_picture(path: Path) -> Any:
    return H3DS(path.parents[2]).load_images("demo", "1")


def _read_prediction(path: Path) -> Any:
    return Prediction(read_mesh(path), name=path.name)


def _read_prediction_landmarks(path: Path) -> Any:
    mesh = path.with_name("demo_3.ply")
    return Prediction(read_mesh(mesh), landmarks=read_landmarks(mesh), name=str(path))


def _prediction_with_landmarks(folder: Path) -> Path:
    (folder / "demo_3.ply").write_bytes(seeds.mesh("ply"))
    path = folder / "demo_3.landmarks.json"
    path.write_text(json.dumps({"nose_tip": 3, "left_eye": [1.0, 2.0, 3.5], "right_eye": 7}))
    return path


def _read_report(path: Path) -> Any:
    say_warnings(path.parent)
    return read_pose(path.parent), photograph_names(path.parent)


def _unpack(password: str, path: Path) -> None:
    out = path.parent / "out"
    try:
        unpack(path, out, password, max_bytes=10**8)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _read_manifest(path: Path) -> Any:
    data = SampleFolder(path.parents[1], "train")
    return data.load(0), read_manifest(path.parents[1], "train")


def _read_samples(path: Path) -> Any:
    data = SampleFolder(path.parents[1], "train")
    return data.load(0), data.lattice(0), data.of_all("landmarks")


def _scan(folder: Path) -> Path:
    """A scan with landmarks; those of the face as far as the ball has them."""
    from recon.geometry.frames import LANDMARKS_MM

    (folder / "scan.ply").write_bytes(seeds.mesh("ply"))
    (folder / "scan_landmarks.txt").write_text(
        "".join(f"{name} {5 * number}\n" for number, name in enumerate(LANDMARKS_MM))
    )
    return folder / "scan.ply"


def _read_head_model(path: Path) -> Any:
    from recon.synth.model import head_model

    head_model._load.cache_clear()
    return load_head_model(path)


def _read_table(path: Path) -> Any:
    """The table of 468 landmarks, with a shape model that stands in for the shipped one."""
    return read_table(path)


def _run(relative: str) -> Maker:
    def make(folder: Path) -> Path:
        seeds.write_run(folder / "run")
        return folder / "run" / relative

    return make


def _read_run_metrics(path: Path) -> Any:
    return source_subjects._about(path.parent, seeds.RUN_CONFIG, 3)


def _read_source(path: Path) -> Any:
    from recon.synth.model.convert import _vertex_lists

    source = Source(path)
    return content_digest(source), _vertex_lists(source)


def _networks_wheel() -> bytes:
    from recon.perception.weights import NETWORKS
    from tools.fuzzing.mutations import zipped

    return zipped({network.member: b"x" * 20 for network in NETWORKS})


def _extract(path: Path) -> None:
    """The wheel holds no networks: refused it must be, by name."""
    try:
        extract(path, path.parent / "networks")
    finally:
        shutil.rmtree(path.parent / "networks", ignore_errors=True)


_WHEEL = WHEELS_GLOB.replace("*", "any")
_LANDMARKS = "nose_tip 3\nleft_eye 17\n\nright_eye 5\n"
_PIXELS = {"nose_tip": [5.5, 4.25], "left_eye": [7, 3], "landmark_12": [1, 9]}

PARSERS: tuple[Parser, ...] = (
    Parser("cameras", "npz", seeds.write_scene, _read_scene),
    Parser("data_set_description", "text", seeds.write_h3ds, _read_data_set),
    Parser("data_set_version", "text", lambda f: seeds.write_h3ds(f).with_name("version.txt"), _read_version),
    Parser("photograph_jpeg", "bytes", _file("a.jpg", partial(seeds.picture, "JPEG")), read_photograph),
    Parser("photograph_png", "png", _file("a.png", partial(seeds.picture, "PNG", "RGBA")), read_photograph),
    Parser("photograph_webp", "bytes", _file("a.webp", partial(seeds.picture, "WEBP")), read_photograph),
    Parser("photograph_tiff", "bytes", _file("a.tif", partial(seeds.picture, "TIFF")), read_photograph),
    Parser("photograph_bmp", "bytes", _file("a.bmp", partial(seeds.picture, "BMP")), read_photograph),
    Parser("image_jpeg", "bytes", _file("a.jpg", partial(seeds.picture, "JPEG")), read_image),
    Parser("image_png", "png", _file("a.png", partial(seeds.picture, "PNG", "P")), read_image),
    Parser("image_tiff", "bytes", _file("a.tif", partial(seeds.picture, "TIFF", "I;16")), read_image),
    Parser("image_h3ds", "bytes", lambda f: seeds.write_h3ds(f).parent / "demo/image/img_0000.jpg", _read_h3ds_picture),
    Parser("mask", "png", _file("a.png", seeds.mask), read_mask),
    Parser("mask_tiff", "bytes", _file("a.tif", partial(seeds.picture, "TIFF", "1")), read_mask),
    Parser("landmarks_in_photograph", "json", _table("a.json", _PIXELS), lambda p: read_pixels(p, 12, 10)),
    Parser("landmarks_of_truth", "text", _text("a.txt", _LANDMARKS), read_vertex_landmarks),
    Parser("region", "text", _text("face.txt", "3\n17\n5\n\n8\n"), read_indices),
    Parser("obj", "text", _file("a.obj", partial(seeds.mesh, "obj")), lambda p: read_obj(p).mesh()),
    Parser("h3ds_mesh", "bytes", _file("a.ply", partial(seeds.mesh, "ply")), lambda p: Mesh().load(p)),
    Parser("prediction_obj", "text", _file("demo_3.obj", partial(seeds.mesh, "obj")), _read_prediction),
    Parser("prediction_ply", "bytes", _file("demo_3.ply", partial(seeds.mesh, "ply")), _read_prediction),
    Parser("prediction_ascii_ply", "text", _file("demo_3.ply", partial(seeds.mesh, "ascii_ply")), _read_prediction),
    Parser(
        "prediction_textured_ply", "bytes", _file("demo_3.ply", partial(seeds.mesh, "textured_ply")), _read_prediction
    ),
    Parser("prediction_stl", "bytes", _file("demo_3.stl", partial(seeds.mesh, "stl")), _read_prediction),
    Parser("prediction_ascii_stl", "text", _file("demo_3.stl", partial(seeds.mesh, "ascii_stl")), _read_prediction),
    Parser("prediction_glb", "glb", _file("demo_3.glb", partial(seeds.mesh, "glb")), _read_prediction),
    Parser("prediction_landmarks", "json", _prediction_with_landmarks, _read_prediction_landmarks),
    Parser("run_metrics", "json", _run("metrics.json"), lambda p: find(p.parent)),
    Parser("data_set_zip", "zip", _file("set.zip", seeds.data_set_zip), partial(_unpack, "")),
    Parser(
        "encrypted_zip", "bytes", _file("set.zip", partial(seeds.data_set_zip, b"secret")), partial(_unpack, "secret")
    ),
    Parser("network_tflite", "bytes", _file("a.tflite", tflite), TFLiteNetwork),
    Parser("networks_wheel", "zip", _file(_WHEEL, _networks_wheel), _extract),
    Parser("calibration_report", "json", _table(REPORT, seeds.calibration()), _read_report),
    Parser("landmark_table", "npz", _file("landmarks468.npz", seeds.landmark_table), _read_table),
    Parser("prior_mlp", "safetensors", _by(seeds.write_mlp_prior), load_shape_prior),
    Parser("prior_feature_grid", "safetensors", _by(seeds.write_feature_grid_prior), load_shape_prior),
    Parser("prior_pca", "safetensors", _by(seeds.write_pca_prior), load_shape_prior),
    Parser("prior_pca_packed", "safetensors", _by(partial(seeds.write_pca_prior, compressed=True)), load_shape_prior),
    Parser("source_subject", "safetensors", _by(seeds.write_source_subject), load_source_subject),
    Parser("source_run_config", "json", _run("config.yaml"), lambda p: load_source_subject(p.parent)),
    Parser("source_run_metrics", "json", _run("metrics.json"), _read_run_metrics),
    Parser("source_run_checkpoint", "zip", _run("checkpoints/last.ckpt"), lambda p: load_source_subject(p.parents[1])),
    Parser("checkpoint", "zip", _run("checkpoints/last.ckpt"), load_checkpoint),
    Parser("sample_manifest", "json", seeds.write_samples, _read_manifest),
    Parser("samples", "npz", lambda f: seeds.write_samples(f).with_name("shard.npz"), _read_samples),
    Parser("scan", "bytes", _scan, read_scan),
    Parser(
        "scan_landmarks", "text", lambda f: _scan(f).with_name("scan_landmarks.txt"),
        lambda p: read_scan(p.with_name("scan.ply")),
    ),
    Parser("template", "safetensors", _by(seeds.write_template_file), read_template),
    Parser("head_model", "npz", _file("model.npz", seeds.head_model), _read_head_model),
    Parser("head_model_source", "zip", _file("ict.zip", seeds.source_zip), _read_source),
)  # fmt: skip
"""All parsers. `networks_wheel` and `encrypted_zip` refuse even the sound file."""

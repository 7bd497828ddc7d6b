"""The pretrained epoch: another subject's networks to start from (BaseH3D-Net)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recon.errors import PriorError
from recon.fields import Field
from recon.priors.prior import FittedHead, Networks, SceneObservations, Start
from recon.priors.source_subjects import SourceSubject, load_source_subject, sizes
from recon.resources import PRIORS

log = logging.getLogger(__name__)

SOURCE_SUBJECTS = PRIORS / "source_subjects"
LOADS = ("weights", "weights+optimizer")
SCALE_TOLERANCE = 0.1


class PretrainedEpochPrior:
    """Training starts from the networks of a source subject: one subject that IDR has learned from many views.

    The method is BaseH3D-Net (Polak and Dawe, 2022): 500 epochs of IDR on one subject with 32 views, then
    2000 on each new subject from its few views, with the same networks and losses. It has no code, freezes
    nothing and aligns nothing: source subject and scene must share a normalised frame, as scenes of H3DS do, so that
    their unit spheres show heads of about the same size and pose. What no view shows keeps the source subject's face.

    The recipe as written hands over a checkpoint and trains on at a constant rate:
    `prior.load=weights prior.schedule_offset=0 method.objective.learning_rate_milestones=[]`.

    What resuming in the published code really does is more. Besides the weights of both networks it restores
    Adam's moments and the scheduler, and it goes on counting epochs from 500 instead of 0. So the milestones
    250 and 500 of α lie behind the new subject when it begins: α starts at 200, not 50, and doubles at its
    own epochs 250, 500 and 750; the learning rate, said to be constant, halves at its epochs 500 and 1000.
    500 of the 2000 epochs that IDR's schedules are made for are a quarter:
    `prior.load=weights+optimizer prior.schedule_offset=0.25` with IDR's milestones is that run, and the default.

    Args:
        source_subject: A file of headrecon-export-source-subject, the folder of a run, the name of a file in
            `source_subjects_folder`, a list of these, or `auto` for all files of `source_subjects_folder` whose
            networks have the size configured.
        source_subjects_folder: Where source subjects lie; None for priors/source_subjects of the project.
        load: `weights`, or `weights+optimizer` to go on with Adam's moments too.
        schedule_offset: Fraction of the schedules that counts as passed at the first step.

    Raises:
        ValueError: `load` or `schedule_offset` is not one of these.
    """

    def __init__(
        self,
        source_subject: str | Path | Sequence[str | Path] = "auto",
        source_subjects_folder: str | Path | None = None,
        load: str = "weights+optimizer",
        schedule_offset: float = 0.25,
    ) -> None:
        if load not in LOADS:
            raise ValueError(f"prior.load is one of {', '.join(LOADS)}, not {load!r}")
        if not 0 <= schedule_offset < 1:
            raise ValueError(
                f"prior.schedule_offset is a fraction of the training in [0, 1), not {schedule_offset}"
            )
        self.source_subject, self.load, self.schedule_offset = source_subject, load, schedule_offset
        self.folder = (
            SOURCE_SUBJECTS if source_subjects_folder is None else Path(source_subjects_folder).expanduser()
        )

    def starts(
        self, networks: Networks, observations: SceneObservations, fitted: FittedHead | None = None
    ) -> Mapping[str, Start]:
        """A start for each source subject, `pretrained_epoch:NAME`; no fitted head is used.

        Raises:
            PriorError: A source subject is missing, broken, of another size than the networks, or has no moments of
                Adam when they are to be loaded; with `auto`, if that is so of all.
        """
        starts: dict[str, Start] = {}
        refused = []
        for path in self._paths():
            try:
                source_subject = load_source_subject(path)
                start = self._start(source_subject, networks)
            except PriorError as error:
                if self.source_subject != "auto":
                    raise
                refused.append(error)
                continue
            name = f"pretrained_epoch:{source_subject.name}"
            if name in starts:
                raise PriorError(
                    f"two source subjects are called {source_subject.name}: rename one of the files or folders"
                )
            _warn_of_scale(source_subject, observations)
            starts[name] = start
        if not starts:
            raise refused[0]
        for reason in refused:
            log.warning("left out: %s", reason)
        return starts

    def _paths(self) -> Sequence[Path]:
        if self.source_subject != "auto":
            given = (
                [self.source_subject]
                if isinstance(self.source_subject, (str, Path))
                else list(self.source_subject)
            )
            if not given:
                raise PriorError(
                    "prior.source_subject is an empty list: name at least one source subject, or take auto"
                )
            return [self._path(each) for each in given]
        found = sorted(self.folder.glob("*.safetensors"))
        if not found:
            raise PriorError(
                f"prior.source_subject=auto: there is no *.safetensors in {self.folder}. Train a subject "
                f"from many views "
                "(python train.py scene=S views=32 method=idr), then prior.source_subject=RUNFOLDER, or put it there: "
                f"headrecon-export-source-subject run=RUNFOLDER out={self.folder}/NAME.safetensors"
            )
        return found

    def _path(self, given: str | Path) -> Path:
        """The path of a source subject that is given as file, folder, or name in the folder of source subjects."""
        path, named = Path(given).expanduser(), self.folder / f"{given}.safetensors"
        if path.exists():
            return path
        if named.is_file():
            return named
        known = ", ".join(sorted(file.stem for file in self.folder.glob("*.safetensors"))) or "nothing"
        raise PriorError(
            f"prior.source_subject={given}: expected a file of headrecon-export-source-subject, the folder "
            f"of a run, or a name in "
            f"{self.folder} (it holds {known})"
        )

    def _start(self, source_subject: SourceSubject, networks: Networks) -> Start:
        if self.load == "weights+optimizer" and source_subject.adam is None:
            raise PriorError(
                f"source subject {source_subject.name} has no moments of Adam: take prior.load=weights, or "
                f"export it again with "
                "optimizer=true"
            )
        field, colour = networks.sdf(), networks.colour()
        _give(source_subject, {"sdf": field, "colour": colour})
        state = source_subject.adam if self.load == "weights+optimizer" else None
        return Start(field, colour, self.schedule_offset, optimizer_state=state)


def _give(source_subject: SourceSubject, networks: Mapping[str, nn.Module]) -> None:
    """Loads the source subject's weights into networks that compute what its own do.

    Raises:
        PriorError: They are of another kind or size, or compute something else with the same weights.
    """
    for part, theirs in source_subject.networks().items():
        ours = type(networks[part]).__name__
        if type(theirs).__name__ != ours:
            raise PriorError(
                f"source subject {source_subject.name}: its {part} network is a {type(theirs).__name__}, "
                f"the configuration makes a "
                f"{ours}. Take the field that the source subject was trained with (of a run, see its "
                f"config.yaml; those that "
                "ship are field=mlp), or another source subject: prior.source_subject=…"
            )
    remedy = (
        f"Take the source subject's networks: {_overrides(source_subject)}; or another source subject: "
        f"prior.source_subject=…"
    )
    for part, network in networks.items():
        given, wanted = source_subject.state(part), network.state_dict()
        if _shapes(given) != _shapes(wanted):
            raise PriorError(
                f"source subject {source_subject.name}: its {part} network has layers "
                f"{' '.join(sizes(given))}, the configuration "
                f"makes {' '.join(sizes(wanted))}. {remedy}"
            )
        network.load_state_dict(given)
    # The same sizes may still hide another beta, skip or mode.
    for expected, came in zip(_answers(source_subject.networks()), _answers(networks), strict=True):
        if not torch.allclose(expected, came, rtol=1e-3, atol=1e-4):
            raise PriorError(
                f"source subject {source_subject.name}: networks of the configuration have its sizes but "
                f"other settings: the same "
                f"weights give other values. {remedy}"
            )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _answers(networks: Mapping[str, nn.Module]) -> tuple[Tensor, Tensor]:
    """Signed distances and colours at a few points."""
    field, colour = networks["sdf"], networks["colour"]
    assert isinstance(field, Field)
    generator = torch.Generator().manual_seed(0)
    points, normals, to_camera = torch.rand(3, 64, 3, generator=generator) * 1.6 - 0.8
    with torch.no_grad():
        sample = field(points)
        return sample.sdf, colour(points, normals, nn.functional.normalize(to_camera), sample.feature)


def _overrides(source_subject: SourceSubject) -> str:
    """The command line that makes the source subject's networks."""
    return " ".join(
        f"field.{part}.{name}={value}".replace(" ", "")
        for part, arguments in source_subject.fields.items()
        for name, value in arguments.items()
        if name != "_target_"
    )


def _warn_of_scale(source_subject: SourceSubject, observations: SceneObservations) -> None:
    """Warns where the unit spheres of source subject and scene differ in size, since nothing aligns them."""
    theirs = source_subject.about.get("world_from_unit")
    if theirs is None:
        return
    source_mm, scene_mm = (
        np.cbrt(np.linalg.det(np.asarray(m)[:3, :3])) for m in (theirs, observations.world_from_unit)
    )
    if abs(scene_mm / source_mm - 1) > SCALE_TOLERANCE:
        log.warning(
            "source subject %s: its unit sphere has a radius of %.0f mm, the scene's one of %.0f mm; the "
            "source subject's head will "
            "start at %.2f of its size. Use a source subject whose scene was normalised alike.",
            source_subject.name, source_mm, scene_mm, scene_mm / source_mm,
        )  # fmt: skip

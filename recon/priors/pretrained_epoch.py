"""The pretrained epoch: another subject's networks to start from (BaseH3D-Net)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import recon
from recon.errors import PriorError
from recon.fields import Field
from recon.priors.prior import Evidence, Networks, Start
from recon.priors.source_subjects import Donor, load_donor, sizes

log = logging.getLogger(__name__)

DONORS = Path(recon.__file__).resolve().parents[1] / "priors" / "donors"
LOADS = ("weights", "weights+optimizer")
SCALE_TOLERANCE = 0.1


class PretrainedEpochPrior:
    """Training starts from the networks of a donor: one subject that IDR has learned from many views.

    The method is BaseH3D-Net (Polak and Dawe, 2022): 500 epochs of IDR on one subject with 32 views, then
    2000 on each new subject from its few views, with the same networks and losses. It has no code, freezes
    nothing and aligns nothing: donor and scene must share a normalised frame, as scenes of H3DS do, so that
    their unit spheres show heads of about the same size and pose. What no view shows keeps the donor's face.

    The recipe as written hands over a checkpoint and trains on at a constant rate:
    `load=weights schedule_offset=0`, and in the method `objective.learning_rate_milestones=[]`.

    What resuming in the published code really does is more. Besides the weights of both networks it restores
    Adam's moments and the scheduler, and it goes on counting epochs from 500 instead of 0. So the milestones
    250 and 500 of α lie behind the new subject when it begins: α starts at 200, not 50, and doubles at its
    own epochs 250, 500 and 750; the learning rate, said to be constant, halves at its epochs 500 and 1000.
    500 of the 2000 epochs that IDR's schedules are made for are a quarter:
    `load=weights+optimizer schedule_offset=0.25` with IDR's milestones is that run, and the default.

    Args:
        donor: A file of scripts/export_donor.py, the folder of a run, the name of a file in `donors_folder`, a
            list of these, or `auto` for all files of `donors_folder` whose networks have the size configured.
        donors_folder: Where donors lie; None for priors/donors of the project.
        load: `weights`, or `weights+optimizer` to go on with Adam's moments too.
        schedule_offset: Fraction of the schedules that counts as passed at the first step.

    Raises:
        ValueError: `load` or `schedule_offset` is not one of these.
    """

    def __init__(
        self,
        donor: str | Path | Sequence[str | Path] = "auto",
        donors_folder: str | Path | None = None,
        load: str = "weights+optimizer",
        schedule_offset: float = 0.25,
    ) -> None:
        if load not in LOADS:
            raise ValueError(f"load is one of {', '.join(LOADS)}, not {load!r}")
        if not 0 <= schedule_offset < 1:
            raise ValueError(
                f"schedule_offset is a fraction of the training in [0, 1), not {schedule_offset}"
            )
        self.donor, self.load, self.schedule_offset = donor, load, schedule_offset
        self.folder = DONORS if donors_folder is None else Path(donors_folder).expanduser()

    def starts(self, networks: Networks, evidence: Evidence) -> Mapping[str, Start]:
        """A start for each donor, `pretrained_epoch:NAME`.

        Raises:
            PriorError: A donor is missing, broken, of another size than the networks, or has no moments of
                Adam when they are to be loaded; with `auto`, if that is so of all.
        """
        starts: dict[str, Start] = {}
        refused = []
        for path in self._paths():
            try:
                donor = load_donor(path)
                start = self._start(donor, networks)
            except PriorError as error:
                if self.donor != "auto":
                    raise
                refused.append(error)
                continue
            name = f"pretrained_epoch:{donor.name}"
            if name in starts:
                raise PriorError(f"two donors are called {donor.name}: rename one of the files or folders")
            _warn_of_scale(donor, evidence)
            starts[name] = start
        if not starts:
            raise refused[0]
        for reason in refused:
            log.warning("left out: %s", reason)
        return starts

    def _paths(self) -> Sequence[Path]:
        if self.donor != "auto":
            given = [self.donor] if isinstance(self.donor, (str, Path)) else list(self.donor)
            if not given:
                raise PriorError("prior.donor is an empty list: name at least one donor, or take auto")
            return [self._path(each) for each in given]
        found = sorted(self.folder.glob("*.safetensors"))
        if not found:
            raise PriorError(
                f"prior.donor=auto: there is no *.safetensors in {self.folder}. Train a subject from many views "
                "(python train.py scene=S views=32 method=idr), then prior.donor=RUNFOLDER, or put it there: "
                f"python scripts/export_donor.py run=RUNFOLDER out={self.folder}/NAME.safetensors"
            )
        return found

    def _path(self, given: str | Path) -> Path:
        """A file or folder as it is given, or a name in the donors' folder."""
        path, named = Path(given).expanduser(), self.folder / f"{given}.safetensors"
        if path.exists():
            return path
        if named.is_file():
            return named
        known = ", ".join(sorted(file.stem for file in self.folder.glob("*.safetensors"))) or "nothing"
        raise PriorError(
            f"prior.donor={given}: expected a file of scripts/export_donor.py, the folder of a run, or a name in "
            f"{self.folder} (it holds {known})"
        )

    def _start(self, donor: Donor, networks: Networks) -> Start:
        if self.load == "weights+optimizer" and donor.adam is None:
            raise PriorError(
                f"donor {donor.name} has no moments of Adam: take prior.load=weights, or export it again with "
                "optimizer=true"
            )
        field, colour = networks.sdf(), networks.colour()
        _give(donor, {"sdf": field, "colour": colour})
        state = donor.adam if self.load == "weights+optimizer" else None
        return Start(field, colour, self.schedule_offset, optimizer_state=state)


def _give(donor: Donor, networks: Mapping[str, nn.Module]) -> None:
    """Loads the donor's weights into networks that compute what its own do.

    Raises:
        PriorError: They are of another kind or size, or compute something else with the same weights.
    """
    for part, theirs in donor.networks().items():
        ours = type(networks[part]).__name__
        if type(theirs).__name__ != ours:
            raise PriorError(
                f"donor {donor.name}: its {part} network is a {type(theirs).__name__}, the configuration makes a "
                f"{ours}. Take the field that the donor was trained with (of a run, see its config.yaml; those that "
                "ship are field=mlp), or another donor: prior.donor=…"
            )
    remedy = f"Take the donor's networks: {_overrides(donor)}; or another donor: prior.donor=…"
    for part, network in networks.items():
        given, wanted = donor.state(part), network.state_dict()
        if _shapes(given) != _shapes(wanted):
            raise PriorError(
                f"donor {donor.name}: its {part} network has layers {' '.join(sizes(given))}, the configuration "
                f"makes {' '.join(sizes(wanted))}. {remedy}"
            )
        network.load_state_dict(given)
    # The same sizes may still hide another beta, skip or mode.
    for expected, came in zip(_answers(donor.networks()), _answers(networks), strict=True):
        if not torch.allclose(expected, came, rtol=1e-3, atol=1e-4):
            raise PriorError(
                f"donor {donor.name}: networks of the configuration have its sizes but other settings: the same "
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


def _overrides(donor: Donor) -> str:
    """The command line that makes the donor's networks."""
    return " ".join(
        f"field.{part}.{name}={value}".replace(" ", "")
        for part, arguments in donor.fields.items()
        for name, value in arguments.items()
        if name != "_target_"
    )


def _warn_of_scale(donor: Donor, evidence: Evidence) -> None:
    """Nothing aligns donor and scene, so their unit spheres must be of about the same size."""
    theirs = donor.about.get("world_from_unit")
    if theirs is None:
        return
    donor_mm, scene_mm = (
        np.cbrt(np.linalg.det(np.asarray(m)[:3, :3])) for m in (theirs, evidence.world_from_unit)
    )
    if abs(scene_mm / donor_mm - 1) > SCALE_TOLERANCE:
        log.warning(
            "donor %s: its unit sphere has a radius of %.0f mm, the scene's one of %.0f mm; the donor's head will "
            "start at %.2f of its size. Use a donor whose scene was normalised alike.",
            donor.name, donor_mm, scene_mm, scene_mm / donor_mm,
        )  # fmt: skip

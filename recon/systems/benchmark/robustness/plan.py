"""A benchmark of faults: subjects x faults x variants of one method, each a run of headrecon.

It is a benchmark (`recon.systems.benchmark.plan`) whose methods are the variants, settings of one method that switch a
mend off, and whose scenes are the faulty ones, named `<fault>-<subject>`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from recon import scene as scenes
from recon.errors import ConfigError
from recon.synth.datasets.faults import CLEAN, FAULTS
from recon.synth.datasets.faulty_scenes import Relight, write_faulty_scene
from recon.synth.datasets.relighting import RelitSubject
from recon.systems.benchmark.options import methods
from recon.systems.benchmark.plan import Plan
from recon.systems.config import CONF, PRESETS


@dataclass(frozen=True)
class Preset:
    """What is run where nothing else is asked for.

    Attributes:
        subjects: of SynthHeads-10.
        faults: names of `FAULTS`.
        variants: the first so many; None for all.
    """

    subjects: tuple[str, ...]
    faults: tuple[str, ...]
    variants: int | None


_LEFT_OUT_IF_QUICK = ("mask_1px", "mask_3px", "camera_025")
QUICK_AND_FULL = {
    "quick": Preset(("chen",), tuple(name for name in FAULTS if name not in _LEFT_OUT_IF_QUICK), 1),
    "full": Preset(("aldo", "chen", "fara"), tuple(FAULTS), None),
}


@dataclass(frozen=True)
class Choice:
    """What a command asks for.

    Attributes:
        subjects: names or number of them, as `benchmark_data.folder` takes them.
        faults: names of `FAULTS`, the clean scene first.
        variants: overrides of headrecon by name; the first is the one without anything switched off.
        views: number of input views.
        seed: of faults and runs.
    """

    subjects: int | Sequence[str]
    faults: Sequence[str]
    variants: Mapping[str, Sequence[str]]
    views: int
    seed: int


def choice(options: Mapping[str, Any]) -> Choice:
    """What the options of conf/robustness.yaml mean; all that can be checked before any work is.

    Raises:
        ConfigError: an option is of a wrong kind, or names something that there is not.
    """
    _check_settings(options)
    preset = QUICK_AND_FULL[options["preset"]]
    faults = _named(options["faults"], preset.faults, list(FAULTS), "faults")
    overrides = options["overrides"]
    first = list(overrides)[: preset.variants]
    variants = _named(options["variants"], first, list(overrides), "variants")
    subjects = options["subjects"] if options["subjects"] is not None else preset.subjects
    return Choice(
        [subjects] if isinstance(subjects, str) else subjects,
        [CLEAN, *(name for name in faults if name != CLEAN)],
        {name: overrides[name] for name in variants},
        options["views"],
        options["seed"],
    )


def _check_settings(options: Mapping[str, Any]) -> None:
    """Refuses options of a wrong kind."""
    if options["preset"] not in QUICK_AND_FULL:
        raise ConfigError(f"preset={options['preset']}: choose {' or '.join(QUICK_AND_FULL)}")
    if options["size"] not in ("auto", *PRESETS):
        raise ConfigError(f"size={options['size']}: choose auto, {', '.join(PRESETS)}")
    for name, least in (("views", 1), ("seed", 0), ("workers", 1)):
        value = options[name]
        if not (name == "workers" and value is None) and (type(value) is not int or value < least):
            raise ConfigError(f"{name}={value}: expected a number from {least} on")
    if options["method_name"] not in methods():
        raise ConfigError(f"method_name={options['method_name']}: choose from {', '.join(methods())}")
    for name, settings in {"extra": options["extra"], **options["overrides"]}.items():
        if not isinstance(settings, list) or not all(isinstance(s, str) and "=" in s for s in settings):
            raise ConfigError(
                f"{name}: {settings!r} are no options of headrecon: expected ['key=value', ...]"
            )
        if not name.replace("_", "").isalnum():
            raise ConfigError(f"overrides: {name!r} is no name for a variant: use letters, digits and '_'")


def check(plan: Plan) -> None:
    """Refuse before any work variants that headrecon does not understand.

    Raises:
        ConfigError: an option of a variant does not exist for the method.
    """
    for variant, cell in {cell.method: cell for cell in plan.cells()}.items():
        settings = [each for each in plan.arguments(cell) if not each.startswith("hydra.")]
        # Under a script's own hydra.main, which looks in conf/ too, nothing more may be initialised.
        started = GlobalHydra.instance().is_initialized()
        try:
            with nullcontext() if started else initialize_config_dir(str(CONF), version_base="1.3"):
                compose("train", overrides=settings)
        except HydraException as error:
            raise ConfigError(
                f"variant {variant}: {' '.join(str(error).split())}. Leave it out (variants=[...]), or say what "
                f"switches the mend off in this method (overrides.{variant}=[...])"
            ) from error


def _named(asked: Any, otherwise: Sequence[str], known: Sequence[str], option: str) -> list[str]:
    """What a list names, in the order of what is known."""
    wanted = otherwise if asked is None else [asked] if isinstance(asked, str) else asked
    if not wanted or (unknown := [name for name in wanted if name not in known]):
        lacking = f"there is no {unknown[0]!r}" if wanted else "the list is empty"
        raise ConfigError(f"{option}: {lacking}; choose from {', '.join(known)}")
    return [name for name in known if name in wanted]


def faulty_scenes(
    folders: Mapping[str, Path], choice: Choice, root: Path, say: Callable[[str], None]
) -> dict[str, Path]:
    """The faulty scenes of all subjects, made where they are missing, in `<root>/<views>/<fault>/<subject>`.

    Args:
        folders: scenes without fault by subject.
        choice: which faults, how many views.
        root: of them all.
        say: told of every scene made.

    Returns:
        Folders by name, those of a subject after one another.

    Raises:
        SceneError: a scene cannot be read, lies there with other contents, or cannot be photographed again.
        ConfigError: it has to be photographed again, and the head model is not there.
    """
    made: dict[str, Path] = {}
    for subject, folder in folders.items():
        scene = scenes.open(folder)

        @cache
        def relight(scene: scenes.Scene = scene) -> Relight:
            return RelitSubject.from_scene(scene).photograph

        for name in choice.faults:
            where = root / str(choice.views) / name
            path, new = write_faulty_scene(
                where, scene, choice.views, FAULTS[name], seed=choice.seed, relight=relight
            )
            made[scene_name(name, subject)] = path
            if new:
                say(f"made {path}: {FAULTS[name].shows}")
    return made


def scene_name(fault: str, subject: str) -> str:
    """How runs and tables name a faulty scene."""
    return f"{fault}-{subject}"


def fault_and_subject(name: str) -> tuple[str, str]:
    """The parts of `scene_name`; faults have no dash.

    Raises:
        ConfigError: there is no such fault.
    """
    fault, _, subject = name.partition("-")
    if fault not in FAULTS or not subject:
        raise ConfigError(
            f"{name} is no run of this benchmark: expected <fault>-<subject> with a fault of {', '.join(FAULTS)}"
        )
    return fault, subject


def plan(
    choice: Choice, subjects: Mapping[str, Path], out: Path, options: Mapping[str, Any], **others: Any
) -> Plan:
    """The runs as a benchmark.

    Args:
        choice: what is asked for.
        subjects: faulty scenes by name.
        out: folder of the benchmark, absolute.
        options: `method_name`, `size`, `extra` of conf/robustness.yaml.
        **others: passed on to `Plan`.
    """
    return Plan(
        out,
        subjects,
        [choice.views],
        list(choice.variants),
        [choice.seed],
        options["size"],
        options["extra"],
        {name: [f"method={options['method_name']}", *own] for name, own in choice.variants.items()},
        **others,
    )

"""A benchmark: subjects x views x methods x seeds, each a run of headrecon in a process of its own.

`<out>/runs/<method>/<views>/<scene>-<seed>/` is the run folder of a cell. Beside what headrecon leaves there it
holds `benchmark.json`: how the run was made. `<scene>-<seed>.log` beside the folder is what headrecon printed,
`<scene>-<seed>.failed.json` why there are no numbers. A cell is done when it has a `metrics.json`.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from recon.errors import ConfigError
from recon.files import decoded
from recon.reading import listed, read_bytes, reading, text

TRAIN = (sys.executable, "-P", "-m", "recon.commands.train")  # -P: not what lies in the present folder
_WHERE_AND_WHAT = ("scene", "views", "seed", "resume", "hydra.run.dir")


@dataclass(frozen=True)
class Cell:
    """One run of the benchmark.

    Attributes:
        method: a name of conf/method, or a label whose overrides name the method.
        views: number of input views asked for.
        scene: name of the subject.
        seed: of every random draw.
    """

    method: str
    views: int
    scene: str
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.method}, {self.scene}, {self.views} view{'s' if self.views > 1 else ''}, seed {self.seed}"
        )

    def folder(self, out: Path) -> Path:
        """Its run folder."""
        return out / "runs" / self.method / str(self.views) / f"{self.scene}-{self.seed}"

    def log(self, out: Path) -> Path:
        """What headrecon printed."""
        return self.folder(out).with_name(f"{self.scene}-{self.seed}.log")

    def failure(self, out: Path) -> Path:
        """Why it has no numbers."""
        return self.folder(out).with_name(f"{self.scene}-{self.seed}.failed.json")

    def done(self, out: Path) -> bool:
        """Whether it has its numbers."""
        return (self.folder(out) / "metrics.json").is_file()


@dataclass(frozen=True)
class Plan:
    """What is to be run, and how.

    Attributes:
        out: folder of the benchmark, absolute.
        subjects: scene folders by name.
        views: numbers of input views.
        methods: rows of the table.
        seeds: runs of each.
        preset: of headrecon.
        extra: overrides of headrecon for every run.
        overrides: further ones, by method.
        command: the trainer.
    """

    out: Path
    subjects: Mapping[str, Path]
    views: Sequence[int]
    methods: Sequence[str]
    seeds: Sequence[int] = (0,)
    preset: str = "auto"
    extra: Sequence[str] = ()
    overrides: Mapping[str, Sequence[str]] = field(default_factory=dict)
    command: Sequence[str] = TRAIN

    def cells(self) -> list[Cell]:
        """All runs, in the order in which they are started: all methods of a subject after one another, so
        that an unfinished benchmark can already be compared.
        """
        return [
            Cell(method, views, scene, seed)
            for seed in self.seeds
            for views in self.views
            for scene in self.subjects
            for method in self.methods
        ]

    def arguments(self, cell: Cell) -> list[str]:
        """Arguments of headrecon for a cell; of several for one option the last counts."""
        settings = [
            f"method={cell.method}",
            f"preset={self.preset}",
            "fallback=idr",  # nobody is there to be asked
            *self.extra,
            *self.overrides.get(cell.method, ()),
            f"scene={quoted(self.subjects[cell.scene])}",
            f"views={cell.views}",
            f"seed={cell.seed}",
            f"hydra.run.dir={quoted(cell.folder(self.out))}",
        ]
        return list({setting.partition("=")[0]: setting for setting in settings}.values())


def quoted(path: Path) -> str:
    """A path as a value in Hydra's grammar."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def check(plan: Plan) -> None:
    """Refuse before any work what would mix runs made with different options.

    Raises:
        ConfigError: a run folder that this plan would use was made with other options.
    """
    for cell in plan.cells():
        path = cell.folder(plan.out) / "overrides.yaml"
        if not path.is_file():
            continue
        stored, wanted = (
            {o for o in options if o.partition("=")[0] not in _WHERE_AND_WHAT}
            for options in (_stored_overrides(path), plan.arguments(cell))
        )
        if stored != wanted:
            raise ConfigError(
                f"{cell.folder(plan.out)} was run with other options: there {_listed(stored - wanted)}; "
                f"now {_listed(wanted - stored)}. Numbers of the two must not be mixed: "
                "use another out=, or remove that folder"
            )


def _stored_overrides(path: Path) -> list[str]:
    """The overrides that an overrides.yaml lists.

    Raises:
        ConfigError: It lists something else.
    """
    with reading(path, ConfigError, "the overrides of a run", "remove its folder to have the run done again"):
        stored = yaml.safe_load(decoded(read_bytes(path))) or []
        return [text(each, "an override") for each in listed(stored, "its content")]


def _listed(options: set[str]) -> str:
    return ", ".join(sorted(options)) or "nothing more"

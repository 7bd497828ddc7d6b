"""True and false alarms on good and spoilt inputs: python tools/measure_warnings.py out=out/warnings.

People of the split val (`make_scenes` writes them once, with hair of every family in turn) are reconstructed from 1, 3,
4 and 8 photographs with true cameras and masks, and from photographs of which one thing is wrong
(tools/spoilt_inputs.py). Each goes through the stages of a run up to its warnings; colours are not trained. The table
goes to `table`.

Every input is a line of inputs.jsonl in `out`; a call that is stopped goes on with the next one.
Options, as `name=value`: out (folder), scenes (folder of scenes to take the people from; by default they are made in
`out`), people, good and spoilt (most inputs of either that this call runs; null for all), kinds (of faults; null for
all), extra (options of headrecon, such as "extra=['prior.path=FILE']"), table (Markdown file, null for none).
"""

import json
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import numpy as np
from hydra import compose, initialize_config_dir

from recon import scene as scenes
from recon.commands.command_line import options_of, run_tool, say
from recon.errors import ConfigError, ReconError
from recon.evaluation.tables import markdown_table
from recon.files import replacing
from recon.geometry.drawing import vertex_normals
from recon.scene import Scene, h3ds
from recon.synth import draw_recipe
from recon.synth.datasets.batch import SceneSettings, make_scenes
from recon.synth.hair.styles import FAMILIES
from recon.systems import config
from recon.systems.benchmark.machine import machine, revision
from recon.systems.report import diagnostics, scores
from recon.systems.report.surface_mesh import extract_surface
from recon.systems.run import prepare
from recon.warned import KeptWarnings
from tools.spoilt_inputs import KINDS, Pictures

log = logging.getLogger("measure_warnings")

DEFAULTS: dict[str, Any] = {
    "out": "out/warnings", "scenes": None, "people": 10, "good": None, "spoilt": None, "kinds": None, "extra": [],
    "table": "docs/results/warnings.md",
}  # fmt: skip
GOOD_VIEWS, SPOILT_VIEWS = (1, 3, 4, 8), (3, 4, 8)
VIEWS = 16
"""Photographs of each person."""
TRUE_OF_GOOD = r"photographs show only \d+% of the surface"
"""What is said of good input too, and is true: one photograph does not show the back."""
GOOD = "good"


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: Unique name, for its folder.
        kind: `GOOD`, or a key of `KINDS`.
        person: Position of the person.
        views: Number of photographs.
        wrong: Number of the view that is wrong; 0 for good inputs.
    """

    name: str
    kind: str
    person: int
    views: int
    wrong: int = 0


def inputs(people: int) -> Iterator[Input]:
    """All inputs in the order in which they are run: every person and every kind early, good and spoilt in turn."""
    good = [
        Input(f"good-{person}-{views}", GOOD, person, views)
        for step in range(len(GOOD_VIEWS))
        for person in range(people)
        for views in (GOOD_VIEWS[(person + step) % len(GOOD_VIEWS)],)
    ]
    spoilt = []
    for turn in range(max(kind.inputs for kind in KINDS.values())):
        for number, (name, kind) in enumerate(KINDS.items()):
            if turn < kind.inputs:
                views = SPOILT_VIEWS[(turn + number) % len(SPOILT_VIEWS)]
                label = f"{name.replace(' ', '_')}-{turn}"
                spoilt.append(
                    Input(label, name, (number + 3 * turn) % people, views, (turn + number) % views)
                )
    for pair in zip(good, spoilt, strict=False):
        yield from pair
    rest = min(len(good), len(spoilt))
    yield from (*good[rest:], *spoilt[rest:])


def people_in(root: Path, count: int) -> list[Scene]:
    """The people of a folder of scenes.

    Raises:
        ConfigError: There are fewer than two.
    """
    folders = sorted(path.parent for path in root.glob("*/cameras.npz"))[:count]
    if len(folders) < 2:
        raise ConfigError(
            f"scenes={root}: expected at least two scenes of synthetic people, there are {len(folders)}"
        )
    return [scenes.open(folder) for folder in folders]


def people_made(root: Path, count: int) -> list[Scene]:
    """People of the split val, made where they are not there yet."""
    recipes = [draw_recipe(seed, split="val", style=FAMILIES[seed % len(FAMILIES)]) for seed in range(count)]
    for made in make_scenes(root, recipes, SceneSettings(views=VIEWS)):
        log.info("%s: %s", made.name, made.family)
    return [scenes.open(root / recipe["name"]) for recipe in recipes]


def written(each: Input, people: Sequence[Scene], folder: Path) -> Path:
    """Writes the scene of an input in the H3DS layout; other people's photographs are of the same numbers of views."""
    scene, other = people[each.person], people[(each.person + 1) % len(people)]
    views = scene.select(each.views)
    given = Pictures.from_scene(scene, views)
    if each.kind != GOOD:
        others = Pictures.from_scene(other, other.select(each.views))
        given = KINDS[each.kind].spoil(given, others, each.wrong)
    truth = scene.ground_truth
    keep = truth is not None and each.kind != "metres"  # errors in metres say nothing
    return h3ds.write_scene(
        folder, "input", images=given.images, masks=given.masks, cameras=given.cameras, scale_mat=given.scale_mat,
        mesh=truth.mesh() if truth is not None and keep else None,
        landmarks=truth.landmarks if truth is not None and keep else None,
        regions={name: truth.region(name) for name in truth.regions()} if truth is not None and keep else None,
        default_views={each.views: range(each.views)}, jpeg_quality=98, overwrite=True,
    )  # fmt: skip


def run_input(each: Input, people: Sequence[Scene], out: Path, extra: Sequence[str]) -> dict[str, Any]:
    """Takes one input through the stages of a run up to its warnings.

    Returns:
        The input, its warnings, the error that stopped it (or None), its errors in mm and its seconds.
    """
    started = time.perf_counter()
    folder = out / "inputs" / each.name
    scene = written(each, people, folder)
    options = [f"scene='{scene}'", f"views={each.views}", "method=instant", *extra]
    numbers: Mapping[str, Any] = {}
    error = None
    with KeptWarnings() as warned:
        try:
            cfg = config.settle(compose("train", overrides=options), options)
            run = prepare(cfg, folder / "run", None, options)
            run.system.eval().to(run.device)
            run.surface = extract_surface(
                run.system, run.scene.scale_mat, cfg.mesh.resolution, run.device, run.start.landmarks
            )
            mesh = run.surface.mesh
            run.surface.normals = vertex_normals(np.asarray(mesh.vertices), np.asarray(mesh.faces))
            (folder / "run" / "renders").mkdir(parents=True, exist_ok=True)
            numbers = scores.write(run) | diagnostics.write(run)
        except ReconError as problem:
            error = str(problem)
    figures = {key: numbers.get(key) for key in ("face_mm", "head_mm", "outline_mm", "outline_worst_mm")}
    seconds = round(time.perf_counter() - started, 1)
    return {**vars(each), "warnings": warned.messages, "error": error, **figures, "seconds": seconds}


def alarms(found: Mapping[str, Any]) -> list[str]:
    """Sentences of a result that say that something is wrong."""
    said = [*found["warnings"], *([found["error"]] if found["error"] else [])]
    return [sentence for sentence in said if not re.search(TRUE_OF_GOOD, sentence)]


def named(found: Mapping[str, Any]) -> list[str]:
    """Sentences that name the right cause; all alarms of a good input are wrong."""
    if found["kind"] == GOOD:
        return []
    says = KINDS[found["kind"]].says.replace("{view}", str(found["wrong"]))
    return [sentence for sentence in alarms(found) if re.search(says, sentence, re.IGNORECASE | re.DOTALL)]


def table(results: Sequence[Mapping[str, Any]], command: str) -> str:
    """The page of results."""
    good = [found for found in results if found["kind"] == GOOD]
    spoilt = [found for found in results if found["kind"] != GOOD]
    false, missed = [f for f in good if alarms(f)], [f for f in spoilt if not named(f)]
    rows = []
    for name, shows in ((GOOD, "nothing"), *((name, kind.shows) for name, kind in KINDS.items())):
        those = [found for found in results if found["kind"] == name]
        right = [found for found in those if named(found)]
        said = Counter(
            _beginning(sentence) for found in those for sentence in (named(found) or alarms(found))
        )
        words = "; ".join(f"{text} ({count})" for text, count in said.most_common(3))
        alarmed = sum(bool(alarms(found)) for found in those)
        rows.append([shows, len(those), alarmed, len(right) if name != GOOD else "", words])
    lines = [
        "# True and false alarms\n",
        f"`{command}`\n",
        f"Revision {revision() or 'unknown'}; {machine()['cpu']}. Synthetic people of the split val, hair of every "
        "family; good inputs have true cameras and masks. A spoilt input counts as found if a warning or an error "
        "names the right cause: the expressions are in `tools/spoilt_inputs.py`. That one photograph shows little of "
        "the surface is true and no false alarm.\n",
        f"**False alarms: {len(false)} of {len(good)} good inputs. Missed: {len(missed)} of {len(spoilt)} spoilt "
        "inputs.**\n",
        *markdown_table(["what is wrong", "inputs", "warned", "cause named", "words"], rows),
        "\n## False alarms\n",
        *([f"- {f['name']}: {' / '.join(alarms(f))}" for f in false] or ["None."]),
        "\n## Missed\n",
        *([f"- {f['name']}: {' / '.join(alarms(f)) or 'nothing is said'}" for f in missed] or ["None."]),
    ]
    return "\n".join(lines) + "\n"


def _beginning(sentence: str) -> str:
    """The first words of a sentence, with numbers and files left out so that like sentences count together."""
    plain = re.sub(r"\(?\bimg_\S+|/\S+|\d+(\.\d+)?", "…", sentence)
    return " ".join(plain.split()[:9]).rstrip(",;:.(")


def read(path: Path) -> list[dict[str, Any]]:
    """Results of earlier calls, the last of each input."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return list({found["name"]: found for found in map(json.loads, lines)}.values())


def main(arguments: Sequence[str]) -> None:
    """Runs the inputs that have no result yet, and writes the table."""
    cfg = options_of(DEFAULTS, list(arguments))
    out = Path(cfg.out).absolute()
    count = int(cfg.people)
    people = people_in(Path(cfg.scenes), count) if cfg.scenes else people_made(out / "scenes", count)
    results = out / "inputs.jsonl"
    done = Counter(found["name"] for found in read(results))
    left = {True: cfg.good, False: cfg.spoilt}
    config.register_resolvers()
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        for each in inputs(len(people)):
            good = each.kind == GOOD
            if (
                each.name in done
                or left[good] == 0
                or not (good or cfg.kinds is None or each.kind in cfg.kinds)
            ):
                continue
            left[good] = None if left[good] is None else left[good] - 1
            found = run_input(each, people, out, list(cfg.extra))
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            state = "named" if named(found) else "alarm" if alarms(found) else "nothing said"
            say(f"{each.name} ({found['seconds']:.0f} s): {state}: {' / '.join(alarms(found))}")
    text = table(read(results), "python tools/measure_warnings.py " + " ".join(arguments))
    if cfg.table:
        with replacing(Path(cfg.table)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    say(text)


if __name__ == "__main__":
    run_tool(main, __doc__)

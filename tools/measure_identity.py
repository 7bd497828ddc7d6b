"""How surely photographs of several people are told from those of one: python tools/measure_identity.py people=FOLDER.

Looks at photographs once, puts sets of them together, and prints how much worse one head explains the landmarks of the
photograph that fits worst than a head of its own (`recon.calibration.identity`): percentiles for sets of one person and
for sets of as many people as photographs, and the share of each that is said to show several. Needs MediaPipe's
networks. Options, as `name=value`:
    people      folder with a folder of photographs for each person; photographs beside these are persons of their own
    sets        how many sets of different people of each size are drawn
    seed        of the draw
"""

import random
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.calibration import BundleSettings, LandmarkModel, ObservedPhotograph
from recon.calibration.bundle import LandmarkView, bundle_adjust
from recon.calibration.identity import EVIDENCE, evidence_of_another
from recon.calibration.placing import has_landmarks, landmark_view
from recon.commands.command_line import options_of, run_tool, say
from recon.errors import ConfigError
from recon.evaluation.tables import markdown_table
from recon.perception import Perception, photographs_in, read_photograph
from recon.priors import load_shape_prior
from recon.priors.shipped import PCA, hash_of, shipped

DEFAULTS = {"people": "people", "sets": 40, "seed": 0}
SIZES = 2, 3


def seen(folder: Path) -> dict[str, list[LandmarkView]]:
    """Landmarks of the photographs of each person, of those that have them."""
    paths: dict[str, list[Path]] = {}
    for child in sorted(folder.iterdir()):
        if child.is_dir():
            paths[child.name] = list(photographs_in(child).photographs)
    for path in photographs_in(folder).photographs if any(p.is_file() for p in folder.iterdir()) else ():
        paths[path.name] = [path]
    perception, result = Perception(), dict[str, list[LandmarkView]]()
    for person, files in paths.items():
        observed = [
            ObservedPhotograph.from_observation(perception.see(read_photograph(path))) for path in files
        ]
        if views := [landmark_view(each) for each in observed if has_landmarks(each)]:
            result[person] = views
    return result


def evidence(model: LandmarkModel, views: Sequence[LandmarkView]) -> float:
    """Evidence that the photograph that fits worst shows another person than the rest."""
    settings = BundleSettings()
    alone = [bundle_adjust(model, [view], settings) for view in views]
    return evidence_of_another(model, views, bundle_adjust(model, views, settings), alone, settings)[0]


def tabulate(model: LandmarkModel, people: Mapping[str, Sequence[LandmarkView]], sets: int) -> str:
    """The table, as Markdown."""
    rows = []
    for size in SIZES:
        same = [evidence(model, chosen) for views in people.values() for chosen in combinations(views, size)]
        drawn = [random.sample(sorted(people), size) for _ in range(sets if len(people) >= size else 0)]
        other = [evidence(model, [random.choice(people[name]) for name in names]) for names in drawn]
        for title, values in (("one person", same), ("as many people", other)):
            if values:
                least, median, most = np.percentile(values, [0, 50, 100])
                share = float((np.array(values) >= EVIDENCE).mean())
                rows.append(
                    [
                        f"{size} photographs, {title}",
                        str(len(values)),
                        *(f"{v:.1f}" for v in (least, median, most)),
                        f"{share:.0%}",
                    ]
                )
    return "\n".join(
        markdown_table(["sets", "number", "least", "median", "most", "said to be several"], rows)
    )


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    options = options_of(DEFAULTS, arguments)
    random.seed(int(options.seed))
    folder = Path(str(options.people)).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"people={folder}: there is no such folder")
    path = shipped(PCA)
    model = LandmarkModel.from_prior(load_shape_prior(path, hash_of(path)))
    say(tabulate(model, seen(folder), int(options.sets)))


if __name__ == "__main__":
    run_tool(main, __doc__)

"""Makes training samples of synthetic heads: `python scripts/make_samples.py out=samples split=train n=480`.

Needs the head model ($H3D_HEAD_MODEL) and numba. Run again to go on where it stopped. Options, as `name=value`: out
(folder; shards go to out/split), split (train, val or test), n (heads), first (seed of the first), workers, and points
of each head: surface, near, volume; lattice_mm (spacing of the common lattice; null for none).
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.errors import ConfigError
from recon.synth import SPLITS, SampleCounts, write_samples
from recon.systems.commands import bad_input_named, options_of

DEFAULTS = {
    "out": "samples",
    "split": "train",
    "n": 480,
    "first": 0,
    "workers": 2,
    "surface": 30_000,
    "near": 40_000,
    "volume": 5_000,
    "lattice_mm": 3.0,
}


def main(arguments: Sequence[str]) -> None:
    """Makes heads and writes their samples."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    options = options_of(DEFAULTS, arguments)
    if options.split not in SPLITS or options.n < 1:
        raise ConfigError(
            f"split={options.split} n={options.n}: expected one of {SPLITS} and at least one head"
        )
    counts = SampleCounts(options.surface, options.near, options.volume, options.lattice_mm)
    seeds = range(options.first, options.first + options.n)
    manifest = write_samples(options.out, options.split, seeds, counts=counts, workers=options.workers)
    print(f"{manifest}\nnext: python scripts/pretrain_prior.py prior=deepsdf data={options.out} size=small")


if __name__ == "__main__":
    with bad_input_named():
        main(sys.argv[1:])

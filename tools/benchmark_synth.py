"""What synthetic heads cost: python tools/benchmark_synth.py subjects=2 views=16.

Wall times of one process on the machine as it is, with the compiled code in its cache; `cpu` is the processor time of
`total`, which says what a quiet machine would take.
Options, as `name=value`: subjects, views, size, samples (signed distances), split.
"""

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.synth import (
    SampleCounts,
    appearance_of,
    build_subject,
    draw_recipe,
    expose,
    generator,
    load_head_model,
    prepare,
    render_passes,
    sample_subject,
)
from recon.synth.datasets import cameras
from recon.threads import cores

DEFAULTS = {"subjects": 3, "views": 16, "size": 512, "samples": 100_000, "split": "train"}
ROWS = ("shape", "light", "pictures", "total", "cpu", "samples")


def measure(seed: int, views: int, size: int, samples: int, split: str) -> dict[str, float]:
    """Seconds of every stage for one person."""
    recipe = draw_recipe(seed, split=split)
    marks, begun = [time.perf_counter()], time.process_time()
    subject = build_subject(recipe)
    marks.append(time.perf_counter())
    prepared = prepare(subject, appearance_of(recipe))
    marks.append(time.perf_counter())
    points = np.asarray(subject.truth.vertices)
    orbit = cameras.draw_orbit(views, points, generator(seed, split, purpose=32), size=size)
    for camera in orbit.cameras:
        render_passes(expose(prepared, camera), ("rgb", "mask"))
    marks.append(time.perf_counter())
    cpu = time.process_time() - begun
    near = samples * 5 // 6
    sample_subject(subject, counts=SampleCounts(1000, near, samples - near))
    marks.append(time.perf_counter())
    shape, light, pictures, sampling = np.diff(marks)
    return dict(zip(ROWS, (shape, light, pictures, shape + light + pictures, cpu, sampling), strict=True))


def main(arguments: list[str]) -> None:
    """Prints a table."""
    options = options_of(DEFAULTS, arguments)
    load_head_model()
    measure(0, 1, 64, 100, options.split)  # compiles what is not in the cache
    print(f"{cores()} cores, load {os.getloadavg()[0]:.1f}; {options.views} views of {options.size} pixels")
    print(f"{'seed':>6}" + "".join(f"{row:>10}" for row in ROWS) + "   (seconds)")
    table = []
    for seed in range(options.subjects):
        table.append(measure(seed, options.views, options.size, options.samples, options.split))
        print(f"{seed:>6}" + "".join(f"{table[-1][row]:10.2f}" for row in ROWS), flush=True)
    print(f"{'mean':>6}" + "".join(f"{np.mean([line[row] for line in table]):10.2f}" for row in ROWS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GB; {options.samples} signed distances are the column `samples`")


if __name__ == "__main__":
    run_tool(main, __doc__)

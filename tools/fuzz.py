"""Read mutated files by the project's parsers, and name what they did that they should not.

python tools/fuzz.py parser=all mutations=2000 seed=0 workers=2
python tools/fuzz.py parser=cameras mutations=20000
python tools/fuzz.py parser=cameras number=17 out=FOLDER    write the file of a number, and read it

A parser may return a value, or raise one of recon/errors.py whose message names the file; within a second of CPU time
and 1 GB of memory. The exit code is 1 where one did something else.
"""

import os
import sys
from collections import Counter
from pathlib import Path

for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before torch: a child is forked, and threads do not survive that
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from tools.fuzzing.campaign import Findings, file_of, fuzz
from tools.fuzzing.parsers import PARSERS, Parser

DEFAULTS = {
    "parser": "all",
    "mutations": "2000",
    "seed": "0",
    "workers": "1",
    "number": "",
    "out": "",
    "first": "0",
}


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    options = DEFAULTS | dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    known = {parser.name: parser for parser in PARSERS}
    names = list(known) if options["parser"] == "all" else options["parser"].split(",")
    amiss = [name for name in names if name not in known] or [key for key in options if key not in DEFAULTS]
    if amiss or any("=" not in argument for argument in arguments):
        print(f"{__doc__}\nparsers: {', '.join(known)}\nnot known: {', '.join(map(str, amiss))}")
        return 2
    torch.set_num_threads(1)
    parsers, seed = [known[name] for name in names], int(options["seed"])
    if options["number"]:
        return _one(parsers[0], seed, int(options["number"]), Path(options["out"] or "."))
    counts = {name: int(options[name]) for name in ("mutations", "workers", "first")}
    findings = fuzz(
        parsers, counts["mutations"], seed, workers=counts["workers"], first=counts["first"], told=_tell
    )
    total = sum(findings.mutations.values())
    kinds = Counter({kind: 0 for _, kind, _ in findings.counts})
    for (_, kind, _), count in findings.counts.items():
        kinds[kind] += count
    print(f"{total} files by {len(findings.mutations)} parsers; faults: {dict(kinds) or 'none'}")
    return 1 if findings.faults else 0


def _one(parser: Parser, seed: int, number: int, out: Path) -> int:
    """Write the file of a number where it can be looked at, and read it with the exception that comes."""
    out.mkdir(parents=True, exist_ok=True)
    path = parser.make(out)
    path.write_bytes(file_of(parser, path.read_bytes(), seed, number))
    print(path)
    print(repr(parser.read(path))[:500])
    return 0


def _tell(findings: Findings, name: str) -> None:
    """Print what was found of a parser that is done."""
    for fault in findings.faults:
        if fault.parser == name:
            count = findings.counts[fault.parser, fault.kind, fault.what]
            print(f"{fault.parser} {fault.number}: {fault.kind}, {count} times: {fault.what}")
    refused, cpu = findings.refused.get(name, 0), findings.cpu_s.get(name, 0.0)
    slowest = 1e3 * findings.slowest_s.get(name, 0.0)
    print(
        f"{name}: {findings.mutations[name]} files, {refused} refused, {cpu:.1f} s, slowest {slowest:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

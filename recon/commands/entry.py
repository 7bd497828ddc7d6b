"""Entry points of the installed commands, and of train.py and scripts/ in a checkout.

--help is answered here, before a command's module and with it torch are imported: that takes seconds. Worker processes
import this module again, so it imports nothing either.
"""

import importlib
import sys

MAKING = "recon.commands.making"
"""Folder of the commands that make synthetic data."""


def start(name: str, folder: str = "recon.commands") -> None:
    """Answer --help, else run a command.

    Args:
        name: of its module in recon/commands/ and of its file in conf/.
        folder: of its module.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        importlib.import_module("recon.commands.command_line").print_help(name)
    else:
        importlib.import_module(f"{folder}.{name}").main()


def train() -> None:
    """`headrecon`."""
    start("train")


def photos() -> None:
    """`headrecon-photos`."""
    start("photos")


def evaluate() -> None:
    """`headrecon-evaluate`."""
    start("evaluate")


def pretrain() -> None:
    """`headrecon-pretrain`."""
    start("pretrain")


def benchmark() -> None:
    """`headrecon-benchmark`."""
    start("benchmark")


def robustness() -> None:
    """`headrecon-benchmark-robustness`."""
    start("robustness")


def speed() -> None:
    """`headrecon-benchmark-speed`."""
    start("speed")


def validate() -> None:
    """`headrecon-validate`."""
    start("validate")


def export_scene() -> None:
    """`headrecon-export-scene`."""
    start("export_scene")


def export_source_subject() -> None:
    """`headrecon-export-source-subject`."""
    start("export_source_subject")


def make_scenes() -> None:
    """`headrecon-make-scenes`."""
    start("make_scenes", MAKING)


def make_samples() -> None:
    """`headrecon-make-samples`."""
    start("make_samples", MAKING)


def make_portraits() -> None:
    """`headrecon-make-portraits`."""
    start("make_portraits", MAKING)


def get_head_model() -> None:
    """`headrecon-get-head-model`."""
    start("get_head_model")

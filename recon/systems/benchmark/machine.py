"""What a measurement was made on, and with which code."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from recon.resources import CHECKOUT
from recon.threads import cores


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory, GPUs, and versions of Python and PyTorch."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "cpu": _processor(),
        "cores": cores(),
        "memory_gb": round(memory, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "torch": version("torch"),
        "system": platform.platform(),
    }


def revision() -> str | None:
    """The commit of this checkout, with `+changes` where tracked files differ from it; None outside of git, and for a
    package that is installed from a wheel.
    """
    commit = CHECKOUT and _git("rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["git", "-C", str(CHECKOUT), *arguments],  # noqa: S607 (whichever git the user has)
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

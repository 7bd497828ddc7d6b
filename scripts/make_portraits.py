"""Make portraits of synthetic people: headrecon-make-portraits from a checkout that is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands import entry

if __name__ == "__main__":
    entry.make_portraits()

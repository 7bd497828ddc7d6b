"""Write a scene in the layout of another program: headrecon-export-scene.

For a checkout that is not installed; the flags from before key=value are understood.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands import entry, old_flags

if __name__ == "__main__":
    old_flags.replace_flags("headrecon-export-scene", old_flags.EXPORT_SCENE)
    entry.export_scene()

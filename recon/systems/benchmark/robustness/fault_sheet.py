"""A picture of faulty scenes, to judge the faults by eye."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from recon import scene as scenes
from recon.files import replacing, save_picture
from recon.scene.sheet import contact_sheet
from recon.synth.datasets.faults import FAULTS

CAPTION_PX = 20


def write(path: Path, folders: Mapping[str, Path], *, tile: int = 256, columns: int = 3) -> Path:
    """Draws faulty scenes of one subject: all their photographs with the outline of the mask, under the fault's name.

    Args:
        path: PNG.
        folders: scenes by name of the fault.
        tile: side of a photograph, pixels.
        columns: faults beside one another.

    Returns:
        The path.
    """
    blocks = [_block(name, folder, tile) for name, folder in folders.items()]
    with replacing(path) as temporary:
        save_picture(_grid(blocks, columns), temporary)
    return path


def _block(name: str, folder: Path, tile: int) -> Image.Image:
    """The views of a scene, side by side, under a caption."""
    scene = scenes.open(folder)
    sheet = contact_sheet(scene, range(len(scene.views)), tile, columns=len(scene.views))
    block = Image.new("RGB", (sheet.width, sheet.height + CAPTION_PX))
    block.paste(sheet, (0, CAPTION_PX))
    ImageDraw.Draw(block).text((4, 4), f"{name}: {FAULTS[name].shows}", fill=(255, 255, 255))
    return block


def _grid(blocks: Sequence[Image.Image], columns: int) -> Image.Image:
    width, height = blocks[0].size
    columns = min(columns, len(blocks))
    grid = Image.new("RGB", (width * columns, height * -(-len(blocks) // columns)))
    for number, block in enumerate(blocks):
        grid.paste(block, (number % columns * width, number // columns * height))
    return grid

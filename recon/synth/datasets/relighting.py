"""Photographs of a synthetic scene taken again: another light, stronger highlights, or another turn of the body."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from recon.errors import SceneError
from recon.scene import Camera, Scene
from recon.synth.body.neck import turned_on_neck
from recon.synth.body.subject import build_subject
from recon.synth.datasets.faults import Fault, Light
from recon.synth.model.identity import split_quantile
from recon.synth.parts import Subject
from recon.synth.render.appearance import Appearance, appearance_of
from recon.synth.render.passes import render_passes, rgb
from recon.synth.render.photograph import expose
from recon.synth.render.prepared import prepare
from recon.synth.render.room import Room, draw_room

SKIN_GLOSS, SKIN_ROUGHNESS, HAIR_SHINE = 5.0, 0.24, 3.0
"""Strong highlights: factor on the skin's gloss, its roughness, factor on the hair's shine."""
LAMP_DEG = 75.0
"""The strongest lamp of a view's own room stands within this azimuth to either side of the face."""
_ROOM = 64


class RelitSubject:
    """The subject of a synthetic scene, ready to be photographed again.

    Attributes:
        subject: The person.
        appearance: Its colours and the room in which the scene was photographed.
        split: Split that it belongs to, from which its lights are drawn.
        world_from_canonical: Its place in the scene, a rigid 4x4.
    """

    def __init__(
        self,
        subject: Subject,
        appearance: Appearance,
        split: str,
        world_from_canonical: Float[np.ndarray, "4 4"],
    ) -> None:
        self.subject, self.appearance, self.split = subject, appearance, split
        self.world_from_canonical = world_from_canonical

    @classmethod
    def from_scene(cls, scene: Scene) -> "RelitSubject":
        """Builds the subject from the recipe in its scene's folder.

        Raises:
            SceneError: The scene has no recipe, or was photographed in another room than the recipe draws.
            ConfigError: There is no head model.
        """
        path = scene.root / "recipe.json"
        recipe = _read(path)
        appearance = appearance_of(recipe["subject"])
        drawn = [lamp.direction.round(4).tolist() for lamp in appearance.room.lamps]
        if drawn != [lamp["direction"] for lamp in recipe["lamps"]]:
            raise SceneError(
                f"{path}: the look that this recipe draws has lamps {drawn}, the scene was photographed with "
                f"{[lamp['direction'] for lamp in recipe['lamps']]}: its look was chosen by hand, or drawn by "
                "another version. Make the scene with headrecon-make-scenes"
            )
        placement = np.array(recipe["world_from_canonical"], dtype=np.float64)
        split = str(recipe["subject"].get("split", "train"))
        return cls(build_subject(recipe["subject"]), appearance, split, placement)

    def photograph(self, camera: Camera, fault: Fault, seed: int, view: int) -> Float[np.ndarray, "h w 3"]:
        """Photographs the subject under the fault's light and with its highlights.

        Args:
            camera: Camera of the scene as it was made, world mm.
            fault: Fault whose light and highlights count; the rest is left to `recon.synth.datasets.faults`.
            seed: Seed of the lights.
            view: Number of the view.

        Returns:
            sRGB in [0, 1], not yet compressed.
        """
        canonical = self._canonical(camera)
        room = room_of_view(self.appearance.room, fault.light, canonical, self.split, seed, view)
        appearance = replace(
            with_highlights(self.appearance) if fault.highlights else self.appearance, room=room
        )
        picture = rgb(expose(prepare(self.subject, appearance), canonical))
        return picture.astype(np.float32) / np.float32(255)

    def photograph_turned(
        self, camera: Camera, turn: Float[np.ndarray, " 3"]
    ) -> tuple[Float[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """Photographs the subject with its body turned against its head, which stays in its place, with a mask.

        Args:
            camera: Camera of the scene as it was made, world mm.
            turn: Rotation vector of the body in the canonical head frame, radians.
        """
        turned = prepare(turned_on_neck(self.subject, turn), self.appearance)
        shown = render_passes(expose(turned, self._canonical(camera)), ("rgb", "mask"))
        return shown["rgb"].astype(np.float32) / np.float32(255), shown["mask"]

    def _canonical(self, camera: Camera) -> Camera:
        return camera.transformed(np.linalg.inv(self.world_from_canonical))


def room_of_view(room: Room, light: Light, camera: Camera, split: str, seed: int, view: int) -> Room:
    """Returns the room in which a view is photographed.

    Args:
        room: Room of the scene.
        light: As it is; on the camera: the whole room turns with the camera's azimuth, as if the subject turned on a
            chair before a camera that stands still; or another room in each view, its strongest lamp anywhere in front.
        camera: Camera of the view, canonical head frame.
        split: Split whose directions of light may be drawn.
        seed: Seed of the rooms.
        view: Number of the view.
    """
    if light == "on the camera":
        return room.turned(azimuth_deg(camera.centre))
    if light == "another in each view":
        rng = np.random.default_rng([seed, view, _ROOM])
        wanted = -LAMP_DEG + 2.0 * LAMP_DEG * split_quantile(float(rng.uniform()), split)
        drawn = draw_room(rng)
        # `draw_room` puts the strongest lamp at one azimuth whatever the draw, so the room is turned.
        return drawn.turned(wanted - azimuth_deg(drawn.lamps[0].direction))
    return room


def azimuth_deg(direction: Float[np.ndarray, "3"]) -> float:
    """Azimuth of a direction or place in the canonical head frame: 0 in front of the face, 90 to its left."""
    return float(np.degrees(np.arctan2(direction[0], direction[2])))


def with_highlights(appearance: Appearance) -> Appearance:
    """Returns the appearance with oily skin and polished hair."""
    skin = replace(appearance.skin, gloss=SKIN_GLOSS * appearance.skin.gloss, roughness=SKIN_ROUGHNESS)
    return replace(
        appearance, skin=skin, hair=replace(appearance.hair, shine=HAIR_SHINE * appearance.hair.shine)
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        recipe: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SceneError(
            f"{path} cannot be read ({error}): only synthetic heads, which come with a recipe, can be "
            "photographed again in another light; leave these faults out, or use SynthHeads-10"
        ) from error
    if missing := {"subject", "lamps", "world_from_canonical"} - set(recipe):
        raise SceneError(f"{path} lacks {', '.join(sorted(missing))}: expected what make_scenes.py writes")
    return recipe

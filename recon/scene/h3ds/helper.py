"""The contents that a copy of H3DS should have: its description (toml or built-in table) and its paths."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from recon.errors import SceneError
from recon.scene.h3ds.layout import CONFIG_FILE, REGIONS, VERSION_FILE, Paths, read_config, read_version
from recon.scene.h3ds.tables import CONFIGS, tables


class UnknownIdError(SceneError, KeyError):
    """A scene, region, tag or list that the data set does not have (a KeyError too, as published)."""

    __str__ = Exception.__str__


class MissingFileError(SceneError, FileNotFoundError):
    """A file that this copy of the data set lacks (a FileNotFoundError too, as published)."""

    __str__ = Exception.__str__


class H3DSHelper:
    """Paths and facts of a data set in the H3DS layout, with the published names; paths are strings.

    Args:
        path: Root of the data set.
        config: The description: version, file_id, file_md5, scenes.
    """

    def __init__(self, path: str, config: Mapping[str, Any]) -> None:
        self.path = path
        self._config = config

    def version_config(self) -> str:
        """Data version of the description."""
        return str(self._config.get("version", ""))

    def version_dataset(self) -> str | None:
        """Data version of the copy on disk, or None."""
        return read_version(Path(self.path))

    def scenes_tags(self) -> set[str]:
        """All tags in use."""
        return {tag for entry in self._config["scenes"].values() for tag in entry.get("tags", [])}

    def scene_tags(self, scene_id: str) -> set[str]:
        """Tags of a scene."""
        return set(self.entry(scene_id).get("tags", []))

    def scenes(self, tags: Collection[str] | str | None = None) -> list[str]:
        """Scene ids in published order; with tags, those that carry all of them.

        Raises:
            UnknownIdError: No scene carries such a tag.
        """
        wanted = {tags} if isinstance(tags, str) else set(tags or ())
        unknown = wanted - self.scenes_tags()
        if unknown:
            raise UnknownIdError(
                f"unknown tags {sorted(unknown)}: this data set has {sorted(self.scenes_tags()) or 'none'}"
            )
        return [name for name in self._config["scenes"] if wanted <= self.scene_tags(name)]

    def scene_views(self, scene_id: str) -> int:
        """Number of views of a scene."""
        return int(self.entry(scene_id)["views"])

    def default_views_configs(self, scene_id: str) -> list[str]:
        """Names of the default view lists of a scene: numbers as strings."""
        return [str(key) for key in self.entry(scene_id).get("default_views_configs", {})]

    def views(self, scene_id: str, views_config_id: str | int | None) -> list[int]:
        """View indices of a default list in its order, or all views for None.

        Raises:
            UnknownIdError: The scene has no such list.
        """
        if views_config_id is None:
            return list(range(self.scene_views(scene_id)))
        lists = {
            str(key): list(value)
            for key, value in self.entry(scene_id).get("default_views_configs", {}).items()
        }
        if str(views_config_id) not in lists:
            raise UnknownIdError(
                f"scene {scene_id} has no default list {views_config_id!r}: it has "
                f"{', '.join(lists) or 'none'}"
            )
        return lists[str(views_config_id)]

    def entry(self, scene_id: str) -> Mapping[str, Any]:
        """What the description says of a scene.

        Raises:
            UnknownIdError: It does not know the scene.
        """
        try:
            return self._config["scenes"][scene_id]
        except KeyError:
            raise UnknownIdError(
                f"unknown scene {scene_id!r}: version {self.version_config()} has "
                f"{len(self._config['scenes'])} "
                "scenes, see H3DS.scenes()"
            ) from None

    def paths(self, scene_id: str) -> Paths:
        """Where the files of a scene lie."""
        self.entry(scene_id)
        return Paths(Path(self.path) / scene_id)

    def version_file(self) -> str:
        """The file that names the data version."""
        return os.path.join(self.path, VERSION_FILE)

    def scene_mesh(self, scene_id: str) -> str:
        """Ground truth of a scene."""
        return str(self.paths(scene_id).mesh)

    def scene_images(self, scene_id: str) -> list[str]:
        """Photographs of all views."""
        return [str(self.paths(scene_id).image(index)) for index in range(self.scene_views(scene_id))]

    def scene_masks(self, scene_id: str) -> list[str]:
        """Masks of all views."""
        return [str(self.paths(scene_id).mask(index)) for index in range(self.scene_views(scene_id))]

    def scene_cameras(self, scene_id: str) -> str:
        """Camera matrices of a scene."""
        return str(self.paths(scene_id).cameras)

    def scene_landmarks(self, scene_id: str) -> str:
        """Landmarks of a scene."""
        return str(self.paths(scene_id).landmarks)

    def scene_region(self, scene_id: str, region_id: str) -> str:
        """Index list of a region of a scene."""
        return str(self.paths(scene_id).region(region_id))

    def scene_files(self, scene_id: str) -> list[str]:
        """What a complete scene must have: mesh, images, masks, cameras."""
        return [
            self.scene_mesh(scene_id),
            *self.scene_images(scene_id),
            *self.scene_masks(scene_id),
            self.scene_cameras(scene_id),
        ]

    def files(self) -> list[str]:
        """What a complete copy must have."""
        return [self.version_file(), *(file for name in self.scenes() for file in self.scene_files(name))]


def load_config(path: str, config_id: str, config_path: str | None) -> Mapping[str, Any]:
    """The description to use: the given toml, else the root's own `config.toml`, else a built-in table.

    Raises:
        SceneError: The toml is missing or broken, or the table's name is not known.
    """
    own = Path(path) / CONFIG_FILE
    file = Path(config_path).expanduser() if config_path is not None else own
    if config_path is not None or own.is_file():
        config = read_config(file)
        if lacking := [name for name, entry in config["scenes"].items() if "views" not in entry]:
            raise SceneError(f"{file} does not say how many views scene {lacking[0]} has: views = NUMBER")
        return config
    if config_id not in CONFIGS:
        raise SceneError(f"unknown H3DS release {config_id!r}: choose one of {', '.join(CONFIGS)}")
    return tables()[config_id]


def present_file(file: str) -> str:
    """The file's name, if it is there.

    Raises:
        MissingFileError: This copy of the data set lacks it.
    """
    if os.path.exists(file):
        return file
    is_region = os.path.basename(os.path.dirname(file)) == "regions"
    note = f"; regions are {', '.join(REGIONS)}" if is_region else ""
    raise MissingFileError(
        f"{file} is missing in this copy of H3DS: call download(token) or copy it there{note}"
    )

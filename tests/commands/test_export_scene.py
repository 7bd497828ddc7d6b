"""headrecon-export-scene: the views of a scene in each layout, and what it refuses."""

import pytest
from hydra import compose, initialize_config_dir

from recon.commands import export_scene
from recon.errors import ConfigError, ReconError
from recon.resources import CONF
from recon.systems.resolvers import register_resolvers
from tests.support.scenes import make_h3ds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("made"))


def configured(*overrides):
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("export_scene", overrides=list(overrides))


@pytest.mark.parametrize("layout", export_scene.FORMATS)
def test_views_are_written_once(folder, tmp_path, layout, capsys):
    cfg = configured(f"scene={folder}", "views=[0,1,2]", f"format={layout}", f"out={tmp_path / 'out'}")
    export_scene.run(cfg)
    assert f"wrote 3 views to {tmp_path / 'out'}" in capsys.readouterr().out
    with pytest.raises(ReconError):  # the folder is not empty any more
        export_scene.run(cfg)


@pytest.mark.parametrize("overrides", [["format=ply"], ["format=idr", "unit=true"]])
def test_bad_options_are_refused_before_any_work(folder, tmp_path, overrides):
    with pytest.raises(ConfigError):
        export_scene.run(configured(f"scene={folder}", f"out={tmp_path / 'out'}", *overrides))
    assert not (tmp_path / "out").exists()

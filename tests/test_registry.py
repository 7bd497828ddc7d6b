"""Whatever can be reached from a module of this package, a configuration can only name classes of its kinds."""

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

import recon
from recon.registry import Kind, named_class, subclass_of, with_methods
from recon.systems.options.building import KINDS

DEPTH = 3
RUN_CODE = [
    "recon.scene.camera.np.testing.runstring",
    "recon.priors.weights.torch.load",
    "recon.files.Path.write_text",
    "recon.files.Path",
    "recon.files.os.system",
    "recon.systems.config.os.system",
    "recon.systems.benchmark.runs.subprocess.Popen",
    "recon.synth.datasets.batch.Path",
    "recon.systems.stages.pl.Trainer",
    "recon.priors.prior.Any",
    "recon.scene.scene.trimesh.Trimesh",
]


def modules():
    """All modules of the package, imported."""
    for found in pkgutil.walk_packages(recon.__path__, "recon."):
        yield importlib.import_module(found.name)


def reachable(module, path, depth, seen):
    """Dotted paths of attributes of a module, of its modules and classes in turn; each foreign thing once."""
    for name, value in list(vars(module).items()):
        here = f"{path}.{name}"
        yield here, value
        within = isinstance(value, ModuleType) or (isinstance(value, type) and value.__module__ != "builtins")
        if within and depth > 1 and id(value) not in seen:
            seen.add(id(value))
            yield from reachable(value, here, depth - 1, seen)


def top_level_classes(module):
    tree = ast.parse(Path(module.__file__).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


@pytest.mark.slow
def test_of_all_reachable_attribute_paths_only_classes_of_the_kinds_are_admitted():
    seen: set[int] = set()
    paths = {}
    for module in modules():
        paths |= dict(reachable(module, module.__name__, DEPTH, seen))
    count = len(paths)
    assert count > 20_000 and any(path.endswith(".Path.write_text") for path in paths)
    admitted = {path: found for path in paths if (found := named_class(path, KINDS.values())) is not None}
    for expected in ("recon.priors.PCAPrior", "recon.fields.SDFNetwork", "recon.rendering.CachedTracing"):
        assert expected in admitted
    for path, found in admitted.items():
        home = importlib.import_module(found.__module__)
        assert found.__module__.startswith("recon.") and found.__name__ in top_level_classes(home), path
        assert paths[path] is found, path
        assert path.rpartition(".")[0] in (home.__name__, home.__name__.rpartition(".")[0], "recon.priors"), (
            path
        )
        assert any(
            [
                issubclass(found, nn.Module) and found.__module__.startswith("recon.fields."),
                hasattr(found, "terms") and found.__module__.startswith("recon.systems."),
                hasattr(found, "starts") and found.__module__.startswith("recon.priors."),
                hasattr(found, "check") and found.__module__.startswith("recon.systems.pretraining."),
                found.__module__.startswith(("recon.perception.", "recon.rendering.")),
            ]
        ), path
    assert len(set(admitted.values())) < 60


@pytest.mark.parametrize("target", RUN_CODE)
def test_what_modules_import_is_not_admitted(target):
    assert named_class(target, KINDS.values()) is None


@pytest.mark.parametrize(
    "target", [None, 3, "", "recon", "recon.", "recon..PCAPrior", "recon.priors.PCAPrior ", "Recon.Priors.PCAPrior",
               "recon.priors.pcaprior", "recon.priors.PCAPrior.starts", "reconx.priors.PCAPrior", "recon.priors.\nX",
               "recon.priors.__class__.Any", "builtins.eval", "os.system", "logging.os.system"],
)  # fmt: skip
def test_other_texts_name_nothing(target):
    assert named_class(target, KINDS.values()) is None


def test_a_class_is_named_where_it_is_defined_or_listed_and_in_its_kinds_room_alone():
    prior = Kind("prior", "recon.priors", with_methods("starts"))
    network = Kind("network", "recon.fields", subclass_of(nn.Module))
    from recon.fields import SDFNetwork
    from recon.priors import PCAPrior

    assert named_class("recon.priors.PCAPrior", [prior]) is PCAPrior
    assert named_class("recon.priors.pca_prior.PCAPrior", [prior]) is PCAPrior
    assert named_class("recon.priors.instant_start.PCAPrior", [prior]) is None  # imported there
    assert named_class("recon.fields.SDFNetwork", [prior]) is None
    assert named_class("recon.fields.SDFNetwork", [prior, network]) is SDFNetwork
    assert named_class("recon.priors.Prior", [prior]) is None  # a protocol is not built
    assert named_class("recon.priors.PCAShapeModel", [network]) is None  # a module of another room

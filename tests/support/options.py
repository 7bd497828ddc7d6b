"""Names of the options of a yaml file of conf/, to compare with what is said of them."""

import yaml


def leaves(path, prefix):
    """Full names of all options of a yaml file, without Hydra's own and `_target_`."""

    def walk(node, name):
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, f"{name}{key}.")
        else:
            yield name.rstrip(".")

    content = yaml.safe_load(path.read_text())
    for dropped in ("defaults", "hydra"):
        content.pop(dropped, None)
    return [name for name in walk(content, prefix) if not name.endswith("_target_")]

"""Classes that a configuration may name: those of this package that are of a kind, by their exact names.

A configuration may come from anywhere, as with the run folder of a stranger. Its `_target_` is the name of a module of
this package, a dot, and the name of a class that this module defines, or that a package lists in its `__all__`. No
attribute of anything else is ever looked at: `recon.scene.camera.np.testing.runstring` names no module.
"""

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

NAME = re.compile(r"(recon(?:\.[a-z][a-z0-9_]*)+)\.([A-Z][A-Za-z0-9_]*)")
"""Module and class of a name."""


@dataclass(frozen=True)
class Kind:
    """A kind of class that configurations may name.

    Attributes:
        name: What it is called in messages.
        room: Package in which these classes are defined, such as `recon.priors`.
        includes: Whether a class of the room is of this kind.
    """

    name: str
    room: str
    includes: Callable[[type], bool]

    def holds(self, module: str) -> bool:
        """Whether a module lies in the room."""
        return f"{module}.".startswith(f"{self.room}.")


def subclass_of(base: type) -> Callable[[type], bool]:
    """A function that tells whether a class is `base` or a subclass of it."""
    return lambda found: issubclass(found, base)


def with_methods(*names: str) -> Callable[[type], bool]:
    """A function that tells whether a class has these methods, as `typing.Protocol` asks for them, and is no protocol
    itself.
    """

    def includes(found: type) -> bool:
        methods = all(callable(getattr(found, name, None)) for name in names)
        return methods and not getattr(found, "_is_protocol", False)

    return includes


def named_class(target: object, kinds: Iterable[Kind]) -> type | None:
    """The class of one of some kinds that a text names.

    Args:
        target: Such as `recon.priors.PCAPrior`.
        kinds: Those that count.

    Returns:
        None where the text names no such class; nothing but modules of the kinds' rooms is imported meanwhile.
    """
    parts = NAME.fullmatch(target) if isinstance(target, str) else None
    if parts is None:
        return None
    path, name = parts.groups()
    possible = [kind for kind in kinds if kind.holds(path)]
    module = _module(path) if possible else None
    if module is None:
        return None
    found = vars(module).get(name)
    if not isinstance(found, type) or found.__qualname__ != name:
        return None
    public = found.__module__ == path or name in getattr(module, "__all__", ())
    if not public:
        return None
    return found if any(kind.holds(found.__module__) and kind.includes(found) for kind in possible) else None


def _module(path: str) -> ModuleType | None:
    """A module of this package; None where there is none of that name, which for attributes of modules is so."""
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # the module is there and needs a package that is not installed
        return None
    return module if module.__name__ == path else None

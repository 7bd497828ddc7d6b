"""What may be asked of a benchmark."""

from collections.abc import Mapping
from typing import Any

from recon.errors import ConfigError
from recon.systems.config import CONF, PRESETS


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses what cannot be run, before anything is.

    Args:
        options: those of conf/benchmark.yaml, with `views`, `methods` and `seeds` as lists.

    Raises:
        ConfigError: an option is of a wrong kind, or names a method that there is not.
    """
    for name in ("views", "seeds"):
        least = 1 if name == "views" else 0
        if not options[name] or not all(type(n) is int and n >= least for n in options[name]):
            raise ConfigError(f"{name}={options[name]}: expected a number from {least} on, or a list of them")
    if options["workers"] is not None and (type(options["workers"]) is not int or options["workers"] < 1):
        raise ConfigError(f"workers={options['workers']}: how many runs at a time, at least 1")
    if options["preset"] not in ("auto", *PRESETS):
        raise ConfigError(f"preset={options['preset']}: choose auto, {', '.join(PRESETS)}")
    overrides = options["overrides"] or {}
    for setting in [*options["extra"], *(each for own in overrides.values() for each in own)]:
        if not isinstance(setting, str) or "=" not in setting:
            raise ConfigError(f"{setting!r} is no option of headrecon: expected 'key=value' in quotes")
    if unknown := set(overrides) - set(options["methods"]):
        raise ConfigError(
            f"overrides: {', '.join(sorted(unknown))} is not among methods={options['methods']}"
        )
    known = methods()
    for method in options["methods"]:
        says = [o for o in (*options["extra"], *overrides.get(method, ())) if o.startswith("method=")]
        if method not in known and not says:
            raise ConfigError(f"methods: there is no {method!r}; choose from {', '.join(known)}")


def methods() -> list[str]:
    """Names of conf/method, sorted."""
    return sorted(path.stem for path in (CONF / "method").glob("*.yaml"))

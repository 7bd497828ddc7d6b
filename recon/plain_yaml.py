"""YAML files that may come from anywhere: read as plain values of bounded size, depth and number, or refused."""

from pathlib import Path

import yaml

from recon.errors import ReconError
from recon.files import decoded

MOST_BYTES = 1_000_000
MOST_DEPTH = 30
"""A configuration of this project has 30 kB and is 6 deep."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is there; it is read for its events alone."""


def plain_yaml(path: Path, error: type[ReconError]) -> str:
    """The text of a YAML file of plain values: mappings, lists, numbers and words, one document.

    Anchors and aliases, which can make a gigabyte of a kilobyte, tags, which name types, and interpolations such as
    `${oc.env:HOME}`, which are replaced by what the reader's machine has, are refused: files that this project stores
    have none.

    Args:
        path: Of the file.
        error: Exception to raise.

    Raises:
        ReconError: Of the class given, with the file and the line.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise error(f"{path} has {path.stat().st_size} bytes, expected at most {MOST_BYTES}")
        text = decoded(path.read_bytes())
        problem = _problem(text)
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError, ValueError) as reason:
        said = " ".join(str(reason).split())
        raise error(f"{path} cannot be read as YAML: {said}") from reason
    if problem:
        raise error(f"{path}, {problem}; configurations that this project stores hold plain values alone")
    return text


def _problem(text: str) -> str | None:
    """What is not plain in a text of YAML, with its line; None where everything is.

    Raises:
        YAMLError: The text is no YAML.
    """
    depth, documents = 0, 0
    for event in yaml.parse(text, Loader=LOADER):
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                return f"{line}: a second document"
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return f"{line}: an anchor or alias"
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                return f"{line}: nested deeper than {MOST_DEPTH}"
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.ScalarEvent) and "${" in event.value:
            return f"{line}: the interpolation {event.value[:100]}"
        if getattr(event, "tag", None):
            return f"{line}: the tag {event.tag[:100]}"
    return None

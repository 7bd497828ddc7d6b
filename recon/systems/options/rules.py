"""Rules of options: what a value may be, in words and as a test."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

MOST_SEED = 2**32 - 1
"""The largest seed that all of NumPy's generators take."""


class Rule(NamedTuple):
    """What an option may be.

    Attributes:
        words: It ends the sentence "expected …".
        admits: Whether a value is such.
        path: Whether it is a path, or a list of paths; see `recon.systems.options.paths`.
    """

    words: str
    admits: Callable[[Any], bool]
    path: bool = False

    def __or__(self, other: object) -> "Rule":
        """One of two rules; with None also null."""
        if isinstance(other, Rule):
            words, path = f"{self.words}, or {other.words}", self.path or other.path
            return Rule(words, lambda v: self.admits(v) or other.admits(v), path)
        return Rule(f"{self.words}, or null", lambda v: v is None or self.admits(v), self.path)


def whole(least: int, most: int | None = None) -> Rule:
    """A whole number within limits."""
    upto = f"of at least {least}" if most is None else f"from {least} to {most}"
    high = math.inf if most is None else most
    return Rule(f"a whole number {upto}", lambda v: type(v) is int and least <= v <= high)


def number(
    low: int | float, high: int | float = math.inf, *, above: bool = False, below: bool = False
) -> Rule:
    """A finite number within limits; `above` and `below` leave out the limit itself."""

    def admits(value: Any) -> bool:
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        return (low < value if above else low <= value) and (value < high if below else value <= high)

    limits = [f"above {low:g}" if above else f"of at least {low:g}"] if low > -math.inf else []
    limits += [f"below {high:g}" if below else f"at most {high:g}"] if high < math.inf else []
    return Rule(" ".join(["a number", " and ".join(limits)]).strip(), admits)


def one_of(*choices: Any) -> Rule:
    """One of some words or numbers, of the same type."""
    words = " or ".join(", ".join(map(str, choices)).rsplit(", ", 1))
    return Rule(words, lambda v: any(v == choice and type(v) is type(choice) for choice in choices))


def list_of(rule: Rule, length: int | None = None, *, least: int = 0) -> Rule:
    """A list of values of a rule."""

    def admits(value: Any) -> bool:
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if not listed or len(value) < least or (length is not None and len(value) != length):
            return False
        return all(rule.admits(each) for each in value)

    count = "" if length is None else f"{length} values, each "
    return Rule(f"a list: {count}{rule.words}", admits, rule.path)


def _is_text(value: Any) -> bool:
    return type(value) in (str, int, float) and str(value).strip() != "" and "\0" not in str(value)


FLAG = Rule("true or false", lambda v: isinstance(v, bool))
TEXT = Rule("a word or path", _is_text)
TEXTS = list_of(TEXT)
PATH = TEXT._replace(path=True)
COUNT, AMOUNT = whole(1), whole(0)
LENGTH, WEIGHT, SHARE = number(0, above=True), number(0), number(0, 1)
RATE = number(0, 1)
SEED = whole(0, MOST_SEED)
VIEWS = Rule(
    "a number (views=3) or a list of whole numbers (views=[0,18,65])",
    lambda v: (whole(1) | None).admits(v) or list_of(whole(0), least=1).admits(v),
)
NUMBERS = COUNT | list_of(COUNT, least=1)
SUBJECTS = COUNT | TEXTS | None
CENTRE = Rule("0.0, 0.5 or null", lambda v: v is None or (type(v) in (int, float) and v in (0, 0.5)))
ACCELERATOR = one_of("cpu", "gpu", "auto")
PRESET = one_of("auto", "cpu", "gpu", "paper")
PRECISION = one_of(
    "32-true",
    "32",
    32,
    "16-mixed",
    "16",
    16,
    "bf16-mixed",
    "bf16",
    "16-true",
    "bf16-true",
    "64-true",
    "64",
    64,
)

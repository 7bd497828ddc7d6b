"""The exceptions of this package: each says what was expected, what came, which file, and what to do."""

import signal


class Interruption(KeyboardInterrupt):
    """A signal that asked the process to end.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class ReconError(Exception):
    """Something the user can mend; command lines print its message without a traceback."""


class SceneError(ReconError):
    """A scene on disk that cannot be used: images, masks, cameras, ids."""


class PerceptionError(ReconError):
    """A network that looks at photographs and cannot be had, read or run."""


class ConfigError(ReconError):
    """A configuration that cannot be run."""


class StorageError(ReconError, OSError):
    """A file that cannot be written: the disk is full, read-only or failing, or the folder is another user's."""


class CheckpointError(ReconError):
    """A checkpoint that cannot be written or read."""


class PriorError(ReconError):
    """A prior that cannot be read, does not fit, or cannot be trained on the data given."""


class OutOfDistributionError(PriorError):
    """A prior that cannot explain what the masks show: to go on without it is better."""


class MeshError(ReconError):
    """A surface that cannot be extracted, read or exported."""


class EvaluationError(ReconError):
    """A prediction or ground truth that cannot be scored."""

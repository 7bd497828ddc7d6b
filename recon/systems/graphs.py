"""CUDA graphs: a training step is recorded once and then replayed, which spares the host the launch of each kernel.

A recorded step repeats the same kernels on the same addresses. So all that differs from step to step lies in buffers
that are filled before it is replayed; its gradients lie where the recording put them; and whatever changes which
kernels are needed, such as a geometry that begins to learn, makes a new recording. The optimizer's step and the
refreshes of what the tracer remembers stay outside.

None of this has run on a GPU yet. What is kept, filled, replayed and recorded again is tested on the CPU with a
recorder that repeats PyTorch's operations one by one.
"""

import gc
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from recon.systems.objective import StepTerms

log = logging.getLogger(__name__)

WARM_UPS = 3
"""Steps before a recording that run as ever, but on the recording's stream, so that what is allocated once is there."""

Work = Callable[[], StepTerms]


@runtime_checkable
class Recorder(Protocol):
    """Records work once and repeats it; one object for one recording."""

    def warm_up(self, work: Work) -> StepTerms:
        """Do the work, as it will be recorded."""
        ...

    def capture(self, work: Work) -> StepTerms:
        """Record the work without doing it; tensors that hold its results after each `replay`.

        Raises:
            RuntimeError: It cannot be recorded.
        """
        ...

    def replay(self) -> None:
        """Do the recorded work again."""
        ...


class CudaRecorder:
    """A CUDA graph with memory of its own, recorded on a stream of its own."""

    def __init__(self) -> None:
        self.stream, self.graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()

    def warm_up(self, work: Work) -> StepTerms:
        """Do the work on the recording's stream; the present stream waits for it, the host does not."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            terms = work()
        torch.cuda.current_stream().wait_stream(self.stream)
        return terms

    def capture(self, work: Work) -> StepTerms:
        """Record the work; afterwards the present stream is what it was, also if that failed."""
        before = torch.cuda.current_stream()
        gc.collect()  # what is freed while a graph is recorded can spoil it
        try:
            with torch.cuda.graph(self.graph, stream=self.stream):
                return work()
        finally:
            torch.cuda.set_stream(before)  # PyTorch forgets to, where the recording cannot be ended

    def replay(self) -> None:
        """Launch the graph on the present stream."""
        self.graph.replay()


@dataclass(frozen=True)
class _Recording:
    """What a recording leaves: where its results and its gradients are."""

    terms: StepTerms
    gradients: tuple[tuple[nn.Parameter, Tensor], ...]


class GraphedSteps:
    """Training steps through recordings, of which one is kept at a time.

    Args:
        recorder: Makes what records.
        warm_ups: Steps before each recording.

    Attributes:
        learned: Whether the last step went this way, so that its gradients are there and must stay.
        failed: Whether a recording failed; then no step goes this way any more.
    """

    def __init__(self, recorder: Callable[[], Recorder] = CudaRecorder, warm_ups: int = WARM_UPS) -> None:
        self.make, self.warm_ups = recorder, warm_ups
        self.failed = False
        self.drop()

    def __deepcopy__(self, memo: Any) -> "GraphedSteps":
        """Nothing is recorded for a copy of a system."""
        return GraphedSteps(self.make, self.warm_ups)

    def drop(self) -> None:
        """Forget the recording and its memory, such as before the system moves to another device."""
        self.learned = False
        self._kind: Hashable = None
        self._buffers: dict[str, Tensor] = {}
        self._recorder: Recorder | None = None
        self._recording: _Recording | None = None
        self._warm = 0

    def step(
        self,
        work: Callable[[Mapping[str, Tensor]], StepTerms],
        parameters: Iterable[nn.Parameter],
        given: Mapping[str, Tensor | float],
        kind: Hashable,
    ) -> StepTerms | None:
        """A step: loss, gradients and figures.

        Args:
            work: A step, from the tensors given to gradients at the parameters, without a look at any other number
                that differs from step to step. Its loss must come detached.
            parameters: Those that may get gradients.
            given: What differs from step to step; numbers become tensors.
            kind: What decides, beside the shapes of what is given, which operations the step does.

        Returns:
            The terms of the step, overwritten by the next; None if it could not be recorded and was not done.
        """
        self.learned = False
        if self.failed:
            return None
        parameters = tuple(parameters)
        self._fill(given, kind)
        assert self._recorder is not None

        def on_buffers() -> StepTerms:
            return work(self._buffers)

        if self._recording is None:
            for parameter in parameters:
                parameter.grad = (
                    None  # so that gradients are made where the step is, and nothing is added to old ones
                )
            if self._warm < self.warm_ups:
                self._warm += 1
                terms = self._recorder.warm_up(on_buffers)
                self.learned = True
                return terms
            self._recording = self._recorded(self._recorder, on_buffers, parameters)
            if self._recording is None:
                return None
        kept = dict(self._recording.gradients)
        for parameter in parameters:
            parameter.grad = kept.get(parameter)
        self._recorder.replay()
        self.learned = True
        return self._recording.terms

    def _fill(self, given: Mapping[str, Tensor | float], kind: Hashable) -> None:
        """Put what is given where the recording finds it; begin anew if that is another kind of step."""
        shapes = tuple(
            (name, (value.shape, value.dtype, value.device) if isinstance(value, Tensor) else None)
            for name, value in given.items()
        )
        if (shapes, kind) != self._kind:
            self.drop()
            self._kind, self._recorder = (shapes, kind), self.make()
            device = next(value.device for value in given.values() if isinstance(value, Tensor))
            self._buffers = {
                name: torch.empty_like(value)
                if isinstance(value, Tensor)
                else torch.empty((), dtype=torch.float32, device=device)
                for name, value in given.items()
            }
        for name, value in given.items():
            if isinstance(value, Tensor):
                self._buffers[name].copy_(value, non_blocking=True)
            else:
                self._buffers[name].fill_(value)

    def _recorded(
        self, recorder: Recorder, work: Work, parameters: tuple[nn.Parameter, ...]
    ) -> _Recording | None:
        """The recording of a step, or None, with a warning, if there cannot be one."""
        try:
            terms = recorder.capture(work)
        except RuntimeError as error:
            log.warning(
                "renderer.cuda_graphs: the step cannot be recorded, going on without (%s: %s)",
                type(error).__name__,
                str(error).strip().partition("\n")[0],
            )
            for parameter in parameters:
                parameter.grad = None
            self.drop()
            self.failed = True
            return None
        made = tuple((p, p.grad) for p in parameters if p.grad is not None)
        log.info("a training step is recorded as a CUDA graph and replayed from now on")
        return _Recording(terms, made)

"""A step of fixed shapes: the losses and gradients of the other, and on no device a look at what it holds."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recon.errors import ReconError
from recon.rendering import RayBatch, SurfaceBatch, Trace
from recon.rendering.tracing import Tracer
from recon.systems.bad_steps import LOOK_EVERY
from recon.systems.objective import StepTerms
from recon.systems.reconstruction import Reconstruction, beside
from tests.support.methods import EVERY, lattice_moved, phases

META = torch.device("meta")
RAYS = [(method, field) for method, field in EVERY if method != "instant"]


class Known(Tracer):
    """Finds what somebody else found."""

    def __init__(self, settings, found):
        super().__init__(settings)
        self.found = found

    def forward(self, *_):
        return self.found


def doubled(batch):
    return RayBatch(batch.views, batch.pixels.double(), batch.mask, batch.colour.double())


def moved(case, to, **tracing):
    """A system in another precision or on another device."""
    system = case.copy(**tracing).to(to)
    lattice_moved(system, to)
    return system


def learned(system, batch, step):
    """Terms and gradients of a step."""
    system.set_phase(step)
    terms = system.losses(batch, step)
    terms.total.backward()
    return terms, {name: p.grad for name, p in system.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "field"), RAYS)
def test_fixed_shapes_have_the_losses_and_gradients_of_the_others(cases, method, field):
    case, batch = cases(method, field), doubled(cases(method, field).batch())
    for step in phases(case.system).values():
        few = moved(case, torch.float64, fixed_shapes=False)
        few.set_phase(step)
        origins, directions = few.cameras.rays(batch.views, batch.pixels)
        found = few.tracer(
            few.sdf.sdf, origins.detach(), directions.detach(), batch.mask, torch.Generator(), step
        )
        agreed = found.hit & batch.mask
        assert 5 < agreed.sum() < len(batch) - 5
        all_ = moved(case, torch.float64, fixed_shapes=True)
        for system in (few, all_):
            system.tracer = Known(system.tracing, Trace(found.depth, found.hit))
        (terms, gradients), (wanted, expected) = learned(all_, batch, step), learned(few, batch, step)
        assert expected.keys() == gradients.keys()
        torch.testing.assert_close(terms.total, wanted.total, rtol=1e-10, atol=0)
        torch.testing.assert_close(terms.shown, wanted.shown, rtol=1e-10, atol=0)
        for name, gradient in gradients.items():
            size = float(expected[name].abs().max())
            torch.testing.assert_close(gradient, expected[name], rtol=1e-7, atol=1e-9 * size + 1e-15)


@pytest.mark.parametrize("hits", ["none", "all"])
def test_fixed_shapes_bear_steps_where_nothing_or_everything_agrees(cases, hits):
    case, batch = cases("idr", "mlp"), doubled(cases("idr", "mlp").batch())
    origins, directions = case.copy().double().cameras.rays(batch.views, batch.pixels)
    depth = -(origins * directions).sum(1)
    found = Trace(depth, torch.full_like(batch.mask, hits == "all"))
    batch = RayBatch(batch.views, batch.pixels, torch.ones_like(batch.mask), batch.colour)
    results = []
    for fixed in (True, False):
        system = case.copy(fixed_shapes=fixed).double()
        system.tracer = Known(system.tracing, found)
        results.append(learned(system, batch, 25))
    (terms, gradients), (wanted, expected) = results
    torch.testing.assert_close(terms.shown, wanted.shown, rtol=1e-10, atol=1e-15)
    assert (float(terms.shown["psnr"]) == 0) == (hits == "none")
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient, expected.get(name, torch.zeros_like(gradient)), rtol=1e-7, atol=1e-12
        )


class OnlyOn(TorchDispatchMode):
    """No operation may see a tensor of another device."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, out)):
            if isinstance(leaf, torch.Tensor) and leaf.device != self.device:
                raise AssertionError(f"{func} has a tensor on {leaf.device}")
        return out


def stepped_without_lightning(system, batch, step, monkeypatch):
    """What Lightning does in a step, but for the optimizer's own."""
    parameters = list(system.parameters())
    optimizer = torch.optim.SGD(parameters)  # fused Adam knows no such device
    monkeypatch.setattr(Reconstruction, "global_step", step)
    monkeypatch.setattr(system, "log_dict", lambda *_, **__: None)
    loss = system.training_step(batch, 0)
    system.optimizer_zero_grad(0, 0, optimizer)
    system.backward(loss)
    system.on_before_optimizer_step(optimizer)
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "field"), EVERY)
def test_a_step_neither_reads_back_nor_mixes_devices(cases, method, field, monkeypatch):
    case = cases(method, field)
    system, batch = moved(case, META), case.batch().to(META)
    assert isinstance(batch, SurfaceBatch) == (method == "instant")
    steps = phases(case.system) or {"frozen": 25}
    for step in steps.values():
        gradients = stepped_without_lightning(system, batch, step, monkeypatch)
        assert gradients and all(gradient.device == META for gradient in gradients)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "field"), EVERY)
def test_what_a_recording_repeats_is_all_on_its_device(cases, method, field):
    case = cases(method, field)
    system, batch = moved(case, META), case.batch().to(META)
    for step in (phases(case.system) or {"frozen": 25}).values():
        system.set_phase(step)
        given = {
            name: value if isinstance(value, torch.Tensor) else torch.empty((), device=META)
            for name, value in system.given(batch, step).items()
        }
        with OnlyOn(META):
            terms = system.learn(given)
        assert not terms.total.requires_grad


@pytest.mark.parametrize("renderer", ["of varying shapes", "with a bad step's count", "with a look"])
def test_the_meta_device_notices_what_waits_for_an_answer(cases, renderer, monkeypatch):
    case = cases("idr", "mlp")
    system, batch = moved(case, META, fixed_shapes=renderer != "of varying shapes"), case.batch().to(META)
    if renderer == "with a look":
        system.bad_steps.since_look = 19
    if renderer == "with a bad step's count":
        monkeypatch.setattr(Reconstruction, "_deferred", lambda *_: False)
    with pytest.raises((RuntimeError, NotImplementedError)):
        stepped_without_lightning(system, batch, phases(case.system)["learns"], monkeypatch)


def test_the_moments_of_a_donor_go_where_the_parameter_is():
    parameter = torch.nn.Parameter(torch.zeros(3, device=META))
    state = beside(parameter, {"step": torch.tensor(7.0), "exp_avg": torch.ones(3)})
    assert {value.device for value in state.values()} == {META}


class NotANumberBackwards(torch.autograd.Function):
    """The same, with a derivative that is not a number."""

    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent * math.nan


@pytest.mark.parametrize("what", ["gradient", "loss"])
@pytest.mark.parametrize("device", ["here", "there"])
def test_bad_steps_reach_no_weights_and_too_many_end_the_run(cases, what, device, monkeypatch):
    case = cases("idr", "mlp")
    system = case.copy(fixed_shapes=device == "there")
    optimizer = system.configure_optimizers()["optimizer"]
    before = [parameter.detach().clone() for parameter in system.parameters()]
    monkeypatch.setattr(Reconstruction, "global_step", 25)
    monkeypatch.setattr(system, "log_dict", lambda *_, **__: None)
    losses = system.losses

    def poisoned(batch, step):
        """An infinite loss with finite gradients, or gradients that are not numbers."""
        terms = losses(batch, step)
        total = terms.total + math.inf if what == "loss" else NotANumberBackwards.apply(terms.total)
        return StepTerms(total, terms.shown)

    monkeypatch.setattr(system, "losses", poisoned)
    with pytest.raises(ReconError, match="not finite in 20 steps in a row"):
        for step in range(40):
            loss = system.training_step(case.batch(step), 0)
            system.optimizer_zero_grad(0, step, optimizer)
            if loss is not None:
                system.backward(loss)
            system.on_before_optimizer_step(optimizer)
            optimizer.step()
    assert step < 20 + LOOK_EVERY
    assert all(torch.equal(old, new) for old, new in zip(before, system.parameters(), strict=True))

"""Recorded steps: on the CPU with a stand-in that repeats operations, and on a GPU where there is one."""

import copy
import csv
import logging
import math

import pytest
import torch

from recon.errors import ConfigError
from recon.fields import feature_grid as grid
from recon.rendering import RayBatch
from recon.systems import run, stages
from recon.systems.graphs import WARM_UPS, CudaRecorder, GraphedSteps
from recon.systems.objective import StepTerms
from tests.support import ellipsoid
from tests.support.recorder import Recorder
from tests.support.runs import TINY, configured

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def plain_operations(monkeypatch):
    """Splines without compiled loops, as on a GPU: the stand-in sees only PyTorch's operations."""
    monkeypatch.setattr(grid, "_compiled", lambda points: False)


def recorded(case, **options):
    """A system whose steps are recorded by the stand-in, and the list of its recorders."""
    system, made = case.copy(fixed_shapes=True, cuda_graphs=True), []

    def make():
        made.append(Recorder(system.bad_steps.buffers(), **options))
        return made[-1]

    system.graphs = GraphedSteps(make)
    return system, made


def trained(system, sampler, steps):
    """Losses and figures of steps as Lightning does them, the optimizer's own included."""
    configured = system.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    found = []
    for step in steps:
        terms = system.terms(sampler(step), step)
        system.optimizer_zero_grad(0, step, optimizer)
        system.backward(terms.total)
        system.on_before_optimizer_step(optimizer)
        optimizer.step()
        scheduler.step()
        found.append({"total": float(terms.total.detach()), **{k: float(v) for k, v in terms.shown.items()}})
    return found


def same(one, other):
    mine, theirs = dict(one.named_parameters()), dict(other.named_parameters())
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-6, atol=1e-8, msg=name)


WINDOWS = [
    ("idr", "mlp", range(44, 56), 1),  # α grows at 50
    ("idr, cameras too", "mlp", range(44, 52), 1),
    ("idr", "dense", range(99, 113), 2),  # weights of levels change at each step, at 107 a level comes in
    ("idr", "hash", range(20, 30), 1),
    ("h3dnet", "mlp", range(193, 209), 2),  # from 200 on the geometry learns
    ("h3dnet", "dense", range(193, 209), 2),  # and the shape model is a lattice
    ("instant_h3dnet", "mlp", range(20, 28), 1),
    ("instant_grid", "dense", range(150, 160), 1),
    ("baseh3dnet", "mlp", range(8), 1),
    ("instant", "hash_appearance", range(8), 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "field", "steps", "recordings"), WINDOWS)
def test_recorded_steps_are_those_that_python_does(cases, method, field, steps, recordings):
    case = cases(method, field)
    eager = case.copy(fixed_shapes=True)
    system, made = recorded(case)
    wanted, found = (trained(each, case.sampler, steps) for each in (eager, system))
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)
    same(system, eager)
    assert [recorder.warm for recorder in made if recorder.replayed] == [WARM_UPS] * recordings
    assert sum(recorder.replayed + recorder.warm for recorder in made) == len(steps)


def test_other_shapes_are_recorded_anew_and_their_gradients_are_not_mixed(cases):
    case = cases("idr", "mlp")

    def sampler(step):
        batch = case.batch(step)
        return batch if step % 10 < 5 else RayBatch(*(part[:64] for part in vars(batch).values()))

    eager, (system, made) = case.copy(fixed_shapes=True), recorded(case)
    wanted, found = (trained(each, sampler, range(20, 40)) for each in (eager, system))
    assert [one["total"] for one in found] == pytest.approx([each["total"] for each in wanted], rel=1e-5)
    same(system, eager)
    assert len(made) == 4


def test_a_recording_that_fails_loses_nothing(cases, caplog):
    case = cases("h3dnet", "mlp")
    eager, (system, made) = case.copy(fixed_shapes=True), recorded(case, fails=True)
    with caplog.at_level(logging.WARNING):
        wanted, found = (trained(each, case.sampler, range(194, 206)) for each in (eager, system))
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)
    same(system, eager)
    assert len(made) == 1 and system.graphs.failed
    (said,) = [record.message for record in caplog.records if "cuda_graphs" in record.message]
    assert "RuntimeError: operation not permitted when stream is capturing)" in said


def test_a_bad_step_in_a_recording_reaches_no_weights(cases):
    case = cases("idr", "mlp")

    def sampler(step):
        batch = case.batch(step)
        if step not in (25, 26, 29):
            return batch
        return RayBatch(batch.views, batch.pixels, batch.mask, batch.colour * math.nan)

    eager, (system, made) = case.copy(fixed_shapes=True), recorded(case)
    trained(eager, sampler, range(20, 32))
    found = trained(system, sampler, range(20, 32))
    assert made[0].replayed > 6 and math.isnan(found[5]["total"]) and not math.isnan(found[7]["total"])
    assert all(torch.isfinite(parameter).all() for parameter in system.parameters())
    same(system, eager)
    assert [int(each.bad_steps.most) for each in (eager, system)] == [2, 2]
    assert [int(each.bad_steps.in_a_row) for each in (eager, system)] == [0, 0]


@pytest.mark.slow
def test_what_does_not_learn_has_no_gradient_in_a_replayed_step(cases):
    case = cases("h3dnet", "mlp")
    system, made = recorded(case)
    geometry = list(system.sdf.parameter_groups()["geometry"])
    trained(system, case.sampler, range(190, 196))
    assert made[0].replayed and all(parameter.grad is None for parameter in geometry)
    assert system.sdf.code.grad is not None
    trained(system, case.sampler, range(200, 206))
    assert made[1].replayed and any(parameter.grad is not None for parameter in geometry)


def test_a_copy_has_no_recording_and_a_dropped_one_is_made_again(cases):
    case = cases("idr", "mlp")
    system, made = recorded(case)
    trained(system, case.sampler, range(20, 26))
    twin = copy.deepcopy(system)
    assert twin.graphs is not system.graphs and not twin.graphs.learned
    system.teardown("fit")
    trained(system, case.sampler, range(26, 32))
    assert len(made) == 2 and made[1].replayed > 0


def steps_of(recorder, work):
    parameter = torch.nn.Parameter(torch.ones(()))
    steps = GraphedSteps(lambda: recorder, warm_ups=1)

    def learn(given):
        total = work(parameter, given)
        total.backward()
        return StepTerms(total.detach())

    return [
        float(steps.step(learn, [parameter], {"x": torch.ones(2), "rate": rate}, None).total)
        for rate in (1.0, 2.0, 3.0)
    ]


def test_the_stand_in_bakes_in_what_a_graph_would():
    numbers = iter((1.0, 2.0, 3.0))
    assert steps_of(Recorder(), lambda p, given: (p * given["x"]).sum() * given["rate"]) == [2.0, 4.0, 6.0]
    assert steps_of(Recorder(), lambda p, given: (p * given["x"]).sum() * next(numbers)) == [2.0, 4.0, 4.0]


def test_a_failed_recording_leaves_the_stream_as_it_was(monkeypatch):
    streams = ["main"]

    class Graph:
        def __init__(self, graph, stream):
            self.stream = stream

        def __enter__(self):
            streams.append(self.stream)

        def __exit__(self, *_):
            raise RuntimeError("capture was invalidated")  # and the stream stays

    fakes = {
        "Stream": lambda: "side", "CUDAGraph": lambda: None, "graph": Graph,
        "current_stream": lambda: streams[-1], "set_stream": streams.append,
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    with pytest.raises(RuntimeError, match="invalidated"):
        CudaRecorder().capture(lambda: StepTerms(torch.zeros(())))
    assert streams == ["main", "side", "main"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 4)


FIXED = [*TINY, "renderer=cached", "renderer.cells=16", "renderer.fixed_shapes=true", "steps=10"]


@pytest.mark.slow
def test_lightning_trains_by_recordings_to_the_same_weights_and_curves(scene, tmp_path):
    states, curves = [], []
    for name in ("eager", "recorded"):
        cfg, folder = configured(scene, tmp_path / name, *FIXED)
        task = run.prepare(cfg, folder)
        if name == "recorded":
            made = []

            def make(made=made, task=task):
                made.append(Recorder(task.system.bad_steps.buffers()))
                return made[-1]

            task.system.graphs = GraphedSteps(make)
        assert run.train(task)
        states.append(task.system)
        with (folder / "metrics.csv").open() as file:
            curves.append(
                [{k: float(v) for k, v in row.items() if k != "train_s"} for row in csv.DictReader(file)]
            )
    assert made[0].warm == WARM_UPS and made[0].replayed == 10 - WARM_UPS
    same(*states)
    assert len(curves[0]) == 5
    for one, other in zip(*curves, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_graphs_are_refused_where_there_is_no_gpu_and_where_losses_are_scaled(scene, tmp_path):
    cfg, folder = configured(scene, tmp_path, *TINY, "renderer=cached", "renderer.cuda_graphs=true")
    with pytest.raises(
        ConfigError, match=r"cuda_graphs=true needs a CUDA device, but training runs on the cpu"
    ):
        run.prepare(cfg, folder)
    with pytest.raises(ConfigError, match=r"trainer\.precision=32-true, not of 16-mixed"):
        stages._refuse_graphs_where_there_are_none(torch.device("cuda"), "16-mixed")
    stages._refuse_graphs_where_there_are_none(torch.device("cuda"), "32-true")


@needs_gpu
@pytest.mark.parametrize(("method", "field", "steps"), [window[:3] for window in WINDOWS])
def test_a_gpu_replays_what_it_would_do_otherwise(cases, method, field, steps):
    case = cases(method, field)
    eager, system = case.copy().cuda(), case.copy(cuda_graphs=True).cuda()
    wanted, found = (
        trained(each, lambda step: case.batch(step).to(torch.device("cuda")), steps)
        for each in (eager, system)
    )
    assert not system.graphs.failed
    for one, other in zip(found, wanted, strict=True):
        assert one["total"] == pytest.approx(other["total"], rel=1e-3)


@needs_gpu
@pytest.mark.parametrize(("method", "field"), sorted({window[:2] for window in WINDOWS}))
@pytest.mark.parametrize("graphs", [False, True])
def test_a_step_on_a_gpu_never_waits(cases, method, field, graphs):
    case = cases(method, field)
    system = case.copy(cuda_graphs=graphs).cuda()
    optimizer = system.configure_optimizers()["optimizer"]
    quiet = [step for step in range(60, 120) if not system.tracing.refresh_at(step)][:10]
    for count, step in enumerate(quiet):
        batch = case.batch(step)
        torch.cuda.set_sync_debug_mode("error" if count > WARM_UPS + 1 else "default")
        try:
            terms = system.terms(batch.to(torch.device("cuda")), step)
            system.optimizer_zero_grad(0, step, optimizer)
            system.backward(terms.total)
            system.on_before_optimizer_step(optimizer)
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(float(terms.total))

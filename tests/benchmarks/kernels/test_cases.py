"""Floors are what the docstrings say, launches are counted, and nothing that computes something else is timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.kernels import cases as written
from shadowdiffusion.benchmarks.kernels.case import Case, Inputs
from shadowdiffusion.benchmarks.kernels.cases import KERNELS
from shadowdiffusion.benchmarks.kernels.norm_cases import Norm, norm_cases, norms
from shadowdiffusion.benchmarks.kernels.record import COMPILED, EAGER, NAIVE, OURS
from shadowdiffusion.benchmarks.kernels.speed import cases, measure, operations, smoke_bench
from shadowdiffusion.benchmarks.measurement.machine import header
from shadowdiffusion.kernels.mask_update import PARTS
from shadowdiffusion.kernels.step_table import step_rows
from shadowdiffusion.training.denoiser import PAPER, DenoiserConfig
from shadowdiffusion.training.sampler import SamplerOptions, step_table
from shadowdiffusion.training.schedule import DiffusionConfig

CPU = torch.device("cpu")
PER_PIXEL = {
    "prior_step packed fp16": 66,
    "prior_coefficients fp32": 48,
    "confident_mask fp32": 8,
    "confident_depth fp32": 16,
    "mask_update fp32 closed form": 28,
    "guided_upsample fp32": 25.5,
}


def step_cases(images: int, side: int) -> Iterator[Case]:
    for make in KERNELS.values():
        yield from make(images, side)


def test_every_kernel_moves_the_bytes_that_its_docstring_says() -> None:
    for name, make in KERNELS.items():
        for case in make(2, 24):
            per_pixel = PER_PIXEL[f"{case.kernel} {case.variant}"]
            sums = 2 * 4 * PARTS * 4 if name == "mask_update" else 0
            assert case.build(CPU, 0).bytes == per_pixel * 2 * 24 * 24 + sums, case.title
            rounded = f"{per_pixel}\n"
            documented = written.__doc__ or ""
            assert any(row.endswith(rounded.rstrip()) and name in row for row in documented.splitlines()), name
    assert len(PER_PIXEL) == len(list(step_cases(1, 8)))


def test_sets_of_inputs_are_different_data() -> None:
    for case in step_cases(1, 8):
        one, same, other = (case.build(CPU, seed) for seed in (0, 0, 1))
        assert all(torch.equal(a, b) for a, b in zip(one.truth(), same.truth(), strict=True)), case.title
        assert not any(torch.equal(a, b) for a, b in zip(one.truth(), other.truth(), strict=True)), case.title


def test_launches_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    if not isinstance(written.steps.prior_step_kernel, interpreter.InterpretedFunction):
        pytest.skip("kernels are compiled here")
    count = 0
    launch = interpreter.GridExecutor.__call__

    def counted(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        return launch(*arguments, **options)

    monkeypatch.setattr(interpreter.GridExecutor, "__call__", counted)
    for case in (*step_cases(1, 8), *norm_cases(DenoiserConfig(base=4, multipliers=(1,), blocks=1, groups=2), 1, 8)):
        inputs = case.build(CPU, 0)
        count = 0
        inputs.ours()
        assert count == case.launches, case.title


def test_the_norms_of_the_papers_network_are_found() -> None:
    found = norms(PAPER, 256)
    assert sum(found.values()) == 46
    assert len(found) == 17
    assert found[Norm(64, 256, 256, 16)] == 8
    assert found[Norm(1024, 32, 32, 16)] == 2
    assert len(list(norm_cases(PAPER, 1, 256))) == 34
    half = norms(PAPER, 128)
    assert [Norm(n.channels, n.height // 2, n.width // 2, n.groups) for n in found] == list(half)


def test_norms_stand_in_memory_as_the_case_says() -> None:
    for case in norm_cases(DenoiserConfig(base=4, multipliers=(1,), blocks=1, groups=2), 2, 8):
        x, out = case.build(CPU, 0).touched
        channels_last = case.variant == "fp16 nhwc"
        for tensor in (x, out, *case.formulas[EAGER](*case.build(CPU, 0).arguments[EAGER])):
            assert tensor.dtype == torch.float16
            assert tensor.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        assert case.build(CPU, 0).bytes == 4 * x.numel()


def test_the_schedules_row_has_no_noise_and_all_of_the_prior() -> None:
    rows = step_rows(step_table(SamplerOptions(), DiffusionConfig()), "input", 1000)
    assert rows[written.ROW][:6] == written.ROWS[written.ROW][:6]
    assert rows[written.ROW][4] == 0
    assert rows[written.ROW][5] == pytest.approx(0.2)


def test_operations_are_those_that_touch_memory() -> None:
    x = torch.ones(4, 6)
    assert operations(lambda: x.view(24).reshape(6, 4).t()) == 0
    assert operations(lambda: torch.empty(3)) == 0
    assert operations(lambda: (x * 2 + 1).half().copy_(x)) == 4
    (made,) = KERNELS["prior_step"](1, 8)
    inputs = made.build(CPU, 0)
    counts = {name: operations(lambda: f(*inputs.arguments[name])) for name, f in made.formulas.items()}  # noqa: B023
    assert counts == {EAGER: 9, NAIVE: 18}


def test_what_is_measured_is_all_recorded() -> None:
    case = KERNELS["prior_step"](1, 8)[0]
    head = header([], smoke=True)
    found = measure(case, smoke_bench(), head, 10.0)
    assert (found.header, found.kernel, found.bytes, found.copy_bandwidth) == (head, "prior_step", 66 * 64, 10.0)
    assert set(found.errors) == {OURS, EAGER, COMPILED, NAIVE}
    assert all(0 < error.relative < 1e-3 for error in found.errors.values())
    assert {timing.contestant for timing in found.timings} == {OURS, EAGER, COMPILED, NAIVE, "copy"}
    assert all(timing.ms.min > 0 for timing in found.timings)
    assert found.speedup(NAIVE).value == pytest.approx(found.time(NAIVE).p50 / found.time(OURS).p50)  # type: ignore[union-attr]
    assert found.failures == {}


def changed(case: Case, **parts: Any) -> Case:
    """The case with other parts of its inputs."""

    def build(device: torch.device, seed: int) -> Inputs:
        return case.build(device, seed)._replace(**parts)

    return replace(case, build=build)


@pytest.mark.parametrize("wrong", [float("nan"), 1.001])
def test_a_kernel_that_is_wrong_is_not_timed(wrong: float) -> None:
    case = KERNELS["confident_mask"](1, 8)[0]

    def results(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (outputs[0] * wrong,)

    with pytest.raises(BenchmarkError, match=r"confident_mask fp32 1x1x8x8: differs by .* from the reference"):
        measure(changed(case, results=results), smoke_bench(), header([]), 10.0)


def test_a_kernel_that_writes_nothing_is_not_timed() -> None:
    case = KERNELS["confident_mask"](1, 8)[0]
    out = torch.full((1, 1, 8, 8), float("nan"))
    with pytest.raises(BenchmarkError, match="differs by nan"):
        measure(changed(case, ours=lambda: (out,)), smoke_bench(), header([]), 10.0)


def test_a_baseline_that_is_wrong_or_breaks_costs_only_itself() -> None:
    case = KERNELS["confident_mask"](1, 8)[0]

    def wrong(matte: Tensor, threshold: Tensor) -> tuple[Tensor, ...]:
        return ((matte < threshold).float(),)

    found = measure(replace(case, formulas={EAGER: wrong}), smoke_bench(), header([]), 10.0)
    assert set(found.failures) == {EAGER, COMPILED}
    assert "differs by" in found.failures[EAGER]
    assert found.time(OURS).p50 > 0

    def breaking(matte: Tensor, threshold: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError("one\ntwo")

    arguments = case.build(CPU, 0).arguments
    case = changed(case, arguments={**arguments, NAIVE: arguments[EAGER]})
    case = replace(case, formulas={**case.formulas, NAIVE: breaking})
    found = measure(case, smoke_bench(), header([]), 10.0)
    assert found.failures == {NAIVE: "RuntimeError: one"}
    assert set(found.operations) == {EAGER}
    assert found.speedup(EAGER) is not None


def test_the_usual_cases() -> None:
    bench = replace(smoke_bench(), sides=(256, 512, 1024), batches=(1, 16, 4), norm_side=256, network=PAPER)
    usual = cases(bench, (), (), ())
    assert len(usual) == 34 + 9 * 6
    assert len({case.title for case in usual}) == len(usual)
    assert [case.shape[0] for case in usual] == sorted((case.shape[0] for case in usual), key=[1, 16, 4].index)
    some = cases(bench, ["confident_mask", "group_norm_silu"], [64], [2])
    assert [case.kernel for case in some] == ["group_norm_silu"] * 34 + ["confident_mask"]
    assert some[-1].shape == (2, 1, 64, 64)


@pytest.mark.gpu
@pytest.mark.xdist_group("cuda")
def test_a_step_is_measured_on_the_gpu() -> None:
    from shadowdiffusion.benchmarks.kernels.speed import gpu_bench

    for case in KERNELS["prior_step"](1, 64):
        found = measure(case, gpu_bench(), header([]), 1000.0)
        assert found.failures == {}
        assert {timing.clock for timing in found.timings} == {"device", "wall"}
        assert 1e-4 < found.time(OURS).p50 < 10

"""What a restoration on the GPU is apart from its pixels and sizes."""

from collections.abc import Iterator
from dataclasses import dataclass

from shadowdiffusion.runtime.bundle.folder import Sampling, Step
from shadowdiffusion.runtime.loop.sampler import reads_refined


@dataclass(frozen=True)
class Plan:
    """Equal plans on images of one shape are the same launches.

    blind: the prior finds the masks. with_mask: the refined mask is wanted in the end.
    """

    table: tuple[Step, ...]
    blind: bool
    with_mask: bool

    def steps(self, sampling: Sampling) -> Iterator[tuple[int, Step, bool, bool]]:
        """For each step: its number, the step, whether the mask head runs, and whether it is the last."""
        for index, step in enumerate(self.table):
            last = index + 1 == len(self.table)
            refines = self.with_mask if last else reads_refined(sampling, self.table[index + 1])
            yield index, step, refines, last

    def refines(self, sampling: Sampling) -> bool:
        """Whether the mask head runs at all."""
        return any(refines for _, _, refines, _ in self.steps(sampling))

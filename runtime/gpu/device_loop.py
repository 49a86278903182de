"""The whole method on the GPU: photos go up, results come down, and in between nothing leaves it.

After a first run with single launches, everything between upload and download, all steps included, is one CUDA graph
per shape and kind of restoration. Not run on a GPU yet: the tests give it a CUDA driver and a TensorRT made in Python,
whose kernels are those of `kernels/` in Triton's interpreter.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Bundle, Step
from shadowdiffusion.runtime.errors import OutOfMemoryError, RestoreError
from shadowdiffusion.runtime.gpu.constants import DeviceConstants
from shadowdiffusion.runtime.gpu.cuda_graph import Graph
from shadowdiffusion.runtime.gpu.cuda_kernels import CudaKernels
from shadowdiffusion.runtime.gpu.device_networks import DeviceNetworks
from shadowdiffusion.runtime.gpu.layout import Shape
from shadowdiffusion.runtime.gpu.plan import Plan
from shadowdiffusion.runtime.gpu.program import Program, kernel_names
from shadowdiffusion.runtime.gpu.slot import Slot
from shadowdiffusion.runtime.gpu.workspace import Workspace
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Progress, Working, pad
from shadowdiffusion.runtime.loop.networks import Networks
from shadowdiffusion.runtime.loop.noise import check_seed

Array = npt.NDArray[np.float32]

KEPT = 4
"""Shapes whose memory and graphs are kept for the next photos."""


class DeviceLoop:
    """`runtime.loop.loop.Loop` for networks on a GPU, with the kernels of their bundle. Calls take turns.

    Raises RestoreError where the bundle has no kernels for this GPU or these networks. `say` hears if CUDA graphs
    cannot be used; everything works without them.
    """

    def __init__(self, bundle: Bundle, networks: DeviceNetworks, say: Callable[[str], None]) -> None:
        self.title = networks.title
        self.networks: Networks = networks
        self.without_graphs: str | None = None
        """Why every launch is made singly from now on, if so."""
        self._bundle, self._say = bundle, say
        self._engine, self._cuda = networks, networks.cuda
        self._kernels = CudaKernels(bundle, networks.cuda)
        self._names = kernel_names(bundle.manifest, networks)
        self._kernels.require(self._names.all())
        light = bundle.manifest.model.illumination
        if light.added_to_photo != light.epsilon:
            raise RestoreError("the GPU kernels do not compute the degradation form of this bundle")
        self._constants = dict[tuple[tuple[Step, ...], int], DeviceConstants]()
        self._workspaces = OrderedDict[Shape, Workspace]()

    def restore(
        self,
        images: Array,
        masks: Array | None,
        table: Sequence[Step],
        seeds: Sequence[int],
        with_mask: bool = False,
        progress: Progress | None = None,
        clean: Array | None = None,
    ) -> Working:
        """As `Loop`. More images than the networks take at once go through it in batches, one going up meanwhile.

        Progress comes after each batch. The seconds are those of the GPU; those of a CUDA graph, which is not divided,
        all count as diffusion. With clean images given, the loop runs in host memory around the networks.
        """
        if clean is not None:
            loop = HostLoop(self._bundle, self.networks)
            return loop.restore(images, masks, table, seeds, with_mask, progress, clean)
        if masks is None and not self._bundle.has_prior and not self._bundle.manifest.model.everywhere:
            raise RestoreError("this bundle has no prior network to find the shadow with: give a mask")
        for seed in seeds:
            check_seed(seed)
        plan = Plan(tuple(table), masks is None, with_mask)
        multiple, largest = self._bundle.manifest.model.multiple, self._engine.batch
        photos = Photos(pad(images, multiple), None if masks is None else pad(masks, multiple), seeds)
        results = Results(images.shape, with_mask, self.title)
        whole = len(images) // largest * largest
        with self._engine.lock, self._cuda.current():
            for first, end in ((0, whole), (whole, len(images))):  # batches of one shape, then what is left
                size = min(largest, end - first)
                parts = [slice(start, start + size) for start in range(first, end, max(1, size))]
                for done in self._stream(photos, parts, plan, results):
                    if progress is not None:
                        progress(done * len(table), len(images) * len(table))
        return replace(results.working(), used=self.networks.used)

    def _stream(self, photos: "Photos", parts: list[slice], plan: Plan, results: "Results") -> Iterator[int]:
        """Restore parts of one size, one after the other; yields the number of images that are done."""
        if not parts:
            return
        space, program = self._ready(photos.y[parts[0]].shape, plan, len(parts))
        running: list[tuple[Slot, slice, bool]] = []
        try:
            for number, part in enumerate(parts):
                slot = space.slot(number % 2)
                photos.send(slot, part)
                single = self._launch(space, program, plan, slot)
                slot.receive(plan.with_mask)
                running.append((slot, part, single))
                if len(running) == 2:  # the GPU has work, so there is time for what came down before
                    yield results.take(*running.pop(0))
            yield results.take(*running.pop())
        except BaseException:
            self._cuda.settle()  # the next call writes to the same memory
            raise

    def _launch(self, space: Workspace, program: Program, plan: Plan, slot: Slot) -> bool:
        """Queue everything from the uploaded photos to the results; returns whether in single launches."""
        graph = self._graph(space, program, plan)
        slot.started.record(self._cuda.stream)
        if graph is not None:
            graph.launch()
            return False
        program.prior()
        slot.between.record(self._cuda.stream)
        program.diffusion()
        space.launched.add(plan)
        return True

    def _graph(self, space: Workspace, program: Program, plan: Plan) -> Graph | None:
        """The captured launches, or None for a plan that has not run before, which TensorRT needs, or cannot be."""
        if plan in space.graphs or plan not in space.launched or self.without_graphs:
            return space.graphs.get(plan)
        try:
            if why := space.uncapturable:
                raise RestoreError(why)
            space.graphs[plan] = Graph(self._cuda, program.run)
        except RestoreError as error:
            if plan in space.refused or space.uncapturable:  # once may be an accident, such as another thread's work
                self.without_graphs = str(error)
                self._say(f"{self.title} runs in single launches, without CUDA graphs: {error}")
            space.refused.add(plan)
        return space.graphs.get(plan)

    def _ready(self, shape: Shape, plan: Plan, batches: int) -> tuple[Workspace, Program]:
        """Memory and launches for images of a padded shape [N, 3, H, W]; other shapes give up theirs if they must."""
        try:
            return self._made(shape, plan, batches)
        except OutOfMemoryError:
            self._workspaces.clear()
        return self._made(shape, plan, batches)  # only now the memory of the failed attempt is given back

    def _made(self, shape: Shape, plan: Plan, batches: int) -> tuple[Workspace, Program]:
        count, _, height, width = shape
        times = self._engine.times(plan.table, count)
        key = count, height, width
        space = self._workspaces.pop(key, None)
        if space is None:
            space = Workspace(self._engine, key, times.shape[1:], self._bundle.has_prior)
        manifest = self._bundle.manifest
        if plan.refines(manifest.sampling):
            space.head()
        for number in range(min(2, batches)):
            space.slot(number)
        # only when nothing can be missing: what is too large for the memory must not stay in it
        self._workspaces[key] = space  # the latest is the last
        while len(self._workspaces) > KEPT:
            self._workspaces.popitem(last=False)
        if (plan.table, count) not in self._constants:
            self._constants[plan.table, count] = DeviceConstants(self._cuda, manifest, plan.table, times)
        constants = self._constants[plan.table, count]
        return space, Program(self._kernels, self._names, manifest, constants, space, plan)


@dataclass(frozen=True)
class Photos:
    """What goes up: padded images [N, 3, H, W], their masks [N, 1, H, W] unless the prior finds them, and seeds."""

    y: Array
    masks: Array | None
    seeds: Sequence[int]

    def send(self, slot: Slot, part: slice) -> None:
        """Queue the upload of a part."""
        slot.send(self.y[part], None if self.masks is None else self.masks[part], self.seeds[part])


class Results:
    """What came down, cut to the size of the images, `shape`, [N, 3, h, w]."""

    def __init__(self, shape: Shape, with_mask: bool, title: str) -> None:
        self._image, self._clean, self._h = (np.empty(shape, np.float32) for _ in range(3))
        self._mask = np.empty((shape[0], 1, *shape[2:]), np.float32) if with_mask else None
        self._seconds, self._title = [0.0, 0.0], title

    def take(self, slot: Slot, part: slice, single: bool) -> int:
        """Wait for the results of a part and keep them; returns the number of images that are there.

        Raises RestoreError for an image with values that are not finite, and for what went wrong on the GPU.
        """
        slot.ended.synchronize()
        targets = {"x": self._image, "clean": self._clean, "h": self._h, "refined": self._mask}
        for name, target in targets.items():
            if target is not None:
                found = slot.result(name)[:, :, : target.shape[2], : target.shape[3]]
                self._check(found, part.start)
                target[part] = found
        image = self._image[part]
        image += 1
        image /= 2
        np.clip(image, 0, 1, out=image)
        middle = slot.between if single else slot.started
        self._seconds[0] += middle.seconds_since(slot.started) if single else 0.0
        self._seconds[1] += slot.ended.seconds_since(middle)
        return int(part.stop)

    def working(self) -> Working:
        """Everything, when all parts are there."""
        prior, diffusion = self._seconds
        return Working(self._image, self._clean, self._mask, self._h, prior, diffusion)

    def _check(self, found: Array, first: int) -> None:
        for number, image in enumerate(found, first + 1):
            if not np.isfinite(image).all():
                which = f"image {number} of {len(self._image)}" if len(self._image) > 1 else "this photo"
                raise RestoreError(f"{self._title} cannot handle {which}: the result has values that are not finite")

"""Every launch of one restoration on the GPU, in order: the prior, the first state, and the steps.

Nothing here waits, allocates, or depends on pixel values, so that the stream's work may be captured as a CUDA graph.
"""

from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Manifest, Sampling
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.gpu.constants import DeviceConstants
from shadowdiffusion.runtime.gpu.cuda_kernels import CudaKernels
from shadowdiffusion.runtime.gpu.device_networks import DeviceNetworks
from shadowdiffusion.runtime.gpu.plan import Plan
from shadowdiffusion.runtime.gpu.workspace import Workspace
from shadowdiffusion.runtime.loop.networks import PACKED_INPUT

KINDS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}
"""As kernels are named, by TensorRT's names."""


class KernelNames:
    """The specialisations that a schedule calls for. packed: type of the denoiser's packed input, "fp16" for example;
    None for a denoiser that takes image, mask and state apart.
    """

    def __init__(self, sampling: Sampling, packed: str | None) -> None:
        free = "" if sampling.data_consistency else "_free"
        step = f"prior_step_{f'packed_{packed}' if packed else 'state'}{free}"
        self.step = {False: step, True: f"{step}_noise"}
        """By whether fresh noise is added."""
        self.last_step = f"prior_step_last{free}"
        start = "" if sampling.start_alpha_bar is None else "_prior"
        self.start = f"start_state_{f'packed_{packed}' if packed else 'photo'}{start}"
        closed = sampling.mask_policy == "closed-form"
        self.mask = "mask_update_closed_form" if closed else "mask_update"
        self.depth = "confident_depth" if closed else None
        self.confident = "confident_mask"
        self.illumination, self.blend = "prior_coefficients_h", "prior_coefficients"

    def all(self) -> set[str]:
        """Every one of them."""
        names = {*self.step.values(), self.last_step, self.start, self.mask, self.depth}
        return {name for name in (*names, self.confident, self.illumination, self.blend) if name}


def needed_kernels(sampling: Sampling) -> set[str]:
    """The specialisations that some engine of a bundle with this schedule calls for."""
    return set[str]().union(*(KernelNames(sampling, packed).all() for packed in (None, *KINDS.values())))


def kernel_names(manifest: Manifest, networks: DeviceNetworks) -> KernelNames:
    """The specialisations for a bundle's schedule and an engine's inputs.

    Raises RestoreError for an engine whose outputs the kernels do not read, or sizes that they do not take.
    """
    if manifest.model.multiple**2 % 16:
        multiple = manifest.model.multiple
        raise RestoreError(f"images are padded to multiples of {multiple} pixels, the kernels take multiples of 4")
    read = {PRIOR: ("clean", "matte"), DENOISER: ("noise", "shadow"), MASK_HEAD: ("shadow",)}
    for network in read.keys() & manifest.files.keys():
        for name, tensor in networks.tensors(network).items():
            if name in read[network] and tensor["dtype"] != "FLOAT":
                raise RestoreError(f"{network} of {networks.title} gives {name} in {tensor['dtype']}, not in FLOAT")
    packed = networks.tensors(DENOISER).get(PACKED_INPUT)
    return KernelNames(manifest.sampling, KINDS.get(packed["dtype"], packed["dtype"]) if packed else None)


class Program:
    """The launches of a plan on one workspace."""

    def __init__(
        self,
        kernels: CudaKernels,
        names: KernelNames,
        manifest: Manifest,
        constants: DeviceConstants,
        workspace: Workspace,
        plan: Plan,
    ) -> None:
        self._kernels, self._names, self._manifest, self._constants = kernels, names, manifest, constants
        self._cuda, self._workspace, self._plan = workspace.cuda, workspace, plan
        self._images, height, self._width = workspace.shape
        self._plane = height * self._width

    def run(self) -> None:
        """Queue everything from the uploaded photos to the results."""
        self.prior()
        self.diffusion()

    def prior(self) -> None:
        """Queue masks, clean images, illumination, blend coefficients and the first state."""
        at, space, constants = self._workspace.at, self._workspace, self._constants
        pixels, model = self._images * self._plane, self._manifest.model
        if self._plan.blind and model.everywhere:
            self._cuda.fill(at["mask"], 1.0, pixels)
        if space.prior is None:
            self._cuda.copy(at["clean"], at["y"], 12 * pixels)
        else:
            if self._plan.blind and not model.everywhere:
                self._cuda.fill(at["mask"], model.blind_mask, pixels)
                space.prior.enqueue()
                matte, threshold = space.prior.addresses["matte"], constants.at["threshold"]
                self._launch(self._names.confident, mask=at["mask"], matte=matte, threshold=threshold)
            space.prior.enqueue()
        self._cuda.copy(at["seen"], at["mask"], 4 * pixels)
        self._coefficients(self._names.illumination, 0)
        if self._names.depth:
            self._launch(self._names.depth, sums=at["sums"], h=at["h"], mask=at["mask"])
        self._launch(
            self._names.start,
            state=at["x"],
            network=at["condition"],
            y=at["y"],
            clean=at["clean"],
            mask=at["mask"],
            start=constants.at["start"],
            index=constants.index(0),
            stream=at["stream"],
            width=self._width,
        )

    def diffusion(self) -> None:
        """Queue all steps; the last estimate is left in x, the mask in refined."""
        sampling, constants = self._manifest.sampling, self._constants
        rho = self._plan.table[0].rho
        for index, step, refines, last in self._plan.steps(sampling):
            self._cuda.copy(self._workspace.at["time"], constants.time(index), constants.time_size)
            self._workspace.denoiser.enqueue()
            if refines:
                self._refine_mask(index)
            if sampling.data_consistency and step.rho != rho:
                rho = step.rho
                self._coefficients(self._names.blend, index)
            name = self._names.last_step if last else self._names.step[step.sigma > 0]
            self._step(name, index, refines)

    def _refine_mask(self, index: int) -> None:
        at, head = self._workspace.at, self._workspace.head()
        if head is not None:
            head.enqueue()
        v = (head or self._workspace.denoiser).addresses["shadow"]
        photo = {"h": at["h"], "mask": at["mask"], "sums": at["sums"]}
        self._launch(
            self._names.mask,
            refined=at["refined"],
            seen=at["seen"],
            v=v,
            **photo,
            **self._row(index),
        )

    def _coefficients(self, name: str, index: int) -> None:
        at = self._workspace.at
        images = {key: at[key] for key in ("a", "b", "h", "y", "clean")}
        self._launch(name, limits=self._constants.at["limits"], **images, **self._row(index))

    def _step(self, name: str, index: int, refined: bool) -> None:
        at = self._workspace.at
        self._launch(
            name,
            out=at["x"],
            network=at["condition"],
            state=at["x"],
            estimate=self._workspace.denoiser.addresses["noise"],
            a=at["a"],
            b=at["b"],
            y=at["y"],
            mask=at["seen"],
            stream=at["stream"],
            width=self._width,
            condition=int(refined),  # in an input of seven channels, the first four only change with the mask
            **self._row(index),
        )

    def _row(self, index: int) -> dict[str, int]:
        return {"table": self._constants.at["table"], "index": self._constants.index(index)}

    def _launch(self, name: str, **arguments: int) -> None:
        self._kernels.launch(name, self._images, plane=self._plane, **arguments)

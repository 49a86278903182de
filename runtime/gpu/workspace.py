"""All memory that images of one shape need on the GPU, with the networks bound to it."""

from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR
from shadowdiffusion.runtime.gpu.cuda_graph import Graph
from shadowdiffusion.runtime.gpu.device_networks import DeviceNetworks, Execution
from shadowdiffusion.runtime.gpu.layout import Layout, Shape
from shadowdiffusion.runtime.gpu.plan import Plan
from shadowdiffusion.runtime.gpu.slot import Slot
from shadowdiffusion.runtime.gpu.tensor_types import SIZES
from shadowdiffusion.runtime.loop.networks import PACKED_INPUT

PARTS = 128
"""Partial sums of the kernel `confident_depth`, per image and quantity."""


class Workspace:
    """Memory and networks for images of `shape`, (N, height, width) in pixels after padding.

    `at` has the addresses, all of float32 but `stream`, int64: y, mask: the photos and their masks; stream: their
    noise; x, clean, h, refined: what comes down, of which x holds the diffusion's state all along; a, b: the blend
    coefficients; seen: the mask that the denoiser gets; sums: those of `confident_depth`; time: the denoiser's, whose
    shape is `time`; condition: the denoiser's image, or, in its own type, its whole input of seven channels.
    Raises OutOfMemoryError.
    """

    def __init__(self, networks: DeviceNetworks, shape: Shape, time: Shape, has_prior: bool) -> None:
        count, height, width = shape
        image, plane, whole = ((count, channels, height, width) for channels in (3, 1, 7))
        for name in (DENOISER, PRIOR) if has_prior else (DENOISER,):
            networks.check_size(name, *shape)
        packed = networks.tensors(DENOISER).get(PACKED_INPUT)
        size = SIZES[packed["dtype"]] if packed else 4
        self.shape = shape
        self.incoming = Layout({"y": (image, "f4"), "stream": ((count, 4), "i8"), "mask": (plane, "f4")})
        self.outgoing = Layout(dict.fromkeys(("x", "clean", "h"), (image, "f4")) | {"refined": (plane, "f4")})
        inner = Layout(
            {
                "a": (image, "f4"),
                "b": (image, "f4"),
                "condition": (whole if packed else image, f"V{size}"),
                "seen": (plane, "f4"),
                "sums": ((count, 4, PARTS), "f4"),
                "time": (time, "f4"),
            }
        )
        self.cuda, self._networks, self._slots = networks.cuda, networks, list[Slot]()
        layouts = (self.incoming, self.outgoing, inner)
        self._buffers = [self.cuda.allocate(layout.size) for layout in layouts]
        self.launched, self.graphs, self.refused = set[Plan](), dict[Plan, Graph](), set[Plan]()
        """Plans that have run here in single launches, that have been captured since, and whose capture failed once."""
        at = self.at = dict[str, int]()
        for layout, buffer in zip(layouts, self._buffers, strict=True):
            at |= layout.addresses(buffer.address)
        self.prior: Execution | None = None
        if has_prior:
            inputs = {"image": (at["y"], image), "mask": (at["mask"], plane)}
            self.prior = networks.execution(PRIOR, inputs, {"clean": (at["clean"], image)})
        told = {networks.time_name: (at["time"], time)}
        apart = {"image": (at["condition"], image), "mask": (at["seen"], plane), "x_t": (at["x"], image)}
        joint = {PACKED_INPUT: (at["condition"], whole)}
        self.denoiser = networks.execution(DENOISER, {**(joint if packed else apart), **told}, {})
        self._head: Execution | None = None

    def head(self) -> Execution | None:
        """The mask head if it is a network of its own, made when first asked for. Raises OutOfMemoryError."""
        if self._head is None and "features" in self.denoiser.shapes:
            features = self.denoiser.addresses["features"], self.denoiser.shapes["features"]
            self._head = self._networks.execution(MASK_HEAD, {"features": features}, {})
        return self._head

    @property
    def uncapturable(self) -> str | None:
        """Why CUDA graphs cannot hold the networks, as far as that is known; captures have the last word."""
        networks = (self.prior, self.denoiser, self._head)
        return next((network.uncapturable for network in networks if network and network.uncapturable), None)

    def slot(self, number: int) -> "Slot":
        """One of the ways in and out: photos that come after each other take turns. Raises OutOfMemoryError."""
        while len(self._slots) <= number:
            self._slots.append(Slot(self.cuda, self.incoming, self.outgoing, self.at["y"], self.at["x"]))
        return self._slots[number]

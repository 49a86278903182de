"""The bundle: a folder with two ONNX networks and a manifest that says everything needed to run them.

    manifest.json   golden/input.npz   golden/expected.npz
    prior.onnx (optional)   denoiser.onnx   mask_head.onnx   denoiser.rows.npy
    kernels/sm_80/NAME.cubin ... (optional)
    engines/<name>/ (optional: the networks compiled for a device)

Nothing in a bundle is unpickled, and nothing is used before its size and SHA-256 match the manifest. The
exporter builds these same structs and writes them with `write_manifest`, so reader and writer cannot drift
apart. A bundle may also be one zip file: see `runtime.bundle.archive`.
"""

import hashlib
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.replacing import replaced

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
DENOISER = "denoiser.onnx"
PRIOR = "prior.onnx"
MASK_HEAD = "mask_head.onnx"
"""The denoiser's mask head, features -> shadow mask; absent where denoiser.onnx gives the mask itself."""
NETWORKS = (PRIOR, DENOISER, MASK_HEAD)
ROWS = "denoiser.rows.npy"
"""What the denoiser is told about time, float32 [R, K]: see `Step.row`."""
GOLDEN_INPUT = "golden/input.npz"
GOLDEN_EXPECTED = "golden/expected.npz"
ENGINES = "engines"
"""Folder of compiled engines (see `runtime.engines`): optional, not listed in the manifest nor verified with it."""

DEFAULT_BUNDLE = Path(__file__).parents[1] / "builtin" / "shadow"
"""Where an installation keeps its built-in shadow-removal bundle."""

Task = Literal["shadow", "low-light", "exposure"]
Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
OpenUnit = Annotated[float, Meta(gt=0, lt=1)]
Unit = Annotated[float, Meta(ge=0, le=1)]


class Illumination(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """h = clamp((y + photo_epsilon) / (clean + epsilon), floor, ceiling), images sRGB-encoded in [0, 1]."""

    epsilon: PositiveFloat
    floor: NonNegative
    ceiling: PositiveFloat
    photo_epsilon: NonNegative | None = None
    """None: epsilon. The authors' released code has 0, epsilon 5e-5, and bounds that h never reaches."""

    @property
    def added_to_photo(self) -> float:
        """photo_epsilon, whether it is stated or not."""
        return self.epsilon if self.photo_epsilon is None else self.photo_epsilon


class ModelInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the two networks are and which inputs they take."""

    denoiser_size: str
    """Name of the denoiser configuration, for people."""
    denoiser_parameters: Positive
    prior_parameters: Positive | None
    """None when the bundle has no prior.onnx."""
    multiple: Annotated[int, Meta(ge=1, le=512)]
    """Height and width fed to the networks are multiples of this; bounded: a damaged one must not fill the memory."""
    working_size: Positive
    """Default long side at which the networks run, pixels."""
    illumination: Illumination
    matte_threshold: Unit
    """Without a given mask, a pixel counts as shadow where the prior's matte reaches this; 0: everywhere, unasked."""
    blind_mask: Unit
    """Value fed to the prior everywhere when no mask is known."""

    @property
    def everywhere(self) -> bool:
        """Whether whole photos are degraded, m = 1 (low light, exposure), unless a mask is given."""
        return self.matte_threshold == 0


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One denoiser evaluation (DDIM, Song et al. 2021), coefficients computed in float64 at export."""

    t: Annotated[int, Meta(ge=0)]
    """Raw diffusion timestep."""
    alpha_bar: OpenUnit
    alpha_bar_next: Annotated[float, Meta(gt=0, le=1)]
    """alpha-bar of the next timestep in running order; exactly 1 at the last step."""
    sigma: NonNegative
    """Standard deviation of the fresh noise added after this step."""
    rho: NonNegative
    """Weight of the diffusion estimate in the data-consistent update."""
    row: Annotated[int, Meta(ge=0)] | None = None
    """Row of denoiser.rows.npy that the denoiser takes for this timestep; None: it takes the timestep itself."""


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the diffusion is run; `tables` has the steps, in running order, of every supported step count."""

    default_steps: Positive
    eta: NonNegative
    rho_schedule: Literal["constant", "geometric", "linear"]
    rho_gamma: float
    """Growth factor (geometric) or increment (linear) of rho; for information, the tables hold the result."""
    mask_policy: Literal["input", "predicted", "late", "closed-form"]
    data_consistency: bool
    clamp: bool
    """Whether the clean-image estimate is clamped to [-1, 1] at every step."""
    start: Annotated[int, Meta(ge=1)] | None
    """Timestep at which sampling starts from the prior's image; None: from pure noise."""
    T: Positive
    start_alpha_bar: OpenUnit | None
    """alpha-bar of the first timestep when starting from the prior, else None."""
    tables: dict[str, list[Step]]

    @property
    def supported_steps(self) -> list[int]:
        """The step counts this bundle has a table for, ascending."""
        return sorted(int(key) for key in self.tables)


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size in bytes and lower-case hexadecimal SHA-256 of one file."""

    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Versions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What produced the bundle."""

    torch: str
    onnx: str
    shadowdiffusion: str
    opset: Positive


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One optimisation in the bundle, and whether it changes the result beyond rounding."""

    name: str
    exactness: Literal["exact", "approximate"]
    detail: str
    psnr: float | None = None
    """dB: results with it against results without it, for an approximate one."""


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far one output is from its reference, worst over the photos."""

    max_abs: NonNegative
    relative_l2: NonNegative
    """Norm of the error / norm of the reference."""
    psnr: float
    """dB, for a peak of 1, or of the reference's root mean square if that is larger; 200 stands for identical."""


class Verification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `python -m export` measured when it compared an implementation of the networks with another."""

    against: Literal["PyTorch", "golden", "portable ONNX"]
    created: str
    """ISO 8601, UTC: an engine that was built later has not been compared."""
    photos: list[str]
    differences: dict[str, Difference]
    """By output: "prior.clean", "denoiser.noise 1" (of step 1) and so on; "step 1" to "step S", the state after each
    step; "loop" and "blind loop", the restored image; "golden", the bundle's own example."""
    passed: bool


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of manifest.json."""

    format_version: int
    name: str
    task: Task
    created: str
    """ISO 8601, UTC."""
    model: ModelInfo
    sampling: Sampling
    files: dict[str, FileEntry]
    """Every file of the bundle but the manifest itself, by POSIX path relative to the bundle."""
    versions: Versions
    verification: dict[str, Verification] = {}
    """What was measured, under "onnx" for the portable networks, or under the name of an engine."""
    notes: list[Note] = []
    kernels: list[Kernel] = []
    """GPU kernels that came with the bundle, if any."""


class _Versioned(msgspec.Struct):
    format_version: int


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @property
    def has_prior(self) -> bool:
        """Whether the bundle has a degradation prior network."""
        return PRIOR in self.manifest.files

    def table(self, steps: int | None = None) -> list[Step]:
        """The schedule for a step count, None for the default. Raises RestoreError if the bundle has none."""
        sampling = self.manifest.sampling
        key = str(sampling.default_steps if steps is None else steps)
        if key not in sampling.tables:
            supported = ", ".join(map(str, sampling.supported_steps))
            raise RestoreError(f"this bundle has no schedule for {key} steps: choose one of {supported}")
        return sampling.tables[key]


def load_folder(root: Path) -> Bundle:
    """Open and verify the bundle in the folder `root`.

    Engines are optional and describe themselves: the folder engines/ is not read here (see `runtime.engines`). Raises
    BundleError when the bundle is missing, of another format version, malformed, or when any other file is missing,
    unlisted or differs from its recorded size or SHA-256.
    """
    try:
        raw = (root / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{root} is not a bundle: it has no {MANIFEST}") from None
    except OSError as error:
        raise BundleError(f"cannot read {root / MANIFEST}: {error.strerror}") from error
    manifest = parse_manifest(raw, str(root / MANIFEST))
    _verify_files(root, manifest.files)
    return Bundle(root, manifest)


def parse_manifest(raw: bytes, source: str = MANIFEST) -> Manifest:
    """Decode and validate the bytes of a manifest; `source` names it in the BundleError of an invalid one."""
    try:
        version = msgspec.json.decode(raw, type=_Versioned).format_version
        if version != FORMAT_VERSION:
            advice = "upgrade shadowdiffusion" if version > FORMAT_VERSION else "export the bundle again"
            versions = f"has format version {version}, this runtime reads version {FORMAT_VERSION}"
            raise BundleError(f"{source} {versions}: {advice}")
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{source} is not a valid manifest: {error}") from error
    problem = _contradiction(manifest)
    if problem:
        raise BundleError(f"{source} is not a valid manifest: {problem}")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: indented, in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2) + b"\n"


def write_manifest(directory: str | os.PathLike[str], manifest: Manifest) -> Path:
    """Validate `manifest` and write it atomically as DIRECTORY/manifest.json; returns the path.

    Raises BundleError for a manifest that `load_folder` would refuse.
    """
    target = Path(directory) / MANIFEST
    raw = encode_manifest(manifest)
    parse_manifest(raw, str(target))
    with replaced(target) as file:
        file.write(raw)
    return target


def hash_file(path: str | os.PathLike[str]) -> FileEntry:
    """Size and SHA-256 of a file, read in blocks."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(size=file.tell(), sha256=digest.hexdigest())


def hash_files(directory: str | os.PathLike[str]) -> dict[str, FileEntry]:
    """What `Manifest.files` must hold: every file under `directory` but manifest and engines, by relative path."""
    root = Path(directory)
    return {name: hash_file(root / name) for name in sorted(_names(root))}


def _names(root: Path) -> set[str]:
    """Every file and link under `root` but the manifest and the engines, which may come and go at any time."""
    names = set[str]()
    for folder, directories, files in os.walk(root):
        base = Path(folder).relative_to(root)
        if base == Path() and ENGINES in directories:
            directories.remove(ENGINES)
        links = [name for name in directories if os.path.islink(os.path.join(folder, name))]
        names.update((base / name).as_posix() for name in (*files, *links))
    return {name for name in names if name != MANIFEST and not name.startswith(f".{MANIFEST}.")}


def _is_safe(name: str) -> bool:
    """Whether a file name from a manifest stays inside its bundle on every operating system."""
    path = PurePosixPath(name)
    plain = bool(name) and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    return plain and not any(character in name for character in "\\:\0") and name not in (".", MANIFEST)


def _verify_files(root: Path, files: dict[str, FileEntry]) -> None:
    if unlisted := sorted(_names(root) - files.keys()):
        raise BundleError(f"bundle {root} holds {unlisted[0]}, which its manifest does not list: remove it")
    for name, expected in files.items():
        problem = damage(root, name, expected)
        if problem:
            raise BundleError(f"{name} of bundle {root} {problem}: copy or export the bundle again")


def damage(root: Path, name: str, expected: FileEntry) -> str | None:
    """What is wrong with the file `name` of the bundle folder `root`, as a phrase, or None if it is as recorded."""
    try:
        actual = hash_file(root / name)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if actual.size != expected.size:
        return f"is damaged ({actual.size} bytes instead of {expected.size})"
    if actual.sha256 != expected.sha256:
        return f"is damaged (SHA-256 {actual.sha256[:12]}… instead of {expected.sha256[:12]}…)"
    return None


def _contradiction(manifest: Manifest) -> str | None:
    """What in a well-typed manifest cannot be right, or None."""
    sampling, model, files = manifest.sampling, manifest.model, manifest.files
    for name in files:
        if not _is_safe(name):
            return f"file name {name!r} leaves the bundle or is not a plain relative path"
    if DENOISER not in files:
        return f"{DENOISER} is not listed"
    if (PRIOR in files) != (model.prior_parameters is not None):
        listed = "listed" if PRIOR in files else "not listed"
        return f"prior_parameters is {model.prior_parameters} but {PRIOR} is {listed}"
    for kernel in manifest.kernels:
        if missing := [build.file for build in kernel.builds if build.file not in files]:
            return f"{missing[0]} of kernel {kernel.name} is not listed"
    by_prior = sampling.data_consistency or sampling.start is not None or sampling.mask_policy == "closed-form"
    rows = {step.row is not None for table in sampling.tables.values() for step in table}
    if rows and rows != {ROWS in files}:
        return f"steps have rows if and only if {ROWS} is listed"
    if PRIOR not in files and by_prior:
        return f"data consistency, closed-form masks and a start need {PRIOR}, which is not listed"
    if engines := [name for name in files if name.startswith(f"{ENGINES}/")]:
        return f"{engines[0]} is listed, but engines are no part of the manifest"
    if not model.illumination.floor < model.illumination.ceiling:
        return f"illumination floor {model.illumination.floor} is not below its ceiling"
    if model.illumination.floor == 0 and any(not step.rho for table in sampling.tables.values() for step in table):
        return "an illumination floor of 0 needs rho above 0 at every step"
    if (sampling.start is None) != (sampling.start_alpha_bar is None):
        return "start and start_alpha_bar must be given together"
    if str(sampling.default_steps) not in sampling.tables:
        return f"default_steps is {sampling.default_steps} but the tables are {', '.join(sampling.tables)}"
    for key, table in sampling.tables.items():
        if problem := _table_problem(key, table, sampling):
            return f"sampling table {key!r}: {problem}"
    return None


def _table_problem(key: str, table: list[Step], sampling: Sampling) -> str | None:
    if not (key.isascii() and key.isdigit() and key == str(int(key)) and int(key) > 0):
        return "the key is not a step count"
    if not table:
        return "it is empty"
    if sampling.start is not None and table[0].t != sampling.start:
        return f"it starts at t = {table[0].t}, not at {sampling.start}"
    if table[0].t >= sampling.T or table[-1].alpha_bar_next != 1.0:
        return f"it must start below T = {sampling.T} and end with alpha_bar_next = 1"
    for step in table:
        if sampling.mask_policy == "closed-form" and step.rho == 0:
            return f"closed-form masks need rho above 0, which is 0 at t = {step.t}"
        if step.sigma**2 > 1 - step.alpha_bar_next + 1e-12:
            return f"sigma {step.sigma} at t = {step.t} is too large for alpha_bar_next {step.alpha_bar_next}"
    for step, following in pairwise(table):
        if step.t <= following.t or step.alpha_bar_next != following.alpha_bar:
            return f"t = {step.t} and {following.t} do not follow each other"
    return None

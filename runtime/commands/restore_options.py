"""The options of `shadowdiffusion restore`, by the section of its help in which they stand, and how that ends."""

from functools import partial
from typing import Annotated, Literal

import typer

Photos = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO...",
        help="Photos (PNG, JPEG, WebP, TIFF, HEIC, AVIF, GIF), videos, folders, quoted patterns, or - for stdin.",
        show_default=False,
        rich_help_panel="Photos",
    ),
]

_result = partial(typer.Option, rich_help_panel="Results", show_default=False)

Output = Annotated[
    str | None,
    _result(
        "-o",
        "--output",
        metavar="PATH",
        help="File, folder, or - for stdout.  [default: NAME.restored.EXT beside each photo; stdout for stdin]",
    ),
]
Format = Annotated[
    Literal["png", "jpeg", "webp", "tiff"] | None,
    _result(help="Format of the results.  [default: the photo's own]"),
]
Quality = Annotated[int | None, _result(metavar="N", min=1, max=100, help="Of JPEG and WebP.  [default: 95]")]
Background = Annotated[
    str | None,
    _result(metavar="COLOUR", help="Below transparency in JPEG: #rrggbb, white, black, ...  [default: refused]"),
]
StripMetadata = Annotated[
    bool, _result("--strip-metadata", help="Leave out EXIF, XMP, IPTC, thumbnail and comments; the profile stays.")
]
Compare = Annotated[bool, _result("--compare", help="Also write before and after, as NAME.compare.jpg.")]
SaveMask = Annotated[
    str | None, _result(metavar="PATH", help="Also write the shadow that was found: a file, or a folder.")
]
SaveIllumination = Annotated[
    str | None, _result(metavar="PATH", help="Also write how the light was changed (see below): a file, or a folder.")
]

_restoration = partial(typer.Option, rich_help_panel="Restoration", show_default=False)

Mask = Annotated[
    str | None,
    _restoration(
        metavar="PATH",
        help="Shadow mask, white = shadow: one for all photos, or a folder with NAME.EXT or NAME_mask.EXT for each.  "
        "[default: found]",
    ),
]
Clean = Annotated[
    str | None,
    _restoration(
        metavar="PATH",
        help="Estimate of the photo without its shadow, of the same size, in place of the bundle's prior: a file, or a "
        "folder with the photos' names.",
    ),
]
Strength = Annotated[
    float, _restoration(metavar="X", min=0, max=1, help="How much is changed: 0 nothing, 1 all.  [default: 1]")
]
Steps = Annotated[int | None, _restoration(metavar="N", help="Diffusion steps.  [default: the bundle's]")]
Seed = Annotated[
    int,
    _restoration(metavar="N", min=0, help="Of the noise: the same seed gives the same result.  [default: 0]"),
]
WorkingSize = Annotated[
    int | None,
    _restoration(metavar="N", min=1, help="Long side, in pixels, at which the networks run.  [default: the bundle's]"),
]
Native = Annotated[
    bool, _restoration("--native", help="Run the networks at full size: slow, and in tiles past the memory.")
]

_machine = partial(typer.Option, rich_help_panel="Model and machine", show_default=False)

Task = Annotated[
    Literal["shadow", "low-light", "exposure"] | None,
    _machine(help="What to correct, with the bundle that comes along.  [default: shadow]"),
]
BundlePath = Annotated[
    str | None,
    _machine("--bundle", metavar="BUNDLE", help="Another bundle: a folder, a zip file, or the name of a built-in one."),
]
Backend = Annotated[
    Literal["auto", "portable", "onnxruntime", "cpu-kernels", "tensorrt", "tensorrt-rtx"],
    _machine(help="What runs the networks; portable: no engine.  [default: auto, the fastest that works]"),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], _machine(help="Where they run.  [default: auto, a GPU if it can be used]")
]
Precision = Annotated[
    Literal["fp32", "fp16", "bf16", "int8", "fp8"] | None,
    _machine(help="Of the networks; all but fp32 take an engine.  [default: the fastest]"),
]
Engine = Annotated[
    str | None, _machine(metavar="NAME", help="The engine of the bundle to use.  [default: the fastest]")
]
Threads = Annotated[
    int | None, _machine(metavar="N", min=1, help="CPU threads, one per core at most.  [default: all cores]")
]

_run = partial(typer.Option, rich_help_panel="Run", show_default=False)

Jobs = Annotated[
    int,
    _run(metavar="N", min=1, help="Photos in hand at once; one at a time is in the networks.  [default: 3]"),
]
Overwrite = Annotated[bool, _run("--overwrite", help="Replace what exists, the photo itself too.")]
Force = Annotated[bool, _run("--force", help="Make again what is done.")]
Json = Annotated[bool, _run("--json", help="Print one JSON object per photo, each on a line.")]
Quiet = Annotated[bool, _run("--quiet", "-q", help="Print errors only.")]

ENDING = """\
Folders are searched with all below them, and mirrored under --output. Hidden files and earlier results of these
photos are left out.

Run again, it does what is missing: a result is done if it was made from the same photo, mask, bundle and settings, as
.shadowdiffusion.jsonl beside it says, and was not changed since. What else exists is replaced only with --overwrite.

Illumination has 16 bits: 32768 where nothing changed, 4096 less for every stop that the photo was darker.

Exit code: 0 all photos are done, 1 some failed, 2 bad usage, bundle or machine, 130 interrupted.

Examples:
  shadowdiffusion restore photo.jpg                        writes photo.restored.jpg
  shadowdiffusion restore photos -o restored               a folder, under the same names
  shadowdiffusion restore 'photos/**/*.tif' -o restored --format jpeg --quality 90
  shadowdiffusion restore photo.jpg --mask mask.png --strength 0.7 --compare
  shadowdiffusion restore photos -o restored --json > records.jsonl
  shadowdiffusion restore - < photo.jpg > restored.jpg
"""

"""A new process that restores one photo and says where the time went; started by path, so that nothing else is loaded.

python probe.py BUNDLE DEVICE THREADS PHOTO RESULT STEPS -> one JSON object: seconds by part, the clock at both ends.
"""

from __future__ import annotations

from time import monotonic, perf_counter

BEGAN = monotonic()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def main(bundle: str, device: str, threads: str, photo: str, result: str, steps: str) -> None:
    """Restore, write, and print the parts."""
    clock = [perf_counter()]
    parts: dict[str, float] = {}

    def done(name: str) -> None:
        clock.append(perf_counter())
        parts[name] = clock[-1] - clock[-2]

    from shadowdiffusion import runtime
    from shadowdiffusion.runtime.photo.encoding import encode_photo
    from shadowdiffusion.runtime.photo.image import Photo
    from shadowdiffusion.runtime.photo.reading import read_photo

    restorer_of = runtime.load
    done("import")
    restorer = restorer_of(bundle, "auto", device, int(threads))  # type: ignore[arg-type]
    done("load")
    pixels = read_photo(photo)
    done("read")
    found = restorer(pixels, steps=int(steps), with_mask=False)
    done("restore")
    Path(result).write_bytes(encode_photo(Photo(found.image), "png"))
    done("write")
    del parts["restore"]
    inside = {name: seconds for name, seconds in found.timings.items() if name != "total"}
    print(json.dumps({"began": BEGAN, "ended": monotonic(), "parts": parts | inside, "modules": len(sys.modules)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

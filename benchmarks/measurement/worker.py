"""A process of its own that restores: started as a program, told over stdin what to do, by `workers.Worker`.

It imports the runtime and nothing else that could weigh, so that its memory is that of a user's process.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import numpy as np

from shadowdiffusion.benchmarks.measurement.memory import peak_mib


def main(bundle: str, device: str, threads: int) -> None:
    """Open the bundle, say so, then answer one line with one line until stdin ends.

    A line is {"size": side in pixels, "batch": images, "steps": steps}; its answer {"ms": time, "peak_mib": so far}.
    """
    from shadowdiffusion import runtime

    restorer = runtime.load(bundle, "portable", device, threads)  # type: ignore[arg-type]
    _say({"peak_mib": peak_mib()})
    for line in sys.stdin:
        wanted = json.loads(line)
        side, batch = wanted["size"], wanted["batch"]
        images = np.random.default_rng(0).random((batch, 3, side, side), np.float32)
        started = perf_counter()
        masks, table = np.ones_like(images[:, :1]), restorer.bundle.table(wanted["steps"])
        restorer.loop.restore(images, masks, table, list(range(batch)))
        _say({"ms": 1e3 * (perf_counter() - started), "peak_mib": peak_mib()})


def _say(answer: dict[str, float]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""What the denoiser is told about time: one row per timestep, computed at export, so that no network does it here."""

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import ROWS, Bundle
from shadowdiffusion.runtime.errors import BundleError

Array = npt.NDArray[np.float32]


def read_rows(bundle: Bundle) -> Array | None:
    """The table float32 [R, K] that `Step.row` points into, None for a bundle whose denoiser takes the timestep.

    K is what the denoiser's input `row` [1, K] holds. Raises BundleError for a file that is no such table.
    """
    if ROWS not in bundle.manifest.files:
        return None
    try:
        rows: Array = np.load(bundle.path / ROWS, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise BundleError(f"{ROWS} of bundle {bundle.path} is not readable: {error}") from error
    needed = 1 + max(step.row or 0 for table in bundle.manifest.sampling.tables.values() for step in table)
    if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) < needed:
        found = f"{rows.dtype}{list(rows.shape)}"
        raise BundleError(f"{ROWS} of bundle {bundle.path} is {found}, not float32 with at least {needed} rows")
    return rows

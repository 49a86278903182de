"""Several photos in hand at once, each in a thread: one is read, one in the networks, one written.

Only so many are begun as are wanted in flight, so that memory does not grow with their number.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

from shadowdiffusion.runtime.batch.outcome import Outcome
from shadowdiffusion.runtime.batch.plan import Job
from shadowdiffusion.runtime.batch.stopping import Stop

IN_FLIGHT = 3
"""Photos in hand unless the user says otherwise."""

HEARING = 0.2
"""Seconds after which a signal is heard at the latest."""
Work = Callable[..., Outcome]
"""`runtime.batch.work.Worker`."""


def restore_all(jobs: Iterable[Job], work: Work, in_flight: int, stop: Stop) -> Iterator[Outcome]:
    """What became of each photo, as they finish. What other processes are at comes last, when they have finished."""
    busy = list[Job]()
    for job, outcome in _fly(jobs, work, in_flight, stop):
        if outcome.status == "busy":
            busy.append(job)
        else:
            yield outcome
    for _, outcome in _fly(busy, partial(work, patient=True), in_flight, stop):
        yield outcome


def _fly(jobs: Iterable[Job], work: Work, in_flight: int, stop: Stop) -> Iterator[tuple[Job, Outcome]]:
    with ThreadPoolExecutor(in_flight, "photo") as pool:
        flying: dict[Future[Outcome], Job] = {}
        for job in jobs:
            if stop:
                break
            flying[pool.submit(work, job)] = job
            while len(flying) == in_flight:
                yield from _landed(flying)
        while flying:
            yield from _landed(flying)


def _landed(flying: dict[Future[Outcome], Job]) -> Iterator[tuple[Job, Outcome]]:
    """Wait a little for one or more of them, which are then no longer flying.

    Not longer: a signal that arrives just before the main thread falls asleep is heard when it wakes up.
    """
    for future in wait(flying, HEARING, FIRST_COMPLETED).done:
        yield flying.pop(future), future.result()

"""Task numbers of the farm and the frames that they stand for (protocol section 8); pure.

A job has tasks `start` to `end`, where `start` is its first frame. A task is a batch of frames, or one frame of every
`step`, or one frame.
"""

from __future__ import annotations


def tasks(first: int, last: int, *, batch: int = 1, step: int = 1) -> range:
    """The task numbers of a range of frames, as the add-on makes them.

    Args:
        first, last: the scene's range, both included.
        batch: frames of one task; the range should be divisible by it, and what is left over is not rendered.
        step: every how many frames one is rendered; without meaning when tasks are batches.

    Example:
        >>> list(tasks(1, 10, batch=5)), list(tasks(1, 10, step=3))
        ([1, 2], [1, 2, 3, 4])
    """
    if batch != 1:
        return range(first, first + (last - first + 1) // batch)
    if step > 1:
        return range(first, first + (last - first) // step + 1)
    return range(first, last + 1)


def frames_of(task: int, start: int, *, batch: int = 1, step: int = 1) -> range:
    """The frames of one task of a job whose tasks begin at `start`.

    Example:
        >>> list(frames_of(2, 1, batch=5)), list(frames_of(4, 1, step=3))
        ([6, 7, 8, 9, 10], [10])
    """
    if batch != 1:
        first = start + (task - start) * batch
        return range(first, first + batch)
    frame = start + (task - start) * max(step, 1)
    return range(frame, frame + 1)


def frame_range(start: int, end: int, *, batch: int = 1, step: int = 1) -> tuple[int, int, int]:
    """First frame, last frame and step of all tasks together.

    Example:
        >>> frame_range(1, 2, batch=5), frame_range(1, 4, step=3), frame_range(3, 7)
        ((1, 10, 1), (1, 10, 3), (3, 7, 1))
    """
    last = frames_of(end, start, batch=batch, step=step)[-1]
    return start, last, 1 if batch != 1 else max(step, 1)

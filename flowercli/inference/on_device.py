"""A session whose pixels and answers have fixed places on its device, a set of them for each size of batch.

So nothing is allocated from run to run, and a provider that can replays the kernels of a whole run as one (a CUDA
graph), which holds for one shape and for the thread that recorded it: hence all runs are those of one thread, and
pictures go in runs of few sizes, the last padded.

``device`` is a name of onnxruntime's. With ``cpu`` everything here runs without a GPU, and is tested so.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from flowercli.inference.engine import PROFILE
from flowercli.inference.pinned import host_pixels
from flowercli.inference.preprocess import INPUT
from flowercli.inference.probe import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnxruntime as ort

    # Pixels of N pictures: one array [N, H, W, 3], or N arrays.
    Pixels = npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]
    Answers = dict[str, npt.NDArray[np.float32]]

# Pictures of a run, from the least on: those that TensorRT's engines are built for.
SIZES = tuple(PROFILE.values())
# Which recorded run is meant; onnxruntime keeps 0 for itself, and -1 records nothing.
GRAPH_ID, NO_GRAPH = "gpu_graph_id", "-1"
# A size whose two runs would take longer is not measured, but taken to cost as much a picture as the one before it.
MEASURE_SECONDS = 0.3


class Place:
    """Where the pixels and the answers of batches of one size lie.

    Args:
        session: what runs.
        device: where it runs.
        shape: of the pixels of a batch, ``[size, H, W, 3]``.
        widths: of each answer, by the name of the output: its shape without the batch.
    """

    def __init__(
        self, session: ort.InferenceSession, device: str, shape: Sequence[int], widths: Mapping[str, Sequence[int]]
    ) -> None:
        ort = import_onnxruntime()
        self._session, self._names, self._size = session, list(widths), shape[0]
        self._host, self._owner = host_pixels(shape, device)
        self._pixels = ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.uint8, device, 0)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(INPUT, self._pixels)
        for name, width in widths.items():
            answer = ort.OrtValue.ortvalue_from_shape_and_type([self._size, *width], np.float32, device, 0)
            self._binding.bind_ortvalue_output(name, answer)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry(GRAPH_ID, str(self._size))

    def run(self, pictures: Pixels) -> Answers:
        """Run the graph on as many pictures as there is room for, or fewer; what is left is black."""
        count = len(pictures)
        np.stack(list(pictures), out=self._host[:count])
        self._host[count:] = 0
        self._pixels.update_inplace(self._host)
        self._session.run_with_iobinding(self._binding, self._options)
        answers = self._binding.copy_outputs_to_cpu()
        return {name: answer[:count] for name, answer in zip(self._names, answers, strict=True)}


class OnDevice:
    """Such a session. It has what is used here of onnxruntime's, and may be called from several threads.

    Args:
        session: onnxruntime's, opened.
        device: where it runs: ``cpu`` or ``cuda``, TensorRT's is the latter too.
        shape: H and W of the pixels.
        sizes: of batches, the least first, which is 1.

    Raises:
        Exception: onnxruntime's; it does not run there.
    """

    def __init__(
        self, session: ort.InferenceSession, device: str, shape: tuple[int, int], sizes: Sequence[int] = SIZES
    ) -> None:
        self.session, self.device, self.sizes = session, device, tuple(sizes)
        self._shape = (*shape, 3)
        self._places: dict[int, Place] = {}
        self._seconds: dict[int, float] = {}
        self._thread = ThreadPoolExecutor(1, "flowers-device")
        self._widths: dict[str, Sequence[int]] = {}
        self._thread.submit(self._look).result()
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.get_providers = session.get_providers

    def run(self, names: Sequence[str], feeds: Mapping[str, Pixels]) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of these names for the pixels of any number of pictures, as onnxruntime's session does.

        Raises:
            ValueError: they are of another size.
            Exception: onnxruntime's.
        """
        if any(picture.shape != self._shape for picture in feeds[INPUT]):
            message = f"The pixels of a picture are not of the shape {self._shape}."
            raise ValueError(message)
        return self._thread.submit(self._run, names, feeds[INPUT]).result()

    def measured(self) -> dict[int, float]:
        """Return the seconds of a run of each size, by the size, without what the device has no memory for.

        The first call measures, and makes each size's place meanwhile.
        """
        if not self._seconds:
            self._seconds = self._thread.submit(self._measure).result()
        return self._seconds

    def _look(self) -> None:
        """Run one picture as onnxruntime likes it, and see how much it says of one; graphs may leave that open."""
        options = import_onnxruntime().RunOptions()
        options.add_run_config_entry(GRAPH_ID, NO_GRAPH)
        names = [output.name for output in self.session.get_outputs()]
        answers = self.session.run(names, {INPUT: np.zeros((1, *self._shape), np.uint8)}, options)
        self._widths = {name: answer.shape[1:] for name, answer in zip(names, answers, strict=True)}
        self._place(1).run(np.zeros((1, *self._shape), np.uint8))

    def _place(self, size: int) -> Place:
        if size not in self._places:
            self._places[size] = Place(self.session, self.device, (size, *self._shape), self._widths)
        return self._places[size]

    def _run(self, names: Sequence[str], pictures: Pixels) -> list[npt.NDArray[np.float32]]:
        parts = self._parts(pictures)
        return [np.concatenate([part[name] for part in parts]) for name in names]

    def _parts(self, pictures: Pixels) -> list[Answers]:
        """Run pictures, in smaller batches from now on where the device has no memory for one of that size."""
        parts: list[Answers] = []
        start = 0
        for size in portions(len(pictures), self._seconds or dict.fromkeys(self.sizes, 1.0)):
            try:
                parts.append(self._place(size).run(pictures[start : start + size]))
            except Exception:  # onnxruntime's exceptions have no other common base
                if size == min(self.sizes):
                    raise
                self._do_without(size)
                return parts + self._parts(pictures[start:])
            start += size
        return parts

    def _do_without(self, size: int) -> None:
        self._places.pop(size, None)
        self.sizes = tuple(one for one in self.sizes if one < size)
        self._seconds = {one: taken for one, taken in self._seconds.items() if one < size}

    def _measure(self) -> dict[int, float]:
        seconds: dict[int, float] = {}
        for size in self.sizes:
            last = max(seconds, default=0)
            expected = seconds[last] * size / last if last else 0.0
            if 2 * expected > MEASURE_SECONDS:
                seconds[size] = expected
                continue
            try:
                seconds[size] = self._time(size)
            except Exception:  # onnxruntime's exceptions have no other common base
                if not seconds:
                    raise
                self._do_without(size)
                break
        return seconds

    def _time(self, size: int) -> float:
        """Return the seconds of a second run: the first loads kernels, tries some, and records them."""
        place, pixels = self._place(size), np.zeros((size, *self._shape), np.uint8)
        place.run(pixels)
        started = perf_counter()
        place.run(pixels)
        return perf_counter() - started


def portions(count: int, seconds: Mapping[int, float]) -> list[int]:
    """Return the sizes of the runs that have room for ``count`` pictures and take the least time together.

    Args:
        count: pictures.
        seconds: of a run of each size there is.
    """
    most = max(seconds)
    whole, rest = divmod(count, most)
    # The last run for so many pictures, and the seconds of all of them.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for few in range(1, rest + 1):
        best.append(min((seconds[size] + best[max(0, few - size)][0], size) for size in seconds))
    runs = [most] * whole
    while rest > 0:
        runs.append(best[rest][1])
        rest -= runs[-1]
    return runs


def best_size(seconds: Mapping[int, float], slack: float) -> int:
    """Return the least size of a run whose pictures a second come as near to the most as ``slack``, a share."""
    rates = {size: size / taken if taken else math.inf for size, taken in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= (1 - slack) * max(rates.values()))

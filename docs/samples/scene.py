"""A scene and how it becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from camera import Camera, draw
from film import develop, disc_blur, enlarge, over
from light import Effort

if TYPE_CHECKING:
    from collections.abc import Callable

    from light import Light
    from sheet import Sheet

Array = np.ndarray
SMALL = 400  # pictures below this height need less effort


@dataclass
class Scene:
    """The flower in focus, plants far behind it, and what fills the rest."""

    camera: Camera
    light: Light
    main: list[Sheet]
    backdrop: Callable[[], Array]
    behind: list[tuple[list[Sheet], float]] = field(default_factory=list)
    exposure: float = 1.2
    seed: int = 0


def photograph(scene: Scene) -> Array:
    """8-bit pixels of a scene, painted from the back to the front."""
    camera = scene.camera
    picture = scene.backdrop()
    for sheets, blur in scene.behind:
        picture = over(_blurred(sheets, scene, blur), picture)
    effort = Effort(12, 24) if camera.height < SMALL else Effort()
    picture = over(draw(scene.main, scene.light, camera, effort), picture)
    return develop(picture, scene.seed, scene.exposure)


def _blurred(sheets: list[Sheet], scene: Scene, blur: float) -> Array:
    """A layer far out of focus; half the resolution is plenty for it."""
    camera = scene.camera
    size = (camera.width // 2, camera.height // 2)
    half = replace(camera, width=size[0], height=size[1])
    layer = disc_blur(draw(sheets, scene.light, half, Effort(2, 16, 160)), blur * size[1])
    return enlarge(layer, camera.width, camera.height)

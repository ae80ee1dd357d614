"""The flower datasets of Oxford's Visual Geometry Group: numbered photographs, sorted into class folders here.

Nilsback and Zisserman, "A Visual Vocabulary for Flower Classification", CVPR 2006 (17 classes), and "Automated Flower
Classification over a Large Number of Classes", ICVGIP 2008 (102 classes).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowercli.errors import ArchiveError

# In the order of the photographs: 80 consecutive ones of each.
IN_ORDER_17 = """
daffodil snowdrop lily_of_the_valley bluebell crocus iris tiger_lily tulip fritillary sunflower daisy coltsfoot
dandelion cowslip buttercup windflower pansy
"""
NAMES_17 = tuple(IN_ORDER_17.split())
A_CLASS_17 = 80
# In the order of the labels, which start at 1.
IN_ORDER_102 = """
pink_primrose hard-leaved_pocket_orchid canterbury_bells sweet_pea english_marigold tiger_lily moon_orchid
bird_of_paradise monkshood globe_thistle snapdragon colts_foot king_protea spear_thistle yellow_iris globe-flower
purple_coneflower peruvian_lily balloon_flower giant_white_arum_lily fire_lily pincushion_flower fritillary
red_ginger grape_hyacinth corn_poppy prince_of_wales_feathers stemless_gentian artichoke sweet_william carnation
garden_phlox love_in_the_mist mexican_aster alpine_sea_holly ruby-lipped_cattleya cape_flower great_masterwort
siam_tulip lenten_rose barbeton_daisy daffodil sword_lily poinsettia bolero_deep_blue wallflower marigold buttercup
oxeye_daisy common_dandelion petunia wild_pansy primula sunflower pelargonium bishop_of_llandaff gaura geranium
orange_dahlia pink-yellow_dahlia cautleya_spicata japanese_anemone black-eyed_susan silverbush californian_poppy
osteospermum spring_crocus bearded_iris windflower tree_poppy gazania azalea water_lily rose thorn_apple
morning_glory passion_flower lotus toad_lily anthurium frangipani clematis hibiscus columbine desert-rose
tree_mallow magnolia cyclamen watercress canna_lily hippeastrum bee_balm ball_moss foxglove bougainvillea camellia
mallow mexican_petunia bromelia blanket_flower trumpet_creeper blackberry_lily
"""
NAMES_102 = tuple(IN_ORDER_102.split())
LABELS_FILE = "imagelabels.mat"
PHOTOS = "jpg"
MAT_HEADER = 128
MAT_COMPRESSED = 15
MAT_TYPES = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}


def arrange_17(unpacked: Path, files: Path) -> Path:
    """Sort the photographs of Oxford-17 into class folders, and return the folder that holds these."""
    del files
    return _arrange(unpacked, [name for name in NAMES_17 for _ in range(A_CLASS_17)])


def arrange_102(unpacked: Path, files: Path) -> Path:
    """Sort the photographs of Oxford-102 into class folders by its labels file, and return the folder of these."""
    labels = read_mat((files / LABELS_FILE).read_bytes())
    if labels.min() < 1 or labels.max() > len(NAMES_102):
        raise ArchiveError(f"{LABELS_FILE} has labels outside 1 to {len(NAMES_102)}.", hint="Check the address.")
    return _arrange(unpacked, [NAMES_102[label - 1] for label in labels.astype(int)])


def read_mat(content: bytes) -> npt.NDArray[np.generic]:
    """Read the numbers of a MATLAB 5 file with one matrix of real numbers.

    Returns:
        All its values in MATLAB's order, shape ``[N]``.

    Raises:
        ArchiveError: it is no such file.
    """
    try:
        kind, body, _ = _element(content, MAT_HEADER)
        if kind == MAT_COMPRESSED:
            _, body, _ = _element(zlib.decompress(body), 0)
        position = 0
        for _ in ("flags", "dimensions", "name"):
            _, _, position = _element(body, position)
        kind, values, _ = _element(body, position)
        return np.frombuffer(values, dtype=MAT_TYPES[kind])
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise ArchiveError(f"The labels file cannot be read: {error}.", hint="Check the address.") from error


def _arrange(unpacked: Path, class_names: list[str]) -> Path:
    """Move photograph number N, which is ``image_000N.jpg``, to the folder of the N-th name."""
    photos = sorted((unpacked / PHOTOS).glob("image_*.jpg"))
    if [_number(photo) for photo in photos] != list(range(1, len(class_names) + 1)):
        message = f"The archive should hold {PHOTOS}/image_*.jpg, numbered from 1 to {len(class_names)}."
        raise ArchiveError(
            message, hint="Check the address; another archive: flowers download dataset URL --sha256 HEX"
        )
    arranged = unpacked / "classes"
    for photo, name in zip(photos, class_names, strict=True):
        (arranged / name).mkdir(parents=True, exist_ok=True)
        photo.rename(arranged / name / photo.name)
    return arranged


def _number(photo: Path) -> int:
    digits = photo.stem.removeprefix("image_")
    return int(digits) if digits.isdecimal() else -1


def _element(content: bytes, position: int) -> tuple[int, bytes, int]:
    """Return the type and the bytes of an element, and where the next one starts."""
    kind, length = struct.unpack_from("<II", content, position)
    if kind >> 16:  # A small one: its length and its bytes are in the head.
        return kind & 0xFFFF, content[position + 4 : position + 4 + (kind >> 16)], position + 8
    end = position + 8 + length
    return kind, content[position + 8 : end], end if kind == MAT_COMPRESSED else end + (-length % 8)

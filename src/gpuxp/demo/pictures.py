"""Pictures."""

from __future__ import annotations

from . import data
from .program import Array, Inputs, Namespace, Outputs, Program

_BLUR = (0.06136, 0.24477, 0.38774, 0.24477, 0.06136)


def _picture(small: bool) -> Inputs:
    picture = data.photograph()
    return {"picture": picture[200:296, 200:296] if small else picture}


def _filter(np: Namespace, picture: Array) -> Outputs:
    grey = 0.299 * picture[:, :, 0] + 0.587 * picture[:, :, 1] + 0.114 * picture[:, :, 2]
    height, width = grey.shape
    rows = sum(w * grey[i : height - 4 + i] for i, w in enumerate(_BLUR))
    soft = sum(w * rows[:, i : width - 4 + i] for i, w in enumerate(_BLUR))
    across = soft[:, 2:] - soft[:, :-2]
    down = soft[2:] - soft[:-2]
    gx = across[:-2] + 2 * across[1:-1] + across[2:]
    gy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    strength = np.sqrt(gx * gx + gy * gy)
    sharp = np.clip(grey[2:-2, 2:-2] * 1.8 - soft * 0.8, 0, 1)
    return strength, sharp, (strength > 0.25).mean()


PROGRAMS = (
    Program("edges", "Blur, edges and sharpening of a photo", _picture, _filter,
            lambda strength, sharp, share: f"{float(share):.1%} of the pixels on an edge", needs="PIL"),
)  # fmt: skip

"""Finding out which of two ways to do the same takes less time, while it is being done."""

from __future__ import annotations

_TURNS, _MOST = 32, 1024  # of so many runs one goes the other way; the more seldom, the oftener it was in vain


class Choice:
    """Which of two ways to do the same takes less time: a run now and then goes the other way, to see."""

    def __init__(self, second: bool) -> None:
        self.second = second  # which way is taken, as far as is known
        self.took = [0.0, 0.0]  # seconds of a run; 0: not known
        self._turn, self._turns = _TURNS // 2, _TURNS

    def choose(self, tries: bool = True) -> bool:
        """Return whether to go the second way; `tries`: whether the other way might be worth a run."""
        self._turn += 1
        if self._turn < self._turns:
            return self.second
        self._turn, self._turns = 0, min(2 * self._turns, _MOST)
        return self.second != tries

    def learn(self, second: bool, seconds: float) -> None:
        """Keep in mind what a run took; a long one may only have had to wait for a processor."""
        took = self.took
        before = took[second]
        took[second] = seconds if seconds < before or not before else before + (min(seconds, 2 * before) - before) / 4
        if took[0] and took[1] and self.second != (took[1] < took[0]):
            self.second, self._turns = not self.second, _TURNS

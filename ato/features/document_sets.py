"""For every feature, the set of documents in which it is active."""

import numpy as np


class DocumentsOfFeatures:
    """Which features were seen in which documents: one bit each."""

    def __init__(self, d_sae: int):
        self._d_sae = d_sae
        self._bits: dict[int, np.ndarray] = {}

    def update(self, document: np.ndarray, feature: np.ndarray) -> None:
        """Note that feature[i] was seen in document[i]."""
        numbers, code = np.unique(document, return_inverse=True)
        seen = np.zeros((len(numbers), self._d_sae), dtype=bool)
        seen[code, feature] = True
        for number, bits in zip(numbers, np.packbits(seen, axis=1), strict=True):
            self._bits[int(number)] = self._bits.get(int(number), np.zeros_like(bits)) | bits

    def merge(self, other: "DocumentsOfFeatures") -> None:
        """Note all that another one has noted."""
        for number, bits in other._bits.items():
            self._bits[number] = self._bits.get(number, np.zeros_like(bits)) | bits

    def counts(self) -> np.ndarray:
        """[d_sae] int64, documents in which each feature was seen."""
        total = np.zeros(self._d_sae, dtype=np.int64)
        for bits in self._bits.values():
            total += np.unpackbits(bits, count=self._d_sae)
        return total

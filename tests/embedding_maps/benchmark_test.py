"""The benchmark's own measures, on made-up recognisers."""

import numpy as np
import pytest

from benchmarks import embedding_maps
from hyperface_jax import EmbeddingFile
from tests.embedding_maps.planted import planted


def test_every_rival_is_measured_on_others():
    everyone = planted(num_people=90, images=8)
    seen = everyone.people < 60
    first = seen & (np.arange(len(seen)) % 8 < 2)

    def side(rows):
        return {
            name: EmbeddingFile(rows[some], everyone.people[some], None, {}, {})
            for name, some in (("gallery", first), ("held_out", ~seen))
        }

    found, rows = embedding_maps.direction(side(everyone.a), side(everyone.b))
    mapped = found(everyone.a[~seen])
    true = everyone.b[~seen]
    hits = []
    for person in range(30):
        centres = mapped.reshape(30, 8, -1)[:, :4].mean(1)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        for probe in true.reshape(30, 8, -1)[person, 4:]:
            hits.append(np.argmax(centres @ probe) == person)
    assert rows["ridge"]["rank1"] == np.mean(hits)
    assert rows["ridge"]["cosine"] == pytest.approx(np.sum(mapped * true, 1).mean())
    assert rows["shuffled"]["rank1"] < 0.2 < 0.8 < rows["ridge"]["rank1"]
    assert rows["target alone"]["cosine"] == pytest.approx(1)
    assert "ridge, 20 people" in rows and "ridge, 40 people" in rows

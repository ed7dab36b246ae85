"""Embeddings over real HTTP: near for shared words, both encodings, deterministic."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from personalake.llm.offline import EMBEDDING_MODEL, OfflineSettings, serving

TEXTS = [
    "A village baker who keeps notes on sourdough and rye flour.",
    "A village baker who keeps careful notes on sourdough and rye flour.",
    "A bakery owner interested in sourdough, flours and baking.",
    "A network engineer who repairs routers at night.",
    "?!",
]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with (
        serving(OfflineSettings()) as url,
        openai.OpenAI(base_url=url, api_key="any", max_retries=0) as made,
    ):
        yield made


def test_texts_that_share_words_are_near_and_others_are_not(client: openai.OpenAI) -> None:
    found = client.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS)
    rows = np.array([item.embedding for item in found.data])
    assert rows.shape == (5, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    near, related, far = rows[0] @ rows[1], rows[0] @ rows[2], rows[0] @ rows[3]
    assert near > 0.9
    assert near > related > far + 0.1
    assert found.usage.prompt_tokens == sum(-(-len(text) // 4) for text in TEXTS)


def test_both_encodings_hold_the_same_floats_and_a_rerun_the_same_vectors(client: openai.OpenAI) -> None:
    plain = client.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS, encoding_format="float")
    packed = client.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS, encoding_format="base64")
    for one, other in zip(plain.data, packed.data, strict=True):
        unpacked = np.frombuffer(base64.b64decode(str(other.embedding)), dtype="<f4")
        assert np.array_equal(np.array(one.embedding, dtype=np.float32), unpacked)


def test_fewer_dimensions_are_normalised_again(client: openai.OpenAI) -> None:
    found = client.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS[0], dimensions=64)
    assert len(found.data[0].embedding) == 64
    assert np.linalg.norm(found.data[0].embedding) == pytest.approx(1, abs=1e-5)

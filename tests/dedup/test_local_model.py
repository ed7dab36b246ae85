"""Vectors by a real sentence-transformers model: a tiny one of random weights, made here, since none is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from personalake.dedup.local_model import encoder
from personalake.dedup.vectors import matrix
from personalake.embed import wanted_vector
from personalake.inputs import read_inputs
from personalake.settings_file import load
from tests.conftest import ROOT

library = pytest.importorskip("sentence_transformers", reason="the extra `embeddings` isn't installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        from sentence_transformers.sentence_transformer import modules  # noqa: PLC0415 (an extra)
    except ImportError:  # Before version 6.
        from sentence_transformers import models as modules  # noqa: PLC0415 (as above)
    from transformers import BertConfig, BertModel, BertTokenizer  # noqa: PLC0415 (as above)

    folder = tmp_path_factory.mktemp("model")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]))
    bert = folder / "bert"
    BertTokenizer(str(vocabulary)).save_pretrained(bert)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=31, **shape)).save_pretrained(bert)
    words = modules.Transformer(str(bert))
    pooled = modules.Pooling(words.get_embedding_dimension())
    library.SentenceTransformer(modules=[words, pooled], device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def test_texts_get_the_models_own_directions_under_their_ids(model: Path) -> None:
    texts = ["a b c", "d e f", "a b c"]
    batch = pa.RecordBatch.from_pydict({"id": ["x", "y", "z"], "text": texts})
    (found,) = encoder(str(model))(iter([batch.slice(0, 0), batch]))
    assert found.column("id").to_pylist() == ["x", "y", "z"]
    rows = matrix(found.column("vector"))
    own = library.SentenceTransformer(str(model), device="cpu").encode(texts, normalize_embeddings=True)
    assert np.allclose(rows, own, atol=1e-3)
    assert np.array_equal(rows[0], rows[2])


def test_a_text_that_is_looked_for_gets_its_vector_here_and_costs_nothing(model: Path) -> None:
    settings, folder = load(str(ROOT / "conf" / "local.yaml"), [f"dedup.embedding.path={model}"])
    found = wanted_vector(read_inputs(settings, folder, stages=()), "a b c", left=0)
    batch = pa.RecordBatch.from_pydict({"id": ["x"], "text": ["a b c"]})
    assert (found.vector, found.tokens) == (next(encoder(str(model))(iter([batch]))).column("vector")[0].as_py(), None)

"""Finds, for each query embedding, the nearest embeddings of another file, exactly.

Example:
  hyperface-search --index=gallery.npz --queries=references.npz --k=5 \\
      --output=neighbours.npz

Writes cosines [queries, k], falling, and rows [queries, k] of the index, with the
names of both where the files have them. The index may be larger than memory, unless its
file is compressed.
"""

import json
import os

import numpy as np
from absl import flags

from hyperface_jax import checks, files
from hyperface_jax.cli import device_flags
from hyperface_jax.commands import provenance, require_flags, run_command, settings_of
from hyperface_jax.embeddings import npz_file
from hyperface_jax.embeddings.embedding_file import load_embeddings
from hyperface_jax.errors import InputError

FLAGS = flags.FlagValues()
_OF_RESULT = {"cosines", "metadata", "rows"}
_OF_NAMES = {"names", "query_names"}

flags.DEFINE_string(
    "index", None, "Embedding file to search in (.npz).", flag_values=FLAGS
)
flags.DEFINE_string(
    "queries", None, "Embedding file of what to search for (.npz).", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "File to write (.npz).", flag_values=FLAGS)
flags.DEFINE_integer("k", 5, "How many neighbours a query.", flag_values=FLAGS)
flags.DEFINE_integer(
    "block_size", None, "Rows compared at once; by default 4096.", flag_values=FLAGS
)
device_flags.define(FLAGS)


def main() -> None:
    require_flags(FLAGS, "index", "queries", "output")
    files.check_output(FLAGS.output)
    checks.whole_number(FLAGS.k, "k", 1, checks.MOST)
    checks.block_size(FLAGS.block_size)
    for name in ("index", "queries"):
        if files.is_same(FLAGS[name].value, FLAGS.output):
            raise InputError(f"--output is --{name}, which must stay; name another")
    if files.was_written(FLAGS.output) and not _is_result(FLAGS.output):
        raise InputError(
            f"{FLAGS.output} exists and isn't of this command; move it, or name "
            "another --output"
        )
    with device_flags.in_use(FLAGS):
        _search()


def _is_result(path: str) -> bool:
    """Whether an earlier search wrote the file, which another may then replace."""
    try:
        with npz_file.open_npz(path) as content:
            return set(content.keys) - _OF_NAMES == _OF_RESULT
    except InputError:
        return False


def _search() -> None:
    from hyperface_jax.devices import processes
    from hyperface_jax.neighbours.search import EmbeddingIndex

    with processes.together():
        index = EmbeddingIndex.load(FLAGS.index, block_size=FLAGS.block_size)
        model = index.about.metadata.get("model")
        queries = load_embeddings(FLAGS.queries, model=model)
    processes.check_same("files", index.embeddings, queries.embeddings)
    cosines, rows = index.search(queries.embeddings, FLAGS.k)
    if not processes.is_main_process():
        return
    arrays = {"cosines": cosines, "rows": rows}
    if index.about.names is not None:
        arrays["names"] = index.about.names[rows]
    if queries.names is not None:
        arrays["query_names"] = queries.names
    record = {"created_with": provenance(settings_of(FLAGS))}
    with files.atomic_path(FLAGS.output) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays, metadata=np.asarray(json.dumps(record)))
    print(
        f"{os.fspath(FLAGS.output)}: {len(rows)} queries in {len(index)} rows, mean "
        f"cosine of the nearest {cosines[:, 0].mean():.4f}"
    )


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()

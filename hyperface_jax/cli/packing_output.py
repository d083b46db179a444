"""What hyperface-pack writes and prints of a packing."""

from typing import Any, NamedTuple

import numpy as np
from absl import flags

from hyperface_jax.analysis.record import figures_of_set, packing_record
from hyperface_jax.bounds.certificate import enrolled_certificate
from hyperface_jax.bounds.optimality import objective_bound
from hyperface_jax.cli import enrolment, packing_start
from hyperface_jax.commands import settings_of
from hyperface_jax.embeddings.embedding_file import EmbeddingFile, save_embeddings
from hyperface_jax.neighbours.similarity import nearest
from hyperface_jax.packing import balance
from hyperface_jax.packing.packing import PackingResult


class Packed(NamedTuple):
    """A packing and what it was made of; rows of all files in the same dimensions.

    ``calibration`` is what the limit to enrolled rows was found on, if it was.
    """

    result: PackingResult
    start: packing_start.Start
    gallery: EmbeddingFile
    fixed: EmbeddingFile | None
    enrolled: EmbeddingFile | None
    calibration: dict[str, Any] | None


class References(NamedTuple):
    """The rows of the output: embeddings ``[n, d]``, their names and groups."""

    embeddings: np.ndarray
    names: list[str]
    groups: np.ndarray | None


def references_of(packed: Packed, values: flags.FlagValues) -> References:
    """All references, the fixed ones first.

    These keep the groups their file gives them, or have those of the nearest gallery
    rows where it gives none.
    """
    new = References(packed.result.embeddings, packed.start.names, packed.start.groups)
    if packed.fixed is None:
        return new
    fixed, groups = packed.fixed.embeddings, new.groups
    if groups is not None:
        before = packed.fixed.groups.get(values.balance)
        if before is None:
            gallery = packed.gallery
            near = nearest(fixed, gallery.embeddings, block_size=values.block_size)
            before = gallery.groups[values.balance][np.asarray(near.row)]
        groups = np.concatenate([before, groups])
    return References(
        np.concatenate([fixed, new.embeddings]),
        [*packing_start.names_of(packed.fixed, "fixed"), *new.names],
        groups,
    )


def measure(
    packed: Packed, references: References, values: flags.FlagValues
) -> dict[str, Any]:
    """The packing record, JSON-ready, with all that the flags ask for.

    A collective computation where rows are spread over processes: all call it.
    """
    result, gallery, fixed = packed.result, packed.gallery, packed.fixed
    record = packing_record(
        result, packed.start.embeddings, gallery.embeddings, fixed and fixed.embeddings
    )
    if values.prove:
        proven = objective_bound(
            result.embeddings,
            gallery.embeddings,
            regularization_weight=result.config.regularization_weight,
            block_size=values.block_size,
        )
        # JSON has no infinity.
        record["objective_bound"] = {
            name: value if np.isfinite(value) else None
            for name, value in proven._asdict().items()
        }
    if packed.start.groups is not None:
        report = balance.balance_report(
            result.embeddings,
            packed.start.groups,
            gallery.embeddings,
            gallery.groups[values.balance],
            block_size=values.block_size,
        )
        record["balance"] = {"attribute": values.balance, **report}
    if packed.enrolled is not None:
        record["enrolled"] = enrolled_certificate(
            references.embeddings,
            packed.enrolled.embeddings,
            result.config.max_enrolled_cosine,
            num_fixed=len(references.embeddings) - len(result.embeddings),
            block_size=values.block_size,
        )
        if packed.calibration is not None:
            record["enrolled"]["calibration"] = packed.calibration
    if fixed is not None:
        record["all"] = figures_of_set(references.embeddings, values.block_size)
    return record


def save(
    packed: Packed,
    references: References,
    record: dict[str, Any],
    values: flags.FlagValues,
) -> None:
    """Writes the reference file."""
    groups = references.groups
    save_embeddings(
        values.output,
        references.embeddings,
        kind="references",
        labels=np.arange(len(references.embeddings)),
        names=references.names,
        groups=None if groups is None else {values.balance: groups},
        model=packed.gallery.metadata.get("model"),
        packing=record,
        settings=settings_of(values),
    )


def describe(packed: Packed, record: dict[str, Any], output: str) -> list[str]:
    """What the command says at its end, in lines."""
    result, before = packed.result, record["initial"]
    new = len(result.embeddings)
    count = new + (0 if packed.fixed is None else len(packed.fixed.embeddings))
    lines = [
        f"{output}: {count} references, max cosine {before['max_cosine']:.4f} -> "
        f"{result.max_cosine:.4f} (bound {result.bound:.4f}), objective "
        f"{before['objective']:.4f} -> {result.objective:.4f}, {result.seconds:.1f} s; "
        f"{result.stopped}"
    ]
    if "objective_bound" in record:
        lines.append(_describe_bound(**record["objective_bound"]))
    if "all" in record:
        found = record["all"]
        lines.append(
            f"  of them new: {new}, which these figures are of; among all: max cosine "
            f"{found['max_cosine']:.4f} (bound {found['bound']:.4f})"
        )
    if packed.start.groups is None and packed.fixed and packed.fixed.groups:
        lines.append(
            f"  left out: {', '.join(packed.fixed.groups)} of --fixed, which the new "
            "references have none of; --balance gives them theirs"
        )
    if "enrolled" in record:
        found = record["enrolled"]
        lines.append(
            f"  enrolled: largest cosine {found['max_cosine']:.6f} to any of "
            f"{found['count']}, {'kept' if found['kept'] else 'not kept'} "
            f"(at most {found['limit']:g}; checked in double precision)"
        )
        lines.append(f"  that limit is {enrolment.describe_limit(found)}")
    if "balance" in record:
        lines += balance.describe(record["balance"])
    return lines


def _describe_bound(
    bound: float | None, gap: float | None, curvature: float, temperature: float
) -> str:
    del temperature
    if bound is not None:
        return (
            f"  proven: no objective below {bound:.6f} while references keep their "
            f"gallery rows, {gap:.2g} less than this one"
        )
    return (
        "  nothing proven about the objective: the Lagrangian has no minimum (smallest "
        f"eigenvalue {curvature:.3g}); references are too crowded for it"
    )

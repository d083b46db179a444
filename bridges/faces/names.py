"""Names of streams of identities and of verification sets; loads no renderer."""

# Disjoint streams of identities. The position is part of every seed, so append only.
# The shipped models were trained on "train" alone; galleries come from "gallery", whose
# identities those models never saw.
STREAMS = (
    "train",
    "held_out",
    "mixed",
    "cross_age",
    "cross_pose",
    "frontal_profile",
    "age_gap_30",
    "gallery",
)
# Pairs of the benchmark that a set is modelled on: LFW, CA-LFW, CP-LFW, CFP-FP and
# AgeDB-30. Each set is a stream too, so that no two share an identity.
FULL_PAIRS = {
    "mixed": 6000,
    "cross_age": 6000,
    "cross_pose": 6000,
    "frontal_profile": 7000,
    "age_gap_30": 6000,
}
VERIFICATION_SETS = tuple(FULL_PAIRS)

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
# Each is a stream too, so that no two sets share an identity.
VERIFICATION_SETS = (
    "mixed",
    "cross_age",
    "cross_pose",
    "frontal_profile",
    "age_gap_30",
)

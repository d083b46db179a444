"""Names of streams of people and of verification sets; loads no renderer."""

# Streams of people; appended to, never renumbered. The shipped models were trained on
# "train" alone; galleries come from people those models never saw.
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
# Each is a stream, too: people of a verification set are in no other.
VERIFICATION_SETS = (
    "mixed",
    "cross_age",
    "cross_pose",
    "frontal_profile",
    "age_gap_30",
)

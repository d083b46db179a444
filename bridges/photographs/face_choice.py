"""Which faces of a picture are wanted."""

# As --help explains them.
LARGEST, CENTRAL, ALL = "largest", "central", "all"
FACES = {
    LARGEST: "the one with the largest box",
    CENTRAL: "the one nearest to the middle of the picture",
    ALL: "every one, the largest first",
}

"""Attributes of people in the words that groups are reported by.

The words for ethnicities are those of RFW and of the rendered faces, so that figures by
group stand beside each other whatever the images come from.
"""

AFRICAN, ASIAN, CAUCASIAN, INDIAN, OTHER = (
    *("african", "asian", "caucasian", "indian"),
    "other",
)
# As RFW and BUPT-Balancedface name their folders, in lower case.
ETHNICITY_FOLDERS = frozenset((AFRICAN, ASIAN, CAUCASIAN, INDIAN))
# Ages from here on are one group, and beyond the other no age of a person.
_OLD, _OLDEST = 70, 122


def is_age(age: int) -> bool:
    """Whether a number can be a person's age in years."""
    return age <= _OLDEST


def age_group(age: int) -> str:
    """The decade of an age in years: ``"20-29"``, and ``"70+"`` from 70 on."""
    if age >= _OLD:
        return f"{_OLD}+"
    decade = age // 10 * 10
    return f"{decade}-{decade + 9}"

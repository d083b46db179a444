"""What a data set holds that it should not: leaks, duplicates, people mixed up."""

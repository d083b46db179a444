"""What is in a data set: leaks, duplicates, swapped labels, separability."""

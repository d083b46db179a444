"""What is proven: bounds on cosines and on the objective, certificates."""

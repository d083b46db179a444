"""Packing: the objective, its solvers and the descent around them."""

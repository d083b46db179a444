"""From embeddings to images, recognisers and their accuracy (PyTorch).

The names below are the whole chain in Python. Each is loaded on first use, so a process
that only verifies never loads the generator; ``__init__.pyi`` says where they are.

A chain from references to metrics, each step of which can be interrupted and repeated::

    import bridges

    bridges.generate_dataset("references.npz", "dataset", bridges.GenerationConfig())
    bridges.train_recogniser("dataset", "checkpoint", bridges.TrainingConfig())
    bridges.verify_checkpoint("checkpoint", "verification", "metrics.json")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

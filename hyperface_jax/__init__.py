"""HyperFace packing: spread identities over a recogniser's embedding hypersphere.

Public names are listed in ``__init__.pyi`` and loaded on first use, so a process that
only reads a file or runs a command of ``bridges`` never loads JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

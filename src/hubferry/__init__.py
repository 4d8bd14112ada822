"""hubferry: a read-only OCI registry in front of other registries.

The core decides, the packages in the middle do the work, the shells touch the world. See docs/design.md.
"""

__version__ = "0.1.0"

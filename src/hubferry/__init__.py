"""hubferry: a read-only OCI registry in front of other registries.

The core decides, one orchestrator sequences, the shells touch the world. See docs/design.md.
"""

"""The Worker shell: the same core on Cloudflare Workers, see docs/worker.md."""

"""The Worker shell: the same gateway on Cloudflare Workers. See docs/worker.md."""

"""Give DVC a site cache of this project that no other user can reach: what `make setup` runs.

    python -m scripts.site_cache

See src/textmill/pipeline/site_cache.py.
"""

from __future__ import annotations

from textmill.base import command
from textmill.pipeline.site_cache import set_site_cache

if __name__ == "__main__":
    command.run("setup", set_site_cache)

"""Give DVC a site cache of this project that no other user can reach: what `make setup` runs.

    python -m scripts.site_cache

See stages/site_cache.py.
"""

from __future__ import annotations

from stages.site_cache import set_site_cache
from textmill import command

if __name__ == "__main__":
    command.run("setup", set_site_cache)

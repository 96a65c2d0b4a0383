"""Give DVC a site cache of this project that no other user can reach: what `make setup` runs.

    python -m scripts.site_cache

See stages/site_cache.py.
"""

from __future__ import annotations

import sys

from stages.site_cache import set_site_cache
from textmill.errors import UserError


def main() -> int:
    try:
        set_site_cache()
    except UserError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

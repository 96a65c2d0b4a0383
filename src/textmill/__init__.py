"""textmill: raw text in, a small, fast, evaluated text-to-text model out."""

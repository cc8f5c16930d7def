"""Files: written whole or not at all, records that prove themselves, downloads."""

"""The studio: a page on this machine to texture one mesh on. docs/studio.md"""

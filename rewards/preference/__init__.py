"""Learned scores of images: how well they fit a prompt, how people would like them."""

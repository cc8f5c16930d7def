"""Rewards of a textured mesh that judge several renders of it together."""

"""What a running job needs: device, locks, journal, progress, how it ends."""

"""The weights that come with the package, and `manifest.json`: where each came from and what it reaches."""

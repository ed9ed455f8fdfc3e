"""Watching a camera: files that follow one another, events, and a page that shows how it goes."""

"""Signing in and staying signed in: what Landscape adds to Django's and allauth's parts."""

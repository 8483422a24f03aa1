"""Runners: torch and exported models behind one interface, from pixels to outputs."""

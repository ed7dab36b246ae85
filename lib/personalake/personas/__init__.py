"""Personas: asked of pages (text-to-persona), then of personas (persona-to-persona), and which of them are taken."""

"""Pages of reference made from the declarations: settings, and a glossary of tables and settings."""

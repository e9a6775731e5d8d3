"""Pages over the warehouse, read-only: ``streamlit run dashboards/app.py``, or ``ato up``."""

"""Pages over the warehouse, read-only: ``streamlit run dashboards/served.py``, or ``ato up``."""

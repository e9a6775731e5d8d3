"""The dashboard as Streamlit's server runs it: behind ``OwnPagesOnly``, so that no other page reads the warehouse."""

import sys
from pathlib import Path

from starlette.middleware import Middleware
from streamlit import config
from streamlit.starlette import App

sys.path.insert(0, str(Path(__file__).parents[1]))  # streamlit puts this file's folder there, not the one above

from ato.io.own_pages import OwnPagesOnly

_names = [*config.get_option("server.allowedHosts"), config.get_option("browser.serverAddress") or "localhost"]
app = App(Path(__file__).with_name("app.py"), middleware=[Middleware(OwnPagesOnly, names=_names)])

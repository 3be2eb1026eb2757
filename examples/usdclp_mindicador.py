"""USD/CLP pulled year by year from a server that answers as mindicador.cl does, forecast 7 sessions ahead.

The server runs on this machine: nothing leaves it. Rates and dollar pairs are the real panel of
../shared/data; copper is SIMULATED, a random walk, because the panel has none.
"""

import csv
import json
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np

from horizoncast.data.http import HttpClient
from horizoncast.data.pull import pull_target
from horizoncast.data.secrets import Secrets
from horizoncast.data.survey import survey
from horizoncast.data.target_file import parse_target
from horizoncast.engine import ForecastEngine

HERE = Path(__file__).resolve().parent
PANEL = HERE.parents[1] / "shared" / "data" / "usdclp_panel_daily.csv"
NOW = np.datetime64("2024-12-30T23:00:00")
ROWS: list[dict[str, str]] = []


class Mindicador(BaseHTTPRequestHandler):
    """``/api/NAME/YEAR``: the newest value first, stamped with midnight in Santiago."""

    def do_GET(self) -> None:
        """Answer with one year of one series."""
        _, _, name, year = self.path.split("/")
        rows = [row for row in reversed(ROWS) if row["date"].startswith(year) and row[name]]
        serie = [{"fecha": f"{row['date']}T03:00:00.000Z", "valor": float(row[name])} for row in rows]
        body = json.dumps({"codigo": name, "serie": serie}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the forecast."""


def main() -> None:
    if not PANEL.is_file():
        sys.exit(f"this example needs {PANEL}")
    noise = 0.012 * np.random.default_rng(1).standard_normal(2000)
    with PANEL.open(encoding="utf-8") as file:
        recent = [row for row in csv.DictReader(file) if row["date"] >= "2019"]
    for row, copper in zip(recent, 2.7 * np.exp(np.cumsum(noise)), strict=False):
        ROWS.append({**row, "dolar": row["usdclp"], "libra_cobre": f"{copper:.4f}"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mindicador)
    Thread(target=server.serve_forever, daemon=True).start()
    text = (HERE / "usdclp_mindicador.toml").read_text().replace(":8917", f":{server.server_port}")
    with tempfile.TemporaryDirectory() as folder, HttpClient(Secrets({})) as client:
        target = parse_target(text, place="usdclp_mindicador.toml", folder=HERE)
        for source in pull_target(target, Path(folder), client=client, now=NOW).sources:
            print(f"{source.key:<18} {source.outcome}: {source.new + source.late} values")
        found = survey(target, now=NOW, store=Path(folder))
    server.shutdown()
    for lead in found.leads:
        print(f"  {lead.text}")
    assert found.series is not None
    forecast = ForecastEngine().forecast(found.series, "7d").forecast
    for day, point, a, b in zip(forecast.dates, forecast.point, *forecast.interval(0.8), strict=True):
        print(f"{found.series.calendar.text(day)}  {point:8.2f}   80 %: {a:.2f} to {b:.2f}")


if __name__ == "__main__":
    main()

"""The report of a run: one self-contained HTML page."""

from bridges.report.page import write_report as write_report

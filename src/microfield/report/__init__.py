"""The comparison report: one self-contained HTML page about an image and its reconstruction."""

from microfield.report.page import write_report as write_report

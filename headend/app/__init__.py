"""The application: the command line, the pipeline from master to title, jobs, and quality control.

Input: requests of people and programs. Output: published titles, reports and exit statuses. It may import every other
package; only ``headend`` itself and ``benchmarks`` import it.
"""

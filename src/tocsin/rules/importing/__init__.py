"""Rules of other tools as rules of this one: what they become, and exactly what has no equivalent.

Nothing is dropped in silence: every part of a rule is in the result, or among what is refused, or noted as taken for
something that it need not be.
"""

from tocsin.rules.importing.datadog import import_datadog, import_ddql
from tocsin.rules.importing.detection import KINDS, import_rules
from tocsin.rules.importing.grafana import import_grafana
from tocsin.rules.importing.outcome import Imported
from tocsin.rules.importing.prometheus import import_prometheus, import_promql

__all__ = [
    "KINDS",
    "Imported",
    "import_datadog",
    "import_ddql",
    "import_grafana",
    "import_prometheus",
    "import_promql",
    "import_rules",
]

"""Alert rules: which incidents alert. One YAML file a rule, its tests inside; README.md: how to add one."""

from alerts.rules.files import SHIPPED, RuleFaultsError, check_rules, load_rules, require_receivers
from alerts.rules.model import SHADOW, Mode, Rule, RuleTest, matching
from alerts.rules.samples import sample_incident

__all__ = [
    "SHADOW",
    "SHIPPED",
    "Mode",
    "Rule",
    "RuleFaultsError",
    "RuleTest",
    "check_rules",
    "load_rules",
    "matching",
    "require_receivers",
    "sample_incident",
]

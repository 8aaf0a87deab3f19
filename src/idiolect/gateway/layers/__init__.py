"""The rings of the onion, and how a list of names becomes one."""

from idiolect.gateway.layers.cache import Cache
from idiolect.gateway.layers.fallback import Fallback
from idiolect.gateway.layers.limits import Limited, Limits, LimitsConfig
from idiolect.gateway.layers.retry import Retry, RetryConfig
from idiolect.gateway.layers.trace import Trace

__all__ = ["Cache", "Fallback", "Limited", "Limits", "LimitsConfig", "Retry", "RetryConfig", "Trace"]

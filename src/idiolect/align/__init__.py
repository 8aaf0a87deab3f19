"""Learning from preferences: reward models and direct preference optimisation. Importing it registers the objectives
`reward` and `dpo`."""

from idiolect.align.dpo import DPO, DPOConfig, preference_loss
from idiolect.align.logprobs import logprobs
from idiolect.align.reference import remember
from idiolect.align.reward import Reward, RewardConfig

__all__ = ["DPO", "DPOConfig", "Reward", "RewardConfig", "logprobs", "preference_loss", "remember"]
